"""The verbs of stored resources, through the in-process transport."""

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest

from knarr.api import protobuf
from knarr.store.sqlite import SqliteBackend
from tests.apiserver.conftest import Api, decoded, open_api

Object = dict[str, Any]

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str, **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


def deployment(name: str) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels}, "template": template}}


async def test_create_fills_in_what_the_server_knows(api: Api) -> None:
    response = await api.call("POST", DEPLOYMENTS, {**deployment("web"), "status": {"replicas": 7}})
    assert response.status == 201
    made = decoded(response)
    metadata = made["metadata"]
    assert (made["kind"], made["apiVersion"]) == ("Deployment", "apps/v1")
    assert metadata["namespace"] == "default"
    assert metadata["generation"] == 1
    assert metadata["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert len(metadata["uid"]) == 36
    assert made["spec"]["replicas"] == 1
    assert made["status"] == {}
    owner = metadata["managedFields"][0]
    assert (owner["manager"], owner["operation"]) == ("tests", "Update")
    assert decoded(await api.call("GET", f"{DEPLOYMENTS}/web")) == made


async def test_names_are_generated(api: Api) -> None:
    made = await api.ok("POST", MAPS, {"metadata": {"generateName": "a-"}})
    assert made["metadata"]["name"].startswith("a-")
    assert len(made["metadata"]["name"]) == 7


async def test_a_second_create_is_refused(api: Api) -> None:
    await api.ok("POST", MAPS, config_map("a"))
    status = await api.fails(409, "POST", MAPS, config_map("a"))
    assert status["reason"] == "AlreadyExists"
    assert status["message"] == 'configmaps "a" already exists'


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"metadata": {}}, 422, 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'),
        ({"metadata": {"name": "a", "namespace": "b"}}, 400,
         "the namespace of the provided object does not match the namespace sent on the request"),
        ({"kind": "ConfigMap", "apiVersion": "v2", "metadata": {"name": "a"}}, 400,
         "the API version in the data (v2) does not match the expected API version (v1)"),
        ({"metadata": {"name": "a", "resourceVersion": "5"}}, 400, "resourceVersion should not be set on objects to be created"),
    ],
)  # fmt: skip
async def test_bad_objects_are_refused_in_upstreams_words(api: Api, body: Object, code: int, message: str) -> None:
    assert (await api.fails(code, "POST", MAPS, body))["message"] == message


async def test_unknown_fields_warn_or_fail(api: Api) -> None:
    body = {**config_map("a"), "nonsense": 1}
    status = await api.fails(400, "POST", f"{MAPS}?fieldValidation=Strict", body)
    assert 'strict decoding error: unknown field "nonsense"' in status["message"]
    response = await api.call("POST", MAPS, body)
    assert response.status == 201
    assert response.headers.get_all("warning") == ['299 - "unknown field \\"nonsense\\""']
    response = await api.call("POST", f"{MAPS}?fieldValidation=Ignore", {**config_map("b"), "nonsense": 1})
    assert (response.status, response.headers.get_all("warning")) == (201, [])


async def test_a_dry_run_stores_nothing(api: Api) -> None:
    await api.ok("POST", f"{MAPS}?dryRun=All", config_map("a"))
    await api.fails(404, "GET", f"{MAPS}/a")


async def test_yaml_goes_in_and_out(api: Api) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n"
    response = await api.call("POST", MAPS, body, content_type="application/yaml", accept="application/yaml")
    assert isinstance(response.body, bytes)
    assert response.body.startswith(b"apiVersion: v1\ndata:\n  k: v\n")


