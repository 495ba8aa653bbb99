"""One connection of the HTTP server: bytes to requests, a handler for each, responses to bytes.

Requests of one connection are answered one after the other in the order received; what a peer sends meanwhile is kept unparsed up to a
bound, beyond which reading stops. llhttp does the parsing in its strict mode; whatever two parsers might read differently (both
Content-Length and Transfer-Encoding, repeated lengths, bare line feeds, folded headers) is answered 400 and the connection
closed, so that nothing can be smuggled past a proxy in front.

Source: RFC 9112 (HTTP/1.1), in particular section 6 on framing.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import cast

import httptools

from knarr.kit.http import wire
from knarr.kit.http.errors import BadMessage
from knarr.kit.http.messages import Handler, Headers, Peer, Request, Response
from knarr.kit.http.stream import TransportStream

NEVER = math.inf
HELD_BYTES = 64 * 1024
LINGER_S = 1.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_ONE_RECORD_BYTES = 64 * 1024
"""Up to this size a copy costs less than parts that are encrypted and sent one by one."""
_LAST_CHUNK = b"0\r\n\r\n"
_OURS = frozenset(("content-length", "transfer-encoding", "connection", "date"))

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may take.

    Attributes:
        body_bytes: Longest request body; more is answered 413. Kubernetes' own limit is 3 MiB.
        header_bytes: Most bytes of request line and header fields; more is answered 431.
        idle_timeout_s: A connection without a request is closed after this time.
        read_timeout_s: A request must have arrived whole within this time of its first byte.
        half_close_s: How long a request may still run once its peer has finished sending. Most peers that do so have died.
    """

    body_bytes: int = 3 * 1024 * 1024
    header_bytes: int = 1024 * 1024
    idle_timeout_s: float = 90.0
    read_timeout_s: float = 32.0
    half_close_s: float = 1.0


Rejecter = Callable[[int, str], Response]


def reject_in_plain_text(status: int, why: str) -> Response:
    """Answer with the reason as text."""
    return Response(status, Headers.from_lower([("content-type", "text/plain; charset=utf-8")]), f"{why}\n".encode())


class _Phase(Enum):
    IDLE = auto()  # between two requests
    HEAD = auto()  # within request line or header fields
    BODY = auto()  # within the body


@dataclass(slots=True)
class _Exchange:
    request: Request
    keep_alive: bool
    http_1_0: bool


