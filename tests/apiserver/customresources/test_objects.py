"""Custom objects through every verb."""

from tests.apiserver.conftest import Api
from tests.apiserver.customresources.conftest import APPLY, FOOS, MERGE, VERSION, crd, define, foo

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


async def test_defaults_and_pruning(api: Api) -> None:
    await define(api)
    made = await api.ok("POST", FOOS, {**foo("a", odd=1), "status": {"x": 1}})
    assert made["spec"] == {"size": 2, "color": "red"}
    assert "status" not in made
    assert made["metadata"]["generation"] == 1


async def test_field_validation(api: Api) -> None:
    await define(api)
    bad = foo("a", odd=1)
    bad["metadata"]["odd"] = 1
    status = await api.fails(400, "POST", f"{FOOS}?fieldValidation=Strict", bad)
    assert status["message"] == (
        'Foo in version "v1" cannot be handled as a Foo: strict decoding error: unknown field "metadata.odd", unknown field "spec.odd"'
    )
    warned = await api.call("POST", f"{FOOS}?fieldValidation=Warn", bad)
    assert warned.headers.get_all("warning") == [
        '299 - "unknown field \\"metadata.odd\\""',
        '299 - "unknown field \\"spec.odd\\""',
    ]


async def test_schema_and_rules(api: Api) -> None:
    await define(api)
    status = await api.fails(422, "POST", FOOS, foo("a", size=0, replicas="x"))
    assert [(one["field"], one["reason"]) for one in status["details"]["causes"]] == [
        ("spec.size", "FieldValueInvalid"),
        ("spec.replicas", "FieldValueTypeInvalid"),
        ("<nil>", "FieldValueInvalid"),  # rules are not checked
    ]
    await api.ok("POST", FOOS, foo("a"))
    status = await api.fails(422, "PATCH", f"{FOOS}/a", {"spec": {"size": 1}}, content_type=MERGE)
    assert status["message"] == 'Foo.example.com "a" is invalid: spec: Invalid value: "object": size only grows'


async def test_generations_and_status(api: Api) -> None:
    await define(api)
    await api.ok("POST", FOOS, foo("a"))
    labeled = await api.ok("PATCH", f"{FOOS}/a", {"metadata": {"labels": {"x": "y"}}}, content_type=MERGE)
    assert labeled["metadata"]["generation"] == 1
    grown = await api.ok("PATCH", f"{FOOS}/a", {"spec": {"size": 3}, "status": {"x": 1}}, content_type=MERGE)
    assert (grown["metadata"]["generation"], grown.get("status")) == (2, None)
    body = {"metadata": {"labels": None}, "spec": {"size": 9}, "status": {"x": 1}}
    told = await api.ok("PATCH", f"{FOOS}/a/status", body, content_type=MERGE)
    assert (told["status"], told["spec"]["size"], told["metadata"]["generation"]) == ({"x": 1}, 3, 2)
    assert told["metadata"]["labels"] == {"x": "y"}
    assert [one.get("subresource", "") for one in told["metadata"]["managedFields"]] == ["", "status"]


async def test_generation_counts_everything_without_a_status_subresource(api: Api) -> None:
    await define(api, crd(versions=[{**VERSION, "subresources": {}}]))
    made = await api.ok("POST", FOOS, {**foo("a"), "status": {"x": 1}})
    assert made["status"] == {"x": 1}
    told = await api.ok("PATCH", f"{FOOS}/a", {"status": {"x": 2}}, content_type=MERGE)
    assert told["metadata"]["generation"] == 2
    await api.fails(404, "GET", f"{FOOS}/a/status")


async def test_scale(api: Api) -> None:
    await define(api)
    await api.ok("POST", FOOS, foo("a", replicas=2))
    await api.ok("PATCH", f"{FOOS}/a/status", {"status": {"replicas": 1, "selector": "a=b"}}, content_type=MERGE)
    scale = await api.ok("GET", f"{FOOS}/a/scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "a=b"})
    scale["spec"]["replicas"] = 5
    assert (await api.ok("PUT", f"{FOOS}/a/scale", scale))["spec"] == {"replicas": 5}
    found = await api.ok("GET", f"{FOOS}/a")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (5, 2)


async def test_tables(api: Api) -> None:
    await define(api)
    await api.ok("POST", FOOS, foo("a"))
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    await api.ok("PATCH", f"{FOOS}/a/status", status, content_type=MERGE)
    table = await api.ok("GET", FOOS, accept=TABLE)
    assert [(one["name"], one["type"], one["priority"]) for one in table["columnDefinitions"]] == [
        ("Name", "string", 0),
        ("Size", "integer", 0),
        ("Ready", "string", 1),
        ("Since", "date", 0),
    ]
    assert table["rows"][0]["cells"] == ["a", 2, "True", "0s"]


async def test_selectors_follow_the_definition(api: Api) -> None:
    plain = {key: value for key, value in VERSION.items() if key != "selectableFields"}
    await define(api, crd(versions=[plain]))
    await api.ok("POST", FOOS, foo("a"))
    await api.ok("POST", FOOS, foo("b", color="blue"))
    await api.fails(400, "GET", f"{FOOS}?fieldSelector=spec.color%3Dblue")
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/foos.example.com"
    await api.ok("PATCH", crds, {"spec": {"versions": [VERSION]}}, content_type=MERGE)
    found = await api.ok("GET", f"{FOOS}?fieldSelector=spec.color%3Dblue")
    assert [one["metadata"]["name"] for one in found["items"]] == ["b"]


async def test_apply_merges_lists_by_their_keys(api: Api) -> None:
    await define(api)
    for manager, port in (("one", "a"), ("two", "b")):
        body = foo("x", ports=[{"name": port, "port": 1}])
        applied = await api.ok("PATCH", f"{FOOS}/x?fieldManager={manager}", body, content_type=APPLY)
    assert [one["name"] for one in applied["spec"]["ports"]] == ["a", "b"]
    body = foo("x", size=3)
    status = await api.fails(409, "PATCH", f"{FOOS}/x?fieldManager=three", body, content_type=APPLY)
    assert status["details"]["causes"][0]["field"] == ".spec.size"
    unknown = await api.fails(400, "PATCH", f"{FOOS}/x?fieldManager=one", foo("x", odd=1), content_type=APPLY)
    assert ".spec.odd: field not declared in schema" in unknown["message"]


async def test_no_strategic_merge(api: Api) -> None:
    await define(api)
    await api.ok("POST", FOOS, foo("a"))
    strategic = "application/strategic-merge-patch+json"
    await api.fails(415, "PATCH", f"{FOOS}/a", {"spec": {"size": 3}}, content_type=strategic)


async def test_watch_and_delete(api: Api) -> None:
    await define(api)
    async with api.watch(FOOS) as events:
        await api.ok("POST", FOOS, foo("a"))
        added = await events.next()
        assert (added["type"], added["object"]["spec"]["color"]) == ("ADDED", "red")
        await api.ok("DELETE", FOOS)
        assert (await events.next())["type"] == "DELETED"
    assert (await api.ok("GET", FOOS))["items"] == []