async def test_protobuf_goes_in_and_out(api: Api) -> None:
    kind = protobuf.MEDIA_TYPE
    body = protobuf.encode({"apiVersion": "v1", **config_map("a", k="v")})
    response = await api.call("POST", MAPS, body, content_type=kind, accept=kind)
    assert (response.status, response.headers.get("content-type")) == (201, kind)
    assert isinstance(response.body, bytes)
    assert protobuf.decode(response.body)["data"] == {"k": "v"}
    await api.fails(400, "POST", MAPS, b"nonsense", content_type=kind)
    await api.fails(400, "POST", MAPS, body[:-20], content_type=kind)
    response = await api.call("GET", f"{MAPS}?watch=1&timeoutSeconds=1&resourceVersion=0", accept=kind)
    assert response.headers.get("content-type") == "application/vnd.kubernetes.protobuf;stream=watch"
    assert isinstance(response.body, bytes)
    length = int.from_bytes(response.body[:4], "big")
    assert length + 4 == len(response.body)
    assert b"ADDED" in response.body[:16]
    options = protobuf.encode({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})
    assert (await api.ok("DELETE", f"{MAPS}/a", options, content_type=kind))["status"] == "Success"


@pytest.mark.parametrize(
    ("path", "api_version", "kind"),
    [
        ("/api", "", "APIVersions"),
        ("/apis", "v1", "APIGroupList"),
        ("/apis/apps", "v1", "APIGroup"),
        ("/api/v1", "", "APIResourceList"),
        ("/apis/apps/v1", "v1", "APIResourceList"),
        ("/api/v1/namespaces", "v1", "NamespaceList"),
        ("/apis/apps/v1/namespaces/default/deployments/missing", "v1", "Status"),
        ("/nowhere", "v1", "Status"),
    ],
)
async def test_protobuf_is_what_everything_can_be(api: Api, path: str, api_version: str, kind: str) -> None:
    response = await api.call("GET", path, accept=protobuf.MEDIA_TYPE)
    assert response.headers.get("content-type") == protobuf.MEDIA_TYPE
    assert isinstance(response.body, bytes)
    found = protobuf.decode(response.body)
    assert (found["apiVersion"], found["kind"]) == (api_version, kind)
    plain = decoded(await api.call("GET", path))
    assert set(plain) <= set(found)


async def test_what_has_no_kind_is_json_whatever_is_asked_for(api: Api) -> None:
    response = await api.call("GET", "/version", accept=protobuf.MEDIA_TYPE)
    assert (response.status, response.headers.get("content-type")) == (200, "application/json")


async def test_metadata_alone_comes_as_protobuf_too(api: Api) -> None:
    await api.ok("POST", MAPS, config_map("a", k="v"))
    accept = f"{protobuf.MEDIA_TYPE};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    response = await api.call("GET", MAPS, accept=accept)
    assert isinstance(response.body, bytes)
    found = protobuf.decode(response.body)
    assert found["kind"] == "PartialObjectMetadataList"
    assert [item["metadata"]["name"] for item in found["items"]] == ["a"]
    assert "data" not in found["items"][0]


async def test_update_needs_the_version_that_was_read(api: Api) -> None:
    first = await api.ok("POST", MAPS, config_map("a", k="1"))
    second = await api.ok("PUT", f"{MAPS}/a", {**first, "data": {"k": "2"}})
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    status = await api.fails(409, "PUT", f"{MAPS}/a", {**first, "data": {"k": "3"}})
    assert status["message"].endswith("please apply your changes to the latest version and try again")
    unconditional = await api.ok("PUT", f"{MAPS}/a", config_map("a", k="4"))
    assert unconditional["metadata"]["uid"] == first["metadata"]["uid"]


