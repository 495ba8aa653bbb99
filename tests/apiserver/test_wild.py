"""Requests that no client should send: each is answered as upstream answers it, with a Status that says what is wrong."""

import json
from typing import Any

from tests.apiserver.conftest import Api, decoded
from tests.apiserver.test_verbs import PODS, pod

MAPS = "/api/v1/namespaces/default/configmaps"
JSON, MERGE, STRATEGIC, APPLY = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
UNRECOGNIZED = "the object provided is unrecognized (must be of type ConfigMap)"
CANNOT = 'ConfigMap in version "v1" cannot be handled as a ConfigMap'
UNFIT = "the server rejected our request due to an error in our request"
NOT_HERE = "the server could not find the requested resource"
NOT_SO = "the server does not allow this method on the requested resource"


BODIES = [
    (b"[]", 400, UNRECOGNIZED),
    (b'"x"', 400, UNRECOGNIZED),
    (b"5", 400, UNRECOGNIZED),
    (b'{"metadata":{"name":"x"', 400, "unexpected end of JSON input"),
    (b'{"metadata":{"name":"x"},"data":{"a":NaN}}', 400, "invalid character 'N'"),
    (b'{"metadata":{"name":"x"}} x', 400, "invalid character 'x' after top-level value"),
    (b'{"metadata":{"name":"x"}}{"a":1}', 400, "invalid character '{' after top-level value"),
    (b'\xef\xbb\xbf{"metadata":{"name":"x"}}', 400, UNRECOGNIZED),
    (b"[" * 20000 + b"]" * 20000, 400, "exceeded max depth"),
    (b'{"a":' * 20000 + b"1" + b"}" * 20000, 400, "exceeded max depth"),
    (b'{"kind":5,"metadata":{"name":"x"}}', 400, "cannot unmarshal number into Go struct field .kind of type string"),
    (b'{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x"}}', 400, 'Secret in version "v1" cannot be handled'),
    (b'{"kind":"ConfigMap","apiVersion":"v2","metadata":{"name":"x"}}', 400, "does not match the expected API version"),
    (b'{"metadata":"x"}', 400, CANNOT),
    (b'{"metadata":{"name":"x","generation":99999999999999999999999}}', 400, "of type int64"),
    (b'{"metadata":{"name":"x","generation":1.5}}', 400, "of type int64"),
    (b'{"metadata":{"name":"x","labels":{"a":1}}}', 400, "of type string"),
    (b'{"metadata":{"name":"x","creationTimestamp":"yesterday"}}', 400, 'parsing time "yesterday"'),
    (b'{"metadata":{"name":"x","namespace":"other"}}', 400, "does not match the namespace sent on the request"),
    (b'{"metadata":{"name":"x","resourceVersion":"5"}}', 400, "resourceVersion should not be set"),
    (b"null", 422, "name or generateName is required"),
    (b'{"metadata":{"name":"x\xff"}}', 422, "metadata.name: Invalid value"),
    (b'{"metadata":{"name":"a\\u0000b"}}', 422, "metadata.name: Invalid value"),
    (b'{"metadata":{"name":"x","ownerReferences":[{}]}}', 422, "metadata.ownerReferences"),
]


async def test_bodies(api: Api) -> None:
    for body, code, words in BODIES:
        assert words in (await api.fails(code, "POST", MAPS, body))["message"]


NO_UNICODE = [b"\\ud800", b"\xff\xfe", b"\\udfff\\ud800", "\u2028\U0001f600".encode()]


async def test_text_that_is_no_unicode_is_replaced(api: Api) -> None:
    for text in NO_UNICODE:
        made = await api.ok("POST", MAPS, b'{"metadata":{"name":"x"},"data":{"a":"' + text + b'"}}')
        assert made["data"]["a"].encode()
        assert await api.ok("GET", f"{MAPS}/x") == made
        await api.ok("DELETE", f"{MAPS}/x")


CONTENT_TYPES = [
    ("text/plain", b"{}", 415, "the body of the request was in an unknown format"),
    ("multipart/form-data; boundary=x", b"{}", 415, "accepted media types include: application/json"),
    ("*/*", b"{}", 415, "unknown format"),
    ("application/yaml", b"\tfoo: bar", 400, "error converting YAML to JSON"),
    ("application/yaml", b"a: &a [*a]", 400, "error converting YAML to JSON"),
    ("application/vnd.kubernetes.protobuf", b"{}", 400, "expected prefix [107 56 115 0]"),
    ("application/vnd.kubernetes.protobuf", b"k8s\0\xff\xff\xff", 400, UNRECOGNIZED),
]


