"""Links on pages that come through a proxy: those that begin at the root of the server behind begin below the proxy's path.

Source: k8s.io/apimachinery/pkg/util/proxy/transport.go (v1.37).
"""

import gzip
import html
import posixpath
import re
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from knarr.kit.http.messages import Response

MAX_PAGE_BYTES = 2 << 20
"""Larger pages are passed on as they are."""

_ATTRIBUTES: Mapping[str, frozenset[str]] = {
    "a": frozenset(("href",)),
    "applet": frozenset(("codebase",)),
    "area": frozenset(("href",)),
    "audio": frozenset(("src",)),
    "base": frozenset(("href",)),
    "blockquote": frozenset(("cite",)),
    "body": frozenset(("background",)),
    "button": frozenset(("formaction",)),
    "command": frozenset(("icon",)),
    "del": frozenset(("cite",)),
    "embed": frozenset(("src",)),
    "form": frozenset(("action",)),
    "frame": frozenset(("longdesc", "src")),
    "head": frozenset(("profile",)),
    "html": frozenset(("manifest",)),
    "iframe": frozenset(("longdesc", "src")),
    "img": frozenset(("longdesc", "src", "usemap")),
    "input": frozenset(("src", "usemap", "formaction")),
    "ins": frozenset(("cite",)),
    "link": frozenset(("href",)),
    "object": frozenset(("classid", "codebase", "data", "usemap")),
    "q": frozenset(("cite",)),
    "script": frozenset(("src",)),
    "source": frozenset(("src",)),
    "video": frozenset(("poster", "src")),
}
_TAG = re.compile(r"<!--.*?(?:-->|\Z)|<([a-zA-Z][^\s/<>]*)((?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>", re.DOTALL)
_ATTRIBUTE = re.compile(r"(?<![^\s\"'>/=])([^\s\"'>/=]+)(\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s\"'>]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page is.

    Attributes:
        prefix: Path of the proxy, without a slash at its end.
        hosts: What the server behind may call itself: host, or host and port.
    """

    prefix: str
    hosts: frozenset[str] = frozenset()


def rewrite_url(url: str, place: Place) -> str:
    """Return where a link leads through the proxy; relative ones, and those to other servers, stay."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if (parts.netloc and parts.netloc not in place.hosts) or not parts.path.startswith("/"):
        return url
    path = parts.path
    if not path.startswith(place.prefix):
        path = posixpath.normpath(f"{place.prefix}/{path}") + ("/" if path.endswith("/") else "")
    return urlunsplit(("", "", path, parts.query, parts.fragment))


def rewrite_page(page: str, place: Place) -> str:
    """Return a page with its links through the proxy."""

    def tag(found: re.Match[str]) -> str:
        known = _ATTRIBUTES.get((found[1] or "").lower())
        if known is None:
            return found[0]

        def attribute(one: re.Match[str]) -> str:
            if one[1].lower() not in known:
                return one[0]
            text = one[3]
            value = html.unescape(text[1:-1] if text[0] in "\"'" else text)
            new = rewrite_url(value, place)
            return one[0] if new == value else f'{one[1]}{one[2]}"{html.escape(new)}"'

        return f"<{found[1]}{_ATTRIBUTE.sub(attribute, found[2])}>"

    return _TAG.sub(tag, page)


async def rewrite(response: Response, place: Place) -> Response:
    """Return an answer whose redirections, and links if it is a page, lead through the proxy."""
    location = response.headers.get("location")
    if location:
        response.headers.set("location", rewrite_url(location, place))
        return response
    kind = (response.headers.get("content-type") or "").partition(";")[0].strip()
    encoding = response.headers.get("content-encoding") or ""
    if kind != "text/html" or encoding not in ("", "gzip", "deflate"):
        return response
    body = response.body
    if not isinstance(body, bytes):
        begun, rest = await _begin(body)
        if rest is not None:
            return Response(response.status, response.headers, rest)
        body = begun
    return Response(response.status, response.headers, _recoded(body, encoding, place))


async def _begin(chunks: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """Read a page; of one that is too large return all of it as an iterator instead."""
    read: list[bytes] = []
    size_bytes = 0
    async for chunk in chunks:
        read.append(chunk)
        size_bytes += len(chunk)
        if size_bytes > MAX_PAGE_BYTES:
            return b"", _again(b"".join(read), chunks)
    return b"".join(read), None


async def _again(begun: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield begun
    async for chunk in chunks:
        yield chunk


def _recoded(body: bytes, encoding: str, place: Place) -> bytes:
    try:
        plain = _decoded(body, encoding)
    except (OSError, EOFError, zlib.error):
        return body
    page = rewrite_page(plain.decode(errors="surrogateescape"), place).encode(errors="surrogateescape")
    if encoding == "gzip":
        return gzip.compress(page, mtime=0)
    return zlib.compress(page, wbits=-zlib.MAX_WBITS) if encoding == "deflate" else page


def _decoded(body: bytes, encoding: str) -> bytes:
    if encoding == "":
        return body
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16 if encoding == "gzip" else -zlib.MAX_WBITS)
    plain = reader.decompress(body, MAX_PAGE_BYTES)
    if reader.unconsumed_tail:
        raise EOFError
    return plain