class Connection(asyncio.Protocol):
    """The protocol of one accepted connection.

    Attributes:
        deadline_s: Loop time after which `expire` is to be called; NEVER while a handler runs.
    """

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        reject: Rejecter,
        *,
        on_made: Callable[["Connection"], None],
        on_lost: Callable[["Connection"], None],
    ) -> None:
        self.deadline_s = NEVER
        self._handler = handler
        self._limits = limits
        self._reject = reject
        self._on_made = on_made
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._date = _DATE
        self._address = ""
        self._certificate: bytes | None = None

        self._parser = httptools.HttpRequestParser(self)
        self._phase = _Phase.IDLE
        self._head_bytes = 0
        self._url = b""
        self._items: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._keep_alive = True
        self._refusal: tuple[int, str] | None = None

        self._pending: deque[_Exchange] = deque()
        self._held = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._streaming = False
        self._ending_stream = False
        self._upgrade_offered = False
        self._stream: TransportStream | None = None
        self._stopping = False  # no further request is answered
        self._discarding = False  # what still arrives is thrown away
        self._lost = False
        self._writable: asyncio.Future[None] | None = None
        self._paused = False

    # What the server calls.

    def stop_keep_alive(self) -> None:
        """Close the connection once the running request, if any, is answered."""
        self._stopping = True
        if self._task is None and not self._lost and not self._discarding:
            self._transport.close()

    def end_stream(self) -> None:
        """End a streamed response as if its iterator had ended; close an upgraded connection."""
        if self._stream is not None:
            self._stream.close()
        elif self._streaming and self._task is not None:
            self._ending_stream = True
            self._task.cancel()

    def abort(self) -> None:
        """Cut the connection and cancel its handler."""
        if not self._lost:
            self._transport.abort()

    def expire(self) -> None:
        """Act on a deadline that has passed: close an idle or slow peer, or cut one that has gone half-way."""
        self.deadline_s = NEVER
        if self._task is not None or self._discarding:
            self._transport.abort()
        else:
            self._transport.close()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who is there."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are not subclasses of it
        peername = transport.get_extra_info("peername")
        if isinstance(peername, tuple):
            self._address = str(peername[0]).removeprefix("::ffff:")
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._certificate = tls.getpeercert(binary_form=True)
        self.deadline_s = self._loop.time() + self._limits.read_timeout_s
        self._on_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel what runs for this peer."""
        self._lost = True
        self.deadline_s = NEVER
        self._pending.clear()
        if self._task is not None:
            self._task.cancel()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        """Parse, or keep for later while a request is being answered."""
        if self._discarding:
            return
        if self._task is not None or self._upgrade_offered:
            self._held += data
            if len(self._held) > HELD_BYTES:
                self._transport.pause_reading()
            return
        self._parse(data)

    def eof_received(self) -> bool:
        """React to a peer that sends no more: it has left, unless it still waits for a short answer."""
        if self._streaming and self._task is not None:
            self._task.cancel()
            return False
        if self._task is not None:
            self._stopping = True
            self.deadline_s = self._loop.time() + self._limits.half_close_s
            return True
        return False

    def pause_writing(self) -> None:
        """Make the response wait for the peer."""
        self._paused = True

    def resume_writing(self) -> None:
        """Let the response go on."""
        self._paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Start a request."""
        self._phase = _Phase.HEAD
        self._url = b""
        self._items = []
        self._body = []
        self._body_bytes = 0
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request target."""
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header field; trailers are counted and dropped."""
        self._count_head(len(name) + len(value) + 4)
        if self._phase is _Phase.HEAD:
            self._items.append((wire.header_name(name), wire.header_value(value)))

    def on_headers_complete(self) -> None:
        """Check the framing and ask for the body if the peer waits to be asked."""
        self._phase = _Phase.BODY
        self._keep_alive = self._parser.should_keep_alive()
        if self._refusal is not None:
            return
        hosts, length, chunked, expect = 0, 0, False, ""
        for name, value in self._items:
            if name == "host":
                hosts += 1
            elif name == "content-length":
                length = int(value)
            elif name == "transfer-encoding":
                chunked = True
                if value.strip().lower() != "chunked":
                    self._refuse(501, "unsupported transfer encoding")
            elif name == "expect":
                expect = value.lower()
        http_1_0 = self._parser.get_http_version() == "1.0"
        if hosts > 1 or (hosts == 0 and not http_1_0):
            self._refuse(400, "missing or repeated Host header")
        elif http_1_0 and chunked:
            self._refuse(400, "HTTP/1.0 has no transfer encodings")
        elif length > self._limits.body_bytes:
            self._refuse(413, f"limit is {self._limits.body_bytes}")
        elif expect and expect != "100-continue":
            self._refuse(417, "unknown expectation")
        elif expect and not http_1_0 and (length or chunked) and self._task is None and not self._pending:
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            self._body.clear()
            self._refuse(413, f"limit is {self._limits.body_bytes}")
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Hand the request on."""
        self._phase = _Phase.IDLE
        if self._refusal is not None:
            return
        target = _split_target(self._url)
        if target is None:
            self._refuse(400, "malformed request target")
            return
        request = Request(
            self._parser.get_method().decode("ascii"),
            target[0],
            target[1],
            Headers.from_lower(self._items),
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
            Peer(self._address, self._certificate),
        )
        exchange = _Exchange(request, self._keep_alive, self._parser.get_http_version() == "1.0")
        if self._task is None:
            self._start(exchange)
        else:
            self._pending.append(exchange)

    # Reading.

    def _parse(self, data: bytes) -> None:
        if self._phase is _Phase.IDLE:
            self.deadline_s = self._loop.time() + self._limits.read_timeout_s
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # llhttp stops here whether or not we are going to switch; the answer decides.
            self._upgrade_offered = True
            self._held += data[upgrade.args[0] :]
            self._parser = httptools.HttpRequestParser(self)
            self._phase = _Phase.IDLE
        except httptools.HttpParserError as err:
            # Bytes after a request that said "Connection: close" are the peer's mistake, but that request is answered.
            if self._task is None or self._keep_alive:
                self._refuse(400, f"malformed request: {err}")
        if self._phase is _Phase.HEAD:
            self._count_head(len(data))
        if self._refusal is not None and self._task is None:
            self._send_refusal()

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.header_bytes:
            self._refuse(431, f"request header fields are longer than {self._limits.header_bytes} bytes")

    def _refuse(self, status: int, why: str) -> None:
        if self._refusal is None:
            self._refusal = (status, why)

    def _send_refusal(self) -> None:
        assert self._refusal is not None
        response = self._reject(*self._refusal)
        self._discarding = True
        if self._transport.is_closing():
            return
        body = response.body if isinstance(response.body, bytes) else b""
        head = self._encode_head(response, f"content-length: {len(body)}\r\n", keep_alive=False)
        self._transport.write(head + body)
        # Closing at once would reset the connection under a peer that is still sending, which then never sees the answer.
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.deadline_s = self._loop.time() + LINGER_S

    # Answering.

    def _start(self, exchange: _Exchange) -> None:
        self.deadline_s = NEVER
        self._task = self._loop.create_task(self._answer(exchange))

    async def _answer(self, exchange: _Exchange) -> None:
        keep_alive = False
        try:
            response = await self._call(exchange.request)
            keep_alive = await self._send(exchange, response)
        except asyncio.CancelledError:
            # The peer has left, or the server ends this stream: both end here.
            self._transport.close()
        finally:
            self._finish(keep_alive=keep_alive)

    async def _call(self, request: Request) -> Response:
        try:
            return await self._handler(request)
        except Exception:  # the border of the process: whatever a handler failed to foresee ends as 500
            logger.exception("Handler failed: %s %s", request.method, request.path)
            return self._reject(500, "Internal Server Error")

    async def _send(self, exchange: _Exchange, response: Response) -> bool:
        """Write the response; return whether the connection may serve another request."""
        if response.upgrade is not None:
            if self._upgrade_offered and not self._pending:
                await self._switch(response)
                return False
            response = self._reject(400, "the request offers no upgrade")
        keep_alive = exchange.keep_alive and not self._stopping and response.headers.get("connection") != "close"
        body = response.body
        if not isinstance(body, bytes):
            return await self._send_stream(exchange, response, body, keep_alive=keep_alive)
        bodiless = response.status in wire.NO_BODY_STATUSES or response.status < 200
        declared = response.headers.get("content-length") if exchange.request.method == "HEAD" else None
        framing = "" if bodiless else f"content-length: {declared or len(body)}\r\n"
        head = self._encode_checked(
            exchange.request, response, framing, keep_alive=keep_alive, http_1_0=exchange.http_1_0
        )
        if head is None:
            return False
        if bodiless or exchange.request.method == "HEAD" or not body:
            self._transport.write(head)
        elif len(body) < 4096:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        if self._paused:
            await self._wait_writable()
        return keep_alive

    async def _send_stream(
        self, exchange: _Exchange, response: Response, body: AsyncIterator[bytes], *, keep_alive: bool
    ) -> bool:
        declared = response.headers.get("content-length")
        chunked = declared is None and not exchange.http_1_0
        keep_alive = keep_alive and (chunked or declared is not None)
        framing = "transfer-encoding: chunked\r\n" if chunked else f"content-length: {declared}\r\n" if declared else ""
        try:
            head = self._encode_checked(
                exchange.request, response, framing, keep_alive=keep_alive, http_1_0=exchange.http_1_0
            )
            if head is None:
                return False
            self._transport.write(head)
            if exchange.request.method == "HEAD" or response.status in wire.NO_BODY_STATUSES:
                return keep_alive
            self._streaming = True
            sent = await self._pump(body, chunked=chunked)
            if chunked:
                self._transport.write(_LAST_CHUNK)
            return keep_alive and not self._ending_stream and (declared is None or sent == int(declared))
        except asyncio.CancelledError:
            if self._ending_stream and chunked and not self._lost:
                self._transport.write(_LAST_CHUNK)
            raise
        except Exception:  # the head is out, so cutting the connection is all that can tell the peer
            logger.exception("Response stream failed: %s %s", exchange.request.method, exchange.request.path)
            self._transport.abort()
            return False
        finally:
            self._streaming = False
            aclose = getattr(body, "aclose", None)
            if aclose is not None:
                await aclose()

    async def _pump(self, body: AsyncIterator[bytes], *, chunked: bool) -> int:
        sent = 0
        async for chunk in body:
            if not chunk:
                continue
            sent += len(chunk)
            if chunked and len(chunk) < _ONE_RECORD_BYTES:  # one TLS record instead of three
                self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            elif chunked:
                self._transport.writelines((b"%x\r\n" % len(chunk), chunk, b"\r\n"))
            else:
                self._transport.write(chunk)
            if self._paused:
                await self._wait_writable()
        return sent

    async def _switch(self, response: Response) -> None:
        """Give the connection away, with what was already received."""
        assert response.upgrade is not None
        fields = wire.encode_fields(response.headers, frozenset(("content-length", "transfer-encoding")))
        initial = bytes(self._held)
        self._held.clear()
        self._stream = TransportStream(self._transport, initial=initial, on_lost=self._on_stream_lost)
        self._transport.set_protocol(self._stream)
        self._transport.write(f"{wire.status_line(response.status)}{fields}\r\n".encode())
        self._transport.resume_reading()
        try:
            await response.upgrade(self._stream)
        except ConnectionError:
            logger.debug("Peer %s left an upgraded connection", self._address)
        except Exception:  # the border of the process, as above
            logger.exception("Upgraded connection failed")
        finally:
            self._stream.close()

    def _on_stream_lost(self) -> None:
        # The upgraded protocol sees the end of the stream by itself; cancelling would keep it from tidying up.
        self._lost = True
        self._on_lost(self)

    def _finish(self, *, keep_alive: bool) -> None:
        self._task = None
        if self._lost or self._stream is not None:
            return
        if not keep_alive or self._stopping:
            self._transport.close()
            return
        self.deadline_s = self._loop.time() + self._limits.idle_timeout_s
        if self._pending:
            self._start(self._pending.popleft())
            return
        if self._refusal is not None:
            self._send_refusal()
            return
        self._upgrade_offered = False
        if self._held:
            data = bytes(self._held)
            self._held.clear()
            if len(data) > HELD_BYTES:
                self._transport.resume_reading()
            self._parse(data)
        elif self._phase is not _Phase.IDLE:
            self.deadline_s = self._loop.time() + self._limits.read_timeout_s

    async def _wait_writable(self) -> None:
        while self._paused and not self._lost:
            self._writable = self._loop.create_future()
            await self._writable

    def _encode_checked(
        self, request: Request, response: Response, framing: str, *, keep_alive: bool, http_1_0: bool
    ) -> bytes | None:
        try:
            return self._encode_head(response, framing, keep_alive=keep_alive, http_1_0=http_1_0)
        except BadMessage:
            logger.exception("Response cannot be sent: %s %s", request.method, request.path)
            self._refuse(500, "Internal Server Error")
            self._send_refusal()
            return None

    def _encode_head(self, response: Response, framing: str, *, keep_alive: bool, http_1_0: bool = False) -> bytes:
        fields = wire.encode_fields(response.headers, _OURS)
        connection = "" if keep_alive and not http_1_0 else f"connection: {'keep-alive' if keep_alive else 'close'}\r\n"
        return f"{wire.status_line(response.status)}{fields}{framing}{connection}{self._date()}\r\n".encode()


_DATE = wire.DateLine()


def _split_target(url: bytes) -> tuple[str, str] | None:
    """Return path and query of a request target, or None if it has no path of ours."""
    target = url.decode("latin-1")
    if not target.startswith("/"):
        # Absolute form: every server must take it (RFC 9112 section 3.2.2).
        scheme, separator, rest = target.partition("://")
        if not separator or scheme.lower() not in ("http", "https"):
            return None
        slash = rest.find("/")
        target = rest[slash:] if slash >= 0 else "/"
    path, _, query = target.partition("?")
    return path, query
