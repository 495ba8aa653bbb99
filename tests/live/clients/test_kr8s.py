"""kr8s: kubectl's verbs as Python, synchronous and asynchronous."""

import asyncio
import io
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kr8s
import kr8s.asyncio
import pytest
from kr8s.asyncio.objects import ConfigMap as AsyncConfigMap
from kr8s.objects import ConfigMap, Deployment, Namespace, Node, Pod, Service, new_class, object_from_spec

from tests.live.clients.objects import widget
from tests.live.clients.relay import Relay
from tests.live.conftest import Cluster, wait_until

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("default")]

Object = dict[str, Any]


@pytest.fixture
def api(kubeconfig: Path, namespace: str) -> Any:
    return kr8s.api(kubeconfig=str(kubeconfig), namespace=namespace)


def config_map(api: Any, name: str, **data: str) -> ConfigMap:
    metadata = {"name": name, "namespace": api.namespace, "labels": {"app": "x"}}
    return ConfigMap({"metadata": metadata, "data": data}, api=api)


def deployment(api: Any, replicas: int) -> Deployment:
    container = {"name": "main", "image": "localhost/busybox:1", "command": ["httpd", "-f", "-p", "8080"]}
    pods: Object = {"containers": [container], "terminationGracePeriodSeconds": 0}
    template = {"metadata": {"labels": {"app": "x"}}, "spec": pods}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "x"}}, "template": template}
    return Deployment({"metadata": {"name": "d", "namespace": api.namespace}, "spec": spec}, api=api)


def test_discovers_the_server(api: Any, cluster: Cluster) -> None:
    assert api.version()["minor"] == "37"
    assert api.whoami() == "kubernetes-admin"
    kinds = {(found["version"], found["kind"]) for found in api.api_resources()}
    assert {("v1", "Pod"), ("apps/v1", "Deployment"), ("apiregistration.k8s.io/v1", "APIService")} <= kinds
    assert {"v1", "apps/v1", "policy/v1"} <= set(api.api_versions())
    assert [found.name for found in api.get("nodes")] == [cluster.get("nodes")["items"][0]["metadata"]["name"]]
    assert api.lookup_kind("deploy") == ("deployment.apps/v1", "deployments", True)


def test_create_page_patch_label_and_delete(api: Any) -> None:
    for index in range(5):
        config_map(api, f"c{index:03}", k="v").create()
    listed = [found.name for found in api.get("configmaps", label_selector={"app": "x"})]
    assert listed == [f"c{index:03}" for index in range(5)]
    found = next(iter(api.get("cm", "c000")))
    found.patch({"data": {"m": "1"}})
    assert found.data == {"k": "v", "m": "1"}
    found.patch([{"op": "remove", "path": "/data/k"}], type="json")
    assert found.data == {"m": "1"}
    found.label(tier="low")
    found.annotate(note="kept")
    found.remove_label("app")
    again = ConfigMap.get("c000", namespace=api.namespace, api=api)
    assert (again.labels, again.annotations) == ({"tier": "low"}, {"note": "kept"})
    again.refresh()
    again.delete(propagation_policy="Background")
    assert not again.exists()
    with pytest.raises(kr8s.NotFoundError):
        again.refresh()
    with pytest.raises(kr8s.ServerError, match="already exists"):
        config_map(api, "c001").create()


