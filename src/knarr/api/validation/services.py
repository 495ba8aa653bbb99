"""Services and Endpoints.

Source: ValidateService, ValidateEndpoints and others in k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

from typing import Any

from knarr.api import names
from knarr.api.validation import addresses, meta, probes
from knarr.api.validation.collector import IMMUTABLE, Errors, Object
from knarr.api.validation.containers import PROTOCOLS

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_TRAFFIC_POLICIES = ("Cluster", "Local")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_AFFINITY_MAX_S = 86400
_HINTS = "service.kubernetes.io/topology-aware-hints"
_MODE = "service.kubernetes.io/topology-mode"
_SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_FOR_BALANCERS = "may only be used when `type` is 'LoadBalancer'"
_SET_ONCE = "may not change once set"


def create(errors: Errors, obj: Object) -> None:
    """Check a service."""
    notes, spec = (obj.get("metadata") or {}).get("annotations") or {}, obj.get("spec") or {}
    if _HINTS in notes and _MODE in notes and notes[_HINTS] != notes[_MODE]:
        words = f"must match annotations[{_HINTS}] when both are specified"
        errors.invalid(f"metadata.annotations[{_MODE}]", notes[_MODE], words)
    kind, ports = spec.get("type") or "", spec.get("ports") or []
    if not ports and not is_headless(spec) and kind != "ExternalName":
        errors.required("spec.ports")
    _by_type(errors, spec, kind)
    seen: set[str] = set()
    for index, port in enumerate(ports):
        _port(errors, port, seen, f"spec.ports[{index}]", needs_name=len(ports) > 1)
    meta.labels(errors, spec.get("selector"), "spec.selector")
    _affinity(errors, spec)
    if kind != "ExternalName":
        _cluster_ips(errors, spec)
    for index, ip in enumerate(spec.get("externalIPs") or ()):
        if addresses.check(errors, ip, f"spec.externalIPs[{index}]"):
            addresses.check_not_special(errors, ip, f"spec.externalIPs[{index}]")
    errors.one_of("spec.type", kind, _TYPES)
    _port_sets(errors, ports, kind)
    _balancer(errors, spec, kind, notes)
    _traffic(errors, spec, kind)


def is_headless(spec: Object) -> bool:
    """Return whether a service has no address of its own."""
    return spec.get("clusterIPs") == ["None"]


def _by_type(errors: Errors, spec: Object, kind: str) -> None:
    if kind in {"LoadBalancer", "NodePort"} and is_headless(spec):
        errors.invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    if kind != "ExternalName":
        return
    for field in ("clusterIPs", "ipFamilies"):
        if spec.get(field):
            errors.forbidden(f"spec.{field}", "may not be set for ExternalName services")
    if spec.get("ipFamilyPolicy") is not None:
        errors.forbidden("spec.ipFamilyPolicy", "may not be set for ExternalName services")
    name = (spec.get("externalName") or "").removesuffix(".")
    if name:
        errors.all_invalid("spec.externalName", name, names.dns_subdomain(name))
    else:
        errors.required("spec.externalName")


def _port(errors: Errors, port: Object, seen: set[str], path: str, *, needs_name: bool) -> None:
    name = port.get("name") or ""
    if name:
        errors.all_invalid(f"{path}.name", name, names.dns_label(name))
        if name in seen:
            errors.duplicate(f"{path}.name", name)
        seen.add(name)
    elif needs_name:
        errors.required(f"{path}.name")
    number = port.get("port") or 0
    errors.all_invalid(f"{path}.port", number, names.port_number(number))
    errors.one_of(f"{path}.protocol", port.get("protocol"), PROTOCOLS)
    probes.port(errors, port.get("targetPort") or 0, f"{path}.targetPort")
    if port.get("appProtocol") is not None:
        errors.all_invalid(f"{path}.appProtocol", port["appProtocol"], names.qualified_name(port["appProtocol"]))


def _affinity(errors: Errors, spec: Object) -> None:
    kind, config = spec.get("sessionAffinity") or "", spec.get("sessionAffinityConfig")
    errors.one_of("spec.sessionAffinity", kind, ("ClientIP", "None"))
    path = "spec.sessionAffinityConfig"
    if kind == "None" and config is not None:
        errors.forbidden(path, "must not be set when session affinity is None")
    if kind != "ClientIP":
        return
    for field in ("", ".clientIP", ".clientIP.timeoutSeconds"):
        value: Any = config
        for name in field.split(".")[1:]:
            value = (value or {}).get(name)
        if value is None:
            errors.required(f"{path}{field}", "when session affinity type is ClientIP")
            return
    if not 0 < value <= _AFFINITY_MAX_S:
        words = f"must be greater than 0 and less than {_AFFINITY_MAX_S}"
        errors.invalid(f"{path}.clientIP.timeoutSeconds", value, words)


def _cluster_ips(errors: Errors, spec: Object) -> None:
    ip, ips, families = spec.get("clusterIP") or "", spec.get("clusterIPs") or [], spec.get("ipFamilies") or []
    path = "spec.clusterIPs"
    if ip and not ips:
        errors.required(path)
    elif ip and ips[0] != ip:
        errors.invalid(path, ips, "first value must match `clusterIP`")
    elif not ip and ips:
        errors.invalid(path, ips, "must be empty when `clusterIP` is not specified")
    for index, family in enumerate(families):
        errors.one_of(f"spec.ipFamilies[{index}]", family, _FAMILIES, required=False)
        if family in families[:index]:
            errors.duplicate(f"spec.ipFamilies[{index}]", family)
    if spec.get("ipFamilyPolicy") is not None:
        errors.one_of("spec.ipFamilyPolicy", spec["ipFamilyPolicy"], _FAMILY_POLICIES, required=False)
    all_good = True
    for index, one in enumerate(ips):
        if index == 0 and one == "None":
            if len(ips) > 1:
                all_good = False
                errors.invalid(path, ips, "'None' must be the first and only value")
            continue
        all_good = addresses.check(errors, one, f"{path}[{index}]") and all_good
    if len(ips) > 2:
        errors.invalid(path, ips, "may only hold up to 2 values")
    if not all_good:
        return
    if len(ips) > 1 and {addresses.family(one) for one in ips} != {4, 6}:
        errors.invalid(path, ips, "may specify no more than one IP for each IP family")
    if not is_headless(spec):
        for index, (one, family) in enumerate(zip(ips, families, strict=False)):
            if family in _FAMILIES and f"IPv{addresses.family(one)}" != family:
                words = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
                errors.invalid(f"{path}[{index}]", one, words)


def _port_sets(errors: Errors, ports: list[Object], kind: str) -> None:
    if kind == "ClusterIP":
        for index, port in enumerate(ports):
            if port.get("nodePort"):
                here = f"spec.ports[{index}].nodePort"
                errors.forbidden(here, "may not be used when `type` is 'ClusterIP'")
    taken = set()
    for index, port in enumerate(ports):
        node_port = port.get("nodePort") or 0
        if node_port and (port.get("protocol"), node_port) in taken:
            errors.duplicate(f"spec.ports[{index}].nodePort", node_port)
        taken.add((port.get("protocol"), node_port))
    taken = set()
    for index, port in enumerate(ports):
        key = (port.get("protocol"), port.get("port"))
        if key in taken:
            shown = {
                "Name": "",
                "Protocol": key[0],
                "AppProtocol": None,
                "Port": key[1],
                "TargetPort": 0,
                "NodePort": 0,
            }
            errors.duplicate(f"spec.ports[{index}]", shown)
        taken.add(key)


def _balancer(errors: Errors, spec: Object, kind: str, notes: Object) -> None:
    ranges, path = spec.get("loadBalancerSourceRanges") or [], "spec.LoadBalancerSourceRanges"
    listed = [(f"{path}[{index}]", text) for index, text in enumerate(ranges)]
    if not ranges and _SOURCE_RANGES in notes:
        path = f"metadata.annotations[{_SOURCE_RANGES}]"
        text = notes[_SOURCE_RANGES].strip()
        listed = [(path, one) for one in text.split(",")] if text else []
    if (ranges or _SOURCE_RANGES in notes) and kind != "LoadBalancer":
        errors.forbidden(path, _FOR_BALANCERS)
    for here, text in listed:
        addresses.check_block(errors, text.strip(), here)
    if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
        errors.forbidden("spec.allocateLoadBalancerNodePorts", _FOR_BALANCERS)
    if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
        errors.required("allocateLoadBalancerNodePorts")
    name = spec.get("loadBalancerClass")
    if name is None:
        return
    if kind == "LoadBalancer":
        errors.all_invalid("spec.loadBalancerClass", name, names.qualified_name(name))
    else:
        errors.forbidden("spec.loadBalancerClass", _FOR_BALANCERS)


def _traffic(errors: Errors, spec: Object, kind: str) -> None:
    external, health = spec.get("externalTrafficPolicy") or "", spec.get("healthCheckNodePort") or 0
    is_external = kind in {"LoadBalancer", "NodePort"} or (kind == "ClusterIP" and bool(spec.get("externalIPs")))
    if is_external:
        errors.one_of("spec.externalTrafficPolicy", external, _TRAFFIC_POLICIES)
    elif external:
        words = "may only be set for externally-accessible services"
        errors.invalid("spec.externalTrafficPolicy", external, words)
    if health and _needs_health_check(spec):  # a missing one is allocated afterwards
        errors.all_invalid("spec.healthCheckNodePort", health, names.port_number(health))
    elif health:
        words = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        errors.invalid("spec.healthCheckNodePort", health, words)
    internal = spec.get("internalTrafficPolicy")
    if internal is not None:
        errors.one_of("spec.internalTrafficPolicy", internal, _TRAFFIC_POLICIES, required=False)
    elif kind in {"NodePort", "LoadBalancer", "ClusterIP"}:
        errors.required("spec.internalTrafficPolicy")
    distribution = spec.get("trafficDistribution")
    if distribution is not None:
        errors.one_of("spec.trafficDistribution", distribution, _DISTRIBUTIONS, required=False)


def _needs_health_check(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of a service, whose addresses stay but for a second family that comes or goes."""
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    if "ExternalName" not in (spec.get("type"), before.get("type")):
        was_headless, is_now = is_headless(before), is_headless(spec)
        if not (was_headless and is_now):
            _stays(errors, spec, before, "clusterIPs", "clusterIP")
        if not was_headless and not is_now:
            _stays(errors, spec, before, "ipFamilies", "ipFamily")
    if spec.get("type") == before.get("type") == "LoadBalancer":
        name = spec.get("loadBalancerClass")
        if name != before.get("loadBalancerClass"):
            errors.invalid("spec.loadBalancerClass", name, _SET_ONCE)
    both_checked = _needs_health_check(spec) and _needs_health_check(before)
    if both_checked and spec.get("healthCheckNodePort") != before.get("healthCheckNodePort"):
        errors.forbidden("spec.healthCheckNodePort", IMMUTABLE)
    create(errors, obj)