async def test_an_update_that_changes_nothing_writes_nothing(api: Api) -> None:
    first = await api.ok("POST", DEPLOYMENTS, deployment("web"))
    assert await api.ok("PUT", f"{DEPLOYMENTS}/web", first) == first
    assert await api.ok("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 1}}, content_type=MERGE) == first


async def test_spec_and_status_are_written_apart(api: Api) -> None:
    made = await api.ok("POST", DEPLOYMENTS, deployment("web"))
    made["status"], made["spec"]["replicas"] = {"replicas": 5}, 3
    status = await api.ok("PUT", f"{DEPLOYMENTS}/web/status", made)
    assert (status["status"]["replicas"], status["spec"]["replicas"], status["metadata"]["generation"]) == (5, 1, 1)
    made["metadata"]["resourceVersion"] = ""
    spec = await api.ok("PUT", f"{DEPLOYMENTS}/web", {**made, "status": {"replicas": 9}})
    assert (spec["status"]["replicas"], spec["spec"]["replicas"], spec["metadata"]["generation"]) == (5, 3, 2)


async def test_put_creates_where_the_kind_allows_it(api: Api) -> None:
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
    response = await api.call("PUT", "/apis/coordination.k8s.io/v1/namespaces/default/leases/l", lease)
    assert response.status == 201
    await api.fails(404, "PUT", f"{MAPS}/a", config_map("a"))


@pytest.mark.parametrize(
    ("content_type", "patch"),
    [
        (MERGE, {"data": {"b": "2", "a": None}}),
        (STRATEGIC, {"data": {"b": "2", "a": None}}),
        (JSON_PATCH, [{"op": "remove", "path": "/data/a"}, {"op": "add", "path": "/data/b", "value": "2"}]),
    ],
)
async def test_patches(api: Api, content_type: str, patch: Any) -> None:
    await api.ok("POST", MAPS, config_map("m", a="1"))
    changed = await api.ok("PATCH", f"{MAPS}/m", patch, content_type=content_type)
    assert changed["data"] == {"b": "2"}


async def test_a_strategic_patch_merges_containers_by_name(api: Api) -> None:
    await api.ok("POST", DEPLOYMENTS, deployment("web"))
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}}
    changed = await api.ok("PATCH", f"{DEPLOYMENTS}/web", patch, content_type=STRATEGIC)
    container = changed["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["imagePullPolicy"]) == ("i:2", "IfNotPresent")
    assert changed["metadata"]["generation"] == 2


async def test_bad_patches(api: Api) -> None:
    await api.ok("POST", MAPS, config_map("m", a="1"))
    await api.fails(415, "PATCH", f"{MAPS}/m", {}, content_type="application/json")
    await api.fails(400, "PATCH", f"{MAPS}/m", b"{", content_type=MERGE)
    await api.fails(400, "PATCH", f"{MAPS}/m", b"[]", content_type=MERGE)
    await api.fails(422, "PATCH", f"{MAPS}/m", [{"op": "remove", "path": "/data/x"}], content_type=JSON_PATCH)
    await api.fails(404, "PATCH", f"{MAPS}/none", {}, content_type=MERGE)
    status = await api.fails(422, "PATCH", f"{MAPS}/m", {"data": 5}, content_type=MERGE)
    assert "patch: Invalid value" in status["message"]
    assert "cannot unmarshal number" in status["message"]
    status = await api.fails(422, "PATCH", f"{MAPS}/m?fieldValidation=Strict", {"x": 5}, content_type=MERGE)
    assert 'strict decoding error: unknown field "x"' in status["message"]


async def test_patches_of_one_object_at_once_all_land(tmp_path: Path) -> None:
    async with open_api(backend=SqliteBackend(tmp_path / "state.db")) as api:  # whose commits take time
        made = await api.ok("POST", MAPS, config_map("m"))
        patches = [api.ok("PATCH", f"{MAPS}/m", {"data": {f"k{n}": "v"}}, content_type=MERGE) for n in range(20)]
        await asyncio.gather(*patches)
        assert len((await api.ok("GET", f"{MAPS}/m"))["data"]) == 20
        versioned = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}}
        await api.fails(409, "PATCH", f"{MAPS}/m", versioned, content_type=MERGE)


async def test_of_updates_of_one_version_at_once_one_lands(tmp_path: Path) -> None:
    async with open_api(backend=SqliteBackend(tmp_path / "state.db")) as api:
        made = await api.ok("POST", MAPS, config_map("m"))
        answers = await asyncio.gather(
            *(api.call("PUT", f"{MAPS}/m", {**made, "data": {"n": str(number)}}) for number in range(5))
        )
        assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]


