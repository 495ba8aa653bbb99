"""Where a Service's servers are: for what the API server itself calls by Service, webhooks and aggregated API servers.

One of the ready endpoints is called directly, so that neither a service proxy nor cluster DNS has to run beside this server, and
a server is reachable as soon as its endpoint is published.

Source: k8s.io/apiserver/pkg/util/proxy/proxy.go (ResolveEndpoint, ResolveCluster) (v1.37).
"""

from collections.abc import Iterable
from random import Random
from typing import Any

from knarr.api import errors
from knarr.apiserver.registry import Registry

Object = dict[str, Any]

DEFAULT_PORT = 443
_SLICES = "endpointslices.discovery.k8s.io"
_NAME_LABEL = "kubernetes.io/service-name"


def locate(registry: Registry, random: Random, namespace: str, name: str, port: int) -> tuple[str, int]:
    """Choose an address and port that answer for a port of a Service.

    Raises:
        NotFound: there is no such Service.
        ServiceUnavailable: it has no such port, or nobody stands behind it.
    """
    service = registry.get("services", namespace, name)
    if service is None:
        raise errors.NotFound("", "service", name)
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return spec.get("externalName") or "", port
    entry = find_port(spec, port)
    if entry is None:
        raise errors.ServiceUnavailable(f'no service port {port} found for service "{name}"')
    found = list(addresses(slices(registry, namespace, name), entry.get("name") or ""))
    if not found:
        raise errors.ServiceUnavailable(f'no endpoints available for service "{name}"')
    return random.choice(found)


def find_port(spec: Object, port: int) -> Object | None:
    """Return the entry of `spec.ports` with that port."""
    for entry in spec.get("ports") or ():
        if entry.get("port") == port:
            found: Object = entry
            return found
    return None


def slices(registry: Registry, namespace: str, name: str) -> list[Object]:
    """Return the EndpointSlices of a Service."""
    return registry.list(_SLICES, namespace, terms=(("label", _NAME_LABEL, name),))


def addresses(found: Iterable[Object], port_name: str) -> Iterable[tuple[str, int]]:
    """Yield where the ready endpoints listen on a port; one of which nobody knows whether it is ready counts as ready."""
    for one in found:
        ports = [
            port["port"]
            for port in one.get("ports") or ()
            if (port.get("name") or "") == port_name and port.get("port") is not None
        ]
        for endpoint in one.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                for address in (endpoint.get("addresses") or ())[:1]:
                    yield from ((address, port) for port in ports)
