"""An API server in this process, over the memory backend, on fake time; and short ways to talk to it."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from knarr.api.user import ALL_AUTHENTICATED, MASTERS, User
from knarr.apiserver.config import Config
from knarr.apiserver.server import ApiServer, open_apiserver
from knarr.client.transport import InProcessTransport
from knarr.kit.clock import FakeClock
from knarr.kit.http.messages import Headers, Request, Response
from knarr.store.memory import MemoryBackend

Object = dict[str, Any]

ADMIN = User("admin", (MASTERS, ALL_AUTHENTICATED))


@dataclass
class Api:
    """An API server and what a test needs around it."""

    server: ApiServer
    clock: FakeClock
    user: User = ADMIN

    async def call(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", **headers: str
    ) -> Response:
        """Send a request; `path` may have a query; a body that is no bytes is sent as JSON."""
        place, _, query = path.partition("?")
        fields = Headers({name.replace("_", "-"): value for name, value in headers.items()})
        if "user-agent" not in fields:
            fields.set("user-agent", "tests/1")
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if data:
            fields.set("content-type", content_type)
        return await self.transport.request(Request(method, place, query, fields, data))

    async def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Object:
        """Send a request that must succeed; return the decoded answer."""
        response = await self.call(method, path, body, **more)
        assert response.status < 300, (response.status, response.body)
        return decoded(response)

    async def fails(self, code: int, method: str, path: str, body: Any = None, **more: Any) -> Object:
        """Send a request that must fail with `code`; return the Status."""
        response = await self.call(method, path, body, **more)
        assert response.status == code, (response.status, response.body)
        status = decoded(response)
        assert status["kind"] == "Status", status
        assert status["code"] == code, status
        return status

    @property
    def transport(self) -> InProcessTransport:
        return InProcessTransport(self.server.handler, self.user)

    def as_user(self, user: User) -> "Api":
        return Api(self.server, self.clock, user)

    @contextlib.asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator["Events"]:
        """Open a watch; `path` has the query."""
        place, _, query = path.partition("?")
        query = f"watch=1&{query}" if query else "watch=1"
        async with self.transport.open_stream(
            Request("GET", place, query, Headers({"user-agent": "tests/1"}))
        ) as streamed:
            assert streamed.status == 200, streamed
            yield Events(streamed.chunks)


class Events:
    """The events of a watch, one by one."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._lines: list[bytes] = []

    async def next(self) -> Object:
        while not self._lines:
            self._lines = (await anext(self._chunks)).splitlines()
        event: Object = json.loads(self._lines.pop(0))
        return event


def decoded(response: Response) -> Object:
    assert isinstance(response.body, bytes)
    found: Object = json.loads(response.body)
    return found


@contextlib.asynccontextmanager
async def open_api(**config: Any) -> AsyncIterator[Api]:
    """Start a server; its default namespace has a service account, so that pods can be made."""
    clock = FakeClock()
    config = {"backend": MemoryBackend(), "clock": clock, "random": Random(1), **config}
    async with open_apiserver(Config(**config)) as server:
        api = Api(server, clock)
        await api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        yield api


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with open_api() as found:
        yield found
