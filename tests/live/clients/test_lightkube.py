"""lightkube: typed resources over httpx, synchronous and asynchronous."""

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lightkube import ApiError, AsyncClient, Client, KubeConfig, codecs, operators
from lightkube.core.exceptions import ObjectDeleted
from lightkube.generic_resource import create_namespaced_resource, load_in_cluster_generic_resources
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.apps_v1 import Deployment, DeploymentScale
from lightkube.resources.core_v1 import ConfigMap, Namespace, Pod, Service
from lightkube.types import CascadeType, PatchType, on_error_retry

from tests.live.clients.objects import widget
from tests.live.clients.relay import Relay
from tests.live.conftest import wait_until

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def settings(kubeconfig: Path) -> Any:
    return KubeConfig.from_file(kubeconfig).get()


@pytest.fixture
def kube(settings: Any, namespace: str) -> Iterator[Client]:
    with Client(settings, namespace=namespace, field_manager="lightkube") as made:
        yield made


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, labels={"app": "x"}), data=data or None)


def deployment(**spec: Any) -> Deployment:
    labels = {"app": "x"}
    pods = PodTemplateSpec(ObjectMeta(labels=labels), PodSpec([Container("main", image="localhost/busybox:1")]))
    given = {"replicas": 0, "selector": LabelSelector(matchLabels=labels), "template": pods, **spec}
    return codecs.from_dict(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
        | {"spec": {key: getattr(value, "to_dict", lambda value=value: value)() for key, value in given.items()}}
    )


def test_create_page_select_replace_and_delete(kube: Client, namespace: str) -> None:
    names = [f"c{i}" for i in range(5)]
    for name in names:
        kube.create(config_map(name, k="v"))
    pages = kube.list(ConfigMap, labels={"app": operators.in_(["x", "y"])}, chunk_size=2)
    assert [found.metadata.name for found in pages] == names
    assert pages.resourceVersion
    named = kube.list(
        ConfigMap, labels={"app": operators.exists()}, fields={"metadata.name": operators.not_equal("c0")}
    )
    assert [found.metadata.name for found in named] == names[1:]
    read = kube.get(ConfigMap, "c0")
    read.data = {"k": "w"}
    assert kube.replace(read).data == {"k": "w"}
    with pytest.raises(ApiError) as conflict:
        kube.replace(read)
    assert (conflict.value.status.code, conflict.value.status.reason) == (409, "Conflict")
    assert kube.create(config_map("dry"), dry_run=True).metadata.uid
    kube.delete(ConfigMap, "c0")
    with pytest.raises(ApiError, match='configmaps "c0" not found'):
        kube.get(ConfigMap, "c0")
    kube.deletecollection(ConfigMap, namespace=namespace)
    assert all(found.metadata.name == "kube-root-ca.crt" for found in kube.list(ConfigMap))


def test_each_kind_of_patch_and_apply(kube: Client) -> None:
    kube.create(deployment())
    containers = [{"name": "side", "image": "localhost/busybox:1"}]
    template = {"spec": {"template": {"spec": {"containers": containers}}}}

    def names(found: Deployment) -> list[str]:
        return [container.name for container in found.spec.template.spec.containers]

    assert names(kube.patch(Deployment, "d", template, patch_type=PatchType.STRATEGIC)) == ["side", "main"]
    assert names(kube.patch(Deployment, "d", template, patch_type=PatchType.MERGE)) == ["side"]
    changes = [{"op": "add", "path": "/metadata/labels", "value": {"l": "1"}}]
    assert kube.patch(Deployment, "d", changes, patch_type=PatchType.JSON).metadata.labels == {"l": "1"}
    assert kube.set(Deployment, "d", annotations={"a": "1"}).metadata.annotations["a"] == "1"
    applied = kube.apply(deployment(minReadySeconds=4), force=True)
    managers = {(entry.manager, entry.operation) for entry in applied.metadata.managedFields}
    assert (applied.spec.minReadySeconds, ("lightkube", "Apply") in managers) == (4, True)
    with pytest.raises(ApiError, match='conflict with "lightkube"'):
        kube.apply(deployment(minReadySeconds=5), field_manager="other")
    scaled = kube.apply(DeploymentScale(metadata=ObjectMeta(name="d"), spec={"replicas": 1}), "d", force=True)
    assert scaled.spec.replicas == 1


def test_wait_for_a_rollout_and_for_what_depends_on_it(kube: Client) -> None:
    kube.create(deployment(replicas=1, template=sleeper()))
    done = kube.wait(Deployment, "d", for_conditions=["Available"])
    assert done.metadata.name == "d"
    pod = next(iter(kube.list(Pod, labels={"app": "x"})))
    kube.delete(Deployment, "d", cascade=CascadeType.FOREGROUND)
    with pytest.raises(ObjectDeleted):
        kube.wait(Pod, pod.metadata.name, for_conditions=["Never"])
    wait_until(lambda: not list(kube.list(Deployment)))