def _stays(errors: Errors, spec: Object, before: Object, field: str, one: str) -> None:
    path, values, old = f"spec.{field}", spec.get(field) or [], before.get(field) or []
    if len(values) == len(old):
        for index, (value, was) in enumerate(zip(values, old, strict=True)):
            if value != was:
                errors.invalid(f"{path}[{index if one == 'clusterIP' else 0}]", values, _SET_ONCE)
        return
    if len(values) < len(old) and not spec.get("clusterIPs"):
        errors.invalid(f"{path}[0]", values, f"primary {one} can not be unset")
    if values and old and values[0] != old[0]:
        errors.invalid(f"{path}[0]", spec.get("clusterIPs") or [], _SET_ONCE)
    if len(values) == 1 and len(old) > 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        words = f"must be set to 'SingleStack' when releasing the secondary {one}"
        errors.invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), words)


def status(errors: Errors, obj: Object, _old: Object) -> None:
    """Check the status of a service."""
    spec, ingress = obj.get("spec") or {}, ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    path = "status.loadBalancer.ingress"
    if ingress and spec.get("type") != "LoadBalancer":
        errors.forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")
        return
    for index, one in enumerate(ingress):
        here, ip, mode, host = f"{path}[{index}]", one.get("ip") or "", one.get("ipMode"), one.get("hostname") or ""
        if ip:
            addresses.check(errors, ip, f"{here}.ip")
        if mode is None:
            if ip:
                errors.required(f"{here}.ipMode", "must be specified when `ip` is set")
        elif not ip:
            errors.forbidden(f"{here}.ipMode", "may not be specified when `ip` is not set")
        else:
            errors.one_of(f"{here}.ipMode", mode, ("Proxy", "VIP"), required=False)
        if host:
            errors.all_invalid(f"{here}.hostname", host, names.dns_subdomain(host))
            if addresses.parse(host) is not None:
                errors.invalid(f"{here}.hostname", host, "must be a DNS name, not an IP address")