async def test_content_types(api: Api) -> None:
    for content_type, body, code, words in CONTENT_TYPES:
        assert words in (await api.fails(code, "POST", MAPS, body, content_type=content_type))["message"]


UNMAKEABLE = ["text/html", "garbage", "application/json;as=Table", "application/json;as=Foo;v=v1;g=meta.k8s.io"]


async def test_what_cannot_be_made_is_not_acceptable(api: Api) -> None:
    for accept in UNMAKEABLE:
        status = await api.fails(406, "GET", MAPS, accept=accept)
        assert status["message"].startswith("only the following media types are accepted: application/json")


QUERIES_OF_LISTS = [
    ("limit=abc", 400, 'strconv.ParseInt: parsing "abc": invalid syntax'),
    ("limit=99999999999999999999", 400, "value out of range"),
    ("continue=garbage", 400, "continue key is not valid"),
    ("resourceVersion=abc", 400, "invalid resource version"),
    ("resourceVersion=999999999", 504, "Too large resource version: 999999999"),
    (
        "resourceVersion=0&resourceVersionMatch=Exact",
        422,
        'resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
    ),
    ("resourceVersionMatch=Exact", 422, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
    ("sendInitialEvents=true", 422, "sendInitialEvents is forbidden for list"),
    ("watch=1&sendInitialEvents=true", 422, "requires setting resourceVersionMatch to NotOlderThan"),
    ("labelSelector=a%20in", 400, "unable to parse requirement"),
    ("fieldSelector=foo=bar", 400, '"foo" is not a known field selector'),
    ("fieldSelector=metadata.name", 400, "invalid selector: 'metadata.name'"),
    ("timeout=5", 400, 'invalid timeout specified in the request URL - time: missing unit in duration "5"'),
]


async def test_queries_of_lists(api: Api) -> None:
    for query, code, words in QUERIES_OF_LISTS:
        assert words in (await api.fails(code, "GET", f"{MAPS}?{query}"))["message"]


HARMLESS_QUERIES = [
    "limit=-1",
    "limit=",
    "timeoutSeconds=99999999999",
    "timeout=-1s",
    "timeout=0",
    "pretty=maybe",
    "a;b",
    "%zz=1",
    "&&=",
]


async def test_queries_that_upstream_bears(api: Api) -> None:
    for query in HARMLESS_QUERIES:
        assert (await api.ok("GET", f"{MAPS}?{query}"))["kind"] == "ConfigMapList"


QUERIES_OF_WRITES = [
    ("dryRun=Foo", 'dryRun: Unsupported value: ["Foo"]'),
    ("dryRun=All&dryRun=Foo", 'dryRun: Unsupported value: ["All","Foo"]'),
    (f"fieldManager={'x' * 200}", "fieldManager: Too long: may not be more than 128 bytes"),
    ("fieldManager=a%00", "should only contain printable characters"),
    ("fieldValidation=strict", 'fieldValidation: Unsupported value: "strict"'),
]


async def test_queries_of_writes(api: Api) -> None:
    for query, words in QUERIES_OF_WRITES:
        status = await api.fails(422, "POST", f"{MAPS}?{query}", {"metadata": {"name": "x"}})
        assert words in status["message"]
        assert status["details"]["kind"] == "CreateOptions"


DELETE_OPTIONS = [
    ("gracePeriodSeconds=abc", None, 400, "strconv.ParseInt"),
    ("propagationPolicy=Foo", None, 422, 'propagationPolicy: Unsupported value: "Foo"'),
    ("orphanDependents=true&propagationPolicy=Orphan", None, 422, "cannot be both set"),
    ("", {"dryRun": ["Foo"]}, 422, "dryRun: Unsupported value"),
    ("", {"kind": "Foo"}, 400, "cannot be handled as a DeleteOptions"),
    ("", [], 400, "the object provided is unrecognized (must be of type DeleteOptions)"),
    ("", {"gracePeriodSeconds": "5"}, 400, "cannot unmarshal string into Go struct field"),
    ("", {"preconditions": {"uid": "x"}}, 409, "the UID in the precondition (x) does not match the UID in record"),
    (
        "",
        {"preconditions": {"resourceVersion": "x"}},
        409,
        "the ResourceVersion in the precondition (x) does not match the ResourceVersion in record",
    ),
]


async def test_delete_options(api: Api) -> None:
    await api.ok("POST", MAPS, {"metadata": {"name": "a"}})
    for query, body, code, words in DELETE_OPTIONS:
        assert words in (await api.fails(code, "DELETE", f"{MAPS}/a?{query}", body))["message"]
        await api.ok("GET", f"{MAPS}/a")


PATHS_AND_METHODS = [
    ("GET", f"{MAPS}/a%2Fb", 404, NOT_HERE),
    ("GET", "/api/v1/namespaces/default/../default/configmaps/a", 404, NOT_HERE),
    ("GET", f"{MAPS}/a/b", 404, NOT_HERE),
    ("GET", f"{MAPS}/a/status", 404, NOT_HERE),
    ("GET", "/api/v1/configmaps/a", 404, NOT_HERE),
    ("GET", "/api/v1/foos", 404, NOT_HERE),
    ("GET", "/apis/nope/v1/foos", 404, NOT_HERE),
    ("GET", f"{MAPS}/..", 404, 'configmaps ".." not found'),
    ("GET", f"{MAPS}/a%00b", 404, 'configmaps "a\0b" not found'),
    ("GET", f"{MAPS}/%E2%82%AC", 404, 'configmaps "\u20ac" not found'),
    ("GET", f"{MAPS}/%zz", 400, "invalid URL escape"),
    ("POST", f"{MAPS}/a", 405, NOT_SO),
    ("PUT", MAPS, 405, NOT_SO),
    ("PATCH", MAPS, 405, NOT_SO),
    ("POST", "/api/v1/configmaps", 405, NOT_SO),
    ("DELETE", "/api/v1/namespaces", 405, NOT_SO),
    ("FOO", MAPS, 405, NOT_SO),
    ("TRACE", MAPS, 405, NOT_SO),
    ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 405, NOT_SO),
    ("POST", "/version", 405, NOT_SO),
]


