"""Streams for callers that can only open WebSockets, such as browsers: logs and watches, a message for each piece.

Source: k8s.io/apiserver/pkg/endpoints/handlers/{watch,responsewriters}.go and pkg/util/wsstream/stream.go (v1.37): the subprotocols
and what a message holds.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

from knarr.api import errors
from knarr.kit.http import websocket
from knarr.kit.http.messages import ByteStream, Request, Response

BINARY, BASE64 = "binary.k8s.io", "base64.binary.k8s.io"
LOG_PROTOCOLS = (BINARY, BASE64)

Send = Callable[[websocket.WebSocket, bytes], Awaitable[None]]
"""Sends one piece of the stream."""


def wrap_log(request: Request, response: Response) -> Response:
    """Send a log in binary messages, or base64 in text ones, if the caller asks for a WebSocket; else leave the response as it is.

    Raises:
        BadRequest: none of the subprotocols that the caller offers is known.
    """
    if not websocket.is_websocket(request):
        return response
    protocol = _choose(request, LOG_PROTOCOLS)

    async def send(socket: websocket.WebSocket, piece: bytes) -> None:
        if protocol == BASE64:
            await socket.send_text(base64.b64encode(piece))
        else:
            await socket.send(piece)

    return _upgraded(request, response, protocol, send)


def wrap_watch(request: Request, response: Response, *, framed: bool) -> Response:
    """Send a watch with a message for each event, if the caller asks for a WebSocket.

    Args:
        request: The caller's.
        response: The watch as a stream.
        framed: Whether pieces are frames of protobuf, sent as they are; otherwise lines of JSON, sent as text.
    """
    if not websocket.is_websocket(request):
        return response

    async def send(socket: websocket.WebSocket, piece: bytes) -> None:
        if framed:
            await socket.send(piece)
            return
        for line in piece.splitlines():
            await socket.send_text(line)

    offered = websocket.offered(request)
    return _upgraded(request, response, offered[0] if offered else "", send)


def _choose(request: Request, known: Sequence[str]) -> str:
    protocol = websocket.choose(request, known)
    if protocol is not None:
        return protocol
    if websocket.offered(request):
        raise errors.BadRequest(
            f"unable to upgrade: none of the subprotocols {websocket.offered(request)} is supported"
        )
    return ""


def _upgraded(request: Request, response: Response, protocol: str, send: Send) -> Response:
    body = response.body

    async def serve(stream: ByteStream) -> None:
        socket = websocket.WebSocket(stream)
        sending = asyncio.ensure_future(_send_all(socket, body, send))
        receiving = asyncio.ensure_future(_receive_all(socket))
        try:
            await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)
        await socket.close()

    return Response(101, websocket.accept_headers(request, protocol), upgrade=serve)


async def _send_all(socket: websocket.WebSocket, body: bytes | AsyncIterator[bytes], send: Send) -> None:
    with contextlib.suppress(ConnectionError):
        if isinstance(body, bytes):
            if body:
                await send(socket, body)
            return
        try:
            async for piece in body:
                await send(socket, piece)
        finally:
            if isinstance(body, AsyncGenerator):
                await body.aclose()


async def _receive_all(socket: websocket.WebSocket) -> None:
    with contextlib.suppress(ConnectionError):
        while await socket.receive() is not None:
            pass  # what a caller says on such a stream means nothing