def endpoints(errors: Errors, obj: Object) -> None:
    """Check Endpoints."""
    for index, subset in enumerate(obj.get("subsets") or ()):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            errors.required(path, "must specify `addresses` or `notReadyAddresses`")
        for field in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(field) or ()):
                _endpoint_address(errors, address, f"{path}.{field}[{position}]")
        ports = subset.get("ports") or ()
        for position, port in enumerate(ports):
            _endpoint_port(errors, port, f"{path}.ports[{position}]", needs_name=len(ports) > 1)


def _endpoint_address(errors: Errors, address: Object, path: str) -> None:
    ip = address.get("ip") or ""
    addresses.check(errors, ip, f"{path}.ip")
    if address.get("hostname"):
        errors.all_invalid(f"{path}.hostname", address["hostname"], names.dns_label(address["hostname"]))
    if address.get("nodeName") is not None:
        errors.all_invalid(f"{path}.nodeName", address["nodeName"], names.dns_subdomain(address["nodeName"]))
    addresses.check_not_special(errors, ip, f"{path}.ip")


def _endpoint_port(errors: Errors, port: Object, path: str, *, needs_name: bool) -> None:
    name, number = port.get("name") or "", port.get("port") or 0
    if name:
        errors.all_invalid(f"{path}.name", name, names.dns_label(name))
    elif needs_name:
        errors.required(f"{path}.name")
    errors.all_invalid(f"{path}.port", number, names.port_number(number))
    errors.one_of(f"{path}.protocol", port.get("protocol"), PROTOCOLS)
    if port.get("appProtocol") is not None:
        errors.all_invalid(f"{path}.appProtocol", port["appProtocol"], names.qualified_name(port["appProtocol"]))
