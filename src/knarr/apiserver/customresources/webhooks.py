"""Calls to webhooks: where one is, by URL or by Service, and how it proves who it is.

A Service is reached at its cluster address, under the name `<name>.<namespace>.svc`, which its certificate must carry.

Source: k8s.io/apiserver/pkg/util/webhook/client.go, serviceresolver.go; pkg/util/proxy (ResolveCluster) (v1.37).
"""

import base64
import binascii
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from knarr.apiserver.registry import Registry
from knarr.kit.http import client as clients
from knarr.kit.http import errors as http_errors
from knarr.kit.http.messages import Headers, Request

Object = dict[str, Any]

MAX_ANSWER_BYTES = 16 << 20
_DEFAULT_PORT = 443
_USER_AGENT = "kube-apiserver-admission"


class WebhookError(Exception):
    """Raised when a webhook cannot be called or gives no answer; the message says why."""


async def call(registry: Registry, config: Mapping[str, Any], review: Object, *, timeout_s: float) -> Object:
    """Post a review and return the decoded answer.

    Args:
        registry: Finds the Service.
        config: A WebhookClientConfig.
        review: What to send.
        timeout_s: Seconds for the whole exchange.

    Raises:
        WebhookError: it fails.
    """
    client, path, query, shown = _client(registry, config)
    fields = Headers.from_lower(
        [("content-type", "application/json"), ("accept", "application/json"), ("user-agent", _USER_AGENT)]
    )
    request = Request("POST", path, query, fields, msgspec.json.encode(review))
    try:
        answer = await client.request(request, timeout_s=timeout_s, max_body_bytes=MAX_ANSWER_BYTES)
    except http_errors.HttpError as err:
        raise WebhookError(f'Post "{shown}": {err}') from err
    finally:
        await client.aclose()
    body = answer.body if isinstance(answer.body, bytes) else b""
    if answer.status != 200:
        raise WebhookError(f"the server returned status {answer.status}: {body[:256].decode(errors='replace')}")
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as err:
        raise WebhookError(f"the answer is not JSON: {err}") from err
    if not isinstance(decoded, dict):
        raise WebhookError("the answer is no object")
    return decoded


def _client(registry: Registry, config: Mapping[str, Any]) -> tuple[clients.Client, str, str, str]:
    """Return a client, path, query, and the URL to show."""
    context = _context(config.get("caBundle") or "")
    service = config.get("service")
    if service is None:
        url = config.get("url") or ""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise WebhookError(f'invalid webhook URL "{url}"')
        client = clients.Client(f"https://{parts.netloc.rpartition('@')[2]}", tls=context, max_idle=0)
        return client, parts.path or "/", parts.query, url
    host, port = _locate(registry, service)
    name = f"{service['name']}.{service['namespace']}.svc"
    path = service.get("path") or "/"
    shown = f"https://{name}:{service.get('port') or _DEFAULT_PORT}{path}?timeout=30s"
    place = f"[{host}]" if ":" in host else host
    client = clients.Client(f"https://{place}:{port}", tls=context, server_hostname=name, max_idle=0)
    return client, path, "timeout=30s", shown


def _locate(registry: Registry, service: Mapping[str, Any]) -> tuple[str, int]:
    namespace, name, port = service["namespace"], service["name"], service.get("port") or _DEFAULT_PORT
    found = registry.get("services", namespace, name)
    if found is None:
        raise WebhookError(f'service "{name}" not found')
    spec = found.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return spec.get("externalName") or "", port
    if not any(one.get("port") == port for one in spec.get("ports") or ()):
        raise WebhookError(f'no service port {port} found for service "{name}"')
    address = spec.get("clusterIP") or ""
    if address in ("", "None"):
        raise WebhookError(f'cannot route to service with ClusterIP "{address}"')
    return address, port


def _context(bundle: str) -> ssl.SSLContext:
    if not bundle:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=base64.b64decode(bundle).decode("ascii"))
    except (binascii.Error, UnicodeDecodeError, ssl.SSLError, ValueError) as err:
        raise WebhookError(f"unable to load root certificates: {err}") from err
