"""Pages that come through a proxy lead through it."""

import gzip
import time
import zlib
from collections.abc import AsyncIterator

import pytest

from knarr.apiserver.proxy.links import MAX_PAGE_BYTES, Place, rewrite, rewrite_page, rewrite_url
from knarr.kit.http.messages import Headers, Response

PLACE = Place("/api/v1/namespaces/n/pods/p/proxy", frozenset(("10.0.0.1:80",)))


@pytest.mark.parametrize(
    ("url", "through"),
    [
        ("/a", "/api/v1/namespaces/n/pods/p/proxy/a"),
        ("/a/?q=1#f", "/api/v1/namespaces/n/pods/p/proxy/a/?q=1#f"),
        ("http://10.0.0.1:80/a", "/api/v1/namespaces/n/pods/p/proxy/a"),
        ("http://elsewhere/a", "http://elsewhere/a"),
        ("a/b", "a/b"),
        ("#f", "#f"),
        ("/api/v1/namespaces/n/pods/p/proxy/a", "/api/v1/namespaces/n/pods/p/proxy/a"),
        ("http://[", "http://["),
    ],
)
def test_url(url: str, through: str) -> None:
    assert rewrite_url(url, PLACE) == through


@pytest.mark.parametrize(
    ("page", "through"),
    [
        ('<a href="/x">test</a>', '<a href="/p/x">test</a>'),
        ("<A class=y href='/x?a=1&amp;b=2'>", '<A class=y href="/p/x?a=1&amp;b=2">'),
        ("<img src=/x alt=/y>", '<img src="/p/x" alt=/y>'),
        ('<p href="/x"><!-- <a href="/x"> -->', '<p href="/x"><!-- <a href="/x"> -->'),
        ('<a title="a > b" href="/x"><a href="x">', '<a title="a > b" href="/p/x"><a href="x">'),
        ("no tag < at all", "no tag < at all"),
    ],
)
def test_page(page: str, through: str) -> None:
    assert rewrite_page(page, Place("/p")) == through


def answer(body: bytes | AsyncIterator[bytes], **headers: str) -> Response:
    return Response(200, Headers({name.replace("_", "-"): value for name, value in headers.items()}), body)


async def test_pages_are_rewritten_as_they_are_packed() -> None:
    page, through = b'<a href="/x">', b'<a href="/p/x">'
    place = Place("/p")
    plain = await rewrite(answer(page, content_type="text/html; charset=utf-8"), place)
    assert plain.body == through
    packed = await rewrite(answer(gzip.compress(page), content_type="text/html", content_encoding="gzip"), place)
    assert isinstance(packed.body, bytes)
    assert gzip.decompress(packed.body) == through
    raw = zlib.compress(page, wbits=-15)
    deflated = await rewrite(answer(raw, content_type="text/html", content_encoding="deflate"), place)
    assert isinstance(deflated.body, bytes)
    assert zlib.decompress(deflated.body, wbits=-15) == through
    for body, more in (
        (page, {"content_type": "text/plain"}),
        (b"?", {"content_type": "text/html", "content_encoding": "br"}),
    ):
        assert (await rewrite(answer(body, **more), place)).body == body
    broken = await rewrite(answer(b"no gzip", content_type="text/html", content_encoding="gzip"), place)
    assert broken.body == b"no gzip"


async def test_redirections_lead_through_the_proxy() -> None:
    assert (await rewrite(answer(b"", location="/login"), Place("/p"))).headers.get("location") == "/p/login"


async def test_a_page_that_is_too_large_is_passed_on() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'<a href="/x">'
        yield b" " * MAX_PAGE_BYTES
        yield b"end"

    found = await rewrite(answer(chunks(), content_type="text/html"), Place("/p"))
    assert not isinstance(found.body, bytes)
    whole = b"".join([chunk async for chunk in found.body])
    assert whole.startswith(b'<a href="/x">')
    assert whole.endswith(b" end")


@pytest.mark.parametrize(
    "piece", ["<a ", '<a "', "<a '\"", '<a href="', "<!--", "<a href=", "<a", "x", "x ", "x =", "x='"]
)
def test_pages_made_to_be_slow_are_not(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    began = time.process_time()
    for page in (text, f"<a {text}>"):
        rewrite_page(page, Place("/p"))
    assert time.process_time() - began < 2
