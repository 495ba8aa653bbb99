"""Byte streams: a connection after an upgrade, and a pair of them in memory.

Both apply backpressure in both directions: a reader that is slow makes the writer wait.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from knarr.kit.http.messages import ByteStream

READ_BUFFER_BYTES = 256 * 1024


class TransportStream(asyncio.Protocol):
    """A transport as a ByteStream; install it with `transport.set_protocol`.

    Args:
        transport: The connection, taken over.
        initial: Bytes of the new protocol that arrived together with the HTTP message.
        on_lost: Called once when the connection has ended.
    """

    def __init__(
        self, transport: asyncio.Transport, *, initial: bytes = b"", on_lost: Callable[[], None] | None = None
    ) -> None:
        self._transport = transport
        self._chunks: deque[bytes] = deque([initial] if initial else ())
        self._buffered = len(initial)
        self._eof = False
        self._lost = False
        self._reading = True
        self._on_lost = on_lost
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Event = asyncio.Event()
        self._writable.set()

    async def read(self) -> bytes:
        """Return all bytes that have arrived, at least one; empty means that the peer has finished sending."""
        while not self._chunks and not self._eof:
            self._readable = asyncio.get_running_loop().create_future()
            try:
                await self._readable
            finally:
                self._readable = None
        data = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if not self._reading and not self._lost:
            self._reading = True
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send `data`, waiting while the peer is slow.

        Raises:
            ConnectionError: the connection has ended.
        """
        if self._lost or self._transport.is_closing():
            raise ConnectionResetError("the peer has closed the connection")
        self._transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()
            if self._lost:
                raise ConnectionResetError("the peer has closed the connection")

    def write_eof(self) -> None:
        """Finish sending if the transport can do so one way; TLS cannot."""
        if not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()

    def close(self) -> None:
        """Close both directions once what was written is sent."""
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once, losing what is not sent yet."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the transport."""
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > READ_BUFFER_BYTES and self._reading:
            self._reading = False
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """Note that the peer sends no more; the connection stays open for writing, unless it is TLS, which cannot be half open."""
        self._eof = True
        self._wake()
        return self._transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end of the connection."""
        self._eof = self._lost = True
        self._writable.set()
        self._wake()
        if self._on_lost is not None:
            self._on_lost()

    def pause_writing(self) -> None:
        """Make writers wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._writable.set()

    def _wake(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)


def pipe() -> tuple[ByteStream, ByteStream]:
    """Return the two ends of a connection in memory: what one writes, the other reads."""
    there, back = _Pipeline(), _Pipeline()
    return _PipeEnd(back, there), _PipeEnd(there, back)


class _Pipeline:
    """One direction of a pipe: bytes with a bound, an end, and a break."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._finished = False
        self._broken = False
        self._waiters: list[asyncio.Future[None]] = []

    async def read(self) -> bytes:
        while not self._chunks and not self._finished and not self._broken:
            await self._wait_change()
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        self._changed()
        return data

    async def write(self, data: bytes) -> None:
        while self._buffered > READ_BUFFER_BYTES and not self._finished and not self._broken:
            await self._wait_change()
        if self._finished or self._broken:
            raise ConnectionResetError("the peer has closed the pipe")
        if data:
            self._chunks.append(data)
            self._buffered += len(data)
            self._changed()

    def finish(self) -> None:
        self._finished = True
        self._changed()

    def break_off(self) -> None:
        self._broken = True
        self._changed()

    async def _wait_change(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _changed(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class _PipeEnd:
    """One end of a pipe."""

    def __init__(self, incoming: _Pipeline, outgoing: _Pipeline) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    async def read(self) -> bytes:
        return await self._incoming.read()

    async def write(self, data: bytes) -> None:
        await self._outgoing.write(data)

    def write_eof(self) -> None:
        self._outgoing.finish()

    def close(self) -> None:
        # What was written before stays readable at the other end, as on a socket.
        self._outgoing.finish()
        self._incoming.break_off()
