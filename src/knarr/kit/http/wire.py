"""Heads of HTTP/1.1 messages to bytes, and header names and values from bytes.

Header text is UTF-8 where it is valid and Latin-1 otherwise, so that any bytes that arrive become text that can be
encoded again.
"""

import time
from email.utils import formatdate
from http import HTTPStatus

from knarr.kit.http.errors import BadMessage
from knarr.kit.http.messages import Headers

NO_BODY_STATUSES = frozenset((204, 304))

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_KNOWN_NAMES = {
    spelled.encode(): name
    for name in (
        "host", "user-agent", "accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "upgrade",
        "transfer-encoding", "expect", "x-forwarded-for", "date", "audit-id", "cache-control", "warning", "vary",
        "x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid",
    )
    for spelled in (name, name.title())
}  # fmt: skip


def header_name(raw: bytes) -> str:
    """Return a header name in lower case."""
    return _KNOWN_NAMES.get(raw) or raw.decode("latin-1").lower()


def header_value(raw: bytes) -> str:
    """Return a header value as text."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def status_line(status: int) -> str:
    """Return the first line of a response with its line end."""
    return _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Status {status}\r\n"


class DateLine:
    """The Date field, formatted once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = ""

    def __call__(self) -> str:
        """Return the Date field of this second with its line end."""
        now = int(time.time())
        if self._second != now:
            self._second = now
            self._line = f"date: {formatdate(now, usegmt=True)}\r\n"
        return self._line


def check_target(method: str, target: str) -> None:
    """Refuse a method or request target that would not stay one word of the request line.

    Raises:
        BadMessage: it contains a space, a control character, or something that is not ASCII.
    """
    for word in (method, target):
        if not word.isascii() or not word.isprintable() or " " in word:
            raise BadMessage(f"{word!r} cannot stand in a request line: percent-encode it")


def encode_fields(headers: Headers, without: frozenset[str] = frozenset()) -> str:
    """Return header fields as lines.

    Args:
        headers: The fields.
        without: Names in lower case that are left out.

    Raises:
        BadMessage: a name or value contains a line end or NUL, which would let it forge further fields.
    """
    lines = [f"{name}: {value}\r\n" for name, value in headers if name not in without]
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        bad = next(name for name, value in headers if any(char in name + value for char in "\r\n\0"))
        raise BadMessage(f"header {bad!r} contains a line end")
    return text
