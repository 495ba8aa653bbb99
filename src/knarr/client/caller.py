"""The border between HTTP and the API: requests out, answers checked, foreign errors translated.

Everything that the client sends passes here. What a server answers with a Status is raised as the class of `knarr.api.errors` that the
server raised; what never got an answer is `client.errors.Unreachable`. A server that asks to come back later is obeyed.

Source: k8s.io/client-go/rest/request.go and with_retry.go (v1.37).
"""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from knarr.api import errors
from knarr.client.errors import Unreachable
from knarr.client.transport import Transport
from knarr.kit.clock import Clock
from knarr.kit.http import errors as http_errors
from knarr.kit.http.messages import ByteStream, Headers, Request, Response, Streamed

MAX_RETRIES = 10
LOST_RETRY_S = 1.0
JSON = "application/json"

Query = Mapping[str, str] | Sequence[tuple[str, str]]


class Caller:
    """Sends requests of one client.

    Args:
        transport: The way to the server.
        clock: Times retries.
        user_agent: Who calls; the server makes the default field manager of the part before the first "/".
        refused_retries: How often a refused connection is tried again, a second apart.
    """

    def __init__(self, transport: Transport, clock: Clock, *, user_agent: str, refused_retries: int = 0) -> None:
        self.transport = transport
        self._clock = clock
        self._refused_retries = refused_retries
        self._base = [("user-agent", user_agent), ("accept", JSON)]

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes = b"",
        content_type: str = JSON,
        timeout_s: float | None = None,
        attempts: int = MAX_RETRIES + 1,
    ) -> Response:
        """Send a request and return its answer if it succeeded.

        Args:
            method: GET, POST and so on.
            path: Where.
            query: Parameters.
            body: What to send.
            content_type: What it is.
            timeout_s: How long to wait for each answer; None takes the transport's.
            attempts: How often to try at most when the server asks to come back or is not reached.

        Raises:
            StatusError: the server's error.
            Unreachable: no answer came.
        """
        request = self.make(method, path, query=query, body=body, content_type=content_type)
        attempt = 0
        while True:
            try:
                response = await self.transport.request(request, timeout_s=timeout_s)
            except http_errors.HttpError as err:
                if attempt + 1 >= attempts or not self._may_repeat(err, method, attempt):
                    raise unreachable(err) from err
                delay_s = LOST_RETRY_S
            else:
                if response.status < 400:
                    return response
                delay = retry_after_s(response)
                if delay is None or attempt + 1 >= attempts:
                    raise error_of(response)
                delay_s = delay
            attempt += 1
            await self._clock.sleep(delay_s)

    @contextlib.asynccontextmanager
    async def open_stream(
        self, method: str, path: str, *, query: Query = (), body: bytes = b""
    ) -> AsyncIterator[Streamed]:
        """Send a request and read its answer as it comes.

        Raises:
            StatusError: the server's error.
            Unreachable: no answer came, or it broke off.
        """
        try:
            async with self.transport.open_stream(self.make(method, path, query=query, body=body)) as streamed:
                if streamed.status >= 400:
                    whole = b"".join([chunk async for chunk in streamed.chunks])
                    raise error_of(Response(streamed.status, streamed.headers, whole))
                yield streamed
        except http_errors.HttpError as err:
            raise unreachable(err) from err

    @contextlib.asynccontextmanager
    async def open_upgrade(
        self, method: str, path: str, *, query: Query = (), headers: Sequence[tuple[str, str]] = ()
    ) -> AsyncIterator[tuple[Response, ByteStream]]:
        """Send a request that switches protocols and take the connection over.

        Args:
            method: GET for WebSocket, POST for SPDY.
            path: The subresource.
            query: Its options.
            headers: Connection, Upgrade and the protocol's own.

        Raises:
            StatusError: the server's error.
            Unreachable: no answer came.
        """
        request = self.make(method, path, query=query)
        for name, value in headers:
            request.headers.add(name, value)
        try:
            async with self.transport.open_upgrade(request) as upgraded:
                yield upgraded
        except http_errors.UpgradeRefused as err:
            raise error_of(err.response) from err
        except http_errors.HttpError as err:
            raise unreachable(err) from err

    def make(
        self, method: str, path: str, *, query: Query = (), body: bytes = b"", content_type: str = JSON
    ) -> Request:
        """Make a request with the headers of this client."""
        fields = [*self._base, ("content-type", content_type)] if body else list(self._base)
        text = urlencode(query, quote_via=quote) if query else ""
        return Request(method, path, text, Headers.from_lower(fields), body)

    def _may_repeat(self, err: http_errors.HttpError, method: str, attempt: int) -> bool:
        if isinstance(err, http_errors.ConnectRefused):
            return attempt < self._refused_retries
        return isinstance(err, http_errors.ConnectionLost) and method == "GET" and attempt < MAX_RETRIES


def unreachable(err: http_errors.HttpError) -> Unreachable:
    """Translate an error of the connection."""
    return Unreachable(str(err), refused=isinstance(err, http_errors.ConnectRefused))


def error_of(response: Response) -> errors.StatusError:
    """Translate an answer that is not a success."""
    body = response.body if isinstance(response.body, bytes) else b""
    status: Mapping[str, Any] = {}
    with contextlib.suppress(msgspec.DecodeError):
        decoded = msgspec.json.decode(body)
        if isinstance(decoded, dict) and decoded.get("kind") == "Status":
            status = decoded
    if not status and body:
        # Not an API server's own words, such as a proxy's; they still say more than the code.
        status = {"message": f"HTTP {response.status}: {body[:1024].decode(errors='replace').strip()}"}
    return errors.from_status(status, response.status)


def retry_after_s(response: Response) -> float | None:
    """Return how long the server asks to wait before trying again, None if it does not ask."""
    if response.status != 429 and response.status < 500:
        return None
    value = response.headers.get("retry-after") or ""
    return float(value) if value.isdecimal() else None
