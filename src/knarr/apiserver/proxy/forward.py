"""Passing a request on and its answer back: whole, streamed, or upgraded to raw bytes both ways.

Source: k8s.io/apimachinery/pkg/util/proxy (v1.37).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from knarr.api import errors
from knarr.apiserver.proxy import words
from knarr.kit.http import client as clients
from knarr.kit.http import errors as http_errors
from knarr.kit.http.messages import ByteStream, Headers, Request, Response

_HOP_BY_HOP = frozenset(
    (
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "content-length", "date",
    )
)  # fmt: skip
_OURS = frozenset(("authorization", "host", "cookie"))
"""Credentials for this server, which nobody behind it must see."""


def is_upgrade(request: Request) -> bool:
    """Return whether a request asks to switch protocols."""
    return "upgrade" in (request.headers.get("connection") or "").lower() and "upgrade" in request.headers


Fields = Iterable[tuple[str, str]]


async def stream(client: clients.Client, request: Request, *, more: Fields = ()) -> Response:
    """Pass a request on and stream its answer back.

    Args:
        client: Of the server behind.
        request: As it is to be sent; headers that are not for the server behind are left out.
        more: Headers that this server adds, such as who asks.

    Raises:
        ServiceUnavailable: it cannot be reached.
    """
    sent = Request(request.method, request.path, request.query, _outgoing(request.headers, more), request.body)
    stack = contextlib.AsyncExitStack()
    try:
        streamed = await stack.enter_async_context(client.open_stream(sent))
    except http_errors.HttpError as err:
        raise unreachable(err) from err
    return Response(streamed.status, _incoming(streamed.headers), _chunks(stack, streamed.chunks))


async def upgrade(client: clients.Client, request: Request, *, more: Fields = ()) -> Response:
    """Pass a request on that switches protocols, and connect both sides by raw bytes.

    Args:
        client: Of the server behind.
        request: As it is to be sent.
        more: Headers that this server adds, such as who asks.

    Raises:
        ServiceUnavailable: the server behind cannot be reached.
    """
    headers = _outgoing(request.headers, more)
    for name in ("connection", "upgrade"):
        headers.set(name, request.headers.get(name) or "")
    sent = Request(request.method, request.path, request.query, headers, request.body)
    stack = contextlib.AsyncExitStack()
    try:
        answer, behind = await stack.enter_async_context(client.open_upgrade(sent))
    except http_errors.UpgradeRefused as err:
        refusal = err.response
        return Response(refusal.status, _incoming(refusal.headers), refusal.body)
    except http_errors.HttpError as err:
        raise unreachable(err) from err

    async def connect(front: ByteStream) -> None:
        async with stack:
            await pump(front, behind)

    fields = Headers(item for item in answer.headers if item[0] not in ("content-length", "date"))
    return Response(101, fields, upgrade=connect)


async def pump(front: ByteStream, behind: ByteStream) -> None:
    """Copy bytes both ways until one side has finished."""
    copies = [asyncio.create_task(_copy(front, behind)), asyncio.create_task(_copy(behind, front))]
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in copies:
            task.cancel()
        await asyncio.gather(*copies, return_exceptions=True)
        behind.close()
        front.close()


def unreachable(err: http_errors.HttpError) -> errors.ServiceUnavailable:
    """Make the error for a server behind that cannot be reached."""
    return errors.ServiceUnavailable(f"error trying to reach service: {words.of_error(err)}")


async def _copy(source: ByteStream, target: ByteStream) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read():
            await target.write(data)


async def _chunks(stack: contextlib.AsyncExitStack, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with stack:
        with contextlib.suppress(http_errors.HttpError):  # the answer broke off behind: it breaks off here
            async for chunk in chunks:
                yield chunk


def _outgoing(headers: Headers, more: Fields) -> Headers:
    kept = (item for item in headers if item[0] not in _HOP_BY_HOP and item[0] not in _OURS)
    return Headers([*(item for item in kept if not item[0].startswith(("impersonate-", "x-remote-"))), *more])


def _incoming(headers: Headers) -> Headers:
    return Headers(item for item in headers if item[0] not in _HOP_BY_HOP)
