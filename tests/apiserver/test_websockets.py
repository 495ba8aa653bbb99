"""Watches over WebSockets, from in front of the API server."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from websockets.frames import Frame
from websockets.protocol import Protocol, Side

from knarr.apiserver import websockets
from knarr.kit.http.messages import ByteStream, Headers, Request, Response
from knarr.kit.http.stream import pipe
from tests.apiserver.conftest import Api

UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def frames(stream: ByteStream) -> AsyncIterator[Frame]:
    protocol = Protocol(Side.CLIENT)
    while data := await stream.read():
        protocol.receive_data(data)
        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            yield frame


async def test_a_watch_sends_each_event_as_a_text_message(api: Api) -> None:
    await api.ok("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "a"}})
    request = Request("GET", "/api/v1/namespaces/default/configmaps", "watch=1", Headers(UPGRADE))
    async with api.transport.open_upgrade(request) as (response, stream):
        assert response.headers.get("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        received = frames(stream)
        first = json.loads((await anext(received)).data)
        await api.ok("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "b"}})
        second = json.loads((await anext(received)).data)
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in (first, second)] == [
        ("ADDED", "a"),
        ("ADDED", "b"),
    ]


async def collect(protocols: str, pieces: list[bytes]) -> tuple[Response, list[Any]]:
    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    request = Request("GET", "/log", "", Headers({**UPGRADE, "sec-websocket-protocol": protocols}))
    response = websockets.wrap_log(request, Response(200, Headers(), body()))
    ours, theirs = pipe()
    assert response.upgrade is not None
    serving = asyncio.ensure_future(response.upgrade(theirs))
    messages = []
    async for frame in frames(ours):
        if frame.opcode.name == "CLOSE":
            break
        messages.append((frame.opcode.name, bytes(frame.data)))
    ours.close()
    with contextlib.suppress(ConnectionError):
        await serving
    return response, messages


async def test_a_log_is_binary_or_base64_as_the_caller_offers() -> None:
    response, messages = await collect("binary.k8s.io", [b"one\n", b"two\n"])
    assert response.headers.get("sec-websocket-protocol") == "binary.k8s.io"
    assert messages == [("BINARY", b"one\n"), ("BINARY", b"two\n")]
    response, messages = await collect("unknown, base64.binary.k8s.io", [b"one\n"])
    assert response.headers.get("sec-websocket-protocol") == "base64.binary.k8s.io"
    assert messages == [("TEXT", b"b25lCg==")]
