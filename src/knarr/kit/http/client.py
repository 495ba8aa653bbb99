"""The HTTP client: a pool of keep-alive connections to one server.

Everything that calls out uses it: the Kubernetes client, the API server's proxies and webhooks, HTTP probes. It follows no
redirects and knows no cookies. A request that meets a pooled connection which the server had just closed is sent once more on a
fresh one, if repeating it is harmless.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from knarr.kit.http import wire
from knarr.kit.http.errors import (
    BodyTooLarge,
    ConnectFailed,
    ConnectionLost,
    ConnectRefused,
    ConnectTimeout,
    ResponseTimeout,
    TlsFailed,
    UpgradeRefused,
)
from knarr.kit.http.exchange import ClientConnection
from knarr.kit.http.messages import ByteStream, Request, Response, Streamed

# RFC 9110 section 9.2.2.
IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"))
_OURS = frozenset(("content-length", "transfer-encoding"))


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds.

    Attributes:
        connect_s: For an open connection, TLS included.
        response_s: For the whole answer to `request`, or for the head of a stream's or upgrade's; None waits for ever.
        idle_s: A pooled connection unused for this long is closed; keep it below the server's own limit.
    """

    connect_s: float = 10.0
    response_s: float | None = 60.0
    idle_s: float = 60.0


