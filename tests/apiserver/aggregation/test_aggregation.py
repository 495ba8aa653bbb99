"""Groups that a server of our own serves behind an API server."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from knarr.api.user import User
from knarr.apiserver.config import Pair
from knarr.kit import pki
from knarr.kit.http.messages import ByteStream, Headers, Request, Response
from tests.apiserver.conftest import Api, decoded, open_api
from tests.apiserver.remote import NOW, Remote, open_remote, send_json

Object = dict[str, Any]

APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
GROUP, VERSION = "wardle.example.com", "v1alpha1"
NAME, PATH = f"{VERSION}.{GROUP}", f"/apis/{GROUP}/{VERSION}"
RESOURCE = {
    "name": "flunders",
    "singularName": "flunder",
    "namespaced": True,
    "kind": "Flunder",
    "verbs": ["get", "list"],
}
STATUS = {"name": "flunders/status", "singularName": "", "namespaced": True, "kind": "Flunder", "verbs": ["get"]}
V2 = {
    "swagger": "2.0",
    "info": {"title": "wardle", "version": "1"},
    "paths": {
        f"{PATH}/flunders": {
            "get": {"responses": {"200": {"schema": {"$ref": "#/definitions/com.wardle.Flunder"}}}},
            "parameters": [{"$ref": "#/parameters/pretty"}],
        },
        "/healthz": {"get": {"responses": {}}},
    },
    "parameters": {"pretty": {"in": "query", "name": "pretty", "type": "string"}},
    "definitions": {
        "com.wardle.Flunder": {
            "type": "object",
            "properties": {"metadata": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}},
        },
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {"type": "object"},
        "com.wardle.Unused": {"type": "object"},
    },
}


@dataclass
class Server:
    """An aggregated API server that remembers what it was asked."""

    requests: list[Request] = field(default_factory=list)
    is_broken: bool = False

    async def handle(self, request: Request) -> Response:
        self.requests.append(request)
        if self.is_broken:
            return Response(500)
        match request.path:
            case path if path == PATH:
                resources = {
                    "kind": "APIResourceList",
                    "groupVersion": f"{GROUP}/{VERSION}",
                    "resources": [RESOURCE, STATUS],
                }
                return send_json(resources)
            case "/openapi/v2":
                return send_json(V2)
            case "/openapi/v3":
                return send_json({"paths": {PATH[1:]: {"serverRelativeURL": f"/openapi/v3{PATH}?hash=1"}}})
            case "/openapi/v3/apis/wardle.example.com/v1alpha1":
                return send_json({"openapi": "3.0.0"}, etag='"1"')
            case path if path.endswith("/flunders") and "watch=1" in request.query:
                return Response(200, Headers({"content-type": "application/json"}), self.watch())
            case path if path.endswith("/exec"):
                return Response(101, Headers({"connection": "Upgrade", "upgrade": "echo"}), upgrade=self.echo)
            case path if path.startswith(PATH):
                return send_json({"kind": "Flunder", "path": request.path, "query": request.query})
        return send_json({"kind": "Status"}, 404)

    async def watch(self) -> AsyncIterator[bytes]:
        for number in range(3):
            yield json.dumps({"type": "ADDED", "object": {"number": number}}).encode() + b"\n"

    async def echo(self, stream: ByteStream) -> None:
        while data := await stream.read():
            await stream.write(data.upper())

    def last(self, path: str) -> Request:
        return next(one for one in reversed(self.requests) if one.path == path)


@dataclass
class Bench:
    """An API server with an aggregated one behind it."""

    api: Api
    server: Server
    remote: Remote

    async def register(self, **spec: Any) -> None:
        service = {"namespace": "default", "name": "api", "port": 443}
        spec = {
            "groupPriorityMinimum": 2000,
            "versionPriority": 200,
            "service": service,
            "caBundle": self.remote.bundle,
            **spec,
        }
        obj = {"metadata": {"name": NAME}, "spec": {"group": GROUP, "version": VERSION, **spec}}
        await self.api.ok("POST", APISERVICES, obj)

    async def add_service(self) -> None:
        spec = {"ports": [{"name": "https", "port": 443, "targetPort": self.remote.port}]}
        await self.api.ok("POST", "/api/v1/namespaces/default/services", {"metadata": {"name": "api"}, "spec": spec})

    async def add_endpoints(self) -> None:
        # Past validation, which refuses loopback addresses.
        slice_ = {
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": {"name": "api-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "api"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": self.remote.port, "protocol": "TCP"}],
        }
        await self.api.server.parts.registry.create("endpointslices.discovery.k8s.io", slice_)

    async def start(self) -> None:
        await self.add_service()
        await self.add_endpoints()
        await self.register()
        await self.wait("Passed")

    async def condition(self) -> Object:
        obj = await self.api.ok("GET", f"{APISERVICES}/{NAME}")
        found: Object = ((obj.get("status") or {}).get("conditions") or [{}])[0]
        return found

    async def wait(self, reason: str) -> Object:
        for _ in range(400):
            found = await self.condition()
            if found.get("reason") == reason:
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(found)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    proxy_ca = pki.Authority.create("front-proxy-ca", now=NOW)
    pair = proxy_ca.issue(pki.Subject("front-proxy-client"), [pki.Usage.CLIENT], now=NOW)
    client = Pair(certificate=tmp_path / "proxy.crt", key=tmp_path / "proxy.key")
    pki.write_pair(pair, client.certificate, client.key)
    server = Server()
    async with (
        open_remote(tmp_path, server.handle, "api.default.svc", client_ca=proxy_ca.pair.certificate) as remote,
        open_api(front_proxy_client=client) as api,
    ):
        yield Bench(api, server, remote)


async def test_availability_follows_what_is_missing(bench: Bench) -> None:
    await bench.register()
    found = await bench.wait("ServiceNotFound")
    assert (found["status"], found["message"]) == ("False", 'service/api in "default" is not present')
    response = await bench.api.call("GET", f"{PATH}/namespaces/default/flunders")
    assert (response.status, response.body) == (503, b"service unavailable\n")
    await bench.add_service()
    assert (await bench.wait("EndpointsNotFound"))[
        "message"
    ] == 'cannot find endpointslices for service/api in "default"'
    bench.server.is_broken = True
    await bench.add_endpoints()
    found = await bench.wait("FailedDiscoveryCheck")
    url = f"https://127.0.0.1:{bench.remote.port}{PATH}"
    assert found["message"] == f"failing or missing response from {url}: bad status from {url}: 500"
    bench.server.is_broken = False
    await bench.api.clock.advance(31)
    found = await bench.wait("Passed")
    assert (found["status"], found["message"]) == ("True", "all checks passed")
    asked = bench.server.last(PATH)
    assert asked.headers.get("x-remote-user") == "system:kube-aggregator"
    assert asked.headers.get_all("x-remote-group") == ["system:masters"]
    await bench.api.ok("DELETE", "/api/v1/namespaces/default/services/api")
    await bench.wait("ServiceNotFound")


async def test_requests_carry_who_asks_and_nothing_else(bench: Bench) -> None:
    await bench.start()
    user = User("jane", ("dev", "system:masters"), "u-1", {"Scopes": ("a", "b"), "example.com/x": ("c",)})
    path = f"{PATH}/namespaces/default/flunders/one"
    answer = decoded(
        await bench.api.as_user(user).call(
            "GET", f"{path}?pretty=1", authorization="Bearer secret", x_remote_user="root", x_remote_group="system:masters",
            x_remote_extra_scopes="all", cookie="a=b",
        )
    )  # fmt: skip
    assert (answer["path"], answer["query"]) == (path, "pretty=1")
    headers = bench.server.last(path).headers
    assert headers.get_all("x-remote-user") == ["jane"]
    assert headers.get_all("x-remote-uid") == ["u-1"]
    assert headers.get_all("x-remote-group") == ["dev", "system:masters"]
    assert headers.get_all("x-remote-extra-scopes") == ["a", "b"]
    assert headers.get_all("x-remote-extra-example.com%2Fx") == ["c"]
    assert "authorization" not in headers and "cookie" not in headers
    await bench.api.ok("GET", path, impersonate_user="john", impersonate_group="system:masters")
    headers = bench.server.last(path).headers
    assert headers.get_all("x-remote-user") == ["john"]
    assert not [name for name, _ in headers if name.startswith("impersonate-")]
    nobody = bench.api.as_user(User("nobody"))
    refusal = await nobody.fails(403, "GET", path)
    assert 'User "nobody" cannot get resource "flunders" in API group "wardle.example.com"' in refusal["message"]
    assert (await bench.api.call("GET", f"{PATH}/../../../api/v1/secrets")).status == 404


async def test_watches_and_upgrades_pass(bench: Bench) -> None:
    await bench.start()
    async with bench.api.watch(f"{PATH}/namespaces/default/flunders") as events:
        assert [(await events.next())["object"]["number"] for _ in range(3)] == [0, 1, 2]
    request = Request(
        "POST",
        f"{PATH}/namespaces/default/flunders/one/exec",
        "",
        Headers({"connection": "Upgrade", "upgrade": "echo"}),
    )
    async with bench.api.transport.open_upgrade(request) as (answer, stream):
        assert answer.status == 101
        await stream.write(b"hello")
        assert await stream.read() == b"HELLO"
        stream.close()


async def test_certificates_are_verified_unless_told_otherwise(bench: Bench) -> None:
    await bench.start()
    obj = await bench.api.ok("GET", f"{APISERVICES}/{NAME}")
    stranger = pki.Authority.create("stranger", now=NOW).pair.certificate
    obj["spec"]["caBundle"] = base64.b64encode(stranger).decode()
    await bench.api.ok("PUT", f"{APISERVICES}/{NAME}", obj)
    response = await bench.api.call("GET", f"{PATH}/flunders")
    assert response.status == 503
    assert b"certificate signed by unknown authority" in response.body
    obj = await bench.api.ok("GET", f"{APISERVICES}/{NAME}")
    del obj["spec"]["caBundle"]
    obj["spec"]["insecureSkipTLSVerify"] = True
    await bench.api.ok("PUT", f"{APISERVICES}/{NAME}", obj)
    await bench.api.ok("GET", f"{PATH}/flunders")


async def test_discovery_is_put_together(bench: Bench) -> None:
    aggregated = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    before = decoded(await bench.api.call("GET", "/apis", **aggregated))
    await bench.start()
    groups = (await bench.api.ok("GET", "/apis"))["groups"]
    assert groups[-1]["name"] == GROUP
    assert (await bench.api.ok("GET", f"/apis/{GROUP}"))["preferredVersion"]["version"] == VERSION
    assert (await bench.api.ok("GET", PATH))["resources"] == [RESOURCE, STATUS]
    items = decoded(await bench.api.call("GET", "/apis", **aggregated))["items"]
    assert items[:-1] == before["items"]
    kind = {"group": GROUP, "version": VERSION, "kind": "Flunder"}
    (version,) = items[-1]["versions"]
    assert version == {
        "version": VERSION,
        "freshness": "Current",
        "resources": [
            {
                "resource": "flunders",
                "scope": "Namespaced",
                "singularResource": "flunder",
                "verbs": ["get", "list"],
                "responseKind": kind,
                "subresources": [{"subresource": "status", "responseKind": kind, "verbs": ["get"]}],
            }
        ],
    }
    await bench.api.ok("DELETE", "/api/v1/namespaces/default/services/api")
    await bench.wait("ServiceNotFound")
    items = decoded(await bench.api.call("GET", "/apis", **aggregated))["items"]
    assert items[-1]["versions"][0]["freshness"] == "Stale"
    await bench.api.ok("DELETE", f"{APISERVICES}/{NAME}")
    assert decoded(await bench.api.call("GET", "/apis", **aggregated)) == before


async def test_openapi_is_put_together(bench: Bench) -> None:
    await bench.start()
    index = await bench.api.ok("GET", "/openapi/v3")
    assert index["paths"][PATH[1:]] == {"serverRelativeURL": f"/openapi/v3{PATH}?hash=1"}
    assert "apis/apps/v1" in index["paths"]
    assert await bench.api.ok("GET", f"/openapi/v3{PATH}?hash=1") == {"openapi": "3.0.0"}
    merged = await bench.api.ok("GET", "/openapi/v2")
    assert "/api/v1/pods" in merged["paths"]
    assert "/healthz" not in merged["paths"]
    assert merged["paths"][f"{PATH}/flunders"]["parameters"][0]["name"] == "pretty"
    assert "com.wardle.Flunder" in merged["definitions"]
    assert "com.wardle.Unused" not in merged["definitions"]
    assert merged["definitions"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]["properties"]
    binary = await bench.api.call(
        "GET", "/openapi/v2", accept="application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    )
    assert isinstance(binary.body, bytes)
    assert b"com.wardle.Flunder" in binary.body


async def test_local_groups_are_registered(bench: Bench) -> None:
    one = await bench.api.ok("GET", f"{APISERVICES}/v1.apps")
    assert one["spec"] == {"group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15}
    assert one["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "onstart"}
    assert one["status"]["conditions"][0]["reason"] == "Local"
    assert (await bench.api.ok("GET", f"{APISERVICES}/v1."))["spec"]["version"] == "v1"
    crd = {
        "metadata": {"name": "crons.stable.example.com"},
        "spec": {
            "group": "stable.example.com",
            "names": {"plural": "crons", "kind": "Cron"},
            "scope": "Namespaced",
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await bench.api.ok("POST", crds, crd)
    for wanted in (200, 404):
        for _ in range(200):
            response = await bench.api.call("GET", f"{APISERVICES}/v1.stable.example.com")
            if response.status == wanted:
                break
            await asyncio.sleep(0.01)
        assert response.status == wanted
        if wanted == 200:
            assert decoded(response)["spec"]["versionPriority"] == 100
            await bench.api.ok("DELETE", f"{crds}/crons.stable.example.com")
