"""NetworkPolicies, IngressClasses, IPAddresses and ServiceCIDRs; Ingresses are in `ingress.py`.

Source: k8s.io/kubernetes/pkg/apis/networking/validation/validation.go (v1.37).
"""

import ipaddress
from collections.abc import Mapping

from knarr.api import names
from knarr.api.validation import addresses, selectors
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable
from knarr.api.validation.groups import ingress
from knarr.api.validation.groups.ingress import typed_reference
from knarr.api.validation.rules import Rules

GROUP = "networking.k8s.io"
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_TYPES = ("Ingress", "Egress")
_CONTROLLER_MAX_BYTES = 250


def network_policy(errors: Errors, obj: Object) -> None:
    """Check a NetworkPolicy."""
    spec = obj.get("spec") or {}
    selectors.check(errors, spec.get("podSelector"), "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{index}]"
            for position, port in enumerate(rule.get("ports") or ()):
                _policy_port(errors, port, f"{path}.ports[{position}]")
            for position, peer in enumerate(rule.get(peers) or ()):
                _peer(errors, peer, f"{path}.{peers}[{position}]")
    types = spec.get("policyTypes") or []
    if len(types) > len(_TYPES):
        errors.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
        return
    for index, kind in enumerate(types):
        if kind not in _TYPES:
            errors.unsupported(f"spec.policyTypes[{index}]", kind, _TYPES)


def _policy_port(errors: Errors, given: Object, path: str) -> None:
    protocol, port, end = given.get("protocol"), given.get("port"), given.get("endPort")
    if protocol is not None and protocol not in _PROTOCOLS:
        errors.unsupported(f"{path}.protocol", protocol, _PROTOCOLS)
    if isinstance(port, str):
        if end is not None:
            errors.invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric")
        errors.all_invalid(f"{path}.port", port, names.port_name(port))
    elif port is not None:
        errors.all_invalid(f"{path}.port", port, names.port_number(port))
        if end is not None:
            if end < port:
                errors.invalid(f"{path}.endPort", port, "must be greater than or equal to `port`")
            errors.all_invalid(f"{path}.endPort", end, names.port_number(end))
    elif end is not None:
        errors.invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified")


def _peer(errors: Errors, peer: Object, path: str) -> None:
    given = [field for field in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(field) is not None]
    for field in given:
        if field == "ipBlock":
            _block(errors, peer["ipBlock"], f"{path}.ipBlock")
        else:
            selectors.check(errors, peer[field], f"{path}.{field}")
    if not given:
        errors.required(path, "must specify a peer")
    elif len(given) > 1 and "ipBlock" in given:
        errors.forbidden(path, "may not specify both ipBlock and another peer")


def _block(errors: Errors, given: Object, path: str) -> None:
    text = given.get("cidr") or ""
    if not text:
        errors.required(f"{path}.cidr")
        return
    addresses.check_block(errors, text, f"{path}.cidr")
    whole = addresses.parse_block(text)
    if whole is None:
        return
    for index, exception in enumerate(given.get("except") or ()):
        here = f"{path}.except[{index}]"
        addresses.check_block(errors, exception, here)
        part = addresses.parse_block(exception)
        if part is None:
            continue
        contained = part[1].network_address in whole[1]
        if not contained or whole[1].prefixlen >= part[1].prefixlen:
            errors.invalid(here, exception, "must be a strict subset of `cidr`")


def ingress_class(errors: Errors, obj: Object) -> None:
    """Check an IngressClass."""
    spec = obj.get("spec") or {}
    controller, path = spec.get("controller") or "", "spec.controller"
    if len(controller.encode()) > _CONTROLLER_MAX_BYTES:
        errors.too_long(path, _CONTROLLER_MAX_BYTES)
    if not controller:
        errors.required(path)
    else:
        for part, complaint in names.domain_prefixed_path(controller):
            errors.invalid(path, part, complaint)
    parameters = spec.get("parameters")
    if parameters is not None:
        typed_reference(errors, parameters, "spec.parameters")
        _parameters_scope(errors, parameters, "spec.parameters")


def _parameters_scope(errors: Errors, parameters: Object, path: str) -> None:
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        errors.required(f"{path}.scope")
    elif scope == "Namespace":
        if namespace is None:
            errors.required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")
        else:
            errors.all_invalid(f"{path}.namespace", namespace, names.dns_label(namespace))
    elif scope == "Cluster":
        if namespace is not None:
            errors.forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")
    else:
        errors.unsupported(f"{path}.scope", scope, ("Cluster", "Namespace"))


def _ingress_class_update(errors: Errors, obj: Object, old: Object) -> None:
    controller, before = ((one.get("spec") or {}).get("controller") for one in (obj, old))
    immutable(errors, "spec.controller", controller, before)
    ingress_class(errors, obj)


def _name_is_address(value: str, _prefix: bool) -> names.Complaints:
    """Check the name of an IPAddress: an address in its canonical form."""
    errors = Errors()
    if addresses.check(errors, value, "", strict=True) and not errors.found:
        canonical = str(ipaddress.ip_address(value))
        if canonical != value:
            return (f'must be in canonical form ("{canonical}")',)
    return tuple(error.detail for error in errors.found)


def ip_address(errors: Errors, obj: Object) -> None:
    """Check an IPAddress."""
    parent, path = (obj.get("spec") or {}).get("parentRef"), "spec.parentRef"
    if parent is None:
        errors.required(path)
        return
    if parent.get("group"):
        errors.all_invalid(f"{path}.group", parent["group"], names.dns_subdomain(parent["group"]))
    for field in ("resource", "name", "namespace"):
        value = parent.get(field) or ""
        if value:
            errors.all_invalid(f"{path}.{field}", value, names.path_segment(value))
        elif field != "namespace":
            errors.required(f"{path}.{field}")


def _ip_address_update(errors: Errors, obj: Object, old: Object) -> None:
    parent, before = ((one.get("spec") or {}).get("parentRef") for one in (obj, old))
    immutable(errors, "spec.parentRef", parent, before)


def service_cidr(errors: Errors, obj: Object) -> None:
    """Check a ServiceCIDR."""
    spec, path = obj.get("spec") or {}, "spec.cidrs"
    blocks = spec.get("cidrs") or []
    if not blocks:
        errors.required(path, "at least one CIDR required")
        return
    shown = {"CIDRs": blocks}
    if len(blocks) > 2:
        errors.invalid(path, shown, "may only hold up to 2 values")
        return
    if len(blocks) == 2 and {addresses.family(block) for block in blocks} != {4, 6}:
        words = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        errors.invalid(path, shown, words)
        return
    for index, block in enumerate(blocks):
        addresses.check_block(errors, block, f"{path}[{index}]", strict=True)


def _service_cidr_update(errors: Errors, obj: Object, old: Object) -> None:
    blocks, before = ((one.get("spec") or {}).get("cidrs") for one in (obj, old))
    immutable(errors, "spec.cidrs", blocks, before)


RULES: Mapping[tuple[str, str], Rules] = {
    (GROUP, "IPAddress"): Rules(ip_address, _ip_address_update, name=_name_is_address),
    (GROUP, "Ingress"): Rules(ingress.create, ingress.update, ingress.status),
    (GROUP, "IngressClass"): Rules(ingress_class, _ingress_class_update),
    (GROUP, "NetworkPolicy"): Rules(network_policy),
    (GROUP, "ServiceCIDR"): Rules(service_cidr, _service_cidr_update),
}
