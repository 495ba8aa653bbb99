"""EndpointSlices.

Source: k8s.io/kubernetes/pkg/apis/discovery/validation/validation.go (v1.37).
"""

from collections.abc import Mapping

from knarr.api import names
from knarr.api.validation import addresses, meta
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable
from knarr.api.validation.rules import Rules

_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_ENDPOINTS_MAX = 1000
_ADDRESSES_MAX = 100
_PORTS_MAX = 20_000
_TOPOLOGY_MAX = 16
_HINTS_MAX = 8


def endpoint_slice(errors: Errors, obj: Object) -> None:
    """Check an EndpointSlice."""
    kind = obj.get("addressType") or ""
    errors.one_of("addressType", kind, _TYPES)
    endpoints, ports = obj.get("endpoints") or [], obj.get("ports") or []
    if len(endpoints) > _ENDPOINTS_MAX:
        errors.too_many("endpoints", len(endpoints), _ENDPOINTS_MAX)
    else:
        for index, endpoint in enumerate(endpoints):
            _endpoint(errors, endpoint, kind, f"endpoints[{index}]")
    if len(ports) > _PORTS_MAX:
        errors.too_many("ports", len(ports), _PORTS_MAX)
    else:
        _ports(errors, ports)


def _endpoint(errors: Errors, endpoint: Object, kind: str, path: str) -> None:
    listed = endpoint.get("addresses") or ()
    if not listed:
        errors.required(f"{path}.addresses", "must contain at least 1 address")
    elif len(listed) > _ADDRESSES_MAX:
        errors.too_many(f"{path}.addresses", len(listed), _ADDRESSES_MAX)
    for index, address in enumerate(listed):
        _address(errors, address, kind, f"{path}.addresses[{index}]")
    node, hostname = endpoint.get("nodeName"), endpoint.get("hostname")
    if node is not None:
        errors.all_invalid(f"{path}.nodeName", node, names.dns_subdomain(node))
    topology = endpoint.get("deprecatedTopology") or {}
    if len(topology) > _TOPOLOGY_MAX:
        errors.too_many(f"{path}.deprecatedTopology", len(topology), _TOPOLOGY_MAX)
    meta.labels(errors, topology, f"{path}.deprecatedTopology")
    if hostname is not None:
        errors.all_invalid(f"{path}.hostname", hostname, names.dns_label(hostname))
    hints = endpoint.get("hints") or {}
    _hints(errors, hints.get("forZones") or [], f"{path}.hints.forZones")
    _hints(errors, hints.get("forNodes") or [], f"{path}.hints.forNodes")


def _address(errors: Errors, address: str, kind: str, path: str) -> None:
    if kind == "FQDN":
        name = address.removesuffix(".")
        if not name:
            errors.required(path)
            return
        complaints = names.dns_subdomain(name)
        errors.all_invalid(path, address, complaints)
        if not complaints and "." not in name:
            errors.invalid(path, address, "should be a domain with at least two segments separated by dots")
    elif kind in {"IPv4", "IPv6"}:
        parsed = addresses.parse(address)
        if parsed is None or parsed.version != int(kind[-1]):
            errors.invalid(path, address, f"must be a valid {kind} address")
        addresses.check_not_special(errors, address, path)


def _hints(errors: Errors, hints: list[Object], path: str) -> None:
    if len(hints) > _HINTS_MAX:
        errors.too_many(path, len(hints), _HINTS_MAX)
        return
    seen = set()
    for index, hint in enumerate(hints):
        here, name = f"{path}[{index}].name", hint.get("name") or ""
        if name in seen:
            errors.duplicate(here, name)
        seen.add(name)
        rule = names.label_value if path.endswith("forZones") else names.dns_subdomain
        errors.all_invalid(here, name, rule(name))


def _ports(errors: Errors, ports: list[Object]) -> None:
    seen = set()
    for index, port in enumerate(ports):
        path, name, protocol = f"ports[{index}]", port.get("name") or "", port.get("protocol")
        if name:
            errors.all_invalid(f"{path}.name", name, names.dns_label(name))
        if name in seen:
            errors.duplicate(f"{path}.name", name)
        seen.add(name)
        if protocol is None:
            errors.required(f"{path}.protocol")
        elif protocol not in _PROTOCOLS:
            errors.unsupported(f"{path}.protocol", protocol, _PROTOCOLS)
        number, application = port.get("port"), port.get("appProtocol")
        if number is not None:
            errors.all_invalid(f"{path}.port", number, names.port_number(number))
        if application is not None:
            errors.all_invalid(f"{path}.appProtocol", application, names.qualified_name(application))


def _update(errors: Errors, obj: Object, old: Object) -> None:
    endpoint_slice(errors, obj)
    immutable(errors, "addressType", obj.get("addressType"), old.get("addressType"))


RULES: Mapping[tuple[str, str], Rules] = {("discovery.k8s.io", "EndpointSlice"): Rules(endpoint_slice, _update)}
