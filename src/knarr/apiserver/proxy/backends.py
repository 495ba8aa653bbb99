"""pods/proxy, services/proxy and nodes/proxy: any HTTP request passed on to what is behind an object.

Source: pkg/registry/core/{pod,service,node}/rest/subresources.go, .../strategy.go (ResourceLocation) (v1.37).
"""

import re
import ssl
from typing import Any
from urllib.parse import unquote

from knarr.api import errors
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.proxy import allowed, connecting, forward, links
from knarr.apiserver.proxy.nodeagents import DEFAULT_PORT, locate
from knarr.kit.http import client as clients
from knarr.kit.http.messages import Headers, Request, Response

Object = dict[str, Any]

_TIMEOUTS = clients.Timeouts(connect_s=10.0, response_s=None, idle_s=5.0)
_SEGMENT = re.compile(r"[^/]+")
_KINDS = {"pods": "PodProxyOptions", "services": "ServiceProxyOptions", "nodes": "NodeProxyOptions"}


async def serve(parts: Parts, call: Call, target: Target) -> Response:
    """Pass a request on."""
    path = path_behind(call.request.path, len(call.info.parts))
    given = {"kind": _KINDS[target.resource.plural], "apiVersion": "v1", "path": path or ""}
    await connecting.admit(parts, call, target, "proxy", given)
    scheme, name, port = split_name(target.name)
    if target.resource.plural == "nodes":
        client = await _node(parts, scheme, name, port)
    elif target.resource.plural == "pods":
        client = _client(scheme, *_pod(parts, target.namespace, name, port))
    else:
        client = _client(*_service(parts, target.namespace, scheme, name, port))
    upgrades = forward.is_upgrade(call.request)
    if path is None and not upgrades and call.request.method in ("GET", "HEAD"):
        # Links on the page are relative to a folder.
        location = call.request.path + "/" + (f"?{call.request.query}" if call.request.query else "")
        return Response(301, Headers.from_lower([("location", location)]))
    sent = Request(call.request.method, path or "/", call.request.query, call.request.headers, call.request.body)
    if upgrades:
        return await forward.upgrade(client, sent)
    before = call.request.path.removesuffix(path or "")
    hosts = frozenset((client.address, call.request.headers.get("host") or client.address))
    return await links.rewrite(await forward.stream(client, sent), links.Place(before, hosts))


def split_name(text: str) -> tuple[str, str, str]:
    """Split "[scheme:]name[:port]" into its parts; scheme and port may be empty."""
    parts = text.split(":")
    if len(parts) == 3 and parts[0] in ("http", "https", ""):
        return parts[0], parts[1], parts[2]
    if len(parts) == 2:
        return ("", *parts) if parts[0] not in ("http", "https") else (parts[0], parts[1], "")  # type: ignore[return-value]
    if len(parts) == 1:
        return "", text, ""
    raise errors.BadRequest(f'invalid service request "{text}"')


def path_behind(path: str, count: int) -> str | None:
    """Return what follows the subresource in a path, as sent; None if not even a slash does.

    Args:
        path: As sent, percent-encoded.
        count: How many parts the resource, its name, the subresource and what follows have.

    Raises:
        PathNotFound: an encoded slash hides where the subresource ends.
    """
    segments = [(match.end(), match[0]) for match in _SEGMENT.finditer(path)]
    total = len([part for part in unquote(path).split("/") if part])
    before = total - count + 3
    if any("%2f" in segment.lower() for _, segment in segments[:before]):
        raise errors.PathNotFound
    return path[segments[before - 1][0] :] or None


async def _node(parts: Parts, scheme: str, name: str, port: str) -> clients.Client:
    node = parts.registry.get("nodes", "", name)
    if node is None:
        raise errors.NotFound("", "nodes", name)
    host, agent_port = locate(node)
    await allowed.check_host(host, loopback=parts.config.loopback_backends)
    if not port or int_port(port) in (agent_port, DEFAULT_PORT):
        return parts.node_agents.client(name)
    return _client(scheme, host, int_port(port))


def _pod(parts: Parts, namespace: str, name: str, port: str) -> tuple[str, int]:
    pod = parts.registry.get("pods", namespace, name)
    if pod is None:
        raise errors.NotFound("", "pods", name)
    ip: str = (pod.get("status") or {}).get("podIP") or ""
    allowed.check_address(ip, loopback=parts.config.loopback_backends)
    if port:
        return ip, int_port(port)
    for container in (pod.get("spec") or {}).get("containers") or ():
        for one in container.get("ports") or ():
            return ip, one["containerPort"]
    return ip, 80


def _service(parts: Parts, namespace: str, scheme: str, name: str, port: str) -> tuple[str, str, int]:
    """Choose one of the ready endpoints of a Service."""
    service = parts.registry.get("services", namespace, name)
    if service is None:
        raise errors.NotFound("", "services", name)
    ports = (service.get("spec") or {}).get("ports") or []
    if port.isdecimal():
        wanted = next((one for one in ports if one.get("port") == int(port)), None)
    else:
        wanted = next(
            (one for one in ports if (one.get("name") or "") == port), ports[0] if not port and ports else None
        )
    if wanted is None:
        raise errors.ServiceUnavailable(f'no service port "{port}" found for service "{name}"')
    found = []
    endpoints = parts.registry.get("endpoints", namespace, name) or {}
    for subset in endpoints.get("subsets") or ():
        for one in subset.get("ports") or ():
            if (one.get("name") or "") == (wanted.get("name") or ""):
                addresses = [each for each in subset.get("addresses") or () if _is_of_pod(parts, namespace, each)]
                found += [(address["ip"], one["port"]) for address in addresses]
    if not found:
        raise errors.ServiceUnavailable(f'no endpoints available for service "{name}"')
    ip, number = parts.random.choice(found)
    return scheme, ip, number


def _is_of_pod(parts: Parts, namespace: str, address: Object) -> bool:
    """Return whether an endpoint is a pod of the same namespace: others are whatever somebody wrote there."""
    reference = address.get("targetRef") or {}
    if reference.get("namespace") != namespace:
        return False
    pod = parts.registry.get("pods", namespace, reference.get("name") or "")
    status = (pod or {}).get("status") or {}
    ips = [status.get("podIP"), *(one.get("ip") for one in status.get("podIPs") or ())]
    return address["ip"] in ips and allowed.is_allowed(address["ip"], loopback=parts.config.loopback_backends)


def _client(scheme: str, host: str, port: int) -> clients.Client:
    shown = f"[{host}]" if ":" in host else host
    if scheme != "https":
        return clients.Client(f"http://{shown}:{port}", timeouts=_TIMEOUTS, max_idle=0)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return clients.Client(f"https://{shown}:{port}", tls=context, timeouts=_TIMEOUTS, max_idle=0)


def int_port(text: str) -> int:
    """Read a port.

    Raises:
        BadRequest: it is none.
    """
    if not text.isdecimal() or not 0 < int(text[:6]) < 65536:
        raise errors.BadRequest(f'invalid port "{text[:64]}"')
    return int(text)
