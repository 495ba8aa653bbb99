"""port-forward for WebSocket clients: SPDY tunnelled through binary messages, or two channels a port.

Source: KEP-4006 (tunnel: subprotocol SPDY/3.1+portforward.k8s.io); pkg/kubelet/server/portforward/websocket.go (channels; v1.37).
"""

import asyncio
import contextlib
from collections.abc import Sequence

from knarr.kit.http.messages import ByteStream
from knarr.kit.http.websocket import WebSocket
from knarr.node.streaming import spdy
from knarr.node.streaming.channels import decode, encode

TUNNEL = "SPDY/3.1+portforward.k8s.io"
CHANNELS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io")
"""A client that offers no subprotocol gets the first, without its name."""
BACKEND_PROTOCOL = "portforward.k8s.io"


async def tunnel(client: ByteStream, backend: ByteStream) -> None:
    """Carry a SPDY connection inside a WebSocket."""
    socket = WebSocket(client)
    forth = asyncio.ensure_future(_unwrap(socket, backend))
    back = asyncio.ensure_future(_wrap(socket, backend))
    await _first(forth, back)
    await socket.close()


async def channels(client: ByteStream, backend: ByteStream, ports: Sequence[int], *, protocol: str = "") -> None:
    """Serve a client with two channels a port: data, and errors. Each begins with the port's number."""
    coded = "base64" in protocol
    socket = WebSocket(client, is_text=coded)
    framer = spdy.Framer(client=True)
    streams: list[int] = []
    frames = b""
    for index, port in enumerate(ports):
        about = {"port": str(port), "requestid": str(index)}
        error, error_frame = framer.open({"streamtype": "error", **about}, fin=True)
        data, data_frame = framer.open({"streamtype": "data", **about})
        streams += [data, error]
        frames += error_frame + data_frame
    with contextlib.suppress(ConnectionError):
        for channel in range(len(streams)):
            await socket.send(encode(channel, ports[channel // 2].to_bytes(2, "little"), coded=coded))
        await backend.write(frames)
        forth = asyncio.ensure_future(_to_streams(socket, backend, framer, streams, coded=coded))
        back = asyncio.ensure_future(_to_channels(socket, backend, framer, streams, coded=coded))
        await _first(forth, back)
        await socket.close()


async def _first(*tasks: "asyncio.Future[None]") -> None:
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _unwrap(socket: WebSocket, backend: ByteStream) -> None:
    while (message := await socket.receive()) is not None:
        if message:
            await backend.write(message)


async def _wrap(socket: WebSocket, backend: ByteStream) -> None:
    while data := await backend.read():
        await socket.send(data)


async def _to_streams(
    socket: WebSocket, backend: ByteStream, framer: spdy.Framer, streams: list[int], *, coded: bool
) -> None:
    while (message := await socket.receive()) is not None:
        if len(message) > 1:
            channel, data = decode(message, coded=coded)
            if 0 <= channel < len(streams) and channel % 2 == 0:
                await backend.write(framer.data(streams[channel], data))


async def _to_channels(
    socket: WebSocket, backend: ByteStream, framer: spdy.Framer, streams: list[int], *, coded: bool
) -> None:
    channels = {stream: channel for channel, stream in enumerate(streams)}
    open_data = set(streams[::2])
    while open_data and (data := await backend.read()):
        for event in framer.feed(data):
            if event.kind is spdy.Kind.PING:
                await backend.write(framer.pong(event.stream))
            elif event.kind is spdy.Kind.DATA and event.data and event.stream in channels:
                await socket.send(encode(channels[event.stream], event.data, coded=coded))
            if event.fin or event.kind is spdy.Kind.RESET:
                open_data.discard(event.stream)
