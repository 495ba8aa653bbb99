"""The client against our own server, and against raw sockets where a server must misbehave."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from knarr.kit import pki
from knarr.kit.http import client, errors, server
from knarr.kit.http.messages import ByteStream, Headers, Request, Response


@contextlib.asynccontextmanager
async def serving(handler, **options) -> AsyncIterator[client.Client]:
    async with server.open_server(handler, **options) as running:
        caller = client.Client(f"http://{running.address}:{running.port}")
        try:
            yield caller
        finally:
            await caller.aclose()


@contextlib.asynccontextmanager
async def scripted(*answers: bytes | None, close: bool = True) -> AsyncIterator[tuple[client.Client, list[bytes]]]:
    """A server that answers the n-th request with the n-th bytes and closes; None closes without an answer."""
    seen: list[bytes] = []
    script = list(answers)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
                answer = script.pop(0)
                if answer is not None:
                    writer.write(answer)
                if answer is None or close:
                    break
        writer.close()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    caller = client.Client(f"http://127.0.0.1:{port}")
    try:
        yield caller, seen
    finally:
        await caller.aclose()
        listener.close()


async def echo(request: Request) -> Response:
    return Response(
        200, Headers({"x-method": request.method, "x-host": request.headers.get("host") or ""}), request.body
    )


async def test_request_returns_status_headers_and_body():
    async with serving(echo) as caller:
        response = await caller.request(Request("POST", "/", body=b"x" * 300_000))
        assert response.status == 200
        assert response.headers.get("X-Method") == "POST"
        assert response.headers.get("x-host") == caller.address
        assert response.body == b"x" * 300_000


async def test_connections_are_reused():
    async with server.open_server(echo) as running:
        caller = client.Client(f"http://127.0.0.1:{running.port}")
        for method in ("GET", "POST", "HEAD", "GET"):
            await caller.request(Request(method, "/", body=b"a"))
        assert running.connection_count == 1
        await caller.aclose()


async def test_concurrent_requests_do_not_mix():
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0)
        return Response(200, body=request.path.encode())

    async with serving(handler) as caller:
        answers = await asyncio.gather(*(caller.request(Request("GET", f"/{n}")) for n in range(50)))
    assert [answer.body for answer in answers] == [f"/{n}".encode() for n in range(50)]


async def test_base_path_is_put_before_the_request_path():
    async def handler(request: Request) -> Response:
        return Response(200, body=f"{request.path}?{request.query}".encode())

    async with server.open_server(handler) as running:
        caller = client.Client(f"http://127.0.0.1:{running.port}/clusters/a/")
        assert (await caller.request(Request("GET", "/api", "x=1"))).body == b"/clusters/a/api?x=1"
        await caller.aclose()


async def test_stale_pooled_connection_is_replaced_for_idempotent_requests():
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with scripted(ok, None, ok, close=False) as (caller, seen):
        await caller.request(Request("GET", "/1"))
        assert (await caller.request(Request("GET", "/2"))).body == b"ok"
    assert [line.split()[1] for line in seen] == [b"/1", b"/2", b"/2"]


async def test_post_is_not_sent_twice():
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with scripted(ok, None, ok, close=False) as (caller, seen):
        await caller.request(Request("GET", "/1"))
        with pytest.raises(errors.ConnectionLost, match="before it answered"):
            await caller.request(Request("POST", "/2"))
    assert len(seen) == 2


async def test_body_without_length_ends_with_the_connection():
    async with scripted(b"HTTP/1.1 200 OK\r\n\r\nall of it") as (caller, _):
        assert (await caller.request(Request("GET", "/"))).body == b"all of it"


async def test_truncated_body_is_an_error():
    async with scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf") as (caller, _):
        with pytest.raises(errors.ConnectionLost, match="in the middle") as caught:
            await caller.request(Request("GET", "/"))
    assert caught.value.answered


async def test_truncated_chunked_body_is_an_error():
    async with scripted(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n") as (caller, _):
        with pytest.raises(errors.ConnectionLost):
            await caller.request(Request("GET", "/"))


async def test_interim_answers_are_passed_over():
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\na"
    async with scripted(answer) as (caller, _):
        response = await caller.request(Request("GET", "/"))
    assert (response.status, response.body, "link" in response.headers) == (201, b"a", False)


async def test_answer_that_is_not_http_is_an_error():
    async with scripted(b"SSH-2.0-OpenSSH\r\n\r\n") as (caller, _):
        with pytest.raises(errors.BadResponse):
            await caller.request(Request("GET", "/"))


async def test_refused_connection_is_named(unused_tcp_port):
    with pytest.raises(errors.ConnectRefused, match=f"127.0.0.1:{unused_tcp_port}: connection refused"):
        await client.Client(f"http://127.0.0.1:{unused_tcp_port}").request(Request("GET", "/"))


async def test_missing_unix_socket_is_refused(tmp_path):
    caller = client.Client("http://localhost", unix_path=str(tmp_path / "none"))
    with pytest.raises(errors.ConnectRefused):
        await caller.request(Request("GET", "/"))


async def test_answer_that_takes_too_long_times_out():
    async def handler(request: Request) -> Response:
        await asyncio.Event().wait()
        return Response()

    async with serving(handler, grace_s=0.0) as caller:
        with pytest.raises(errors.ResponseTimeout):
            await caller.request(Request("GET", "/"), timeout_s=0.02)


async def test_body_over_the_limit_is_refused():
    async with serving(echo) as caller:
        with pytest.raises(errors.BodyTooLarge):
            await caller.request(Request("POST", "/", body=b"12345"), max_body_bytes=4)


@pytest.mark.parametrize("path", ["/a b", "/a\r\nHost: evil", "/ü"])
async def test_path_that_would_break_the_request_line_is_refused(path):
    async with serving(echo) as caller:
        with pytest.raises(errors.BadMessage):
            await caller.request(Request("GET", path))


async def test_stream_gives_chunks_as_they_come_and_leaving_early_stops_the_server():
    go, closed = asyncio.Event(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await go.wait()
            yield b"second"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def handler(request: Request) -> Response:
        return Response(200, body=chunks())

    async with serving(handler) as caller:
        async with caller.open_stream(Request("GET", "/")) as streamed:
            assert await anext(streamed.chunks) == b"first"
            go.set()
            assert await anext(streamed.chunks) == b"second"
        await asyncio.wait_for(closed.wait(), 5)


async def test_slow_consumer_of_a_stream_holds_the_server_back():
    produced = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal produced
        for _ in range(2000):
            produced += 1
            yield b"x" * 65536

    async def handler(request: Request) -> Response:
        return Response(200, body=flood())

    async with serving(handler) as caller, caller.open_stream(Request("GET", "/")) as streamed:
        seen = -1
        while produced == 0 or produced != seen:
            seen = produced
            await asyncio.sleep(0.05)
        assert produced < 1000
        assert sum([len(chunk) async for chunk in streamed.chunks]) == 2000 * 65536


async def shout(stream: ByteStream) -> None:
    while data := await stream.read():
        await stream.write(data.upper())


async def upgrader(request: Request) -> Response:
    if request.path == "/no":
        return Response(403, body=b"forbidden")
    return Response(101, Headers({"Connection": "Upgrade", "Upgrade": "X"}), upgrade=shout)


UPGRADE = Headers({"Connection": "Upgrade", "Upgrade": "X"})


async def test_upgrade_gives_a_byte_stream():
    async with (
        serving(upgrader) as caller,
        caller.open_upgrade(Request("POST", "/", headers=UPGRADE)) as (response, stream),
    ):
        assert response.headers.get("upgrade") == "X"
        await stream.write(b"hello")
        assert await stream.read() == b"HELLO"
        stream.write_eof()
        assert await stream.read() == b""


async def test_refused_upgrade_carries_the_answer():
    async with serving(upgrader) as caller:
        with pytest.raises(errors.UpgradeRefused) as caught:
            async with caller.open_upgrade(Request("POST", "/no", headers=UPGRADE)):
                pass
    assert (caught.value.response.status, caught.value.response.body) == (403, b"forbidden")


async def test_unix_socket_is_called(tmp_path):
    path = str(tmp_path / "s")
    async with server.open_server(echo, unix_path=path):
        caller = client.Client("http://localhost", unix_path=path)
        assert (await caller.request(Request("PUT", "/", body=b"u"))).body == b"u"
        await caller.aclose()


class Certificates:
    def __init__(self, folder) -> None:
        authority = pki.Authority.create("test-ca", now=datetime.now(UTC))
        self.ca = authority.pair.certificate.decode()
        now = datetime.now(UTC)
        server_pair = authority.issue(pki.Subject("server", dns_names=("knarr.test",)), (pki.Usage.SERVER,), now=now)
        client_pair = authority.issue(pki.Subject("alice", ("devs",)), (pki.Usage.CLIENT,), now=now)
        pki.write_pair(server_pair, folder / "s.crt", folder / "s.key")
        pki.write_pair(client_pair, folder / "c.crt", folder / "c.key")
        self.client_der = ssl.PEM_cert_to_DER_cert(client_pair.certificate.decode())
        self.server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=self.ca)
        self.server_tls.load_cert_chain(folder / "s.crt", folder / "s.key")
        self.server_tls.verify_mode = ssl.CERT_OPTIONAL
        self.client_tls = ssl.create_default_context(cadata=self.ca)
        self.client_tls.load_cert_chain(folder / "c.crt", folder / "c.key")


async def test_tls_verifies_the_overridden_name_and_shows_the_client_certificate(tmp_path):
    certificates = Certificates(tmp_path)
    peers = []

    async def handler(request: Request) -> Response:
        peers.append(request.peer.certificate)
        return Response(200, body=b"x" * 100_000)

    async with server.open_server(handler, tls=certificates.server_tls) as running:
        url = f"https://127.0.0.1:{running.port}"
        caller = client.Client(url, tls=certificates.client_tls, server_hostname="knarr.test")
        assert len((await caller.request(Request("GET", "/"))).body) == 100_000
        await caller.aclose()
        anonymous = client.Client(
            url, tls=ssl.create_default_context(cadata=certificates.ca), server_hostname="knarr.test"
        )
        await anonymous.request(Request("GET", "/"))
        await anonymous.aclose()
        with pytest.raises(errors.TlsFailed):
            await client.Client(url, tls=certificates.client_tls).request(Request("GET", "/"))
        with pytest.raises(errors.TlsFailed):
            await client.Client(url, tls=ssl.create_default_context()).request(Request("GET", "/"))
    assert peers == [certificates.client_der, None]