async def test_patches_of_one_object_share_the_flushes_of_the_disk(tmp_path: Path) -> None:
    async with open_api(backend=SqliteBackend(tmp_path / "state.db")) as api:
        created = await api.ok("POST", MAPS, config_map("m"))
        version = created["metadata"]["resourceVersion"]
        stale = {"metadata": {"resourceVersion": version}, "data": {"late": "v"}}
        async with api.watch(f"{MAPS}?resourceVersion={version}") as events:
            patches = [api.ok("PATCH", f"{MAPS}/m", {"data": {f"k{n}": "v"}}, content_type=MERGE) for n in range(20)]
            same = api.ok("PATCH", f"{MAPS}/m", {"data": {"k19": "v"}}, content_type=MERGE)
            late = api.fails(409, "PATCH", f"{MAPS}/m", stale, content_type=MERGE)
            answers = await asyncio.gather(*patches, same, late)
            seen = [(await events.next())["object"] for _ in range(20)]
        assert [len(obj["data"]) for obj in seen] == list(range(1, 21))  # each change is an event of its own
        versions = [int(obj["metadata"]["resourceVersion"]) for obj in answers[:20]]
        assert versions == [int(obj["metadata"]["resourceVersion"]) for obj in seen]
        assert answers[20] == answers[19]  # what changed nothing is answered once what it saw is durable
        assert (await api.ok("GET", f"{MAPS}/m"))["data"].keys() == {f"k{n}" for n in range(20)}


async def test_apply_creates_merges_and_conflicts(api: Api) -> None:
    path = f"{MAPS}/m?fieldManager=one"
    response = await api.call("PATCH", path, config_map("m", a="1"), content_type=APPLY)
    assert response.status == 201
    status = await api.fails(409, "PATCH", f"{MAPS}/m?fieldManager=two", config_map("m", a="2"), content_type=APPLY)
    assert status["details"]["causes"][0]["field"] == ".data.a"
    taken = await api.ok(
        "PATCH", f"{MAPS}/m?fieldManager=two&force=true", config_map("m", a="2", b="3"), content_type=APPLY
    )
    assert taken["data"] == {"a": "2", "b": "3"}
    same = await api.ok("PATCH", f"{MAPS}/m?fieldManager=two", config_map("m", a="2", b="3"), content_type=APPLY)
    assert same == taken
    status = await api.fails(422, "PATCH", f"{MAPS}/m", config_map("m"), content_type=APPLY)
    assert "fieldManager: Required value: is required for apply patch" in status["message"]


