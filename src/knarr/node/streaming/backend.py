"""The runtime's streaming server as a client sees it: SPDY/3.1 over an upgraded HTTP connection, whose URL the runtime gave.

Source: k8s.io/kubelet/pkg/cri/streaming (v1.37): headers, stream types and protocol names.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlsplit

from knarr.kit.http.client import Client
from knarr.kit.http.messages import ByteStream, Headers, Request, Response

PROTOCOL_HEADER = "x-stream-protocol-version"
SPDY = "SPDY/3.1"


@contextlib.asynccontextmanager
async def open_spdy(url: str, protocols: Sequence[str]) -> AsyncIterator[tuple[Response, ByteStream]]:
    """Connect to a stream of the runtime.

    Args:
        url: As the runtime gave it.
        protocols: Stream protocols, the favourite first.

    Yields:
        The answer, with the chosen protocol among its headers, and the connection.

    Raises:
        UpgradeRefused: The runtime answered something else.
        HttpError: No answer.
    """
    parts = urlsplit(url)
    headers = Headers([("connection", "Upgrade"), ("upgrade", SPDY)])
    for protocol in protocols:
        headers.add(PROTOCOL_HEADER, protocol)
    client = Client(f"{parts.scheme}://{parts.netloc}", max_idle=0)
    try:
        async with client.open_upgrade(Request("POST", parts.path, parts.query, headers)) as upgraded:
            yield upgraded
    finally:
        await client.aclose()


async def splice(left: ByteStream, right: ByteStream) -> None:
    """Pass bytes both ways until one side ends, then close both."""
    tasks = [asyncio.ensure_future(_copy(left, right)), asyncio.ensure_future(_copy(right, left))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        left.close()
        right.close()


async def _copy(source: ByteStream, target: ByteStream) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read():
            await target.write(data)
