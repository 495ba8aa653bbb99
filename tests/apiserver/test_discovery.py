import json

import pytest

from knarr.api.scheme import BUILT_IN, Resource
from knarr.apiserver import discovery

DOCUMENTS = discovery.Documents(BUILT_IN, "10.0.0.1:6443")


def read(body):
    return json.loads(body)


def test_the_core_group_and_the_named_ones():
    assert read(DOCUMENTS.api)["versions"] == ["v1"]
    groups = {group["name"]: group for group in read(DOCUMENTS.groups)["groups"]}
    assert "" not in groups
    assert groups["autoscaling"]["preferredVersion"] == {"groupVersion": "autoscaling/v2", "version": "v2"}
    assert read(DOCUMENTS.group("apps"))["kind"] == "APIGroup"
    assert DOCUMENTS.group("nothing") is None
    assert DOCUMENTS.resources("apps", "v2") is None


def test_resources_of_a_version():
    document = read(DOCUMENTS.resources("", "v1"))
    assert "apiVersion" not in document
    found = {entry["name"]: entry for entry in document["resources"]}
    assert list(found) == sorted(found)
    assert found["pods"]["shortNames"] == ["po"]
    assert found["pods"]["categories"] == ["all"]
    assert found["pods/eviction"] == {
        "name": "pods/eviction", "singularName": "", "namespaced": True, "group": "policy", "version": "v1",
        "kind": "Eviction", "verbs": ["create"],
    }  # fmt: skip
    assert "storageVersionHash" not in found["bindings"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("", "v1", "pods"), "xPOwRZ+Yhw8="),
        (("apps", "v1", "deployments"), "8aSe+NMegvE="),
        (("autoscaling", "v1", "horizontalpodautoscalers"), "qwQve8ut294="),
    ],
)
def test_storage_versions_hash_as_upstream(path, expected):
    assert discovery.storage_version_hash(BUILT_IN.stored(BUILT_IN.find(*path))) == expected


def test_all_in_one():
    body, etag = DOCUMENTS.aggregated(is_core=False)
    document = read(body)
    assert document["apiVersion"] == "apidiscovery.k8s.io/v2"
    apps = next(item for item in document["items"] if item["metadata"]["name"] == "apps")
    deployments = next(one for one in apps["versions"][0]["resources"] if one["resource"] == "deployments")
    assert deployments["responseKind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert deployments["scope"] == "Namespaced"
    scale = next(sub for sub in deployments["subresources"] if sub["subresource"] == "scale")
    assert scale["responseKind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert DOCUMENTS.aggregated(is_core=False) == (body, etag)
    assert [item["metadata"].get("name") for item in read(DOCUMENTS.aggregated(is_core=True)[0])["items"]] == [None]


def test_a_new_resource_changes_the_tag():
    widget = Resource("example.com", "v1", "Widget", "widgets", "widget", True, ("get",), storage="example.com/widgets")
    after = discovery.Documents(BUILT_IN.with_resources([widget]), "10.0.0.1:6443")
    assert after.aggregated(is_core=False)[1] != DOCUMENTS.aggregated(is_core=False)[1]
    assert read(after.resources("example.com", "v1"))["resources"][0]["name"] == "widgets"


@pytest.mark.parametrize(
    ("accept", "version"),
    [
        (f"{discovery.AGGREGATED},{discovery.AGGREGATED_BETA},application/json", "v2"),
        (f"{discovery.AGGREGATED_BETA},application/json", "v2beta1"),
        (f"application/json,{discovery.AGGREGATED}", ""),
        ("application/json", ""),
        ("*/*", ""),
        ("", ""),
    ],
)
def test_who_gets_all_in_one(accept, version):
    assert discovery.aggregated_version(accept) == version