async def test_delete_answers_with_a_status(api: Api) -> None:
    made = await api.ok("POST", MAPS, config_map("m"))
    status = await api.ok("DELETE", f"{MAPS}/m")
    assert status["status"] == "Success"
    assert status["details"] == {"name": "m", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    await api.fails(404, "DELETE", f"{MAPS}/m")


async def test_delete_preconditions(api: Api) -> None:
    made = await api.ok("POST", MAPS, config_map("m"))
    status = await api.fails(409, "DELETE", f"{MAPS}/m", {"preconditions": {"uid": "other"}})
    assert "the UID in the precondition (other) does not match the UID in record" in status["message"]
    await api.ok("DELETE", f"{MAPS}/m", {"preconditions": {"uid": made["metadata"]["uid"]}})


async def test_finalizers_hold_an_object_until_the_last_one_goes(api: Api) -> None:
    await api.ok("POST", MAPS, {"metadata": {"name": "m", "finalizers": ["example.com/x"]}})
    held = await api.ok("DELETE", f"{MAPS}/m")
    assert held["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:00Z"
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0
    async with api.watch(f"{MAPS}?resourceVersion={held['metadata']['resourceVersion']}") as events:
        await api.ok("PATCH", f"{MAPS}/m", {"metadata": {"finalizers": None}}, content_type=MERGE)
        assert (await events.next())["type"] == "DELETED"
    await api.fails(404, "GET", f"{MAPS}/m")


@pytest.mark.parametrize(
    ("policy", "finalizers"),
    [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"])],
)
async def test_propagation_policies_become_finalizers(api: Api, policy: str, finalizers: list[str]) -> None:
    await api.ok("POST", DEPLOYMENTS, deployment("web"))
    held = await api.ok("DELETE", f"{DEPLOYMENTS}/web", {"propagationPolicy": policy})
    assert held["metadata"]["finalizers"] == finalizers
    assert held["metadata"]["deletionTimestamp"]


async def test_bad_delete_options(api: Api) -> None:
    await api.ok("POST", MAPS, config_map("m"))
    status = await api.fails(422, "DELETE", f"{MAPS}/m?propagationPolicy=Never")
    assert 'propagationPolicy: Unsupported value: "Never"' in status["message"]
    await api.fails(400, "DELETE", f"{MAPS}/m?gracePeriodSeconds=x")
    await api.fails(400, "DELETE", f"{MAPS}/m", b"{")


async def test_a_running_pod_gets_its_grace_and_others_go_at_once(api: Api) -> None:
    await api.ok("POST", PODS, pod("waiting"))
    gone = await api.ok("DELETE", f"{PODS}/waiting")
    assert gone["kind"] == "Pod"
    await api.fails(404, "GET", f"{PODS}/waiting")
    await api.ok("POST", PODS, pod("running", nodeName="n"))
    ending = await api.ok("DELETE", f"{PODS}/running")
    assert ending["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:30Z"
    assert ending["metadata"]["deletionGracePeriodSeconds"] == 30
    shorter = await api.ok("DELETE", f"{PODS}/running?gracePeriodSeconds=5")
    assert shorter["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:05Z"
    longer = await api.ok("DELETE", f"{PODS}/running?gracePeriodSeconds=60")
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 5
    await api.ok("DELETE", f"{PODS}/running?gracePeriodSeconds=0")
    await api.fails(404, "GET", f"{PODS}/running")


async def test_deletecollection_heeds_selectors(api: Api) -> None:
    for name in ("a", "b"):
        await api.ok("POST", PODS, pod(name))
    deleted = await api.ok("DELETE", f"{PODS}?labelSelector=app%3Da")
    assert [item["metadata"]["name"] for item in deleted["items"]] == ["a"]
    assert [item["metadata"]["name"] for item in (await api.ok("GET", PODS))["items"]] == ["b"]


async def test_lists_select_and_page_consistently(api: Api) -> None:
    for name in "abcde":
        await api.ok(
            "POST", MAPS, {**config_map(name), "metadata": {"name": name, "labels": {"odd": str(name in "ace")}}}
        )
    first = await api.ok("GET", f"{MAPS}?limit=2")
    assert [item["metadata"]["name"] for item in first["items"]] == ["a", "b"]
    assert "kind" not in first["items"][0]
    assert first["metadata"]["remainingItemCount"] == 3
    await api.ok("DELETE", f"{MAPS}/d")
    second = await api.ok("GET", f"{MAPS}?limit=2&continue={first['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in second["items"]] == ["c", "d"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    odd = await api.ok("GET", f"{MAPS}?labelSelector=odd%3DTrue,odd")
    assert [item["metadata"]["name"] for item in odd["items"]] == ["a", "c", "e"]
    named = await api.ok("GET", f"{MAPS}?fieldSelector=metadata.name%3Db")
    assert [item["metadata"]["name"] for item in named["items"]] == ["b"]
    assert (await api.ok("GET", "/api/v1/configmaps"))["items"][0]["metadata"]["namespace"] == "default"


async def test_an_expired_continue_token_offers_an_inconsistent_one(api: Api) -> None:
    for name in "abc":
        await api.ok("POST", MAPS, config_map(name))
    token = (await api.ok("GET", f"{MAPS}?limit=1"))["metadata"]["continue"]
    await api.ok("POST", MAPS, config_map("d"))
    await api.server.parts.store.compact(api.server.parts.store.revision)
    status = await api.fails(410, "GET", f"{MAPS}?limit=1&continue={token}")
    assert status["reason"] == "Expired"
    exact = await api.fails(410, "GET", f"{MAPS}?resourceVersion=1&resourceVersionMatch=Exact")
    assert exact["message"] == "The resourceVersion for the provided list is too old."
    rest = await api.ok("GET", f"{MAPS}?continue={status['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["b", "c", "d"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=x", 400),
        ("limit=99999999999999999999", 400),
        ("labelSelector=a%3D%3D%3Db", 400),
        ("fieldSelector=spec.nope%3D1", 400),
        ("resourceVersion=abc", 400),
        ("resourceVersion=99999999", 504),
        ("continue=!!", 400),
        ("continue=e30", 400),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersionMatch=Never&resourceVersion=1", 422),
        ("timeout=nonsense", 400),
    ],
)
async def test_bad_list_options(api: Api, query: str, code: int) -> None:
    await api.fails(code, "GET", f"{MAPS}?{query}")


async def test_watch_from_a_revision_from_now_and_from_the_state(api: Api) -> None:
    made = await api.ok("POST", MAPS, config_map("a"))
    version = made["metadata"]["resourceVersion"]
    async with api.watch(f"{MAPS}?resourceVersion={version}") as later, api.watch(MAPS) as state:
        assert (await state.next())["object"]["metadata"]["name"] == "a"
        await api.ok("POST", MAPS, config_map("b"))
        event = await later.next()
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "b")
        assert (await state.next())["object"]["metadata"]["name"] == "b"
        await api.ok("DELETE", f"{MAPS}/b")
        assert (await later.next())["type"] == "DELETED"


async def test_a_streaming_list_ends_with_a_bookmark(api: Api) -> None:
    await api.ok("POST", MAPS, config_map("a"))
    options = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with api.watch(f"{MAPS}?{options}") as events:
        assert (await events.next())["type"] == "ADDED"
        bookmark = await events.next()
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert bookmark["object"]["kind"] == "ConfigMap"
    await api.fails(422, "GET", f"{MAPS}?watch=1&sendInitialEvents=true")


async def test_a_watch_from_too_long_ago_is_told_so(api: Api) -> None:
    await api.ok("POST", MAPS, config_map("a"))
    await api.server.parts.store.compact(api.server.parts.store.revision)
    async with api.watch(f"{MAPS}?resourceVersion=2") as events:
        event = await events.next()
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


async def test_a_watch_ends_when_its_time_is_over(api: Api) -> None:
    response = await api.call("GET", f"{MAPS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion=0")
    assert isinstance(response.body, bytes)
    assert b'"BOOKMARK"' in response.body


async def test_a_selector_turns_changes_into_comings_and_goings(api: Api) -> None:
    await api.ok("POST", MAPS, config_map("a"))
    async with api.watch(f"{MAPS}?labelSelector=x%3Dy&resourceVersion=0") as events:
        await api.ok("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"x": "y"}}}, content_type=MERGE)
        assert (await events.next())["type"] == "ADDED"
        await api.ok("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"x": "z"}}}, content_type=MERGE)
        assert (await events.next())["type"] == "DELETED"


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


async def test_tables_and_metadata(api: Api) -> None:
    await api.ok("POST", MAPS, config_map("a", k="v"))
    table = await api.ok("GET", MAPS, accept=TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert table["rows"][0]["cells"][:2] == ["a", 1]
    one = await api.ok("GET", f"{MAPS}/a", accept=PARTIAL)
    assert (one["kind"], one["metadata"]["name"]) == ("PartialObjectMetadata", "a")
    assert "data" not in one
    many = await api.ok("GET", MAPS, accept=PARTIAL.replace("Metadata", "MetadataList"))
    assert many["kind"] == "PartialObjectMetadataList"
    await api.fails(406, "GET", MAPS, accept="text/html")


async def test_large_answers_are_compressed_for_those_who_take_it(api: Api) -> None:
    await api.ok("POST", MAPS, config_map("a", k="v" * 200_000))
    response = await api.call("GET", f"{MAPS}/a", accept_encoding="gzip")
    assert response.headers.get("content-encoding") == "gzip"
    assert isinstance(response.body, bytes)
    assert len(gzip.decompress(response.body)) > 200_000
    assert (await api.call("GET", f"{MAPS}/a")).headers.get("content-encoding") is None


async def test_two_versions_of_one_kind(api: Api) -> None:
    events = "/apis/events.k8s.io/v1/namespaces/default/events"
    body = {
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Started",
        "message": "hello",
        "type": "Normal",
    }
    await api.ok("POST", "/api/v1/namespaces/default/events", body)
    new = await api.ok("GET", f"{events}/e")
    assert (new["apiVersion"], new["note"], new["regarding"]["name"]) == ("events.k8s.io/v1", "hello", "p")
    found = await api.ok("GET", f"{events}?fieldSelector=regarding.name%3Dp")
    assert len(found["items"]) == 1
