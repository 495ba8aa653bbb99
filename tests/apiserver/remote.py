"""HTTPS servers that an API server calls: webhooks and aggregated API servers, with an authority of their own."""

import base64
import contextlib
import datetime
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knarr.kit import pki
from knarr.kit.http.messages import Handler, Headers, Request, Response
from knarr.kit.http.server import open_server

Object = dict[str, Any]

NOW = datetime.datetime.now(datetime.UTC)


@dataclass
class Remote:
    """A server and how to reach it."""

    port: int
    bundle: str

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def open_remote(
    folder: Path, handler: Handler, *names: str, client_ca: bytes | None = None
) -> AsyncIterator[Remote]:
    """Serve `handler` under a certificate for 127.0.0.1 and `names`."""
    authority = pki.Authority.create("remote-ca", now=NOW)
    subject = pki.Subject("remote", dns_names=names, ip_addresses=("127.0.0.1",))
    pair = authority.issue(subject, [pki.Usage.SERVER], now=NOW)
    certificate, key = folder / "remote.crt", folder / "remote.key"
    pki.write_pair(pair, certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(cadata=client_ca.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    async with open_server(handler, tls=context, grace_s=0) as server:
        yield Remote(server.port, base64.b64encode(authority.pair.certificate).decode())


def send_json(obj: Any, status: int = 200, **headers: str) -> Response:
    fields = Headers({"content-type": "application/json", **headers})
    return Response(status, fields, json.dumps(obj).encode())


@dataclass
class Hooks:
    """A webhook server: answers by path, and remembers the requests it was told of."""

    answers: dict[str, Callable[[Object], Object]] = field(default_factory=dict)
    told: list[tuple[str, Object]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)

    async def handle(self, request: Request) -> Response:
        review = json.loads(request.body)
        self.told.append((request.path, review["request"]))
        self.queries.append(request.query)
        answer = {"uid": review["request"]["uid"], "allowed": True, **self.answers[request.path](review["request"])}
        return send_json({"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": answer})

    def paths(self) -> list[str]:
        return [path for path, _ in self.told]


def patch(*operations: Object) -> Object:
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(operations).encode()).decode()}
