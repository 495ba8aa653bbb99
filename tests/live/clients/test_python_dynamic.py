"""The official Python client's dynamic half: discovery with a cache on disk, then any kind by name."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import config, dynamic, watch
from kubernetes.dynamic import exceptions
from urllib3.exceptions import ProtocolError

from tests.live.clients.objects import widget
from tests.live.clients.relay import Relay
from tests.live.conftest import wait_until

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("default")]

Object = dict[str, Any]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found: Path = tmp_path_factory.mktemp("discovery") / "cache.json"
    return found


@pytest.fixture(scope="module")
def dyn(kubeconfig: Path, cache: Path) -> Iterator[dynamic.DynamicClient]:
    with config.new_client_from_config(str(kubeconfig)) as made:
        yield dynamic.DynamicClient(made, cache_file=str(cache))


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_finds_every_kind_that_is_served(dyn: dynamic.DynamicClient, cache: Path) -> None:
    assert dyn.version["kubernetes"]["major"] == "1"
    deployments = dyn.resources.get(api_version="apps/v1", kind="Deployment")
    assert (deployments.name, deployments.namespaced, "status" in deployments.subresources) == (
        "deployments",
        True,
        True,
    )
    assert (
        dyn.resources.get(kind="Role", group="rbac.authorization.k8s.io").group_version
        == "rbac.authorization.k8s.io/v1"
    )
    assert dyn.resources.get(api_version="v1", kind="PodList").kind == "PodList"
    kinds = {found.kind for found in dyn.resources.search() if not found.kind.endswith("List")}
    assert {"Pod", "Node", "Lease", "FlowSchema", "CustomResourceDefinition", "EndpointSlice"} <= kinds
    assert "apps" in json.loads(cache.read_text())["resources"]["apis"]
    again = dynamic.DynamicClient(dyn.client, cache_file=str(cache))
    assert again.resources.get(api_version="apps/v1", kind="Deployment").name == "deployments"
    with pytest.raises(exceptions.ResourceNotFoundError):
        dyn.resources.get(api_version="v1", kind="Nothing")


def test_create_pages_patch_apply_and_delete(dyn: dynamic.DynamicClient, namespace: str) -> None:
    maps = dyn.resources.get(api_version="v1", kind="ConfigMap")
    for name in ("a", "b", "c"):
        maps.create(config_map(name, k="v"), namespace=namespace)
    assert maps.get("a", namespace=namespace).data.k == "v"
    page = maps.get(namespace=namespace, limit=2)
    rest = maps.get(namespace=namespace, limit=2, _continue=page.metadata["continue"])
    names = [found.metadata.name for found in (*page.items, *rest.items)]
    assert (names, rest.metadata["continue"]) == (["a", "b", "c", "kube-root-ca.crt"], None)

    def patch(kind: str, body: Any) -> Object:
        changed: Object = maps.patch(body, name="a", namespace=namespace, content_type=kind).data.to_dict()
        return changed

    assert patch("application/merge-patch+json", {"data": {"k": None, "m": "1"}}) == {"m": "1"}
    assert patch("application/strategic-merge-patch+json", {"data": {"s": "1"}}) == {"m": "1", "s": "1"}
    assert patch("application/json-patch+json", [{"op": "remove", "path": "/data/m"}]) == {"s": "1"}
    body = config_map("a", s="2")
    with pytest.raises(exceptions.ConflictError):
        maps.server_side_apply(body, namespace=namespace, field_manager="dyn")
    applied = maps.server_side_apply(body, namespace=namespace, field_manager="dyn", force_conflicts=True)
    assert applied.data.to_dict() == {"s": "2"}
    replaced = maps.replace({**applied.to_dict(), "data": {"r": "1"}}, namespace=namespace)
    assert replaced.data.to_dict() == {"r": "1"}
    dry = maps.create(config_map("dry"), namespace=namespace, dry_run="All")
    assert dry.metadata.uid
    with pytest.raises(exceptions.NotFoundError):
        maps.get("dry", namespace=namespace)
    assert maps.delete("a", namespace=namespace).status == "Success"
    maps.delete(namespace=namespace, field_selector="metadata.name=b")
    assert [found.metadata.name for found in maps.get(namespace=namespace).items] == ["c", "kube-root-ca.crt"]


def test_watch_begins_with_the_state_and_outlives_a_cut(
    dyn: dynamic.DynamicClient, namespace: str, relay: Relay, stale: Callable[[], str]
) -> None:
    maps = dyn.resources.get(api_version="v1", kind="ConfigMap")
    maps.create(config_map("first"), namespace=namespace)
    watching = watch.Watch()
    seen: list[tuple[str, str]] = []

    def follow() -> None:
        begun: Object = {
            "field_selector": "metadata.name!=kube-root-ca.crt",
            "send_initial_events": True,
            "resource_version_match": "NotOlderThan",
        }
        begun["allow_watch_bookmarks"] = True
        while True:
            try:
                for event in maps.watch(namespace=namespace, watcher=watching, **begun):
                    found = event["object"].metadata
                    seen.append((event["type"], found.name or str(found.annotations)))
                    begun = {"field_selector": begun["field_selector"], "resource_version": found.resourceVersion}
                    if found.name == "last":
                        return
            except ProtocolError:
                continue

    thread = threading.Thread(target=follow)
    thread.start()
    wait_until(lambda: len(seen) == 2)
    assert seen[0] == ("ADDED", "first")
    assert (seen[1][0], "initial-events-end" in seen[1][1]) == ("BOOKMARK", True)
    assert relay.cut() > 0
    maps.create(config_map("last"), namespace=namespace)
    thread.join(30)
    assert seen[2:] == [("ADDED", "last")]
    with pytest.raises(Exception, match="too old resource version") as gone:
        next(iter(maps.watch(namespace=namespace, resource_version=stale(), timeout=5)))
    assert getattr(gone.value, "status", 0) == 410


def test_new_kinds_are_found_and_forgotten(dyn: dynamic.DynamicClient, namespace: str) -> None:
    group = f"{namespace}.example.com"
    definitions = dyn.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    with pytest.raises(exceptions.ResourceNotFoundError):
        dyn.resources.get(api_version=f"{group}/v1", kind="Widget")
    definitions.create(widget(group))
    try:
        found = wait_until(lambda: _find(dyn, group))
        assert found.short_names == ["wd"]
        body = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"lost": 1}}
        made = found.create(body, namespace=namespace, field_manager="dyn")
        assert made.spec.to_dict() == {"size": 1}
        found.status.patch(
            {"status": {"size": 5}}, name="w", namespace=namespace, content_type="application/merge-patch+json"
        )
        assert found.scale.get(name="w", namespace=namespace).status.replicas == 5
        with pytest.raises(exceptions.UnprocessibleEntityError, match="should be greater than or equal to 0"):
            found.patch(
                {"spec": {"size": -1}}, name="w", namespace=namespace, content_type="application/merge-patch+json"
            )
        found.delete(name="w", namespace=namespace)
    finally:
        definitions.delete(f"widgets.{group}")
    wait_until(lambda: not _find(dyn, group))


def _find(dyn: dynamic.DynamicClient, group: str) -> Any:
    dyn.resources.invalidate_cache()
    try:
        return dyn.resources.get(api_version=f"{group}/v1", kind="Widget")
    except exceptions.ResourceNotFoundError:
        return None