def test_rollout_scale_adopt_and_services(api: Any) -> None:
    workload = deployment(api, 1)
    workload.create()
    workload.wait("condition=Available", timeout=60)
    service = Service(
        {
            "metadata": {"name": "s", "namespace": api.namespace},
            "spec": {"selector": {"app": "x"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
        api=api,
    )
    service.create()
    assert service.ready()
    wait_until(lambda: _status(service) == 404)
    workload.scale(2)
    wait_until(lambda: len(workload.pods()) == 2)
    owned = config_map(api, "owned")
    owned.create()
    workload.adopt(owned)
    workload.delete(propagation_policy="Foreground")
    workload.wait("delete", timeout=60)
    wait_until(lambda: not owned.exists())


def _status(service: Service) -> int:
    """Return what httpd without files answers through the API server's proxy: 404; 503 while there are no endpoints."""
    try:
        return int(service.proxy_http_get("nothing").status_code)
    except kr8s.ServerError as err:
        return int(err.response.status_code) if err.response is not None else 0


def test_watch_resumes_at_a_version_after_a_cut(api: Any, kubeconfig: Path, relay: Relay) -> None:
    version = Namespace.get(api.namespace, api=api).metadata.resourceVersion
    seen: list[tuple[str, str]] = []

    def follow() -> None:
        since, names = version, {"namespace": api.namespace, "label_selector": {"app": "x"}}
        while True:
            try:
                for kind, found in api.watch("configmaps", since=since, **names):
                    since = found.metadata.resourceVersion
                    seen.append((kind, found.name))
                    if found.name == "last":
                        return
            except Exception:  # noqa: BLE001 - kr8s passes on whatever its HTTP library raises
                continue

    thread = threading.Thread(target=follow)
    thread.start()
    first = config_map(api, "first")
    first.create()
    wait_until(lambda: seen)
    assert relay.cut() > 0
    _persist(lambda: first.patch({"data": {"k": "1"}}))
    _persist(lambda: config_map(api, "last").create())
    thread.join(30)
    assert seen == [("ADDED", "first"), ("MODIFIED", "first"), ("ADDED", "last")]


def _persist(call: Callable[[], Any]) -> None:
    """Call again when a pooled connection turns out to be dead."""
    try:
        call()
    except Exception:  # noqa: BLE001 - see above
        call()


def test_logs_exec_and_port_forward(api: Any, target: str) -> None:
    pod = Pod.get(target, namespace="clients", api=api)
    assert pod.ready()
    assert list(pod.logs(tail_lines=2)) == ["line 2", "line 3"]
    following = pod.logs(follow=True, timeout=5)
    assert [next(following) for _ in range(3)] == ["line 1", "line 2", "line 3"]
    output = io.BytesIO()
    told = pod.exec(["sh", "-c", "echo out; echo err >&2"], stdout=output)
    assert (told.stdout, told.stderr, told.returncode, output.getvalue()) == (b"out\n", b"err\n", 0, b"out\n")
    assert pod.exec(["sh", "-c", "exit 3"], check=False).returncode == 3
    forwarding = pod.portforward(remote_port=8080, local_port="auto")
    forwarding.start()
    try:
        port = wait_until(lambda: forwarding.local_port)
        wait_until(lambda: forwarding.servers)
        for _ in range(2):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                assert answer.read() == b"served\n"
    finally:
        forwarding.stop()


def test_nodes_are_cordoned_and_tainted(api: Any, cluster: Cluster) -> None:
    node: Node = next(iter(api.get("nodes")))
    try:
        node.cordon()
        assert cluster.get("node", node.name)["spec"]["unschedulable"] is True
        node.taint("key", "value", effect="PreferNoSchedule")
        assert [found["key"] for found in cluster.get("node", node.name)["spec"]["taints"]][-1] == "key"
    finally:
        node.uncordon()
        cluster.kubectl("taint", "nodes", node.name, "key-", check=False)


def test_custom_resources_are_found_by_kind(api: Any, namespace: str) -> None:
    group = f"{namespace}.example.com"
    definition = object_from_spec(widget(group), api=api, allow_unknown_type=True)
    definition.create()
    try:
        definition.wait("condition=Established", timeout=20)
        Widget = new_class("Widget", f"{group}/v1", asyncio=False)  # noqa: N806
        made = Widget({"metadata": {"name": "w", "namespace": namespace}, "spec": {"lost": 1}}, api=api)
        made.create()
        assert made.spec == {"size": 1}
        made.patch({"status": {"size": 3}}, subresource="status")
        assert made.status == {"size": 3}
        assert [found.name for found in api.get(f"widgets.{group}")] == ["w"]
        table = next(iter(api.get(f"widgets.{group}", as_object=kr8s.objects.Table)))
        assert [column["name"] for column in table.column_definitions] == ["Name", "Size"]
        made.delete()
    finally:
        definition.delete()


async def test_asynchronously(kubeconfig: Path, namespace: str, target: str) -> None:
    api = await kr8s.asyncio.api(kubeconfig=str(kubeconfig), namespace=namespace)
    made = await AsyncConfigMap({"metadata": {"name": "a", "namespace": namespace}, "data": {"k": "v"}}, api=api)
    await made.create()
    assert await made.exists()
    pods = [found async for found in api.get("pods", namespace="clients")]
    assert [found.name for found in pods] == [target]
    assert [line async for line in pods[0].logs(tail_lines=1)] == ["line 3"]
    assert (await pods[0].exec(["echo", "hello"])).stdout == b"hello\n"
    async with pods[0].portforward(8080, local_port="auto") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"served\n"), 30)).startswith(b"HTTP/1.")
        writer.close()
    changed = await AsyncConfigMap.get("a", namespace=namespace, api=api)
    await changed.patch({"data": {"k": "w"}})
    async for kind, found in made.watch():  # from the version that it was made with
        assert (kind, found.data) == ("MODIFIED", {"k": "w"})
        break
    await made.delete()
