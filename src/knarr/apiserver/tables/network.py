"""Rows of services, endpoints, ingresses and addresses.

Source: pkg/printers/internalversion/printers.go (v1.37).
"""

from datetime import datetime
from typing import Any

from knarr.apiserver.tables import cells
from knarr.apiserver.tables.columns import Cells, Object, Printer, columns

_MOST = 3


def _balancer(obj: Object) -> str:
    found = (one.get("ip") or one.get("hostname") for one in cells.items(obj, "status", "loadBalancer", "ingress"))
    return ",".join(dict.fromkeys(address for address in found if address))


def _external_ip(service: Object) -> str:
    kind, external = cells.text(service, "spec", "type"), cells.items(service, "spec", "externalIPs")
    if kind in ("ClusterIP", "NodePort"):
        return cells.joined(external)
    if kind == "LoadBalancer":
        balancer = _balancer(service)
        return cells.joined([*([balancer] if balancer else []), *external], "<pending>")
    return cells.text(service, "spec", "externalName") if kind == "ExternalName" else cells.UNKNOWN


def _port(port: Object) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node_port}/{port.get('protocol') or 'TCP'}"


def _service(obj: Object, now: datetime) -> Cells:
    addresses = cells.items(obj, "spec", "clusterIPs") or [cells.text(obj, "spec", "clusterIP", absent=cells.NONE)]
    return [
        cells.name(obj),
        cells.text(obj, "spec", "type"),
        addresses[0],
        _external_ip(obj),
        cells.joined(_port(port) for port in cells.items(obj, "spec", "ports")),
        cells.age(obj, now),
        cells.label_map(cells.part(obj, "spec", "selector")),
    ]


def _join(address: str, port: Any) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _endpoint_addresses(obj: Object) -> str:
    subsets = cells.items(obj, "subsets")
    if not subsets:
        return cells.NONE
    found: list[str] = []
    for subset in subsets:
        addresses = [cells.text(address, "ip") for address in cells.items(subset, "addresses")]
        ports = cells.items(subset, "ports")
        found += [_join(address, port.get("port")) for port in ports for address in addresses] if ports else addresses
    return cells.first_few(found, _MOST, len(found))


def _endpoints(obj: Object, now: datetime) -> Cells:
    return [cells.name(obj), _endpoint_addresses(obj), cells.age(obj, now)]


def _slice_port(port: Object) -> str:
    if port.get("port") is not None:
        return str(port["port"])
    return str(port["name"]) if port.get("name") is not None else "*"


def _endpoint_slice(obj: Object, now: datetime) -> Cells:
    ports = [_slice_port(port) for port in cells.items(obj, "ports")]
    addresses = [address for one in cells.items(obj, "endpoints") for address in cells.items(one, "addresses")]
    return [
        cells.name(obj),
        cells.text(obj, "addressType"),
        cells.first_few(ports, _MOST, len(ports)) or cells.UNSET,
        cells.first_few(addresses, _MOST, len(addresses)) or cells.UNSET,
        cells.age(obj, now),
    ]


def _hosts(obj: Object) -> str:
    hosts = [rule["host"] for rule in cells.items(obj, "spec", "rules") if rule.get("host")]
    return cells.first_few(hosts, _MOST, len(hosts)) or "*"


def _ingress(obj: Object, now: datetime) -> Cells:
    return [
        cells.name(obj),
        cells.text(obj, "spec", "ingressClassName", absent=cells.NONE),
        _hosts(obj),
        _balancer(obj),
        "80, 443" if cells.items(obj, "spec", "tls") else "80",
        cells.age(obj, now),
    ]


def _ingress_class(obj: Object, now: datetime) -> Cells:
    parameters = cells.part(obj, "spec", "parameters")
    shown = cells.NONE
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") is not None else ""
        shown = f"{parameters.get('kind')}{group}/{parameters.get('name')}"
    return [cells.name(obj), cells.text(obj, "spec", "controller"), shown, cells.age(obj, now)]


def _network_policy(obj: Object, now: datetime) -> Cells:
    return [cells.name(obj), cells.selector(cells.part(obj, "spec", "podSelector")), cells.age(obj, now)]


def _ip_address(obj: Object, now: datetime) -> Cells:
    parent, shown = cells.part(obj, "spec", "parentRef"), cells.NONE
    if parent:
        resource = ".".join(word for word in (parent.get("resource"), parent.get("group")) if word).lower()
        shown = "/".join(word for word in (resource, parent.get("namespace"), parent.get("name")) if word)
    return [cells.name(obj), shown, cells.age(obj, now)]


def _service_cidr(obj: Object, now: datetime) -> Cells:
    return [cells.name(obj), ",".join(cells.items(obj, "spec", "cidrs")), cells.age(obj, now)]


SERVICE = Printer(columns("Name Type Cluster-IP External-IP Port(s) Age | Selector"), _service)
ENDPOINTS = Printer(columns("Name Endpoints Age"), _endpoints)
ENDPOINT_SLICE = Printer(columns("Name AddressType Ports Endpoints Age"), _endpoint_slice)
INGRESS = Printer(columns("Name Class Hosts Address Ports Age"), _ingress)
INGRESS_CLASS = Printer(columns("Name Controller Parameters Age"), _ingress_class)
NETWORK_POLICY = Printer(columns("Name Pod-Selector Age"), _network_policy)
IP_ADDRESS = Printer(columns("Name ParentRef Age"), _ip_address)
SERVICE_CIDR = Printer(columns("Name CIDRs Age"), _service_cidr)