async def test_paths_and_methods(api: Api) -> None:
    for method, path, code, words in PATHS_AND_METHODS:
        body = {} if method in ("POST", "PUT", "PATCH") else None
        assert (
            words
            in (
                await api.fails(
                    code, method, path, body, content_type=MERGE if method == "PATCH" else "application/json"
                )
            )["message"]
        )


MISNAMED = [
    ({"metadata": {}}, "the name of the object (a based on URL) was undeterminable: name must be provided"),
    ({"metadata": {"name": "b"}}, "the name of the object (b) does not match the name on the URL (a)"),
    ({"metadata": {"name": "a", "namespace": "x"}}, "does not match the namespace sent on the request"),
]


async def test_updates_name_what_they_are_of(api: Api) -> None:
    await api.ok("POST", MAPS, {"metadata": {"name": "a"}})
    for body, words in MISNAMED:
        assert words in (await api.fails(400, "PUT", f"{MAPS}/a", body))["message"]


PATCHES = [
    (JSON, {}, 400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
    (JSON, b"garbage", 400, "error decoding patch"),
    (JSON, [5], 400, "cannot unmarshal number"),
    (JSON, [{}], 422, UNFIT),
    (JSON, [{"op": "foo", "path": "/a"}], 422, UNFIT),
    (JSON, [{"op": "add", "path": "a", "value": 1}], 422, UNFIT),
    (JSON, [{"op": "test", "path": "/data/k", "value": "w"}], 422, UNFIT),
    (JSON, [{"op": "remove", "path": "/data/none"}], 422, UNFIT),
    (JSON, [{"op": "copy", "path": "/x", "from": 5}], 422, UNFIT),
    (JSON, [{"op": "add", "path": "/data", "value": []}], 422, "patch: Invalid value"),
    (JSON, [{"op": "replace", "path": "/metadata/name", "value": "b"}], 400, "does not match the name on the URL"),
    (JSON, [{"op": "add", "path": "/data/z", "value": ""}] * 10001, 413, "maximum operations in a JSON patch is 10000"),
    (MERGE, [], 400, "error decoding patch"),
    (MERGE, b"null", 400, "error decoding patch"),
    (MERGE, {"metadata": None}, 400, "was undeterminable"),
    (
        MERGE,
        {"metadata": {"namespace": "x"}},
        400,
        "the namespace of the object (x) does not match the namespace on the request",
    ),
    (MERGE, {"metadata": {"uid": "x"}}, 409, "Precondition failed: UID in precondition: x"),
    (MERGE, {"metadata": {"resourceVersion": "1"}}, 409, "the object has been modified"),
    (MERGE, {"data": {"a": {}}}, 422, "cannot unmarshal object into Go struct field ConfigMap.data of type string"),
    (STRATEGIC, {"$patch": "foo"}, 400, "Unknown patch type found: foo"),
    (STRATEGIC, {"$retainKeys": 5}, 400, "invalid patch format of retainKeys"),
    (STRATEGIC, {"metadata": {"$setElementOrder/finalizers": 5}}, 400, "invalid patch format of setElementOrder list"),
    (
        STRATEGIC,
        {"metadata": {"$deleteFromPrimitiveList/finalizers": {}}},
        400,
        "invalid patch format of primitive list",
    ),
    (STRATEGIC, {"metadata": {"finalizers": [{}]}}, 422, "patch: Invalid value"),
    (APPLY, b"\xff", 400, "error converting YAML to JSON"),
    (APPLY, b"a: b: c", 400, "error converting YAML to JSON"),
    (APPLY, {}, 400, "does not match the expected kind ConfigMap"),
    (
        APPLY,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}},
        400,
        "does not match the name on the URL",
    ),
    (
        APPLY,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"managedFields": [{}]}},
        400,
        "metadata.managedFields must be nil",
    ),
    (APPLY, {"apiVersion": "v1", "kind": "ConfigMap", "data": 5}, 400, ".data: expected map, got 5"),
    (APPLY, {"apiVersion": "v1", "kind": "ConfigMap", "foo": 5}, 400, ".foo: field not declared in schema"),
    ("application/json", {}, 415, "accepted media types include: application/json-patch+json"),
    ("", b"{}", 415, "accepted media types include: application/json-patch+json"),
]


