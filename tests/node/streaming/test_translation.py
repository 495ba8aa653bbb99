"""WebSocket clients in front of a SPDY server, over connections in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side

from knarr.kit.http import websocket
from knarr.kit.http.messages import ByteStream, Headers, Request
from knarr.kit.http.stream import pipe
from knarr.node.streaming import portforward, remotecommand, spdy


@dataclass
class Browser:
    """A WebSocket client."""

    stream: ByteStream
    protocol: Protocol = field(default_factory=lambda: Protocol(Side.CLIENT))
    messages: list[bytes] = field(default_factory=list)
    close_code: int | None = None
    expected: Opcode = Opcode.BINARY

    async def send(self, data: bytes) -> None:
        self.protocol.send_binary(data)
        await self.flush()

    async def flush(self) -> None:
        for piece in self.protocol.data_to_send():
            if piece:
                await self.stream.write(piece)

    async def read_all(self) -> list[bytes]:
        while self.close_code is None and (data := await self.stream.read()):
            self.protocol.receive_data(data)
            await self.flush()
            for frame in self.protocol.events_received():
                if frame.opcode is self.expected:  # type: ignore[union-attr]
                    self.messages.append(bytes(frame.data))  # type: ignore[union-attr]
            self.close_code = self.protocol.close_rcvd.code if self.protocol.close_rcvd else None
        return self.messages


@dataclass
class Command:
    """A SPDY server that knows its streams by type."""

    stream: ByteStream
    framer: spdy.Framer = field(default_factory=lambda: spdy.Framer(client=False))
    streams: dict[str, int] = field(default_factory=dict)
    events: list[spdy.Event] = field(default_factory=list)

    async def read(self, until: Callable[["Command"], bool]) -> None:
        while not until(self):
            for event in self.framer.feed(await self.stream.read()):
                if event.kind is spdy.Kind.OPENED and event.headers is not None:
                    self.streams[event.headers["streamtype"]] = event.stream
                else:
                    self.events.append(event)

    async def say(self, kind: str, data: bytes, *, fin: bool = False) -> None:
        await self.stream.write(self.framer.data(self.streams[kind], data, fin=fin))


Serve = Callable[[ByteStream, ByteStream], Awaitable[None]]


@pytest.fixture
async def start() -> AsyncIterator[Callable[[Serve], tuple[Browser, Command]]]:
    tasks: list[asyncio.Future[None]] = []

    def begin(serve: Serve) -> tuple[Browser, Command]:
        (client, ours), (theirs, backend) = pipe(), pipe()
        tasks.append(asyncio.ensure_future(serve(ours, theirs)))
        return Browser(client), Command(backend)

    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


Start = Callable[[Serve], tuple[Browser, Command]]


async def test_exec_carries_each_channel_and_closes_after_the_status(start: Start) -> None:
    channels = remotecommand.wanted_channels(stdin=True, stdout=True, stderr=True, tty=False)
    browser, command = start(lambda a, b: remotecommand.translate(a, b, channels, protocol="v5.channel.k8s.io"))
    await command.read(lambda c: len(c.streams) == 4)
    assert set(command.streams) == {"error", "stdin", "stdout", "stderr"}
    await browser.send(b"\x00input")
    await browser.send(b"\xff\x00")
    await command.read(lambda c: len(c.events) == 2)
    stdin = command.streams["stdin"]
    assert command.events == [
        spdy.Event(spdy.Kind.DATA, stdin, b"input"),
        spdy.Event(spdy.Kind.DATA, stdin, b"", fin=True),
    ]
    for kind in ("stdout", "stderr"):
        await command.say(kind, kind.encode())
        await command.say(kind, b"", fin=True)
    await command.say("error", b'{"status":"Success"}', fin=True)
    assert await browser.read_all() == [b"\x01stdout", b"\x02stderr", b'\x03{"status":"Success"}']
    assert browser.close_code == 1000


async def test_status_and_close_come_in_one_piece(start: Start) -> None:
    """A client that is done with the status has nothing left to read."""
    channels = remotecommand.wanted_channels(stdin=False, stdout=True, stderr=False, tty=False)
    browser, command = start(lambda a, b: remotecommand.translate(a, b, channels, protocol="v5.channel.k8s.io"))
    await command.read(lambda c: len(c.streams) == 2)
    await command.say("error", b'{"status":"Success"}', fin=True)
    await command.say("stdout", b"late", fin=True)
    assert (await browser.stream.read()).endswith(b"\x01late")
    last = await browser.stream.read()
    assert (b'\x03{"status":"Success"}' in last, last[-4:]) == (True, b"\x88\x02\x03\xe8")


async def test_terminal_has_sizes_and_no_stderr(start: Start) -> None:
    channels = remotecommand.wanted_channels(stdin=True, stdout=True, stderr=True, tty=True)
    browser, command = start(lambda a, b: remotecommand.translate(a, b, channels, protocol="v4.channel.k8s.io"))
    await command.read(lambda c: len(c.streams) == 4)
    assert set(command.streams) == {"error", "stdin", "stdout", "resize"}
    await browser.send(b'\x04{"Width":80,"Height":24}')
    await command.read(lambda c: bool(c.events))
    assert command.events[0].data == b'{"Width":80,"Height":24}'


async def test_base64_protocol_is_text_on_the_wire(start: Start) -> None:
    channels = remotecommand.wanted_channels(stdin=True, stdout=True, stderr=False, tty=False)
    browser, command = start(lambda a, b: remotecommand.translate(a, b, channels, protocol="base64.channel.k8s.io"))
    browser.expected = Opcode.TEXT
    await command.read(lambda c: len(c.streams) == 3)
    await browser.send(b"0aGk=")
    await command.read(lambda c: bool(c.events))
    assert command.events[0].data == b"hi"
    await command.say("stdout", b"yo", fin=True)
    await command.say("error", b"", fin=True)
    assert await browser.read_all() == [b"1eW8="]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (b'{"metadata":{},"status":"Success"}', []),
        (
            b'{"status":"Failure","message":"command terminated with exit code 3"}',
            [b"\x03command terminated with exit code 3"],
        ),
        (b"no such container", [b"\x03no such container"]),
    ],
)
async def test_the_oldest_protocol_tells_failures_as_text(start: Start, status: bytes, told: list[bytes]) -> None:
    channels = remotecommand.wanted_channels(stdin=False, stdout=True, stderr=False, tty=False)
    browser, command = start(lambda a, b: remotecommand.translate(a, b, channels, protocol="channel.k8s.io"))
    await command.read(lambda c: len(c.streams) == 2)
    await command.say("error", status[:5])  # in two pieces, and before the last of what the command says
    await command.say("error", status[5:], fin=True)
    await command.say("stdout", b"out", fin=True)
    assert await browser.read_all() == [b"\x01out", *told]


async def test_client_that_leaves_ends_the_command(start: Start) -> None:
    channels = remotecommand.wanted_channels(stdin=True, stdout=True, stderr=True, tty=False)
    ended = asyncio.Event()

    async def serve(client: ByteStream, backend: ByteStream) -> None:
        await remotecommand.translate(client, backend, channels, protocol="v5.channel.k8s.io")
        ended.set()

    browser, command = start(serve)
    await command.read(lambda c: len(c.streams) == 4)
    browser.stream.close()
    await asyncio.wait_for(ended.wait(), 2)


async def test_tunnel_passes_bytes_through(start: Start) -> None:
    browser, command = start(portforward.tunnel)
    await browser.send(b"raw spdy")
    assert await command.stream.read() == b"raw spdy"
    await command.stream.write(b"back")
    command.stream.close()
    assert b"".join(await browser.read_all()) == b"back"


async def test_port_forward_channels_begin_with_the_port(start: Start) -> None:
    browser, command = start(lambda a, b: portforward.channels(a, b, [8080]))
    await command.read(lambda c: len(c.streams) == 2)
    await browser.send(b"\x00GET")
    await command.read(lambda c: any(e.data == b"GET" for e in c.events))
    await command.say("data", b"OK", fin=True)
    assert await browser.read_all() == [b"\x00\x90\x1f", b"\x01\x90\x1f", b"\x00OK"]


async def test_port_forward_in_base64_is_text(start: Start) -> None:
    protocol = portforward.CHANNELS[1]
    browser, command = start(lambda a, b: portforward.channels(a, b, [8080], protocol=protocol))
    browser.expected = Opcode.TEXT
    await command.read(lambda c: len(c.streams) == 2)
    await browser.send(b"0R0VU")
    await command.read(lambda c: any(e.data == b"GET" for e in c.events))
    await command.say("data", b"OK", fin=True)
    assert await browser.read_all() == [b"0kB8=", b"1kB8=", b"0T0s="]


def test_handshake_answer_is_the_rfcs_example() -> None:
    request = Request(
        "GET", "/", "", Headers([("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-protocol", "a, b")])
    )
    assert websocket.choose(request, ("b", "a")) == "a"
    assert websocket.accept_headers(request, "a").get("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
