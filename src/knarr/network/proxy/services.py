"""What a Service asks of the proxy, as plain values: for each of its ports the addresses to serve and the endpoints behind them.

Headless Services and ExternalName ones ask nothing. Which endpoints count is decided here: the ready ones; when none is ready, those
that still serve while they terminate. Only addresses of one family are taken.

Source: pkg/proxy/serviceport.go, endpoints.go, topology.go (v1.37); KEP-1669 (terminating endpoints), KEP-2086 (internal traffic policy).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lightkube.models import core_v1, discovery_v1

PROXY_NAME = "service.kubernetes.io/service-proxy-name"
"""A Service with this label is left to another proxy."""
DEFAULT_AFFINITY_S = 10800


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where a connection may end.

    Attributes:
        address: IP address.
        port: Port number.
        is_local: It is on this node.
    """

    address: str
    port: int
    is_local: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One port of one Service.

    Attributes:
        namespace: The Service's namespace.
        service: Its name.
        name: The port's name, or "".
        protocol: "tcp", "udp" or "sctp".
        port: The port on every address of the Service.
        cluster_ips: Addresses inside the cluster.
        external_ips: Addresses that traffic from outside arrives for.
        balancer_ips: Addresses of load balancers, which are served here too.
        node_port: On every address of the node; 0 means none.
        is_internal_local: Traffic to cluster addresses stays on the node.
        is_external_local: Traffic from outside stays on the node and keeps its source address.
        affinity_s: How long a client address sticks to an endpoint, in seconds; 0 means it does not.
        health_port: Where load balancers ask whether this node has endpoints; 0 means nowhere.
        source_ranges: Who may use `balancer_ips`; empty means anybody.
        endpoints: All usable ones, sorted.
        local_endpoints: Usable ones of this node, sorted.
    """

    namespace: str
    service: str
    name: str
    protocol: str
    port: int
    cluster_ips: tuple[str, ...] = ()
    external_ips: tuple[str, ...] = ()
    balancer_ips: tuple[str, ...] = ()
    node_port: int = 0
    is_internal_local: bool = False
    is_external_local: bool = False
    affinity_s: int = 0
    health_port: int = 0
    source_ranges: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    local_endpoints: tuple[Endpoint, ...] = ()


def to_service_ports(
    service: core_v1.Service, slices: Iterable[discovery_v1.EndpointSlice], *, node_name: str, family: str = "IPv4"
) -> tuple[ServicePort, ...]:
    """Read what a Service asks of the proxy of one node.

    Args:
        service: The Service.
        slices: Its EndpointSlices.
        node_name: Endpoints of this node are local.
        family: "IPv4" or "IPv6".

    Returns:
        One value a port; empty if the Service needs no proxy.
    """
    spec, meta = service.spec, service.metadata
    if spec is None or meta is None or not is_proxied(service):
        return ()
    own = [one for one in slices if one.addressType == family]
    type_ = spec.type or "ClusterIP"
    affinity = _affinity_s(spec) if spec.sessionAffinity == "ClientIP" else 0
    ports = []
    for port in spec.ports or ():
        everywhere, here = _choose_endpoints(own, port.name or "", node_name)
        ports.append(
            ServicePort(
                namespace=meta.namespace or "",
                service=meta.name or "",
                name=port.name or "",
                protocol=(port.protocol or "TCP").lower(),
                port=port.port,
                cluster_ips=_of_family(spec.clusterIPs or [spec.clusterIP or ""], family),
                external_ips=_of_family(spec.externalIPs or (), family),
                balancer_ips=_of_family(_balancer_ips(service), family) if type_ == "LoadBalancer" else (),
                node_port=(port.nodePort or 0) if type_ in {"NodePort", "LoadBalancer"} else 0,
                is_internal_local=spec.internalTrafficPolicy == "Local",
                is_external_local=type_ != "ClusterIP" and spec.externalTrafficPolicy == "Local",
                affinity_s=affinity,
                health_port=(spec.healthCheckNodePort or 0) if type_ == "LoadBalancer" else 0,
                source_ranges=_of_family((one.strip() for one in spec.loadBalancerSourceRanges or ()), family),
                endpoints=everywhere,
                local_endpoints=here,
            )
        )
    return tuple(ports)


def is_proxied(service: core_v1.Service) -> bool:
    """Tell whether a Service has cluster addresses that this proxy serves."""
    spec, meta = service.spec, service.metadata
    if spec is None or meta is None or spec.type == "ExternalName" or spec.clusterIP in {None, "", "None"}:
        return False
    return PROXY_NAME not in (meta.labels or {})


def _choose_endpoints(
    slices: Iterable[discovery_v1.EndpointSlice], port_name: str, node_name: str
) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
    ready: set[Endpoint] = set()
    draining: set[Endpoint] = set()
    for one in slices:
        numbers = [port.port for port in one.ports or () if (port.name or "") == port_name and port.port]
        for endpoint in one.endpoints or ():
            conditions = endpoint.conditions or discovery_v1.EndpointConditions()
            is_ready = conditions.ready is not False
            is_serving = conditions.serving is not False if conditions.serving is not None else is_ready
            if not endpoint.addresses or not (is_ready or (is_serving and conditions.terminating)):
                continue
            found = {Endpoint(endpoint.addresses[0], number, endpoint.nodeName == node_name) for number in numbers}
            (ready if is_ready else draining).update(found)
    everywhere = ready or draining
    here = {one for one in ready if one.is_local} or {one for one in draining if one.is_local}
    return tuple(sorted(everywhere)), tuple(sorted(here))


def _affinity_s(spec: core_v1.ServiceSpec) -> int:
    config = spec.sessionAffinityConfig
    seconds = config.clientIP.timeoutSeconds if config and config.clientIP else None
    return seconds or DEFAULT_AFFINITY_S


def _balancer_ips(service: core_v1.Service) -> list[str]:
    balancer = service.status.loadBalancer if service.status else None
    ingress = (balancer.ingress or ()) if balancer else ()
    return [one.ip for one in ingress if one.ip and (one.ipMode or "VIP") == "VIP"]


def _of_family(addresses: Iterable[str], family: str) -> tuple[str, ...]:
    colon = family == "IPv6"
    return tuple(dict.fromkeys(one for one in addresses if one and one != "None" and (":" in one) == colon))