class Client:
    """A client of one server.

    Args:
        base_url: "https://host:port", optionally with a path that is put before every request's.
        tls: TLS settings for https; None means the system's authorities.
        server_hostname: Name to verify the server's certificate against instead of the host in `base_url`.
        unix_path: Connect to this Unix socket instead.
        timeouts: How long to wait.
        max_idle: Most unused connections kept.
    """

    def __init__(
        self,
        base_url: str,
        *,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        unix_path: str | None = None,
        timeouts: Timeouts = Timeouts(),
        max_idle: int = 64,
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"base_url {base_url!r}: expected http://host[:port] or https://host[:port]")
        secure = url.scheme == "https"
        self._host = url.hostname
        self._port = url.port or (443 if secure else 80)
        self._prefix = url.path.rstrip("/")
        self._tls = (tls or ssl.create_default_context()) if secure else None
        self._server_hostname = (server_hostname or url.hostname) if secure else None
        self._unix_path = unix_path
        self._host_header = url.netloc.rpartition("@")[2]
        self._timeouts = timeouts
        self._max_idle = max_idle
        self._idle: list[tuple[float, ClientConnection]] = []
        self._closed = False

    @property
    def address(self) -> str:
        """Where this client connects to, for messages."""
        return self._unix_path or f"{self._host}:{self._port}"

    def replace_tls(self, tls: ssl.SSLContext) -> None:
        """Use other TLS settings from now on; connections in use finish with the old ones."""
        self._tls = tls
        self._close_idle()

    async def request(
        self, request: Request, *, timeout_s: float | None = None, max_body_bytes: int | None = None
    ) -> Response:
        """Send a request and return its whole answer, whatever its status.

        Args:
            request: What to send; Host and Content-Length are added.
            timeout_s: Seconds for the whole exchange; None takes the client's default.
            max_body_bytes: Longest body accepted; None takes any.

        Raises:
            HttpError: no connection, no answer in time, or a broken one; see `errors`.
        """
        limit_s = self._timeouts.response_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(limit_s):
                connection = await self._send(request)
                try:
                    chunks = [chunk async for chunk in _limited(connection, max_body_bytes)]
                    status, headers = connection.status, connection.headers
                finally:
                    self._give_back(connection)
        except TimeoutError:
            raise ResponseTimeout(self.address, limit_s or 0.0) from None
        return Response(status, headers, chunks[0] if len(chunks) == 1 else b"".join(chunks))

    @contextlib.asynccontextmanager
    async def open_stream(self, request: Request, *, timeout_s: float | None = None) -> AsyncIterator[Streamed]:
        """Send a request and read its answer as it comes; leaving the context early drops the connection.

        Args:
            request: What to send.
            timeout_s: Seconds until the head of the answer has come; None takes the client's default.

        Raises:
            HttpError: as `request`; while iterating, ConnectionLost if the answer breaks off.
        """
        connection = await self._send_in_time(request, timeout_s)
        try:
            yield Streamed(connection.status, connection.headers, connection.read_body())
        finally:
            self._give_back(connection)

    @contextlib.asynccontextmanager
    async def open_upgrade(
        self, request: Request, *, timeout_s: float | None = None
    ) -> AsyncIterator[tuple[Response, ByteStream]]:
        """Send a request that asks for another protocol, and take the connection over.

        Args:
            request: With Connection: Upgrade and Upgrade headers.
            timeout_s: Seconds until the head of the answer has come; None takes the client's default.

        Raises:
            UpgradeRefused: the server answered something other than 101.
            HttpError: as `request`.
        """
        connection = await self._send_in_time(request, timeout_s)
        if not connection.upgraded:
            try:
                body = b"".join([chunk async for chunk in connection.read_body()])
            finally:
                self._give_back(connection)
            raise UpgradeRefused(Response(connection.status, connection.headers, body))
        stream = connection.take_over()
        try:
            yield Response(connection.status, connection.headers), stream
        finally:
            stream.close()

    async def aclose(self) -> None:
        """Close the pool; requests under way finish and their connections are closed then."""
        self._closed = True
        self._close_idle()
        # Transports close in the next turns of the loop.
        await asyncio.sleep(0)

    async def _send_in_time(self, request: Request, timeout_s: float | None) -> ClientConnection:
        limit_s = self._timeouts.response_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await self._send(request)
        except TimeoutError:
            raise ResponseTimeout(self.address, limit_s or 0.0) from None

    async def _send(self, request: Request) -> ClientConnection:
        """Send the request on a pooled or a fresh connection and wait for the head of the answer."""
        data = self._encode(request)
        pooled = self._take_idle()
        if pooled is not None:
            try:
                await self._exchange(pooled, data, request.method)
            except ConnectionLost as err:
                if err.answered or request.method not in IDEMPOTENT:
                    raise
            else:
                return pooled
        connection = await self._connect()
        await self._exchange(connection, data, request.method)
        return connection

    @staticmethod
    async def _exchange(connection: ClientConnection, data: list[bytes], method: str) -> None:
        try:
            await connection.send(data, method)
        except BaseException:
            connection.abort()
            raise

    async def _connect(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        limit_s = self._timeouts.connect_s

        def protocol() -> ClientConnection:
            return ClientConnection(self.address)

        try:
            async with asyncio.timeout(limit_s):
                if self._unix_path is not None:
                    _, connection = await loop.create_unix_connection(
                        protocol, self._unix_path, ssl=self._tls, server_hostname=self._server_hostname
                    )
                else:
                    _, connection = await loop.create_connection(
                        protocol, self._host, self._port, ssl=self._tls, server_hostname=self._server_hostname
                    )
        except TimeoutError:
            raise ConnectTimeout(self.address, limit_s) from None
        except (ConnectionRefusedError, FileNotFoundError) as err:
            raise ConnectRefused(self.address) from err
        except ssl.SSLError as err:
            raise TlsFailed(self.address, getattr(err, "verify_message", "") or str(err)) from err
        except OSError as err:
            raise ConnectFailed(self.address, err.strerror or str(err)) from err
        return connection

    def _encode(self, request: Request) -> list[bytes]:
        target = f"{self._prefix}{request.path}{'?' + request.query if request.query else ''}"
        fields = wire.encode_fields(request.headers, _OURS)
        host = "" if "host" in request.headers else f"host: {self._host_header}\r\n"
        sized = request.body or request.method in ("POST", "PUT", "PATCH")
        length = f"content-length: {len(request.body)}\r\n" if sized else ""
        wire.check_target(request.method, target)
        head = f"{request.method} {target} HTTP/1.1\r\n{host}{fields}{length}\r\n".encode()
        return [head, request.body] if request.body else [head]

    def _take_idle(self) -> ClientConnection | None:
        oldest = asyncio.get_running_loop().time() - self._timeouts.idle_s
        while self._idle:
            since, connection = self._idle.pop()
            if since >= oldest and connection.reusable:
                return connection
            connection.abort()
        return None

    def _give_back(self, connection: ClientConnection) -> None:
        if not connection.reusable:
            connection.abort()
        elif self._closed or len(self._idle) >= self._max_idle:
            connection.close()
        else:
            self._idle.append((asyncio.get_running_loop().time(), connection))

    def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()


async def _limited(connection: ClientConnection, max_bytes: int | None) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in connection.read_body():
        size += len(chunk)
        if max_bytes is not None and size > max_bytes:
            raise BodyTooLarge(connection.address, max_bytes)
        yield chunk
