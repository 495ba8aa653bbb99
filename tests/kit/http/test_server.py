"""The server over real loopback and Unix sockets, spoken to in raw bytes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from knarr.kit.http import server
from knarr.kit.http.connection import Limits
from knarr.kit.http.messages import ByteStream, Headers, Request, Response

HOST = b"Host: test\r\n"


class Wire:
    """A raw connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        first, *lines = raw.decode().split("\r\n")
        return int(first.split()[1]), dict(line.split(": ", 1) for line in lines if line)

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        return status, headers, await self.reader.readexactly(int(headers.get("content-length", "0")))

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 5)


@contextlib.asynccontextmanager
async def connected(handler, **options) -> AsyncIterator[Wire]:
    async with server.open_server(handler, **options) as running:
        wire = await connect(running)
        try:
            yield wire
        finally:
            wire.writer.close()


async def connect(running: server.Server) -> Wire:
    return Wire(*await asyncio.open_connection(running.address, running.port))


async def echo(request: Request) -> Response:
    text = f"{request.method} {request.path}?{request.query} ".encode() + request.body
    return Response(200, Headers({"X-Seen": request.headers.get("x-in") or ""}), text)


async def test_answers_with_length_date_and_handler_headers():
    async with connected(echo) as wire:
        wire.send(b"GET /a%20b?c=d HTTP/1.1\r\nX-In: Yes\r\n" + HOST + b"\r\n")
        status, headers, body = await wire.response()
    assert (status, body) == (200, b"GET /a%20b?c=d ")
    assert headers["x-seen"] == "Yes"
    assert headers["date"].endswith("GMT")


async def test_keep_alive_serves_requests_one_after_the_other():
    async with connected(echo) as wire:
        for number in range(3):
            wire.send(b"GET /%d HTTP/1.1\r\n" % number + HOST + b"\r\n")
            assert (await wire.response())[2] == b"GET /%d? " % number


async def test_pipelined_requests_are_answered_in_order():
    async def slow_first(request: Request) -> Response:
        if request.path == "/0":
            for _ in range(20):
                await asyncio.sleep(0)
        return Response(200, body=request.path.encode())

    async with connected(slow_first) as wire:
        wire.send(b"".join(b"GET /%d HTTP/1.1\r\n" % n + HOST + b"\r\n" for n in range(5)))
        assert [(await wire.response())[2] for _ in range(5)] == [b"/0", b"/1", b"/2", b"/3", b"/4"]


async def test_request_sent_byte_by_byte_is_read_whole():
    async with connected(echo) as wire:
        for byte in b"POST /path?q=1 HTTP/1.1\r\nHost: t\r\nX-In: v\r\nContent-Length: 5\r\n\r\nhello":
            wire.send(bytes([byte]))
            await wire.writer.drain()
            await asyncio.sleep(0)
        status, headers, body = await wire.response()
    assert (status, headers["x-seen"], body) == (200, "v", b"POST /path?q=1 hello")


