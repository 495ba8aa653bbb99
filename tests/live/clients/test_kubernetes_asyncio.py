"""kubernetes_asyncio: the generated client over aiohttp."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kubernetes_asyncio import client, config, dynamic, utils, watch
from kubernetes_asyncio.client.api_client import ApiClient
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.stream import WsApiClient

from tests.live.clients.relay import Relay

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("default")]

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "x"}},
        "template": {
            "metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "main", "image": "localhost/busybox:1"}]},
        },
    },
}


@pytest.fixture
async def api(kubeconfig: Path) -> AsyncIterator[ApiClient]:
    await config.load_kube_config(str(kubeconfig))
    async with ApiClient() as made:
        yield made


@pytest.fixture
async def core(api: ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


def config_map(name: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"app": "x"}), data={"k": "v"})


async def test_create_page_replace_and_delete(core: client.CoreV1Api, namespace: str) -> None:
    names = [f"c{i}" for i in range(5)]
    for name in names:
        await core.create_namespaced_config_map(namespace, config_map(name))
    seen, token = [], None
    while token != "":
        page = await core.list_namespaced_config_map(namespace, limit=2, label_selector="app=x", _continue=token)
        seen += [found.metadata.name for found in page.items]
        token = page.metadata._continue or ""
    assert seen == names
    read = await core.read_namespaced_config_map("c0", namespace)
    read.data = {"k": "w"}
    assert (await core.replace_namespaced_config_map("c0", namespace, read)).data == {"k": "w"}
    with pytest.raises(ApiException) as conflict:
        await core.replace_namespaced_config_map("c0", namespace, read)
    assert conflict.value.status == 409
    assert (await core.delete_namespaced_config_map("c0", namespace)).status == "Success"
    await core.delete_collection_namespaced_config_map(namespace, label_selector="app=x")
    assert (await core.list_namespaced_config_map(namespace, label_selector="app=x")).items == []


async def test_each_kind_of_patch(api: ApiClient, namespace: str) -> None:
    apps = client.AppsV1Api(api)
    await apps.create_namespaced_deployment(namespace, DEPLOYMENT)

    async def patch(kind: str, body: Any, **more: Any) -> Any:
        return await apps.patch_namespaced_deployment("d", namespace, body, _content_type=kind, **more)

    containers = [{"name": "side", "image": "localhost/busybox:1"}]
    template = {"spec": {"template": {"spec": {"containers": containers}}}}
    both = await patch("application/strategic-merge-patch+json", template)
    assert [found.name for found in both.spec.template.spec.containers] == ["side", "main"]
    one = await patch("application/merge-patch+json", template)
    assert [found.name for found in one.spec.template.spec.containers] == ["side"]
    changed = await patch("application/json-patch+json", [{"op": "add", "path": "/spec/paused", "value": True}])
    assert changed.spec.paused
    applied = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"minReadySeconds": 3}}
    owned = await patch("application/apply-patch+yaml", applied, field_manager="me")
    assert [found.operation for found in owned.metadata.managed_fields if found.manager == "me"] == ["Apply"]
    scale = await apps.replace_namespaced_deployment_scale(
        "d", namespace, client.V1Scale(metadata=client.V1ObjectMeta(name="d"), spec=client.V1ScaleSpec(replicas=2))
    )
    assert scale.spec.replicas == 2


async def test_watch_goes_on_after_a_cut(core: client.CoreV1Api, namespace: str, relay: Relay) -> None:
    version = (await core.list_namespaced_config_map(namespace)).metadata.resource_version
    seen = []
    for round_, names in enumerate([("a", "b"), ("c", "d")]):
        watching = watch.Watch()
        async with watching.stream(
            core.list_namespaced_config_map, namespace, label_selector="app=x", resource_version=version
        ) as events:
            for name in names:
                await core.create_namespaced_config_map(namespace, config_map(name))
                event = await anext(events)
                seen.append((event["type"], event["object"].metadata.name))
            version = watching.resource_version
            if round_ == 0:
                await asyncio.to_thread(relay.cut)
                with pytest.raises((aiohttp.ClientError, ConnectionError)):
                    await anext(events)
    assert seen == [("ADDED", name) for name in "abcd"]


async def test_watch_from_a_forgotten_version_is_gone(
    core: client.CoreV1Api, namespace: str, stale: Callable[[], str]
) -> None:
    version = await asyncio.to_thread(stale)
    with pytest.raises(ApiException) as gone:
        await anext(watch.Watch().stream(core.list_namespaced_config_map, namespace, resource_version=version))
    assert gone.value.status == 410


async def test_exec_attach_and_logs(core: client.CoreV1Api, target: str, kubeconfig: Path) -> None:
    logs = await core.read_namespaced_pod_log(target, "clients", tail_lines=2)
    assert logs.splitlines() == ["line 2", "line 3"]
    following = watch.Watch()
    async with following.stream(core.read_namespaced_pod_log, target, "clients", follow=True) as lines:
        assert [(await anext(lines)).strip() for _ in range(3)] == ["line 1", "line 2", "line 3"]
    async with WsApiClient() as socket:
        streams = client.CoreV1Api(socket)
        answer = await streams.connect_get_namespaced_pod_exec(
            target, "clients", command=["echo", "hello"], stdout=True, stderr=True, stdin=False, tty=False
        )
        assert answer == "hello\n"
        opened = await streams.connect_get_namespaced_pod_exec(
            target, "clients", command=["sh", "-c", "read a; echo $a; exit 3"], stdin=True, stdout=True,
            _preload_content=False,
        )  # fmt: skip
        async with opened as ws:
            await ws.send_bytes(b"\x00typed\n")
            frames = [message.data async for message in ws]
        assert b"\x01typed\n" in frames
        assert WsApiClient.parse_error_data(frames[-1][1:].decode()) == 3


async def test_dynamic_client_and_files(api: ApiClient, namespace: str, tmp_path: Path) -> None:
    await utils.create_from_dict(api, DEPLOYMENT, namespace=namespace)
    dyn = await dynamic.DynamicClient(api)
    deployments = await dyn.resources.get(api_version="apps/v1", kind="Deployment")
    found = await deployments.get(namespace=namespace, name="d")
    assert found.spec.replicas == 0
    applied = await deployments.server_side_apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"minReadySeconds": 1}},
        namespace=namespace,
        field_manager="me",
    )
    assert applied.spec.minReadySeconds == 1
    async for event in deployments.watch(namespace=namespace, name="d", timeout=5):
        assert (event["type"], event["object"].metadata.name) == ("ADDED", "d")
        break
    await deployments.delete(name="d", namespace=namespace, propagation_policy="Foreground")
    left = client.AppsV1Api(api)
    while (await left.list_namespaced_deployment(namespace)).items:
        await asyncio.sleep(0.1)
