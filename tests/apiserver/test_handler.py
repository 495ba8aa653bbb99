"""What happens to every request: limits, errors, and input that makes no sense."""

import string
from random import Random

import pytest

from knarr.kit.http.messages import Headers, Request
from tests.apiserver.conftest import Api

SERVED = [
    "/",
    "/healthz",
    "/livez",
    "/readyz",
    "/readyz/ping",
    "/version",
    "/metrics",
    "/openid/v1/jwks",
    "/.well-known/openid-configuration",
    "/api",
    "/apis",
    "/apis/apps",
    "/apis/apps/v1",
    "/api/v1",
]


@pytest.mark.parametrize("path", SERVED)
async def test_paths_that_are_no_resources(api: Api, path: str) -> None:
    assert (await api.call("GET", path)).status == 200


@pytest.mark.parametrize("path", ["/nope", "/api/v2", "/apis/nope", "/apis/apps/v9/deployments", "/api/v1/nope", "/readyz/nope",
                                  "/api/apps/v1/deployments", "/api/v1/deployments"])  # fmt: skip
async def test_nothing_is_served_there(api: Api, path: str) -> None:
    status = await api.fails(404, "GET", path)
    assert status["message"] == "the server could not find the requested resource"


async def test_health_in_detail(api: Api) -> None:
    response = await api.call("GET", "/readyz?verbose&exclude=ping&exclude=nope")
    assert isinstance(response.body, bytes)
    lines = response.body.decode().splitlines()
    assert lines[0] == "[+]ping excluded: ok"
    assert lines[-2:] == ['warn: some health checks cannot be excluded: no matches for "nope"', "readyz check passed"]


async def test_requests_are_counted(api: Api) -> None:
    await api.ok("GET", "/api/v1/namespaces/default")
    response = await api.call("GET", "/metrics")
    assert isinstance(response.body, bytes)
    text = response.body.decode()
    line = next(
        x for x in text.splitlines() if x.startswith("apiserver_request_total{") and 'resource="namespaces"' in x
    )
    for label in ('code="200"', 'verb="GET"', 'scope="resource"', 'version="v1"', 'component="apiserver"'):
        assert label in line
    assert "apiserver_request_duration_seconds_bucket" in text
    assert 'apiserver_storage_objects{resource="namespaces"} 4.0' in text


async def test_a_head_request_is_a_get(api: Api) -> None:
    assert (await api.call("HEAD", "/api/v1/namespaces/default")).status == 200


async def test_bad_escapes_are_400(api: Api) -> None:
    await api.fails(400, "GET", "/api/v1/namespaces/%zz")


ODD = [
    "%00",
    "%ff",
    "%2e%2e",
    "..",
    ".",
    "%20",
    "a" * 300,
    "\u00e9",
    "%F0%9F%98%80",
    "a%2Fb",
    "~",
    "*",
    "{}",
    "null",
    "-1",
    "%",
    "//",
    "",
]
BODIES = [b"", b"{", b"[]", b"null", b"5", b'"x"', b"{}", b'{"kind":5}', b'{"metadata":5}', b'{"metadata":[]}', b"\xff\xfe", b"a: [",
          b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"i","ports":[{}]}]}}',
          b'{"metadata":{"name":"x","labels":{"a":5}}}', b'{"metadata":{"name":"x","ownerReferences":[null]}}',
          b'{"metadata":{"name":"x","managedFields":[{"manager":"m","fieldsV1":{"f:x":5}}]}}',
          b'{"metadata":{"name":"x"},"spec":null}', b'{"metadata":{"name":"x"},"spec":{"template":null}}',
          b'[{"op":"add","path":"/metadata","value":null}]', b'[{"op":"replace","path":"","value":[]}]', b'{"metadata":null}',
          b'{"spec":{"$patch":"delete"}}', b'{"$setElementOrder/x":5}', b"[" * 5000]  # fmt: skip
TYPES = ["", "application/json", "application/yaml", "application/merge-patch+json", "application/strategic-merge-patch+json",
         "application/json-patch+json", "application/apply-patch+yaml", "text/plain", "x", ";;;"]  # fmt: skip
RESOURCES = [
    "pods",
    "services",
    "namespaces",
    "nodes",
    "configmaps",
    "secrets",
    "serviceaccounts",
    "persistentvolumeclaims",
    "events",
]
QUERIES = [
    "limit=x",
    "watch=1&timeoutSeconds=x",
    "fieldManager=%ff",
    "dryRun=x",
    "dryRun=All",
    "labelSelector=%3D%3D",
    "fieldSelector=%5C",
    "resourceVersion=-1",
    "continue=%00",
    "pretty=1",
    "fieldManager=m&force=1",
    "timeoutSeconds=1",
    "propagationPolicy=x",
    "&&&===",
    "fieldValidation=Strict&fieldManager=m",
    "container=x&tailLines=-5",
    "",
]  # fmt: skip
SUBRESOURCES = [
    "",
    "/status",
    "/scale",
    "/binding",
    "/eviction",
    "/log",
    "/exec",
    "/token",
    "/finalize",
    "/proxy",
    "/proxy/a",
    "/nope",
]


@pytest.mark.parametrize("seed", range(4))
async def test_nonsense_is_never_our_fault(api: Api, seed: int) -> None:
    """Random requests of odd parts: whatever comes, it is no 500."""
    random = Random(seed)
    for name in ("x", "y"):
        await api.ok(
            "POST",
            "/api/v1/namespaces/default/pods",
            {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        )
        await api.ok("POST", "/apis/apps/v1/namespaces/default/deployments", {
            "metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})  # fmt: skip
    for _ in range(400):
        resource = random.choice(RESOURCES)
        prefix = "/api/v1"
        if random.random() < 0.3:
            prefix, resource = "/apis/apps/v1", random.choice(["deployments", "replicasets", "statefulsets"])
        if random.random() < 0.8:
            prefix += f"/namespaces/{random.choice(['default', 'x', *ODD])}"
        name = random.choice(["", "/x", "/x", "/y", f"/{random.choice(ODD)}"])
        path = f"{prefix}/{resource}{name}{random.choice(SUBRESOURCES) if name else ''}"
        method = random.choice(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"])
        query = random.choice(QUERIES)
        if "watch" in query and "timeoutSeconds" not in query:
            continue
        body = random.choice(BODIES)
        if random.random() < 0.3:
            body = "".join(random.choices(string.printable, k=random.randrange(40))).encode()
        fields = Headers(
            {
                "content-type": random.choice(TYPES),
                "accept": random.choice(["", "*/*", "x", ";q=", "application/json;as=Table;v=v1;g=meta.k8s.io"]),
            }
        )
        response = await api.transport.request(Request(method, path, query, fields, body))
        assert response.status not in (500, 501), (method, path, query, dict(fields), body, response.body)
