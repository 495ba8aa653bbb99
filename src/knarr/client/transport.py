"""How requests reach an API server: over HTTPS, or by a call into one in the same process.

Both sides of the seam give the same answers. The in-process one hands the handler the caller's identity instead of
credentials, and passes bodies on without copying them.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from knarr.api.user import User
from knarr.client.credentials import Credentials, NoCredentials, TlsFiles
from knarr.kit.http import client as http_client
from knarr.kit.http import errors as http_errors
from knarr.kit.http.messages import ByteStream, Handler, Headers, Peer, Request, Response, Streamed
from knarr.kit.http.stream import pipe

_TIMEOUTS = http_client.Timeouts()


class Transport(Protocol):
    """A way to an API server."""

    async def request(self, request: Request, *, timeout_s: float | None = None) -> Response:
        """Send a request and return the whole answer, whatever its status."""

    def open_stream(self, request: Request) -> AbstractAsyncContextManager[Streamed]:
        """Send a request and read the answer as it comes."""

    def open_upgrade(self, request: Request) -> AbstractAsyncContextManager[tuple[Response, ByteStream]]:
        """Send a request that switches protocols; raises `kit.http.errors.UpgradeRefused` if the server does not."""

    async def aclose(self) -> None:
        """Let go of all connections."""


class HttpsTransport:
    """A server at a URL.

    Args:
        url: "https://host:port", or http for a server that is reached through a tunnel.
        credentials: Give the Authorization header.
        tls: TLS settings, or the files they are made from, which are loaded again when they change.
        server_hostname: Name to verify the server's certificate against instead of the URL's host.
        timeouts: How long to wait.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials | None = None,
        tls: ssl.SSLContext | TlsFiles | None = None,
        server_hostname: str | None = None,
        timeouts: http_client.Timeouts = _TIMEOUTS,
    ) -> None:
        self.url = url
        self._credentials = credentials or NoCredentials()
        self._files = tls if isinstance(tls, TlsFiles) else None
        context = tls.load() if isinstance(tls, TlsFiles) else tls
        self._client = http_client.Client(url, tls=context, server_hostname=server_hostname, timeouts=timeouts)

    async def request(self, request: Request, *, timeout_s: float | None = None) -> Response:
        """Send a request; after a 401, once more with fresh credentials if there are any."""
        response = await self._client.request(await self._authorized(request), timeout_s=timeout_s)
        if response.status == 401 and await self._credentials.refresh():
            response = await self._client.request(await self._authorized(request), timeout_s=timeout_s)
        return response

    @contextlib.asynccontextmanager
    async def open_stream(self, request: Request) -> AsyncIterator[Streamed]:
        """Send a request and read the answer as it comes."""
        async with self._client.open_stream(await self._authorized(request)) as streamed:
            yield streamed

    @contextlib.asynccontextmanager
    async def open_upgrade(self, request: Request) -> AsyncIterator[tuple[Response, ByteStream]]:
        """Send a request that switches protocols."""
        async with self._client.open_upgrade(await self._authorized(request)) as upgraded:
            yield upgraded

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _authorized(self, request: Request) -> Request:
        if self._files is not None and self._files.changed():
            self._client.replace_tls(self._files.load())
        value = await self._credentials.authorization()
        if not value:
            return request
        headers = Headers.from_lower([*request.headers, ("authorization", value)])
        return Request(request.method, request.path, request.query, headers, request.body)


@contextlib.asynccontextmanager
async def open_https(
    url: str, *, ca_file: Path | None = None, certificate_file: Path | None = None, key_file: Path | None = None
) -> AsyncIterator[HttpsTransport]:
    """Give a transport that proves who it is by certificate files, and close it afterwards.

    Args:
        url: "https://host:port".
        ca_file: The authority that signed the server's certificate; None means the system's.
        certificate_file: The client's certificate.
        key_file: Its key.
    """
    made = HttpsTransport(url, tls=TlsFiles(ca_file, certificate_file, key_file))
    try:
        yield made
    finally:
        await made.aclose()


class InProcessTransport:
    """A handler in this process, called as a user.

    Args:
        handler: Answers requests; the API server's.
        user: Who calls.
    """

    def __init__(self, handler: Handler, user: User) -> None:
        self._handler = handler
        self._peer = Peer(identity=user)

    async def request(self, request: Request, *, timeout_s: float | None = None) -> Response:
        """Call the handler; a streamed body is read to its end."""
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._call(request)
                if not isinstance(response.body, bytes):
                    response.body = b"".join([chunk async for chunk in response.body])
        except TimeoutError:
            raise http_errors.ResponseTimeout("the API server in this process", timeout_s or 0.0) from None
        return response

    @contextlib.asynccontextmanager
    async def open_stream(self, request: Request) -> AsyncIterator[Streamed]:
        """Call the handler and iterate its body as it is."""
        response = await self._call(request)
        body = response.body
        chunks = _one(body) if isinstance(body, bytes) else body
        try:
            yield Streamed(response.status, response.headers, chunks)
        finally:
            aclose = getattr(chunks, "aclose", None)
            if aclose is not None:
                await aclose()

    @contextlib.asynccontextmanager
    async def open_upgrade(self, request: Request) -> AsyncIterator[tuple[Response, ByteStream]]:
        """Call the handler and give it one end of a pipe."""
        response = await self._call(request)
        if response.upgrade is None:
            if not isinstance(response.body, bytes):
                response.body = b"".join([chunk async for chunk in response.body])
            raise http_errors.UpgradeRefused(response)
        ours, theirs = pipe()
        serving = asyncio.ensure_future(self._serve(response, theirs))
        try:
            yield response, ours
        finally:
            ours.close()
            with contextlib.suppress(ConnectionError):
                await serving

    async def aclose(self) -> None:
        """Nothing is held."""

    @staticmethod
    async def _serve(response: Response, stream: ByteStream) -> None:
        assert response.upgrade is not None
        try:
            await response.upgrade(stream)
        finally:
            stream.close()

    async def _call(self, request: Request) -> Response:
        # A Peer of its own, so that a handler that changes it does not change the next call's.
        peer = Peer(identity=self._peer.identity)
        return await self._handler(
            Request(request.method, request.path, request.query, request.headers, request.body, peer)
        )


async def _one(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body
