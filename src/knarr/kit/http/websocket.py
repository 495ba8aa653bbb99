"""The server's side of a WebSocket on a connection that HTTP has handed over.

Framing is the `websockets` library's; here are the handshake's answer and whole messages.

Source: RFC 6455.
"""

import asyncio
import base64
import contextlib
import hashlib
import logging
from collections.abc import Callable, Sequence

from websockets.exceptions import InvalidState
from websockets.frames import Opcode
from websockets.protocol import CLOSED, Protocol, Side

from knarr.kit.http.messages import ByteStream, Headers, Request

MAX_MESSAGE_BYTES = 32 << 20
NORMAL = 1000
INTERNAL_ERROR = 1011
CLOSE_TIMEOUT_S = 1.0
_logger = logging.getLogger(__name__)
_logger.setLevel(logging.WARNING)  # the library tells of each connection that closes
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def is_websocket(request: Request) -> bool:
    """Tell whether a request asks for a WebSocket."""
    return (request.headers.get("upgrade") or "").lower() == "websocket"


def offered(request: Request) -> list[str]:
    """Return the subprotocols that a client offers, its favourite first."""
    lines = request.headers.get_all("sec-websocket-protocol")
    return [name.strip() for line in lines for name in line.split(",") if name.strip()]


def choose(request: Request, known: Sequence[str]) -> str | None:
    """Return the first subprotocol of the client's that is known; None if there is none."""
    return next((name for name in offered(request) if name in known), None)


def accept_headers(request: Request, subprotocol: str) -> Headers:
    """Return the fields of the answer that opens the WebSocket."""
    key = request.headers.get("sec-websocket-key") or ""
    digest = hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()
    headers = Headers(
        [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", base64.b64encode(digest).decode()),
        ]
    )
    if subprotocol:
        headers.add("sec-websocket-protocol", subprotocol)
    return headers


class WebSocket:
    """An open WebSocket.

    Args:
        stream: The connection.
        is_text: Whether `send` sends text; what it is given has to be UTF-8 then.
    """

    def __init__(self, stream: ByteStream, *, is_text: bool = False) -> None:
        self._stream = stream
        self._is_text = is_text
        self._protocol = Protocol(Side.SERVER, max_size=MAX_MESSAGE_BYTES, logger=_logger)
        self._partial = b""
        self._waiting: list[bytes] = []

    async def receive(self) -> bytes | None:
        """Return the next message, text as UTF-8; None once the client has closed.

        Raises:
            ConnectionError: The client has gone.
        """
        while not self._waiting:
            if self._protocol.state is CLOSED:
                return None
            data = await self._stream.read()
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            await self._flush()  # pongs, and the answer to a close
            if self._take() or not data or self._protocol.parser_exc is not None:
                break
        return self._waiting.pop(0) if self._waiting else None

    async def send(self, data: bytes) -> None:
        """Send a message, binary unless said otherwise at the beginning.

        Raises:
            ConnectionError: The client has gone, or closed.
        """
        await self._send(self._protocol.send_text if self._is_text else self._protocol.send_binary, data)

    async def send_text(self, data: bytes) -> None:
        """Send a text message, given as UTF-8.

        Raises:
            ConnectionError: The client has gone, or closed.
        """
        await self._send(self._protocol.send_text, data)

    async def close(self, code: int = NORMAL, *, last: bytes | None = None) -> None:
        """Close, and wait a moment for the client's half of the handshake.

        Args:
            code: Why.
            last: A message that goes out in one piece with the close, so that a client which is satisfied by it has
                read everything.
        """
        with contextlib.suppress(ConnectionError, InvalidState, TimeoutError):
            if last is not None:
                (self._protocol.send_text if self._is_text else self._protocol.send_binary)(last)
            self._protocol.send_close(code)
            await self._flush()
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                while await self.receive() is not None:
                    pass

    async def _send(self, send: Callable[[bytes], None], data: bytes) -> None:
        try:
            send(data)
        except InvalidState as err:
            raise ConnectionError(str(err)) from err
        await self._flush()

    async def _flush(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        if data:
            await self._stream.write(data)

    def _take(self) -> bool:
        """Put frames together to messages; return whether the client has closed."""
        closed = False
        for frame in self._protocol.events_received():
            opcode = getattr(frame, "opcode", None)
            if opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
                self._partial += bytes(frame.data)  # type: ignore[union-attr]
                if frame.fin:  # type: ignore[union-attr]
                    self._waiting.append(self._partial)
                    self._partial = b""
            elif opcode is Opcode.CLOSE:
                closed = True
        return closed