async def test_chunked_request_body_is_joined_and_trailers_dropped():
    async with connected(echo) as wire:
        wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        wire.send(b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-In: trailer\r\n\r\n")
        status, headers, body = await wire.response()
    assert (status, headers["x-seen"], body) == (200, "", b"POST /? abcde")


async def test_expect_continue_is_answered_before_the_body():
    async with connected(echo) as wire:
        wire.send(b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await wire.head())[0] == 100
        wire.send(b"ok")
        assert (await wire.response())[2] == b"PUT /? ok"


async def test_expect_continue_of_a_too_large_body_is_refused_at_once():
    async with connected(echo, limits=Limits(body_bytes=10)) as wire:
        wire.send(b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 11\r\nExpect: 100-continue\r\n\r\n")
        assert (await wire.response())[0] == 413


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 11\r\n\r\n12345678901", 413),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 600 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 600, 431),
        (b"GET /" + b"y" * 600 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/3.7\r\n" + HOST + b"\r\n", 400),
        (b"GET  HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        # What a proxy in front might read differently.
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost : t\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: t\n\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n", 400),
    ],
)
async def test_bad_requests_never_reach_the_handler_and_end_the_connection(message, status):
    reached = []

    async def handler(request: Request) -> Response:
        reached.append(request)
        return Response()

    async with connected(handler, limits=Limits(body_bytes=10, header_bytes=500)) as wire:
        wire.send(message)
        answer, headers, _ = await wire.response()
        assert (answer, headers["connection"]) == (status, "close")
        assert await wire.rest() == b""
    assert reached == []


async def test_refusals_are_made_by_the_given_function():
    def reject(status: int, why: str) -> Response:
        return Response(status, Headers({"content-type": "application/json"}), b'{"code":%d}' % status)

    async with connected(echo, reject=reject, limits=Limits(body_bytes=1)) as wire:
        wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nab")
        assert (await wire.response())[2] == b'{"code":413}'


async def test_a_good_request_before_a_bad_one_is_still_answered():
    async with connected(echo) as wire:
        wire.send(b"GET /good HTTP/1.1\r\n" + HOST + b"\r\nBAD\r\n\r\n")
        assert (await wire.response())[2] == b"GET /good? "
        assert (await wire.response())[0] == 400


async def test_absolute_form_is_served_by_its_path():
    async with connected(echo) as wire:
        wire.send(b"GET http://other/x?y HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await wire.response())[2] == b"GET /x?y "


async def test_head_has_the_length_but_no_body():
    async with connected(echo) as wire:
        wire.send(b"HEAD /abc HTTP/1.1\r\n" + HOST + b"\r\nGET /next HTTP/1.1\r\n" + HOST + b"\r\n")
        status, headers = await wire.head()
        assert (status, headers["content-length"]) == (200, str(len("HEAD /abc? ")))
        assert (await wire.response())[2] == b"GET /next? "


async def test_no_content_has_neither_length_nor_body():
    async def handler(request: Request) -> Response:
        return Response(204)

    async with connected(handler) as wire:
        wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        status, headers = await wire.head()
    assert status == 204
    assert "content-length" not in headers


async def test_http_1_0_closes_unless_asked_to_keep_alive():
    async with connected(echo) as wire:
        wire.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        _, headers, _ = await wire.response()
        assert headers["connection"] == "keep-alive"
        wire.send(b"GET /b HTTP/1.0\r\n\r\n")
        _, headers, body = await wire.response()
        assert (headers["connection"], body) == ("close", b"GET /b? ")
        assert await wire.rest() == b""


async def test_connection_close_is_obeyed():
    async with connected(echo) as wire:
        wire.send(b"GET / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
        await wire.response()
        assert await wire.rest() == b""


async def test_handler_exception_is_a_bare_500_logged_once(caplog):
    async def handler(request: Request) -> Response:
        raise RuntimeError("secret detail")

    with caplog.at_level(logging.ERROR):
        async with connected(handler) as wire:
            wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            status, _, body = await wire.response()
    assert status == 500
    assert b"secret" not in body
    assert len(caplog.records) == 1


async def test_header_with_line_end_is_not_sent(caplog):
    async def handler(request: Request) -> Response:
        return Response(200, Headers({"location": "/x\r\nset-cookie: evil"}))

    async with connected(handler) as wire:
        wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        status, headers, _ = await wire.response()
    assert status == 500
    assert "set-cookie" not in headers


def ticker(closed: asyncio.Event, go: asyncio.Event | None = None):
    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            yield b""
            yield b"two!"
            if go is not None:
                await go.wait()
        finally:
            closed.set()

    async def handler(request: Request) -> Response:
        return Response(200, body=chunks())

    return handler


async def test_stream_is_chunked_and_keeps_the_connection():
    closed = asyncio.Event()
    async with connected(ticker(closed)) as wire:
        for _ in range(2):
            wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            _, headers = await wire.head()
            assert headers["transfer-encoding"] == "chunked"
            assert await wire.reader.readuntil(b"0\r\n\r\n") == b"3\r\none\r\n4\r\ntwo!\r\n0\r\n\r\n"
    assert closed.is_set()


async def test_stream_to_http_1_0_ends_with_the_connection():
    async with connected(ticker(asyncio.Event())) as wire:
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        _, headers = await wire.head()
        assert "transfer-encoding" not in headers
        assert await wire.rest() == b"onetwo!"


async def test_each_chunk_is_flushed_at_once():
    go = asyncio.Event()
    async with connected(ticker(asyncio.Event(), go)) as wire:
        wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await wire.head()
        assert await asyncio.wait_for(wire.reader.readexactly(17), 5) == b"3\r\none\r\n4\r\ntwo!\r\n"
        go.set()


async def test_stream_is_closed_when_the_peer_leaves():
    closed = asyncio.Event()
    async with connected(ticker(closed, asyncio.Event())) as wire:
        wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await wire.head()
        wire.writer.close()
        await asyncio.wait_for(closed.wait(), 5)


async def test_handler_is_cancelled_when_the_connection_breaks():
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> Response:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return Response()

    async with connected(handler, limits=Limits(half_close_s=0.02)) as wire:
        wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await started.wait()
        wire.writer.transport.abort()
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_half_closed_peer_still_gets_its_answer():
    async with connected(echo) as wire:
        wire.send(b"GET /x HTTP/1.1\r\n" + HOST + b"\r\n")
        wire.writer.write_eof()
        assert (await wire.response())[2] == b"GET /x? "


async def test_slow_reader_holds_the_stream_back():
    produced = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal produced
        for _ in range(4000):
            produced += 1
            yield b"x" * 65536

    async def handler(request: Request) -> Response:
        return Response(200, body=flood())

    async with server.open_server(handler, grace_s=0.05) as running:
        wire = await connect(running)
        wire.writer.transport.pause_reading()
        wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        seen = -1
        while produced == 0 or produced != seen:
            seen = produced
            await asyncio.sleep(0.05)
        assert produced < 1000
        wire.writer.transport.abort()


async def test_failing_stream_cuts_the_connection(caplog):
    async def broken() -> AsyncIterator[bytes]:
        yield b"part"
        raise RuntimeError("lost my source")

    async def handler(request: Request) -> Response:
        return Response(200, body=broken())

    async with connected(handler) as wire:
        wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await wire.head()
        try:
            rest = await wire.rest()
        except ConnectionResetError:
            rest = b""
        assert not rest.endswith(b"0\r\n\r\n")


async def shout(stream: ByteStream) -> None:
    while data := await stream.read():
        await stream.write(data.upper())
    await stream.write(b".")


async def upgrader(request: Request) -> Response:
    if request.path == "/plain":
        return Response(200, body=b"plain")
    return Response(101, Headers({"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}), upgrade=shout)


UPGRADE = b"Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"


async def test_upgrade_gives_the_connection_with_bytes_already_sent():
    async with connected(upgrader) as wire:
        wire.send(b"POST /exec HTTP/1.1\r\n" + HOST + UPGRADE + b"Content-Length: 0\r\n\r\nearly")
        status, headers = await wire.head()
        assert (status, headers["upgrade"]) == (101, "SPDY/3.1")
        assert await wire.reader.readexactly(5) == b"EARLY"
        wire.send(b" late")
        assert await wire.reader.readexactly(5) == b" LATE"
        wire.writer.write_eof()
        assert await wire.rest() == b"."


async def test_refused_upgrade_goes_on_as_http():
    async with connected(upgrader) as wire:
        wire.send(b"GET /plain HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\nGET /plain HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await wire.response())[2] == b"plain"
        assert (await wire.response())[2] == b"plain"


async def test_upgrade_that_the_peer_did_not_ask_for_is_refused():
    async with connected(upgrader) as wire:
        wire.send(b"GET /exec HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await wire.response())[0] == 400


async def test_idle_connection_is_closed():
    async with connected(echo, limits=Limits(idle_timeout_s=0.05)) as wire:
        wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await wire.response()
        assert await wire.rest() == b""


async def test_request_that_trickles_in_is_cut():
    async with connected(echo, limits=Limits(read_timeout_s=0.05)) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHo")
        assert await wire.rest() == b""


async def test_shutdown_finishes_running_requests():
    go, started = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> Response:
        started.set()
        await go.wait()
        return Response(200, body=b"done")

    context = server.open_server(handler)
    wire = await connect(await context.__aenter__())
    idle = Wire(wire.reader, wire.writer)
    wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    await started.wait()
    stopping = asyncio.create_task(context.__aexit__(None, None, None))
    await asyncio.sleep(0)
    go.set()
    _, headers, body = await idle.response()
    assert (headers["connection"], body) == ("close", b"done")
    await asyncio.wait_for(stopping, 5)
    wire.writer.close()


async def test_shutdown_ends_streams_in_order():
    closed = asyncio.Event()
    context = server.open_server(ticker(closed, asyncio.Event()))
    wire = await connect(await context.__aenter__())
    wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    await wire.head()
    await wire.reader.readexactly(17)
    await asyncio.wait_for(context.__aexit__(None, None, None), 5)
    assert await wire.rest() == b"0\r\n\r\n"
    assert closed.is_set()
    wire.writer.close()


async def test_shutdown_cuts_what_outlasts_the_grace():
    async def handler(request: Request) -> Response:
        await asyncio.Event().wait()
        return Response()

    async with server.open_server(handler, grace_s=0.01) as running:
        wire = await connect(running)
        wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        while not running.connection_count:
            await asyncio.sleep(0)
    assert running.connection_count == 0
    wire.writer.close()


async def test_serves_a_unix_socket(tmp_path):
    path = tmp_path / "s"
    async with server.open_server(echo, unix_path=path):
        wire = Wire(*await asyncio.open_unix_connection(str(path)))
        wire.send(b"GET /u HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await wire.response())[2] == b"GET /u? "
        wire.writer.close()


async def test_peer_address_is_reported():
    async def handler(request: Request) -> Response:
        return Response(200, body=request.peer.address.encode())

    async with connected(handler) as wire:
        wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await wire.response())[2] == b"127.0.0.1"
