"""One connection of the HTTP client: a request out, its answer in, one after the other."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import cast

import httptools

from knarr.kit.http import wire
from knarr.kit.http.errors import BadResponse, ConnectionLost, HttpError
from knarr.kit.http.messages import Headers
from knarr.kit.http.stream import READ_BUFFER_BYTES, TransportStream


class ClientConnection(asyncio.Protocol):
    """The protocol of one opened connection.

    Attributes:
        address: The server's, for messages.
        status: The status of the last answer.
        headers: The header fields of the last answer.
        upgraded: Whether the last answer was 101 and the connection now speaks another protocol.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.status = 0
        self.headers = Headers()
        self.upgraded = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._items: list[tuple[str, str]] = []
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._leftover = b""
        self._reading = True
        self._method = ""
        self._answered = False  # any byte of the answer has come
        self._head_done = False
        self._complete = True
        self._until_eof = False
        self._keep_alive = True
        self._lost = False
        self._error: HttpError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent."""
        return (
            self._complete
            and self._keep_alive
            and not self._chunks
            and not self._lost
            and not self.upgraded
            and self._error is None
            and not self._transport.is_closing()
        )

    async def send(self, data: list[bytes], method: str) -> None:
        """Send an encoded request and wait for the head of its answer.

        Raises:
            ConnectionLost: the server closed the connection first.
            BadResponse: the answer is not HTTP.
        """
        self._method = method
        self._answered = self._head_done = self._complete = self._until_eof = False
        if self._lost or self._transport.is_closing():
            raise ConnectionLost(self.address, answered=False)
        self._transport.writelines(data)
        while not self._head_done:
            self._raise_if_broken()
            await self._wait()

    async def read_body(self) -> AsyncIterator[bytes]:
        """Yield the pieces of the body of the answer as they come."""
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._buffered -= len(chunk)
                if not self._reading and self._buffered < READ_BUFFER_BYTES // 2 and not self._lost:
                    self._reading = True
                    self._transport.resume_reading()
                yield chunk
            if self._complete:
                return
            self._raise_if_broken()
            await self._wait()

    def take_over(self) -> TransportStream:
        """Turn an upgraded connection into a byte stream."""
        stream = TransportStream(self._transport, initial=self._leftover)
        if self._lost:
            stream.connection_lost(None)
        else:
            self._transport.set_protocol(stream)
        return stream

    def close(self) -> None:
        """Close in order."""
        self._transport.close()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits."""
        self._end()

    def eof_received(self) -> bool:
        """Note the end of the answers; a body without a length ends here in order."""
        self._end()
        return False

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._complete and not self.upgraded:
            # Nothing was asked: a server that says something now (such as 408) is about to close.
            self._keep_alive = False
            return
        if self.upgraded:
            self._leftover += data
            return
        self._answered = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.upgraded = True
            self._leftover = data[upgrade.args[0] :]
        except httptools.HttpParserError as err:
            if not self._complete:
                self._error = BadResponse(f"{self.address} did not answer in HTTP: {err}")
            self._keep_alive = False
        if self._buffered > READ_BUFFER_BYTES and self._reading:
            self._reading = False
            self._transport.pause_reading()
        self._wake()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Start an answer."""
        self._items = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one field; trailers are dropped."""
        if not self._head_done:
            self._items.append((wire.header_name(name), wire.header_value(value)))

    def on_headers_complete(self) -> None:
        """Take the head of the answer; interim answers are passed over."""
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            return
        self.status = status
        self.headers = Headers.from_lower(self._items)
        self._keep_alive = self._parser.should_keep_alive()
        self._head_done = True
        framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        self._until_eof = not framed
        if self._method == "HEAD":
            # The parser would wait for a body that a HEAD answer only describes.
            self._complete = True
            self._parser = httptools.HttpResponseParser(self)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._chunks.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        """End the answer, unless it was an interim one."""
        if self._head_done:
            self._complete = True

    def _end(self) -> None:
        self._lost = True
        if self._head_done and self._until_eof:
            self._complete = True
        self._wake()

    def _raise_if_broken(self) -> None:
        if self._error is not None:
            raise self._error
        if self._lost:
            raise ConnectionLost(self.address, answered=self._answered)

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
