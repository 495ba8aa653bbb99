"""Streams to containers and proxied requests, with a server in the place of the node agent and of pods."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from knarr.apiserver.config import Pair
from knarr.apiserver.proxy.backends import split_name
from knarr.kit import pki
from knarr.kit.http.messages import ByteStream, Headers, Request, Response
from knarr.kit.http.server import open_server
from tests.apiserver.conftest import Api, decoded, open_api
from tests.apiserver.test_verbs import PODS, pod

Object = dict[str, Any]


class Backend:
    """Answers as a node agent and as a web server would, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def handle(self, request: Request) -> Response:
        self.requests.append(request)
        if request.path.startswith("/containerLogs"):
            return Response(200, Headers({"content-type": "text/plain"}), _lines())
        if "upgrade" in request.headers:
            return Response(101, Headers({"connection": "Upgrade", "upgrade": "SPDY/3.1"}), upgrade=_echo)
        return Response(201, Headers({"x-from": "backend"}), request.body or b"hello")


async def _lines() -> AsyncIterator[bytes]:
    yield b"one\n"
    await asyncio.sleep(0)
    yield b"two\n"


async def _echo(stream: ByteStream) -> None:
    while data := await stream.read():
        await stream.write(data.upper())


@contextlib.asynccontextmanager
async def open_world(folder: Path, **config: Any) -> AsyncIterator[tuple[Api, Backend]]:
    """An API server with a node whose agent is a Backend, and a running pod "p" on it."""
    now = datetime.datetime.now(datetime.UTC)
    authority = pki.Authority.create("test", now=now)
    (folder / "ca.crt").write_bytes(authority.pair.certificate)
    serving = Pair(certificate=folder / "s.crt", key=folder / "s.key")
    shown = Pair(certificate=folder / "c.crt", key=folder / "c.key")
    subject = pki.Subject("n", ip_addresses=("127.0.0.1",))
    pki.write_pair(authority.issue(subject, [pki.Usage.SERVER], now=now), serving.certificate, serving.key)
    client = pki.Subject("kube-apiserver-kubelet-client")
    pki.write_pair(authority.issue(client, [pki.Usage.CLIENT], now=now), shown.certificate, shown.key)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.crt"))
    tls.load_cert_chain(serving.certificate, serving.key)
    tls.verify_mode = ssl.CERT_REQUIRED
    backend = Backend()
    async with (
        open_server(backend.handle, tls=tls) as server,
        open_api(kubelet_client=shown, kubelet_ca=folder / "ca.crt", loopback_backends=True, **config) as api,
    ):
        addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
        status = {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": server.port}}}
        await api.ok("POST", "/api/v1/nodes", {"metadata": {"name": "n"}, "status": status})
        await api.ok("POST", PODS, pod("p", nodeName="n"))
        yield api, backend


async def test_logs_come_from_the_node(tmp_path: Path) -> None:
    async with open_world(tmp_path) as (api, backend):
        response = await api.call("GET", f"{PODS}/p/log?follow=true&tailLines=5&sinceSeconds=3")
        assert (response.status, response.body) == (200, b"one\ntwo\n")
        asked = backend.requests[0]
        assert asked.path == "/containerLogs/default/p/c"
        assert asked.query == "follow=true&sinceSeconds=3&tailLines=5"
        assert asked.peer.certificate is not None


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("exec?command=sh&command=-c&stdin=true&stdout=true&tty=true", "/exec/default/p/c?input=1&output=1&tty=1&command=sh&command=-c"),
        ("attach?stdout=true", "/attach/default/p/c?output=1"),
        ("portforward?ports=80", "/portForward/default/p?port=80"),
    ],
)  # fmt: skip
async def test_upgrades_are_passed_on_as_raw_bytes(tmp_path: Path, path: str, asked: str) -> None:
    async with open_world(tmp_path) as (api, backend):
        place, _, query = f"{PODS}/p/{path}".partition("?")
        headers = Headers({"connection": "Upgrade", "upgrade": "SPDY/3.1", "authorization": "Bearer secret"})
        request = Request("POST", place, query, headers)
        async with api.transport.open_upgrade(request) as (response, stream):
            assert (response.status, response.headers.get("upgrade")) == (101, "SPDY/3.1")
            await stream.write(b"abc")
            assert await stream.read() == b"ABC"
        sent = backend.requests[0]
        assert f"{sent.path}?{sent.query}" == asked
        assert "authorization" not in sent.headers


async def test_a_stream_without_an_upgrade_is_refused(tmp_path: Path) -> None:
    async with open_world(tmp_path) as (api, _):
        assert (await api.fails(400, "POST", f"{PODS}/p/exec?command=ls"))["message"] == "Upgrade request required"


async def test_nodes_are_proxied(tmp_path: Path) -> None:
    async with open_world(tmp_path) as (api, backend):
        response = await api.call("POST", "/api/v1/nodes/n/proxy/a%20b/c?x=y", b"body")
        assert (response.status, response.body, response.headers.get("x-from")) == (201, b"body", "backend")
        assert (backend.requests[0].path, backend.requests[0].query) == ("/a%20b/c", "x=y")
        response = await api.call("GET", "/api/v1/nodes/n/proxy")
        assert (response.status, response.headers.get("location")) == (301, "/api/v1/nodes/n/proxy/")


async def test_pods_and_services_are_proxied() -> None:
    backend = Backend()
    async with open_server(backend.handle) as server, open_api(loopback_backends=True) as api:
        await api.ok("POST", PODS, pod("p", nodeName="n"))
        body = {"status": {"podIP": "127.0.0.1"}}
        await api.ok("PATCH", f"{PODS}/p/status", body, content_type="application/merge-patch+json")
        response = await api.call("GET", f"{PODS}/p:{server.port}/proxy/x")
        assert (response.status, response.body) == (201, b"hello")
        service = {"metadata": {"name": "s"}, "spec": {"ports": [{"name": "web", "port": 80}]}}
        await api.ok("POST", "/api/v1/namespaces/default/services", service)
        await api.fails(503, "GET", "/api/v1/namespaces/default/services/s:web/proxy/")
        reference = {"kind": "Pod", "namespace": "default", "name": "p"}
        subset = {
            "addresses": [{"ip": "127.0.0.1", "targetRef": reference}],
            "ports": [{"name": "web", "port": server.port}],
        }
        registry = api.server.parts.registry  # endpoints on the loopback address are for tests alone
        made = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": "s", "namespace": "default"},
            "subsets": [subset],
        }
        await registry.create("endpoints", made)
        for name in ("s:web", "s:80", "http:s:web", "s"):
            assert (await api.call("GET", f"/api/v1/namespaces/default/services/{name}/proxy/y")).status == 201


async def test_nobody_behind_is_503() -> None:
    async with open_api(loopback_backends=True) as api:
        await api.ok("POST", PODS, pod("p", nodeName="n"))
        body = {"status": {"podIP": "127.0.0.1"}}
        await api.ok("PATCH", f"{PODS}/p/status", body, content_type="application/merge-patch+json")
        status = decoded(await api.call("GET", f"{PODS}/p:1/proxy/x"))
    assert (status["code"], status["reason"]) == (503, "ServiceUnavailable")
    assert status["message"].startswith("error trying to reach service: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web", ("", "web", "")),
        ("web:80", ("", "web", "80")),
        ("https:web:", ("https", "web", "")),
        ("https:web:443", ("https", "web", "443")),
        ("http:web:metrics", ("http", "web", "metrics")),
    ],
)
def test_names_of_proxied_objects(text: str, expected: tuple[str, str, str]) -> None:
    assert split_name(text) == expected
