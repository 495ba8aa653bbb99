"""The official Python client: generated and typed, with its watches, streams and informer."""

import inspect
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config, informer, stream, utils, watch
from kubernetes.client.exceptions import ApiException, NotFoundException
from urllib3.exceptions import ProtocolError

from tests.live.clients.objects import widget
from tests.live.clients.relay import Relay
from tests.live.conftest import Cluster, wait_until

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("default")]

APPLY, JSON_PATCH, MERGE, STRATEGIC = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
NOT_SERVED = {
    "list_cluster_trust_bundle",
    "list_namespaced_pod_certificate_request",
    "list_pod_certificate_request_for_all_namespaces",
    "list_device_taint_rule",
    "list_storage_version_migration",
}
"""Lists of stable kinds that the API server does not have."""


@pytest.fixture(scope="module")
def api(kubeconfig: Path) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(kubeconfig)) as made:
        client.ApiClient.set_default(made)
        yield made


@pytest.fixture
def core(api: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


def config_map(name: str, **data: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"app": "x"}), data=data or None)


def fill(core: client.CoreV1Api, namespace: str, count: int) -> list[str]:
    names = [f"c{i}" for i in range(count)]
    for name in names:
        core.create_namespaced_config_map(namespace, config_map(name, number=name[1:]))
    return names


def test_create_read_replace_and_delete(core: client.CoreV1Api, namespace: str) -> None:
    made = core.create_namespaced_config_map(namespace, config_map("a", k="v"))
    read = core.read_namespaced_config_map("a", namespace)
    assert read.to_dict() == made.to_dict()
    read.data = {"k": "w"}
    replaced = core.replace_namespaced_config_map("a", namespace, read)
    assert (replaced.data, replaced.metadata.uid) == ({"k": "w"}, made.metadata.uid)
    with pytest.raises(ApiException) as conflict:
        core.replace_namespaced_config_map("a", namespace, made)
    assert (conflict.value.status, '"reason":"Conflict"' in conflict.value.body) == (409, True)
    deleted = core.delete_namespaced_config_map(
        "a", namespace, body=client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=made.metadata.uid))
    )
    assert deleted["status"] == "Success"
    with pytest.raises(ApiException) as missing:
        core.read_namespaced_config_map("a", namespace)
    assert missing.value.status == 404


def test_lists_in_pages_of_one_snapshot(core: client.CoreV1Api, namespace: str) -> None:
    names = fill(core, namespace, 5)
    page = core.list_namespaced_config_map(namespace, label_selector="app=x", limit=2)
    version, seen = page.metadata.resource_version, [item.metadata.name for item in page.items]
    core.delete_namespaced_config_map(names[3], namespace)
    while page.metadata._continue:
        page = core.list_namespaced_config_map(
            namespace, label_selector="app=x", limit=2, _continue=page.metadata._continue
        )
        assert page.metadata.resource_version == version
        seen += [item.metadata.name for item in page.items]
    assert seen == names


def test_a_continue_token_that_is_too_old_is_gone(
    core: client.CoreV1Api, namespace: str, stale: Callable[[], str], cluster: Cluster
) -> None:
    with pytest.raises(ApiException) as gone:
        core.list_namespaced_config_map(namespace, resource_version=stale(), resource_version_match="Exact")
    assert (gone.value.status, '"reason":"Expired"' in gone.value.body) == (410, True)


def test_watch_goes_on_where_a_cut_connection_left_it(core: client.CoreV1Api, namespace: str, relay: Relay) -> None:
    version = core.list_namespaced_config_map(namespace).metadata.resource_version
    watching = watch.Watch()
    seen: list[tuple[str, str]] = []

    def follow() -> None:
        begun = {"resource_version": version}
        while len(seen) < 4:
            try:
                for event in watching.stream(
                    core.list_namespaced_config_map, namespace, label_selector="app=x", **begun
                ):
                    seen.append((event["type"], event["object"].metadata.name))
                    if len(seen) == 4:
                        watching.stop()
            except ProtocolError:
                begun = {"resource_version": watching.resource_version}

    thread = threading.Thread(target=follow)
    thread.start()
    core.create_namespaced_config_map(namespace, config_map("one"))
    core.create_namespaced_config_map(namespace, config_map("two"))
    wait_until(lambda: len(seen) == 2)
    assert relay.cut() > 0
    core.delete_namespaced_config_map("one", namespace)
    core.create_namespaced_config_map(namespace, config_map("three"))
    thread.join(30)
    assert seen == [("ADDED", "one"), ("ADDED", "two"), ("DELETED", "one"), ("ADDED", "three")]


def test_watch_from_a_forgotten_version_is_gone(
    core: client.CoreV1Api, namespace: str, stale: Callable[[], str]
) -> None:
    with pytest.raises(ApiException) as gone:
        next(watch.Watch().stream(core.list_namespaced_config_map, namespace, resource_version=stale()))
    assert (gone.value.status, gone.value.reason[:8]) == (410, "Expired:")


