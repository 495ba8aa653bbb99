"""From the ports of a Service to the chains, sets and map elements that serve them.

Rules are a flat mapping, so that two versions can be compared and several Services can ask for the same chain: the key
is (CHAIN, name), (SET, name), (name of a map or set, element) or (SPREAD, number of endpoints that the skeleton must know to spread over);
the value the chain's rules, the set's declaration, the element's data or nothing.
"""

from collections.abc import Iterator, Mapping, Sequence

from knarr.network.proxy.services import Endpoint, ServicePort
from knarr.network.proxy.skeleton import Table

CHAIN = "chain"
SET = "set"
SPREAD = "spread"

Key = tuple[str, str]
Rules = Mapping[Key, str]


def plan_rules(ports: Sequence[ServicePort], table: Table) -> dict[Key, str]:
    """Return the rules for all ports of one Service."""
    rules: dict[Key, str] = {}
    for port in ports:
        rules.update(_Planner(port, table).plan())
    return rules


class _Planner:
    """Collects the rules of one port."""

    def __init__(self, port: ServicePort, table: Table) -> None:
        self.port = port
        self.table = table
        self.ip = table.family.name
        self.rules: dict[Key, str] = {}
        self.label = f"{port.namespace}/{port.service}/{port.protocol}/{port.name or port.port}"

    def plan(self) -> dict[Key, str]:
        port = self.port
        for address in port.cluster_ips:
            self._plan_cluster_ip(address)
        for address in (*port.external_ips, *port.balancer_ips):
            self._plan_external_ip(address)
        if port.node_port:
            self._plan_node_port()
        if port.source_ranges and port.balancer_ips:
            self._plan_firewall()
        for endpoint in {*port.endpoints, *port.local_endpoints}:
            if endpoint.is_local:
                self.rules["hairpin-connections", f"{endpoint.address} . {endpoint.address}"] = ""
        return self.rules

    def _plan_cluster_ip(self, address: str) -> None:
        port = self.port
        key = f"{address} . {port.protocol} . {port.port}"
        if port.is_internal_local:
            if port.local_endpoints:
                self.rules["service-ips", key] = f"goto {self._spread('local-backends', key)}"
            else:
                self.rules["no-endpoint-services", key] = "drop" if port.endpoints else "goto reject-chain"
        elif port.endpoints:
            self.rules["service-ips", key] = f"goto {self._spread('backends', key)}"
        else:
            self.rules["no-endpoint-services", key] = "goto reject-chain"

    def _plan_external_ip(self, address: str) -> None:
        key = f"{address} . {self.port.protocol} . {self.port.port}"
        self._plan_external(key, "service-ips", "no-endpoint-services", "backends", "local-backends")

    def _plan_node_port(self) -> None:
        key = f"{self.port.protocol} . {self.port.node_port}"
        self._plan_external(
            key, "service-nodeports", "no-endpoint-nodeports", "nodeport-backends", "local-nodeport-backends"
        )

    def _plan_external(self, key: str, services: str, empty: str, backends: str, local_backends: str) -> None:
        port = self.port
        if not port.endpoints:
            self.rules[empty, key] = "goto reject-chain"
            return
        everywhere = self._spread(backends, key)
        if not port.is_external_local:
            name = self._chain("external", [everywhere], ["jump mark-for-masquerade", f"goto {everywhere}"])
            self.rules[services, key] = f"goto {name}"
            return
        here = self._spread(local_backends, key) if port.local_endpoints else ""
        if not here:
            self.rules[empty, key] = "drop"
        # Whoever asks from inside the cluster reaches every endpoint; only the outside must come in where one is.
        lines = [
            f"{self.ip} saddr {self.table.pod_cidr} goto {everywhere}",
            "fib saddr type local jump mark-for-masquerade",
            f"fib saddr type local goto {everywhere}",
            *([f"goto {here}"] if here else []),
        ]
        name = self._chain("external", [everywhere, here or "none"], lines)
        self.rules[services, key] = f"goto {name}"

    def _plan_firewall(self) -> None:
        ranges = ", ".join(self.port.source_ranges)
        name = self._chain("firewall", [self.label], [f"{self.ip} saddr != {{ {ranges} }} drop"])
        for address in self.port.balancer_ips:
            self.rules["firewall-ips", f"{address} . {self.port.protocol} . {self.port.port}"] = f"goto {name}"

    def _spread(self, backends: str, key: str) -> str:
        """Add what spreads connections to `key` over endpoints; return the chain's name."""
        endpoints = self.port.local_endpoints if backends.startswith("local-") else self.port.endpoints
        if self.port.affinity_s:
            return self._stick("local" if backends.startswith("local-") else "all", endpoints)
        for number, endpoint in enumerate(endpoints):
            self.rules[backends, f"{key} . {number}"] = f"{endpoint.address} . {endpoint.port}"
        self.rules[SPREAD, str(len(endpoints))] = ""
        return f"{backends}/{len(endpoints)}"

    def _stick(self, scope: str, endpoints: Sequence[Endpoint]) -> str:
        """Add chains and sets that send a client to the endpoint it had before; return the chain's name."""
        port = self.port
        known, drawn = [], []
        for number, endpoint in enumerate(endpoints):
            name = f"affinity/{self.label}/{endpoint.address}/{endpoint.port}/{port.affinity_s}"
            self.rules[SET, name] = (
                f"type {self.table.family.address_type}; flags dynamic,timeout; timeout {port.affinity_s}s;"
            )
            lines = [
                f"update @{name} {{ {self.ip} saddr }}",
                f"meta l4proto {port.protocol} dnat {self.ip} to {endpoint.address}:{endpoint.port}",
            ]
            chain = self._chain("endpoint", [self.label, endpoint.address, str(endpoint.port)], lines)
            known.append(f"{self.ip} saddr @{name} goto {chain}")
            drawn.append(f"{number} : goto {chain}")
        lines = [*known, f"numgen random mod {len(endpoints)} vmap {{ {', '.join(drawn)} }}"]
        return self._chain(f"sticky-{scope}", [self.label], lines)

    def _chain(self, kind: str, parts: Sequence[str], lines: Sequence[str]) -> str:
        name = "/".join((kind, *parts))
        self.rules[CHAIN, name] = "\n".join(lines)
        return name


def backends_of(port: ServicePort) -> Iterator[tuple[str, int]]:
    """Yield address and port of everything that connections to a port may be translated to."""
    for endpoint in {*port.endpoints, *port.local_endpoints}:
        yield endpoint.address, endpoint.port
