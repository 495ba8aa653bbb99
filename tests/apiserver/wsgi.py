"""An API server as a WSGI application, for tools that speak nothing else: it runs on an event loop in a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from knarr.kit.http.messages import Headers, Request, Response
from tests.apiserver.conftest import Api, open_api

Environ = dict[str, Any]

_STREAM_S = 0.02
"""How long a stream, such as a watch, may say something before it is left."""


class Application:
    """Answers one request at a time.

    Args:
        api: The server.
        loop: What it runs on.
    """

    def __init__(self, api: Api, loop: asyncio.AbstractEventLoop) -> None:
        self.api = api
        self._loop = loop

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Response:
        """Send a request as `Api.call` does."""
        return asyncio.run_coroutine_threadsafe(self.api.call(method, path, body, **more), self._loop).result()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> list[bytes]:
        """Answer a request as WSGI has it."""
        fields = Headers(
            (name[5:].replace("_", "-").lower(), value) for name, value in environ.items() if name.startswith("HTTP_")
        )
        if environ.get("CONTENT_TYPE"):
            fields.set("content-type", environ["CONTENT_TYPE"])
        length = int(environ.get("CONTENT_LENGTH") or 0)
        path = environ.get("RAW_URI", "").partition("?")[0] or quote(environ["PATH_INFO"].encode("latin-1"))
        request = Request(
            environ["REQUEST_METHOD"],
            path,
            environ.get("QUERY_STRING", ""),
            fields,
            environ["wsgi.input"].read(length) if length else b"",
        )
        status, headers, body = asyncio.run_coroutine_threadsafe(self._answer(request), self._loop).result()
        start_response(f"{status} Answer", headers)
        return [body]

    async def _answer(self, request: Request) -> tuple[int, list[tuple[str, str]], bytes]:
        response = await self.api.transport.request(request) if not _is_watch(request) else await self._begin(request)
        assert isinstance(response.body, bytes)
        return response.status, list(response.headers), response.body

    async def _begin(self, request: Request) -> Response:
        async with self.api.transport.open_stream(request) as streamed:
            said: list[bytes] = []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STREAM_S):
                    said.extend([chunk async for chunk in streamed.chunks])
            return Response(streamed.status, streamed.headers, b"".join(said))


def _is_watch(request: Request) -> bool:
    return "watch=" in request.query or "/watch/" in request.path or "follow=" in request.query


@contextlib.contextmanager
def open_application(**config: Any) -> Iterator[Application]:
    """Start a server as `open_api` does, in a thread."""
    started: list[Application] = []
    is_ready, ends = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with open_api(**config) as api:
            started.append(Application(api, asyncio.get_running_loop()))
            is_ready.set()
            await ends.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="apiserver")
    thread.start()
    assert is_ready.wait(30)
    try:
        yield started[0]
    finally:
        started[0]._loop.call_soon_threadsafe(ends.set)
        thread.join(30)
