"""Calls to webhooks: where one is, by URL or by Service, what its certificate must say, and the clients kept for the next call.

A Service is called under the name `<name>.<namespace>.svc`, which its certificate must carry. The certificate is always verified,
against the configured bundle or else the system's authorities.

Source: k8s.io/apiserver/pkg/util/webhook/client.go (v1.37).
"""

import base64
import binascii
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

from knarr.api import errors
from knarr.apiserver.proxy import services, words
from knarr.apiserver.registry import Registry
from knarr.kit.http import client as clients
from knarr.kit.http import errors as http_errors
from knarr.kit.http.messages import Headers, Request

MAX_ANSWER_BYTES = 16 << 20
CLIENTS_KEPT = 128
USER_AGENT = "kube-apiserver-admission"
_TIMEOUTS = clients.Timeouts(connect_s=30.0, response_s=30.0, idle_s=30.0)


class CallFailed(Exception):
    """Raised when a webhook gives no usable answer; the message says why in the words of Go's client.

    Attributes:
        code: The HTTP status that it answered with; 0 if it did not.
    """

    def __init__(self, why: str, code: int = 0) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a webhook is: its URL as shown, its path and query, where to connect to, and the name on its certificate."""

    url: str
    path: str
    query: str
    base: str
    host_header: str
    server_name: str | None


class Webhooks:
    """Calls webhooks, and keeps a bounded number of clients.

    Args:
        registry: Finds Services and their endpoints.
        random: Chooses among endpoints.
    """

    def __init__(self, registry: Registry, random: Random) -> None:
        self._registry = registry
        self._random = random
        self._clients: OrderedDict[tuple[str, str | None, str], clients.Client] = OrderedDict()
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()

    async def post(self, config: Mapping[str, Any], body: bytes, *, timeout_s: float) -> bytes:
        """Post a JSON body and return the body of the answer.

        Args:
            config: A WebhookClientConfig: `url` or `service`, and `caBundle`.
            body: What to send.
            timeout_s: Seconds for the whole exchange.

        Raises:
            CallFailed: nobody could be asked, the answer did not come in time, or it is not a success.
        """
        timeout = f"timeout={_go_duration(timeout_s)}"
        place = self._find(config, timeout)
        client = await self._client(place, config.get("caBundle") or "")
        query = f"{place.query}&{timeout}" if place.query else timeout
        fields = Headers.from_lower(
            [
                ("host", place.host_header),
                ("content-type", "application/json"),
                ("accept", "application/json, */*"),
                ("user-agent", USER_AGENT),
            ]
        )
        request = Request("POST", place.path, query, fields, body)
        try:
            answer = await client.request(request, timeout_s=timeout_s, max_body_bytes=MAX_ANSWER_BYTES)
        except http_errors.HttpError as err:
            raise CallFailed(f'Post "{place.url}?{query}": {words.of_error(err)}') from err
        found = answer.body if isinstance(answer.body, bytes) else b""
        if not 200 <= answer.status < 300:
            raise CallFailed(words.of_answer(answer.status, found), answer.status)
        return found

    async def aclose(self) -> None:
        """Let go of all connections."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def _find(self, config: Mapping[str, Any], query: str) -> _Place:
        service = config.get("service")
        if service is None:
            return _of_url(config.get("url") or "")
        namespace, name, port = service["namespace"], service["name"], service.get("port") or services.DEFAULT_PORT
        server_name, path = f"{name}.{namespace}.svc", service.get("path") or "/"
        shown = f"https://{server_name}:{port}{path}"
        try:
            host, number = services.locate(self._registry, self._random, namespace, name, port)
        except errors.StatusError as err:
            raise CallFailed(f'Post "{shown}?{query}": {err.message}') from err
        base = f"https://[{host}]:{number}" if ":" in host else f"https://{host}:{number}"
        return _Place(shown, path, "", base, f"{server_name}:{port}", server_name)

    async def _client(self, place: _Place, bundle: str) -> clients.Client:
        key = (place.base, place.server_name, bundle)
        client = self._clients.get(key)
        if client is None:
            client = clients.Client(
                place.base, tls=self._context(bundle), server_hostname=place.server_name, timeouts=_TIMEOUTS, max_idle=8
            )
            self._clients[key] = client
            if len(self._clients) > CLIENTS_KEPT:
                _, unused = self._clients.popitem(last=False)
                await unused.aclose()
        else:
            self._clients.move_to_end(key)
        return client

    def _context(self, bundle: str) -> ssl.SSLContext:
        context = self._contexts.get(bundle)
        if context is None:
            context = self._contexts[bundle] = verifying(bundle)
            if len(self._contexts) > CLIENTS_KEPT:
                self._contexts.popitem(last=False)
        return context


def verifying(bundle: str) -> ssl.SSLContext:
    """Return TLS settings that trust a bundle (PEM in base64), or the system's authorities if it is empty.

    Raises:
        CallFailed: it holds no certificates.
    """
    if not bundle:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=base64.b64decode(bundle).decode("ascii"))
    except (binascii.Error, UnicodeDecodeError, ssl.SSLError, ValueError) as err:
        raise CallFailed("unable to load root certificates: unable to parse bytes as PEM block") from err


def _of_url(url: str) -> _Place:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as err:
        raise CallFailed(f"Unparsable URL: {err}") from err
    if parts.scheme != "https" or not parts.hostname:
        raise CallFailed(f"Unparsable URL: {url}")
    host = parts.netloc.rpartition("@")[2]
    base = f"https://{host}" if port is not None else f"https://{host}:{services.DEFAULT_PORT}"
    path = parts.path or "/"
    return _Place(f"https://{host}{path}", path, parts.query, base, host, None)


def _go_duration(seconds: float) -> str:
    """Write seconds, rounded up, as Go prints a duration."""
    whole = max(1, -int(-seconds // 1))
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60}s"