async def test_patches(api: Api) -> None:
    made = await api.ok("POST", MAPS, {"metadata": {"name": "a"}, "data": {"k": "v"}})
    for content_type, body, code, words in PATCHES:
        query = "?fieldManager=m" if content_type == APPLY else ""
        status = await api.fails(code, "PATCH", f"{MAPS}/a{query}", body, content_type=content_type)
        assert words in status["message"]
        assert await api.ok("GET", f"{MAPS}/a") == made


UPGRADES = ["", "h2c", "websocket"]


async def test_streams_need_an_upgrade_that_is_known(api: Api) -> None:
    await api.ok("POST", PODS, pod("p"))
    for upgrade in UPGRADES:
        headers = {"connection": "Upgrade", "upgrade": upgrade} if upgrade else {}
        for verb in ("exec?command=a", "attach", "portforward"):
            response = await api.call("GET", f"{PODS}/p/{verb}", **headers)
            assert (response.status, decoded(response)["reason"]) == (400, "BadRequest")


OTHER_VALUES = [None, 5, 1.5, True, "x", [], [None], {}, {"": None}]


async def test_wrong_types_at_each_depth(api: Api) -> None:
    for value in OTHER_VALUES:
        for path in PLACES:
            body = json.loads(json.dumps(POD))
            holder: Any = body
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = value
            response = await api.call("POST", PODS, body)
            assert response.status in (201, 400, 409, 422), (path, response.body)
            assert decoded(response)["kind"] in ("Pod", "Status")


POD: dict[str, Any] = {
    "metadata": {"name": "p", "labels": {"a": "b"}, "finalizers": [], "ownerReferences": [], "managedFields": []},
    "spec": {
        "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1"}}, "env": []}],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "affinity": {"nodeAffinity": {}},
        "tolerations": [{"key": "a"}],
        "securityContext": {"sysctls": []},
    },
    "status": {"conditions": []},
}  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if path else []), *(found for key, one in inner for found in _places(one, (*path, key)))]


PLACES = _places(POD)
