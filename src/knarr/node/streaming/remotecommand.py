"""exec and attach for WebSocket clients: one channel byte before each message, turned into SPDY streams of the runtime.

Channels are 0 stdin, 1 stdout, 2 stderr, 3 the final status, 4 terminal sizes; since v5, 255 closes the channel that its one byte names.

Source: k8s.io/apimachinery/pkg/util/httpstream/wsstream, k8s.io/apimachinery/pkg/util/remotecommand (v1.37); KEP-4006.
"""

import asyncio
from collections.abc import Mapping

import msgspec

from knarr.kit.http.messages import ByteStream
from knarr.kit.http.websocket import INTERNAL_ERROR, NORMAL, WebSocket
from knarr.node.streaming import spdy
from knarr.node.streaming.channels import decode, encode

PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
STATUS_IS_TEXT = ("channel.k8s.io", "base64.channel.k8s.io")
"""Protocols from before the status was an object: nothing for success, else a message."""
BACKEND_PROTOCOLS = ("v4.channel.k8s.io",)
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE = 255
NAMES = {STDIN: "stdin", STDOUT: "stdout", STDERR: "stderr", ERROR: "error", RESIZE: "resize"}


def wanted_channels(*, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> list[int]:
    """Return the channels that a command needs; with a terminal, stderr goes to stdout."""
    wanted = {ERROR: True, STDIN: stdin, STDOUT: stdout, STDERR: stderr and not tty, RESIZE: tty}
    return [channel for channel, present in wanted.items() if present]


async def translate(client: ByteStream, backend: ByteStream, channels: list[int], *, protocol: str) -> None:
    """Serve one WebSocket client until the command has ended or the client has gone.

    Args:
        client: The connection to the client, the WebSocket open.
        backend: The connection to the runtime, SPDY open.
        channels: As `wanted_channels` gives.
        protocol: The subprotocol that was agreed on.
    """
    framer = spdy.Framer(client=True)
    streams: dict[int, int] = {}
    frames = b""
    for channel in channels:
        stream, frame = framer.open({"streamtype": NAMES[channel]})
        streams[channel] = stream
        frames += frame
    await backend.write(frames)
    coded = "base64" in protocol
    socket = WebSocket(client, is_text=coded)
    forth = asyncio.ensure_future(_forth(socket, backend, framer, streams, coded=coded))
    back = asyncio.ensure_future(_back(socket, backend, framer, streams, protocol))
    try:
        await asyncio.wait((forth, back), return_when=asyncio.FIRST_COMPLETED)
    finally:
        forth.cancel()
        back.cancel()
        _, ended = await asyncio.gather(forth, back, return_exceptions=True)
    status = ended if isinstance(ended, bytes) and ended else None
    await socket.close(INTERNAL_ERROR if isinstance(ended, Exception) else NORMAL, last=status)


async def _forth(
    socket: WebSocket, backend: ByteStream, framer: spdy.Framer, streams: Mapping[int, int], *, coded: bool
) -> None:
    """Pass on what the client sends."""
    while (message := await socket.receive()) is not None:
        if not message:
            continue
        channel, data = decode(message, coded=coded)
        if channel == CLOSE:
            stream = streams.get(data[0]) if data else None
            if stream is not None:
                await backend.write(framer.data(stream, b"", fin=True))
        elif channel in (STDIN, RESIZE) and channel in streams and data:
            await backend.write(framer.data(streams[channel], data))


async def _back(
    socket: WebSocket, backend: ByteStream, framer: spdy.Framer, streams: Mapping[int, int], protocol: str
) -> bytes:
    """Pass on what the command says until all of it and the status have come; return the message with the status.

    Many clients hang up at the status while another thread of theirs still reads (httpx's WebSocket leaves its thread on a
    closed descriptor), so it goes out together with the close.
    """
    coded = "base64" in protocol
    channels = {stream: channel for channel, stream in streams.items()}
    awaited = {stream for channel, stream in streams.items() if channel in (STDOUT, STDERR, ERROR)}
    status = b""
    while awaited and (data := await backend.read()):
        for event in framer.feed(data):
            channel = channels.get(event.stream)
            if event.kind is spdy.Kind.PING:
                await backend.write(framer.pong(event.stream))
            elif event.kind is spdy.Kind.DATA and channel == ERROR:
                status += event.data
            elif event.kind is spdy.Kind.DATA and event.data and channel is not None:
                await socket.send(encode(channel, event.data, coded=coded))
            if event.fin or event.kind is spdy.Kind.RESET:
                awaited.discard(event.stream)
    text = _status_text(status) if protocol in STATUS_IS_TEXT else status
    return encode(ERROR, text, coded=coded) if text else b""


def _status_text(status: bytes) -> bytes:
    """Return what clients from before the status was an object are told: nothing of a success."""
    try:
        found = msgspec.json.decode(status) if status else {"status": "Success"}
    except msgspec.DecodeError:
        return status
    if not isinstance(found, dict):
        return status
    return b"" if found.get("status") == "Success" else str(found.get("message") or "").encode()
