"""An operator as its users write them with kopf: for each Widget a ConfigMap of its own; what it did is written to $JOURNAL.

Run by `kopf run`; the group of its Widgets comes from $GROUP.
"""

import os
from typing import Any

import kopf
import kubernetes_asyncio as kubernetes

GROUP = os.environ["GROUP"]
WIDGETS = (GROUP, "v1", "widgets")
Object = dict[str, Any]


def note(*words: object) -> None:
    with open(os.environ["JOURNAL"], "a") as journal:
        journal.write(" ".join(map(str, words)) + "\n")


@kopf.on.startup()
async def begin(settings: kopf.OperatorSettings, **_: object) -> None:
    settings.persistence.finalizer = f"{GROUP}/finalizer"
    settings.posting.level = 20
    settings.peering.standalone = False
    settings.peering.name = "widgets"
    settings.peering.lifetime = 5
    await kubernetes.config.load_kube_config()
    note("startup")


@kopf.on.create(*WIDGETS)
async def create(body: kopf.Body, name: str, namespace: str, spec: kopf.Spec, retry: int, **_: object) -> Object:
    if spec.get("note") == "flaky" and retry == 0:
        raise kopf.TemporaryError("not yet", delay=1)
    child: Object = {"metadata": {"name": name}, "data": {"size": str(spec["size"])}}
    kopf.adopt(child, owner=body)
    async with kubernetes.client.ApiClient() as api:
        await kubernetes.client.CoreV1Api(api).create_namespaced_config_map(namespace, child)
    note("create", name, retry)
    return {"child": name}


@kopf.on.update(*WIDGETS, field="spec.size")
async def resize(name: str, namespace: str, old: int, new: int, patch: kopf.Patch, **_: object) -> None:
    async with kubernetes.client.ApiClient() as api:
        await kubernetes.client.CoreV1Api(api).patch_namespaced_config_map(
            name, namespace, {"data": {"size": str(new)}}
        )
    patch.status["size"] = new
    note("resize", name, old, new)


@kopf.on.resume(*WIDGETS)
async def resume(name: str, **_: object) -> None:
    note("resume", name)


@kopf.on.delete(*WIDGETS)
async def delete(name: str, **_: object) -> None:
    note("delete", name)


@kopf.timer(*WIDGETS, interval=1, annotations={"tick": "yes"})
async def tick(patch: kopf.Patch, status: kopf.Status, **_: object) -> None:
    patch.status["ticks"] = status.get("ticks", 0) + 1


@kopf.daemon(*WIDGETS, annotations={"watched": "yes"})
async def watch_over(stopped: kopf.DaemonStopped, name: str, **_: object) -> None:
    note("daemon", name)
    await stopped.wait()
    note("daemon-ends", name)


@kopf.index("", "v1", "configmaps")
async def sizes(name: str, **_: object) -> Object:
    return {name: True}
