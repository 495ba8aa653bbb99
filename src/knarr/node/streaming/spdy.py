"""SPDY/3.1 framing without I/O, as much of it as Kubernetes' streams use: many two-way streams on one connection.

Bytes in, events out; frames to send are returned as bytes. Flow control is left out, as the servers spoken to leave it out.

Source: SPDY Protocol Draft 3.1, https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/ (framing: section 2;
name/value header block and its dictionary: section 2.6.10).
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

VERSION = 3
FIN = 0x01
MAX_DATA = 1 << 20

_SYN_STREAM = 1
_SYN_REPLY = 2
_RST_STREAM = 3
_PING = 6
_GOAWAY = 7
_HEADERS = 8
_CONTROL = 0x8000
_STREAM_BITS = 0x7FFFFFFF

_WORDS = (
    "options", "head", "post", "put", "delete", "trace", "accept", "accept-charset", "accept-encoding", "accept-language",
    "accept-ranges", "age", "allow", "authorization", "cache-control", "connection", "content-base", "content-encoding",
    "content-language", "content-length", "content-location", "content-md5", "content-range", "content-type", "date", "etag",
    "expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since",
    "last-modified", "location", "max-forwards", "pragma", "proxy-authenticate", "proxy-authorization", "range", "referer",
    "retry-after", "server", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "vary", "via", "warning",
    "www-authenticate", "method", "get", "status", "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie",
    "keep-alive", "origin",
)  # fmt: skip
_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
    "Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal "
    "Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, "
    "Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,"
    "text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(len(word).to_bytes(4, "big") + word.encode() for word in _WORDS) + _REST.encode()
"""What both sides' header compression starts with; data of the specification."""


class Kind(Enum):
    """What a frame says of its stream, or of the connection (GOAWAY, PING: stream 0)."""

    OPENED = "opened"
    REPLIED = "replied"
    DATA = "data"
    RESET = "reset"
    PING = "ping"
    GOAWAY = "goaway"


@dataclass(frozen=True, slots=True)
class Event:
    """One frame that came in.

    Attributes:
        kind: What it is.
        stream: The stream, or for PING its number.
        data: The bytes of DATA.
        headers: Of OPENED and REPLIED.
        fin: Whether the peer sends no more on the stream.
    """

    kind: Kind
    stream: int
    data: bytes = b""
    headers: Mapping[str, str] | None = None
    fin: bool = False


class SpdyError(Exception):
    """Raised when the peer does not speak SPDY/3.1."""


class Framer:
    """One side of a connection.

    Args:
        client: Whether this side opened the connection: its streams have odd numbers.
    """

    def __init__(self, *, client: bool) -> None:
        self._next = 1 if client else 2
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._buffer = bytearray()

    def open(self, headers: Mapping[str, str], *, fin: bool = False) -> tuple[int, bytes]:
        """Return the number of a new stream, and the frame that opens it."""
        stream = self._next
        self._next += 2
        body = stream.to_bytes(4, "big") + bytes(4) + bytes(2) + self._compress(headers)
        return stream, _control(_SYN_STREAM, body, flags=FIN if fin else 0)

    def reply(self, stream: int, headers: Mapping[str, str]) -> bytes:
        """Return the frame that accepts a stream of the peer's."""
        return _control(_SYN_REPLY, stream.to_bytes(4, "big") + self._compress(headers))

    def data(self, stream: int, data: bytes, *, fin: bool = False) -> bytes:
        """Return the frames that carry `data`, several if it is long."""
        pieces = [data[start : start + MAX_DATA] for start in range(0, len(data), MAX_DATA)] or [b""]
        last = len(pieces) - 1
        return b"".join(
            stream.to_bytes(4, "big")
            + bytes((FIN if fin and index == last else 0,))
            + len(piece).to_bytes(3, "big")
            + piece
            for index, piece in enumerate(pieces)
        )

    def reset(self, stream: int, status: int = 5) -> bytes:
        """Return the frame that breaks a stream off; 5 is CANCEL."""
        return _control(_RST_STREAM, stream.to_bytes(4, "big") + status.to_bytes(4, "big"))

    def pong(self, number: int) -> bytes:
        """Return the answer to a PING."""
        return _control(_PING, number.to_bytes(4, "big"))

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take in bytes, and yield what they complete.

        Raises:
            SpdyError: They are not SPDY/3.1.
        """
        self._buffer += data
        while len(self._buffer) >= 8:
            length = int.from_bytes(self._buffer[5:8], "big")
            if len(self._buffer) < 8 + length:
                return
            head, body = bytes(self._buffer[:8]), bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            event = self._decode(head, body)
            if event is not None:
                yield event

    def _decode(self, head: bytes, body: bytes) -> Event | None:
        fin = bool(head[4] & FIN)
        word = int.from_bytes(head[:2], "big")
        if not word & _CONTROL:
            return Event(Kind.DATA, int.from_bytes(head[:4], "big"), body, fin=fin)
        if word & ~_CONTROL != VERSION:
            raise SpdyError(f"SPDY version {word & ~_CONTROL}, expected {VERSION}")
        kind = int.from_bytes(head[2:4], "big")
        stream = int.from_bytes(body[:4], "big") & _STREAM_BITS
        if kind == _SYN_STREAM:
            return Event(Kind.OPENED, stream, headers=self._decompress(body[10:]), fin=fin)
        if kind in (_SYN_REPLY, _HEADERS):
            headers = self._decompress(body[4:])  # always: the compression goes on from block to block
            return Event(Kind.REPLIED, stream, headers=headers, fin=fin) if kind == _SYN_REPLY else None
        simple = {_RST_STREAM: Kind.RESET, _PING: Kind.PING, _GOAWAY: Kind.GOAWAY}.get(kind)
        return Event(simple, int.from_bytes(body[:4], "big")) if simple is not None else None

    def _compress(self, headers: Mapping[str, str]) -> bytes:
        block = len(headers).to_bytes(4, "big")
        for name, value in headers.items():
            block += _counted(name.lower()) + _counted(value)
        return self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def _decompress(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block)
        except zlib.error as err:
            raise SpdyError(f"header block: {err}") from err
        strings = _split(plain[4:])
        return dict(zip(strings, strings, strict=False))


def _control(kind: int, body: bytes, *, flags: int = 0) -> bytes:
    head = (_CONTROL | VERSION).to_bytes(2, "big") + kind.to_bytes(2, "big")
    return head + bytes((flags,)) + len(body).to_bytes(3, "big") + body


def _counted(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(4, "big") + data


def _split(block: bytes) -> Iterator[str]:
    position = 0
    while position + 4 <= len(block):
        length = int.from_bytes(block[position : position + 4], "big")
        position += 4
        yield block[position : position + length].decode(errors="replace")
        position += length
