"""Which records the names of a cluster have.

Source: Kubernetes DNS-Based Service Discovery 1.1.0, https://github.com/kubernetes/dns/blob/master/docs/specification.md; where that
leaves room, as CoreDNS's kubernetes plugin with `pods insecure` (plugin/kubernetes, v1.12).
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from knarr.network.dns.records import Answer, Code, Endpoint, Port, Record, Service, Type, View

SCHEMA_VERSION = "1.1.0"
_NOTHING = Answer()
_UNKNOWN = Answer(code=Code.NXDOMAIN)
_REVERSE = ".in-addr.arpa"


@dataclass(frozen=True, slots=True)
class Zone:
    """The names that a cluster's DNS is the authority for.

    Attributes:
        domain: The cluster domain, without the final dot.
        address: Of the DNS server itself.
        ranges: Addresses whose reverse names are answered here too.
    """

    domain: str
    address: str
    ranges: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def resolve(self, view: View, name: str, type_: int) -> Answer | None:
        """Answer a question.

        Args:
            view: What the cluster has.
            name: In lower case, without the final dot.
            type_: The type asked for.

        Returns:
            The answer, or None if the name is not of this zone.
        """
        if name == self.domain:
            return self._apex(type_)
        if name.endswith(f".{self.domain}"):
            return self._resolve_below(view, name, name[: -len(self.domain) - 1].split("."), type_)
        if name.endswith(_REVERSE):
            return self._resolve_reverse(view, name, type_)
        return None

    def is_ours(self, name: str) -> bool:
        """Tell whether `resolve` may know a name, which is in lower case and without the final dot."""
        return name == self.domain or name.endswith((f".{self.domain}", _REVERSE))

    def authority_of(self, name: str) -> str:
        """Return the zone that a name of ours is in: what its SOA record is named."""
        return _REVERSE[1:] if name.endswith(_REVERSE) else self.domain

    def _apex(self, type_: int) -> Answer:
        if type_ in {Type.SOA, Type.ANY}:
            return Answer((Record(self.domain, Type.SOA),))
        if type_ == Type.NS:
            server = f"ns.dns.{self.domain}"
            return Answer((Record(self.domain, Type.NS, server),), (_address_record(server, self.address),))
        return _NOTHING

    def _resolve_below(self, view: View, name: str, labels: Sequence[str], type_: int) -> Answer:
        match labels:
            case ["svc"] | ["pod"] | ["dns"]:
                return _NOTHING
            case ["dns-version"]:
                return _only(type_, [Record(name, Type.TXT, SCHEMA_VERSION)])
            case ["ns", "dns"]:
                return _only(type_, [_address_record(name, self.address)])
            case [namespace, "svc" | "pod"]:
                return _NOTHING if view.has_namespace(namespace) else _UNKNOWN
            case [address, namespace, "pod"]:
                return _resolve_pod(view, name, address, namespace, type_)
            case [*rest, service_name, namespace, "svc"]:
                service = view.service(namespace, service_name)
                return self._resolve_service(service, name, rest, type_) if service else _UNKNOWN
        return _UNKNOWN

    def _resolve_service(self, service: Service, name: str, labels: Sequence[str], type_: int) -> Answer:
        if service.external_name:
            if labels:
                return _UNKNOWN
            follow = service.external_name if type_ != Type.CNAME else ""
            return Answer((Record(name, Type.CNAME, service.external_name),), follow=follow)
        match labels:
            case []:
                return self._answer(service, name, service.endpoints, service.ports, type_)
            case [protocol] if protocol.startswith("_"):
                return _NOTHING if any(port.protocol == protocol[1:] for port in _all_ports(service)) else _UNKNOWN
            case [hostname]:
                found = [one for one in service.endpoints if one.hostname == hostname]
                return self._answer(service, name, found, (), type_, is_endpoint=True) if found else _UNKNOWN
            case [port_name, protocol] if port_name.startswith("_") and protocol.startswith("_"):
                wanted = (port_name[1:], protocol[1:])
                if not any((port.name, port.protocol) == wanted for port in _all_ports(service)):
                    return _UNKNOWN
                return self._answer(service, name, service.endpoints, service.ports, type_, wanted=wanted)
        return _UNKNOWN

    def _answer(
        self,
        service: Service,
        name: str,
        endpoints: Iterable[Endpoint],
        ports: Iterable[Port],
        type_: int,
        *,
        wanted: tuple[str, str] | None = None,
        is_endpoint: bool = False,
    ) -> Answer:
        """Answer for a Service (or one endpoint of it), all of its ports or the `wanted` one."""
        own = f"{service.name}.{service.namespace}.svc.{self.domain}"
        targets: list[tuple[str, str, tuple[Port, ...]]]  # name, address, ports
        if service.addresses and not is_endpoint:
            targets = [(own, address, tuple(ports)) for address in service.addresses]
        else:
            targets = [(f"{one.hostname}.{own}", one.address, one.ports) for one in endpoints]
        if not targets:
            return _UNKNOWN  # a headless Service without endpoints has no name, as CoreDNS has it
        if type_ != Type.SRV:
            addresses = dict.fromkeys(address for _, address, _ in targets)
            return _only(type_, [_address_record(name, address) for address in addresses])
        found = [
            (target, port.number)
            for target, _, own_ports in targets
            for port in own_ports
            if wanted is None or (port.name, port.protocol) == wanted
        ]
        pairs = list(dict.fromkeys(found))
        weight = max(1, 100 // len(pairs)) if pairs else 0
        return Answer(
            tuple(Record(name, Type.SRV, target, port, weight) for target, port in pairs),
            tuple(dict.fromkeys(_address_record(target, address) for target, address, _ in targets)) if pairs else (),
        )

    def _resolve_reverse(self, view: View, name: str, type_: int) -> Answer | None:
        labels = name[: -len(_REVERSE)].split(".")
        try:
            address = ipaddress.ip_address(".".join(reversed(labels)))
        except ValueError:
            return None
        owners = view.owners(str(address))
        if not owners:
            return _UNKNOWN if any(address in one for one in self.ranges) else None
        return _only(type_, [Record(name, Type.PTR, f"{owner}.{self.domain}") for owner in owners])


def _resolve_pod(view: View, name: str, label: str, namespace: str, type_: int) -> Answer:
    """Answer for a pod's address as a name; whether there is such a pod is not looked at."""
    text = label.replace("-", ".") if label.count("-") == 3 and "--" not in label else label.replace("-", ":")
    try:
        address = str(ipaddress.ip_address(text))
    except ValueError:
        return _UNKNOWN
    if not view.has_namespace(namespace):
        return _UNKNOWN
    return _only(type_, [_address_record(name, address)])


def _address_record(name: str, address: str) -> Record:
    return Record(name, Type.AAAA if ":" in address else Type.A, address)


def _only(type_: int, records: Iterable[Record]) -> Answer:
    return Answer(tuple(one for one in records if type_ in (one.type, Type.ANY)))


def _all_ports(service: Service) -> Iterable[Port]:
    if service.addresses:
        return service.ports
    return (port for one in service.endpoints for port in one.ports)