def test_each_kind_of_patch(api: client.ApiClient, namespace: str) -> None:
    apps = client.AppsV1Api(api)
    container = {"name": "main", "image": "localhost/busybox:1", "env": [{"name": "A", "value": "1"}]}
    labels = {"app": "x"}
    body = {
        "metadata": {"name": "d"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    apps.create_namespaced_deployment(namespace, body)

    def patch(content_type: str, change: Any, **more: Any) -> client.V1Deployment:
        return apps.patch_namespaced_deployment("d", namespace, change, _content_type=content_type, **more)

    env = {"name": "B", "value": "2"}
    merged = patch(STRATEGIC, {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [env]}]}}}})
    assert {e.name for e in merged.spec.template.spec.containers[0].env} == {"A", "B"}
    replaced = patch(MERGE, {"spec": {"template": {"spec": {"containers": [container | {"env": [env]}]}}}})
    assert [e.name for e in replaced.spec.template.spec.containers[0].env] == ["B"]
    tested = patch(
        JSON_PATCH,
        [
            {"op": "test", "path": "/spec/replicas", "value": 0},
            {"op": "add", "path": "/metadata/labels", "value": labels},
        ],
    )
    assert tested.metadata.labels == labels
    with pytest.raises(ApiException) as failed:
        patch(JSON_PATCH, [{"op": "test", "path": "/spec/replicas", "value": 3}])
    assert failed.value.status == 422
    applied = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"minReadySeconds": 3}}
    owned = patch(APPLY, applied, field_manager="me")
    assert owned.spec.min_ready_seconds == 3
    assert ("me", "Apply") in {(f.manager, f.operation) for f in owned.metadata.managed_fields}
    with pytest.raises(ApiException) as conflict:
        patch(APPLY, applied | {"spec": {"minReadySeconds": 4}}, field_manager="other")
    assert (conflict.value.status, 'conflict with "me"' in json.loads(conflict.value.body)["message"]) == (409, True)
    forced = patch(APPLY, applied | {"spec": {"minReadySeconds": 4}}, field_manager="other", force=True)
    assert forced.spec.min_ready_seconds == 4
    scaled = apps.patch_namespaced_deployment_scale("d", namespace, {"spec": {"replicas": 1}})
    assert scaled.spec.replicas == 1


def test_every_list_is_read_into_its_type(api: client.ApiClient) -> None:
    served = {group.preferred_version.group_version for group in client.ApisApi(api).get_api_versions().groups}
    assert {"apps/v1", "networking.k8s.io/v1"} <= served
    kinds, unserved = set(), set()
    for name in dir(client):
        if not name.endswith("Api") or name == "CustomObjectsApi":
            continue
        group = getattr(client, name)(api)
        if name == "EventsV1Api":  # this client cannot read an event without eventTime, though upstream serves such too
            continue
        for method in (m for m in dir(group) if m.startswith("list_") and not m.endswith("_with_http_info")):
            call = getattr(group, method)
            arguments = {"namespace": "kube-system"} if "namespace" in inspect.signature(call).parameters else {}
            try:
                kinds.add(call(**arguments).kind)
            except NotFoundException:
                unserved.add((name, method))
    assert {method for name, method in unserved if "V1Api" in name} == NOT_SERVED
    assert {"PodList", "NodeList", "ClusterRoleList", "FlowSchemaList", "APIServiceList"} <= kinds
    assert len(kinds) > 55


def test_logs(core: client.CoreV1Api, target: str) -> None:
    assert core.read_namespaced_pod_log(target, "clients").splitlines()[:3] == ["line 1", "line 2", "line 3"]
    assert core.read_namespaced_pod_log(target, "clients", tail_lines=1).strip() == "line 3"
    following = watch.Watch()
    lines = []
    for line in following.stream(core.read_namespaced_pod_log, target, "clients"):
        lines.append(line)
        if len(lines) == 3:
            following.stop()
    assert lines == ["line 1", "line 2", "line 3"]


def test_exec_with_input_output_errors_and_exit_code(core: client.CoreV1Api, target: str) -> None:
    call = core.connect_get_namespaced_pod_exec
    plain = stream.stream(call, target, "clients", command=["echo", "hello"], stdout=True, stderr=True)
    assert plain == "hello\n"
    command = ["sh", "-c", "read line; echo got $line; echo bad >&2; exit 7"]
    told = stream.stream(
        call, target, "clients", command=command, stdin=True, stdout=True, stderr=True, _preload_content=False
    )
    told.write_stdin("word\n")
    told.run_forever(timeout=10)
    assert (told.read_stdout(), told.read_stderr(), told.returncode) == ("got word\n", "bad\n", 7)
    raw = stream.stream(
        call,
        target,
        "clients",
        command=["head", "-c", "5000", "/dev/urandom"],
        stdout=True,
        _preload_content=False,
        binary=True,
    )
    raw.run_forever(timeout=10)
    assert len(raw.read_all()) == 5000
    with pytest.raises(ApiException) as missing:
        stream.stream(call, "nobody", "clients", command=["true"], stdout=True)
    assert "Handshake status 404" in missing.value.reason


