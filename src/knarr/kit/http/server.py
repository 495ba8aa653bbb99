"""The HTTP server that the API server, the node agent and every metrics endpoint stand on.

It listens, keeps count of its connections (see `connection.py` for one of them), closes those that idle too long, and shuts down
in order: nothing new is accepted, running streams are ended cleanly, running requests may finish, what is left is cut.

Counterpart: Go's net/http.Server as kube-apiserver sets it up (k8s.io/apiserver/pkg/server/secure_serving.go, v1.37).
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from knarr.kit.http.connection import Connection, Limits, Rejecter, reject_in_plain_text
from knarr.kit.http.messages import Handler

SWEEP_S = 1.0


class Server:
    """A running server; see `open_server`.

    Attributes:
        address: The IP address it listens on, or the path of its Unix socket.
        port: The port it listens on; 0 for a Unix socket.
    """

    def __init__(self, handler: Handler, limits: Limits, reject: Rejecter) -> None:
        self.address = ""
        self.port = 0
        self._handler = handler
        self._limits = limits
        self._reject = reject
        self._connections: set[Connection] = set()
        self._stopping = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def connection_count(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    def new_connection(self) -> Connection:
        """Make the protocol of one accepted connection."""
        return Connection(self._handler, self._limits, self._reject, on_made=self._add, on_lost=self._discard)

    async def wait_closed(self, *, stream_grace_s: float, grace_s: float) -> None:
        """End all connections: idle ones now, streams after `stream_grace_s`, the rest after `grace_s`."""
        self._stopping = True
        for connection in tuple(self._connections):
            connection.stop_keep_alive()
        if not await self._wait_empty(stream_grace_s):
            for connection in tuple(self._connections):
                connection.end_stream()
        if not await self._wait_empty(max(0.0, grace_s - stream_grace_s)):
            for connection in tuple(self._connections):
                connection.abort()
            await self._empty.wait()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    async def _wait_empty(self, timeout_s: float) -> bool:
        if timeout_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), timeout_s)
        return self._empty.is_set()

    def _add(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._empty.clear()
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._sweep_interval_s, self._sweep)
        if self._stopping:
            connection.stop_keep_alive()

    def _discard(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    @property
    def _sweep_interval_s(self) -> float:
        limits = self._limits
        return min(SWEEP_S, limits.idle_timeout_s, limits.read_timeout_s, limits.half_close_s)

    def _sweep(self) -> None:
        # One timer for all connections: setting a deadline on each request is then a plain assignment.
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in tuple(self._connections):
            if connection.deadline_s <= now:
                connection.expire()
        self._sweeper = loop.call_later(self._sweep_interval_s, self._sweep) if self._connections else None


@contextlib.asynccontextmanager
async def open_server(
    handler: Handler,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    unix_path: Path | str | None = None,
    sock: socket.socket | None = None,
    tls: ssl.SSLContext | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    reject: Rejecter = reject_in_plain_text,
    stream_grace_s: float = 0.0,
    grace_s: float = 10.0,
    backlog: int = 4096,
) -> AsyncIterator[Server]:
    """Serve `handler` until the context is left, then shut down in order.

    Args:
        handler: Answers each request in a task of its own, which is cancelled when the peer leaves. An exception becomes a bare 500.
        host: Address to listen on; empty means all addresses, IPv6 and IPv4.
        port: Port to listen on; 0 takes a free one (read it from `Server.port`).
        unix_path: Listen on this Unix socket instead.
        sock: Listen on this bound socket instead.
        tls: Serve TLS; verification of client certificates is the context's affair.
        limits: Sizes and times allowed to a peer.
        reject: Makes the answer to what never reaches the handler (400, 413, 431 …) and to a handler that raised (500).
        stream_grace_s: At shutdown, how long running streams go on before they are ended, in seconds.
        grace_s: At shutdown, how long requests may take to finish, in seconds.
        backlog: Connections that may wait to be accepted.
    """
    loop = asyncio.get_running_loop()
    server = Server(handler, limits, reject)
    if tls is not None:
        tls.set_alpn_protocols(["http/1.1"])
    if unix_path is not None:
        listener = await loop.create_unix_server(server.new_connection, str(unix_path), ssl=tls, backlog=backlog)
        server.address = str(unix_path)
    elif sock is not None:
        listener = await loop.create_server(server.new_connection, sock=sock, ssl=tls, backlog=backlog)
    else:
        listener = await loop.create_server(server.new_connection, host or None, port, ssl=tls, backlog=backlog)
    if unix_path is None:
        server.address, server.port = listener.sockets[0].getsockname()[:2]
    try:
        yield server
    finally:
        listener.close()
        # Shielded, so that a cancelled owner still leaves no connection behind.
        await asyncio.shield(server.wait_closed(stream_grace_s=stream_grace_s, grace_s=grace_s))
