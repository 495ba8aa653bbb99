"""Definitions from their creation to the end of their objects."""

from copy import deepcopy

from tests.apiserver.conftest import Api
from tests.apiserver.customresources.conftest import (
    CRD,
    CRDS,
    FOOS,
    MERGE,
    SCHEMA,
    VERSION,
    conditions,
    crd,
    define,
    foo,
    settle,
)


async def test_established_and_served_at_once(api: Api) -> None:
    await api.fails(404, "GET", FOOS)
    made = await define(api)
    assert conditions(made) == {"NamesAccepted": "True NoConflicts", "Established": "True InitialNamesAccepted"}
    assert made["status"]["acceptedNames"]["listKind"] == "FooList"
    assert made["status"]["storedVersions"] == ["v1"]
    listed = await api.ok("GET", FOOS)
    assert (listed["kind"], listed["items"]) == ("FooList", [])


async def test_discovery_and_openapi(api: Api) -> None:
    await define(api)
    resources = {one["name"]: one for one in (await api.ok("GET", "/apis/example.com/v1"))["resources"]}
    assert set(resources) == {"foos", "foos/status", "foos/scale"}
    assert resources["foos"]["singularName"] == "foo"
    assert (resources["foos"]["shortNames"], resources["foos"]["categories"]) == (["fo"], ["all"])
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    groups = [one["metadata"].get("name") for one in (await api.ok("GET", "/apis", accept=accept))["items"]]
    assert groups[-1] == "example.com"
    paths = (await api.ok("GET", "/openapi/v3"))["paths"]
    assert "apis/example.com/v1" in paths
    document = await api.ok("GET", "/openapi/v3/apis/example.com/v1")
    spec = document["components"]["schemas"]["com.example.v1.Foo"]["properties"]["spec"]
    assert spec["properties"]["size"]["description"] == "How large it is."
    patch = document["paths"]["/apis/example.com/v1/namespaces/{namespace}/foos/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
    assert "com.example.v1.FooList" in (await api.ok("GET", "/openapi/v2"))["definitions"]


async def test_a_changed_schema_counts_from_then_on(api: Api) -> None:
    await define(api)
    await api.ok("POST", FOOS, foo("old", color="blue"))
    changed = deepcopy(SCHEMA)
    del changed["properties"]["spec"]["properties"]["color"]
    changed["properties"]["spec"]["properties"]["shape"] = {"type": "string", "default": "round"}
    version = {**VERSION, "schema": {"openAPIV3Schema": changed}, "selectableFields": []}
    await api.ok("PATCH", f"{CRDS}/foos.example.com", {"spec": {"versions": [version]}}, content_type=MERGE)
    assert (await api.ok("GET", f"{FOOS}/old"))["spec"] == {"size": 2, "shape": "round"}
    assert (await api.ok("GET", FOOS))["items"][0]["spec"] == {"size": 2, "shape": "round"}
    assert (await api.ok("POST", FOOS, foo("new", color="blue")))["spec"] == {"size": 2, "shape": "round"}


async def test_names_that_are_taken(api: Api) -> None:
    await define(api)
    other = crd(names={"plural": "bars", "kind": "Foo", "listKind": "BarList", "singular": "foo"})
    other["metadata"]["name"] = "bars.example.com"
    made = await define(api, other)
    assert conditions(made) == {"NamesAccepted": "False KindConflict", "Established": "False NotAccepted"}
    await api.fails(404, "GET", "/apis/example.com/v1/bars")
    await api.ok("DELETE", f"{CRDS}/foos.example.com")
    await settle()
    made = await api.ok("GET", f"{CRDS}/bars.example.com")
    assert conditions(made) == {"NamesAccepted": "True NoConflicts", "Established": "True InitialNamesAccepted"}


async def test_a_deletion_takes_the_objects_along(api: Api) -> None:
    await define(api)
    await api.ok("POST", FOOS, foo("free"))
    held = foo("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await api.ok("POST", FOOS, held)
    gone = await api.ok("DELETE", f"{CRDS}/foos.example.com")
    assert gone["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    await settle()
    left = await api.ok("GET", f"{CRDS}/foos.example.com")
    assert conditions(left)["Terminating"] == "True InstanceDeletionInProgress"
    items = (await api.ok("GET", FOOS))["items"]
    assert [(one["metadata"]["name"], "deletionTimestamp" in one["metadata"]) for one in items] == [("held", True)]
    status = await api.fails(405, "POST", FOOS, foo("late"))
    assert status["message"] == "create not allowed while custom resource definition is terminating"
    await api.ok("PATCH", f"{FOOS}/held", {"metadata": {"finalizers": None}}, content_type=MERGE)
    await settle()
    await api.fails(404, "GET", f"{CRDS}/foos.example.com")
    await api.fails(404, "GET", FOOS)
    await define(api)
    assert (await api.ok("GET", FOOS))["items"] == []


async def test_deprecated_versions_warn(api: Api) -> None:
    await define(api, crd(versions=[{**VERSION, "deprecated": True}]))
    response = await api.call("GET", FOOS)
    assert response.headers.get("warning") == '299 - "example.com/v1 Foo is deprecated"'


async def test_what_may_not_change(api: Api) -> None:
    await define(api)
    status = await api.fails(
        422, "PATCH", f"{CRDS}/foos.example.com", {"spec": {"scope": "Cluster"}}, content_type=MERGE
    )
    assert 'spec.scope: Invalid value: "Cluster": field is immutable' in status["message"]


async def test_dry_run_defines_nothing(api: Api) -> None:
    await api.ok("POST", f"{CRDS}?dryRun=All", CRD)
    await settle()
    await api.fails(404, "GET", FOOS)
