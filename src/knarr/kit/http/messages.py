"""Requests and responses as values, shared by the HTTP server, the HTTP client and everything that serves or calls.

A server turns bytes into a `Request`, calls a `Handler`, and writes what it returns. A handler that wants the
connection itself (exec, attach, port-forward) returns a `Response` with status 101 and an `upgrade` function.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Headers:
    """HTTP header fields: names compared without case, repeated fields kept in order."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = items.items() if isinstance(items, Mapping) else items
        self._items: list[tuple[str, str]] = [(name.lower(), value) for name, value in pairs]

    @classmethod
    def from_lower(cls, items: list[tuple[str, str]]) -> "Headers":
        """Adopt a list of fields whose names are in lower case already, without copying it."""
        headers = cls.__new__(cls)
        headers._items = items
        return headers

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of `name`, or `default`."""
        name = name.lower()
        for key, value in self._items:
            if key == name:
                return value
        return default

    def get_all(self, name: str) -> list[str]:
        """Return every value of `name` in the order received."""
        name = name.lower()
        return [value for key, value in self._items if key == name]

    def add(self, name: str, value: str) -> None:
        """Append one field, keeping those of the same name."""
        self._items.append((name.lower(), value))

    def set(self, name: str, value: str) -> None:
        """Replace every field of `name` with one."""
        self.remove(name)
        self.add(name, value)

    def remove(self, name: str) -> None:
        """Drop every field of `name`; nothing happens if there is none."""
        name = name.lower()
        self._items = [item for item in self._items if item[0] != name]

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"Headers({[name for name, _ in self._items]})"


@dataclass(slots=True)
class Peer:
    """Who is at the other end of a connection.

    Attributes:
        address: The remote IP address; empty for a Unix socket or an in-process call.
        certificate: The client certificate (DER) that TLS verified against the configured CA, or None.
        identity: Set by an in-process transport alone, never from the wire: a user that needs no authentication.
    """

    address: str = ""
    certificate: bytes | None = None
    identity: object | None = None


class ByteStream(Protocol):
    """A connection after an upgrade: raw bytes both ways."""

    async def read(self) -> bytes:
        """Return the next bytes, at least one; empty means that the peer has finished sending."""

    async def write(self, data: bytes) -> None:
        """Send `data`, waiting while the peer is slow.

        Raises:
            ConnectionError: the peer has gone.
        """

    def write_eof(self) -> None:
        """Finish sending, if the transport can do so one way (TLS cannot); reading goes on."""

    def close(self) -> None:
        """Close both directions; calling it again does nothing."""


@dataclass(slots=True)
class Request:
    """One HTTP request with its whole body.

    Attributes:
        method: Upper case.
        path: As sent, percent-encoded, without the query; starts with "/".
        query: As sent, without the "?"; empty if there is none.
        headers: Header fields.
        body: The body, at most as long as the server's limit.
        peer: Who sent it.
    """

    method: str
    path: str
    query: str = ""
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    peer: Peer = field(default_factory=Peer)


@dataclass(slots=True)
class Response:
    """One HTTP response.

    Attributes:
        status: The status code.
        headers: Header fields; the server adds Content-Length or Transfer-Encoding, Date and Connection.
        body: All bytes, or an iterator of chunks (each is flushed at once; closed with `aclose` if the peer leaves).
        upgrade: With status 101: called with the connection once the headers are sent; the connection closes when it returns.
    """

    status: int = 200
    headers: Headers = field(default_factory=Headers)
    body: bytes | AsyncIterator[bytes] = b""
    upgrade: Callable[[ByteStream], Awaitable[None]] | None = None


@dataclass(slots=True)
class Streamed:
    """A response whose body is read as it comes: what `open_stream` gives.

    Attributes:
        status: The status code.
        headers: Header fields.
        chunks: The body in pieces of whatever size arrived; can be iterated once.
    """

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]


Handler = Callable[[Request], Awaitable[Response]]
"""What a server calls for each request. It answers errors itself; what it raises is a bug and becomes a bare 500."""