def test_attach_reads_and_writes_the_main_process(core: client.CoreV1Api, namespace: str) -> None:
    container = client.V1Container(
        name="main", image="localhost/busybox:1", stdin=True, command=["sh", "-c", "while read l; do echo $l $l; done"]
    )
    pod = client.V1Pod(
        metadata=client.V1ObjectMeta(name="p"),
        spec=client.V1PodSpec(containers=[container], termination_grace_period_seconds=1),
    )
    core.create_namespaced_pod(namespace, pod)
    wait_until(lambda: core.read_namespaced_pod_status("p", namespace).status.phase == "Running")
    attached = stream.stream(
        core.connect_get_namespaced_pod_attach, "p", namespace, stdin=True, stdout=True, _preload_content=False
    )
    attached.write_stdin("twice\n")
    assert attached.readline_stdout(timeout=10) == "twice twice"
    attached.close()
    deleting = core.delete_namespaced_pod("p", namespace, grace_period_seconds=1)
    assert deleting.metadata.deletion_timestamp is not None


def test_port_forward(core: client.CoreV1Api, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forwarded = stream.portforward(core.connect_get_namespaced_pod_portforward, target, "clients", ports="8080")
    end: socket.socket = forwarded.socket(8080)
    end.settimeout(10)
    end.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while chunk := end.recv(4096):
        answer += chunk
    assert answer.endswith(b"served\n")
    assert forwarded.error(8080) is None


def test_proxy_to_a_pod(core: client.CoreV1Api, target: str) -> None:
    assert core.connect_get_namespaced_pod_proxy(f"{target}:8080", "clients").strip() == "served"


def test_informer_keeps_up_over_a_cut(core: client.CoreV1Api, namespace: str, relay: Relay) -> None:
    fill(core, namespace, 2)
    kept = informer.SharedInformer(core.list_namespaced_config_map, namespace=namespace, label_selector="app=x")
    deleted: list[str] = []
    kept.add_event_handler(informer.DELETED, lambda found: deleted.append(found.metadata.name))
    kept.start()
    try:
        wait_until(lambda: len(kept.cache.list()) == 2)
        relay.cut()
        core.create_namespaced_config_map(namespace, config_map("late"))
        core.delete_namespaced_config_map("c0", namespace)
        wait_until(lambda: {found.metadata.name for found in kept.cache.list()} == {"c1", "late"})
        wait_until(lambda: deleted == ["c0"])
    finally:
        kept.stop()


def test_delete_of_a_collection(core: client.CoreV1Api, namespace: str) -> None:
    fill(core, namespace, 3)
    core.create_namespaced_config_map(namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="kept")))
    core.delete_collection_namespaced_config_map(namespace, label_selector="app=x")
    left = {found.metadata.name for found in core.list_namespaced_config_map(namespace).items}
    assert left == {"kept", "kube-root-ca.crt"}


def test_utils_create_what_a_file_says(api: client.ApiClient, namespace: str, tmp_path: Path) -> None:
    objects = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "f"}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "f"}, "rules": []},
        {
            "apiVersion": "v1",
            "kind": "List",
            "items": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "f"}}],
        },
    ]
    path = tmp_path / "objects.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    utils.create_from_yaml(api, str(path), namespace=namespace)
    assert client.RbacAuthorizationV1Api(api).read_namespaced_role("f", namespace).rules in (None, [])
    with pytest.raises(utils.FailToCreateError, match="AlreadyExists"):
        utils.create_from_yaml(api, str(path), namespace=namespace)


def test_custom_objects(api: client.ApiClient, cluster: Cluster, namespace: str) -> None:
    group = f"{namespace}.example.com"
    definition = widget(group)
    client.ApiextensionsV1Api(api).create_custom_resource_definition(definition)
    try:
        custom = client.CustomObjectsApi(api)
        kind = (group, "v1", namespace, "widgets")
        made = wait_until(lambda: _created(custom, kind, group))
        assert made["spec"] == {"size": 1}
        patched = custom.patch_namespaced_custom_object(*kind, "w", {"spec": {"size": 2}})
        assert patched["spec"] == {"size": 2}
        custom.patch_namespaced_custom_object_status(*kind, "w", {"status": {"ready": True}})
        listed = custom.list_namespaced_custom_object(*kind)
        assert [item["status"] for item in listed["items"]] == [{"ready": True}]
        custom.delete_namespaced_custom_object(*kind, "w")
    finally:
        client.ApiextensionsV1Api(api).delete_custom_resource_definition(f"widgets.{group}")


def _created(custom: client.CustomObjectsApi, kind: tuple[str, ...], group: str) -> Any:
    body = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {}}
    try:
        return custom.create_namespaced_custom_object(*kind, body)
    except NotFoundException:
        return None
