import pytest

from knarr.api import schema
from knarr.api.scheme import BUILT_IN, Resource


def test_every_resource_has_a_definition():
    definitions = schema.built_in()
    assert [r.qualified for r in BUILT_IN if r.definition not in definitions] == []


def test_paths_and_kinds_name_one_resource_each():
    resources = list(BUILT_IN)
    assert len({(r.group, r.version, r.plural) for r in resources}) == len(resources) == 68
    assert len({(r.api_version, r.kind) for r in resources}) == len(resources)


def test_verbs_and_subresources_are_sorted_as_discovery_prints_them():
    for resource in BUILT_IN:
        assert list(resource.verbs) == sorted(resource.verbs)
        names = [sub.name for sub in resource.subresources]
        assert names == sorted(names)


@pytest.mark.parametrize(
    ("path", "storage", "stored_in"),
    [
        (("", "v1", "nodes"), "minions", "v1"),
        (("", "v1", "services"), "services/specs", "v1"),
        (("", "v1", "endpoints"), "services/endpoints", "v1"),
        (("", "v1", "replicationcontrollers"), "controllers", "v1"),
        (("networking.k8s.io", "v1", "ingresses"), "ingress", "networking.k8s.io/v1"),
        (("events.k8s.io", "v1", "events"), "events", "v1"),
        (("autoscaling", "v1", "horizontalpodautoscalers"), "horizontalpodautoscalers", "autoscaling/v2"),
        (("apiregistration.k8s.io", "v1", "apiservices"), "apiregistration.k8s.io/apiservices", "apiregistration.k8s.io/v1"),
        (("authorization.k8s.io", "v1", "subjectaccessreviews"), "", "authorization.k8s.io/v1"),
    ],
)  # fmt: skip
def test_where_objects_are_stored(path, storage, stored_in):
    resource = BUILT_IN.find(*path)
    assert (resource.storage, resource.storage_version) == (storage, stored_in)


def test_versions_of_one_kind_share_storage():
    event = BUILT_IN.find_kind("events.k8s.io/v1", "Event")
    assert {r.api_version for r in BUILT_IN.versions(event)} == {"v1", "events.k8s.io/v1"}
    assert BUILT_IN.stored(event).api_version == "v1"


def test_no_two_kinds_share_storage():
    owners = {}
    for resource in BUILT_IN:
        if resource.storage:
            owners.setdefault(resource.storage, set()).add(resource.kind)
    assert [storage for storage, kinds in owners.items() if len(kinds) > 1] == []


def test_preferred_versions_come_first():
    assert BUILT_IN.groups()["autoscaling"] == ["v2", "v1"]


def test_subresources_have_kinds_of_their_own():
    pods = BUILT_IN.find("", "v1", "pods")
    eviction = pods.subresource("eviction")
    assert (eviction.group, eviction.version, eviction.kind) == ("policy", "v1", "Eviction")
    assert pods.subresource("status").kind == "Pod"
    assert pods.subresource("nothing") is None


def test_custom_resources_join():
    widget = Resource("example.com", "v1", "Widget", "widgets", "widget", True, ("get",), storage="example.com/widgets")
    scheme = BUILT_IN.with_resources([widget])
    assert scheme.find("example.com", "v1", "widgets") is widget
    assert BUILT_IN.find("example.com", "v1", "widgets") is None
    assert list(scheme.groups())[-1] == "example.com"