def sleeper() -> PodTemplateSpec:
    container = Container("main", image="localhost/busybox:1", command=["sleep", "600"])
    return PodTemplateSpec(ObjectMeta(labels={"app": "x"}), PodSpec([container], terminationGracePeriodSeconds=0))


def test_watch_reconnects(kube: Client, settings: Any, namespace: str, relay: Relay) -> None:
    """Client.watch opens a stream that broke again (on_error); it does not try again when that request fails at once."""
    version = kube.create(config_map("before")).metadata.resourceVersion
    seen: list[tuple[str, str]] = []

    def follow() -> None:
        with Client(settings, namespace=namespace) as watching:
            watched = watching.watch(ConfigMap, labels={"app": "x"}, resource_version=version, on_error=on_error_retry)
            for kind, found in watched:
                seen.append((kind, found.metadata.name))
                if found.metadata.name == "last":
                    return

    thread = threading.Thread(target=follow)
    thread.start()
    kube.create(config_map("first"))
    wait_until(lambda: seen)
    assert relay.cut() > 0
    with Client(settings, namespace=namespace) as fresh:
        fresh.create(config_map("last"))
    thread.join(30)
    assert seen == [("ADDED", "first"), ("ADDED", "last")]


def test_watch_from_a_forgotten_version_is_gone(kube: Client, stale: Callable[[], str]) -> None:
    with pytest.raises(ApiError) as gone:
        next(kube.watch(ConfigMap, resource_version=stale()))
    assert gone.value.status.code == 410
    kube.create(config_map("a"))
    again = kube.watch(ConfigMap, labels={"app": "x"}, resource_version=stale(), on_error=on_error_retry)
    assert next(again)[1].metadata.name == "a"


def test_logs_and_exec(kube: Client, target: str) -> None:
    assert list(kube.log(target, namespace="clients", newlines=False, tail_lines=3)) == ["line 1", "line 2", "line 3"]
    following = kube.log(target, namespace="clients", follow=True)
    assert next(following) == "line 1\n"
    output = io.BytesIO()
    command = ["sh", "-c", "cat; echo done >&2; exit 4"]
    told = kube.exec(target, namespace="clients", command=command, stdin="typed", stdout=output, stderr=True)
    assert (output.getvalue(), told.stderr, told.exit_code) == (b"typed", "done\n", 4)
    big = kube.exec(
        target, namespace="clients", command=["head", "-c", "300000", "/dev/zero"], stdout=True, decode=None
    )
    assert big.stdout == bytes(300000)
    with pytest.raises(ApiError, match="command terminated with non-zero exit code"):
        kube.exec(target, namespace="clients", command="false", raise_on_error=True)


def test_custom_resources_are_loaded_from_the_cluster(kube: Client, namespace: str) -> None:
    group = f"{namespace}.example.com"
    kube.create(codecs.from_dict(widget(group)))
    try:
        kube.wait(CustomResourceDefinition, f"widgets.{group}", for_conditions=["Established"])
        load_in_cluster_generic_resources(kube)
        Widget = create_namespaced_resource(group, "v1", "Widget", "widgets")  # noqa: N806
        made = kube.create(Widget(metadata=ObjectMeta(name="w"), spec={"lost": 1}))
        assert made["spec"] == {"size": 1}
        kube.apply(Widget(metadata=ObjectMeta(name="w"), spec={"note": "n"}))
        made = kube.patch(Widget.Status, "w", {"status": {"size": 2}}, patch_type=PatchType.MERGE)
        assert (made["spec"], made["status"]) == ({"note": "n", "size": 1}, {"size": 2})
        assert kube.get(Widget.Scale, "w").status.replicas == 2
    finally:
        kube.delete(CustomResourceDefinition, f"widgets.{group}")


async def test_asynchronously(settings: Any, namespace: str, target: str) -> None:
    kube = AsyncClient(settings, namespace=namespace, field_manager="lightkube")
    version = (await kube.get(Namespace, namespace)).metadata.resourceVersion
    for name in ("a", "b", "c"):
        await kube.apply(config_map(name, k="v"))
    listed = [found.metadata.name async for found in kube.list(ConfigMap, labels={"app": "x"}, chunk_size=2)]
    assert listed == ["a", "b", "c"]
    seen = []
    async for kind, found in kube.watch(ConfigMap, labels={"app": "x"}, resource_version=version):
        seen.append((kind, found.metadata.name))
        if len(seen) == 3:
            break
    assert seen == [("ADDED", name) for name in listed]
    lines = [line async for line in kube.log(target, namespace="clients", tail_lines=1)]
    assert lines == ["line 3\n"]
    told = await kube.exec(target, namespace="clients", command=["cat"], stdin=b"typed", stdout=True)
    assert (told.stdout, told.exit_code) == ("typed", 0)
    await kube.create(Service(metadata=ObjectMeta(name="s"), spec={"ports": [{"port": 80}]}))
    assert (await kube.get(Service, "s")).spec.clusterIP
    await kube.close()
