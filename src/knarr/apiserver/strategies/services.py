"""Services: which families, addresses and node ports they have, at birth and when their type changes.

Source: pkg/registry/core/service/{strategy.go,storage/storage.go,storage/alloc.go} (v1.37).
"""

import contextlib
import ipaddress
from collections.abc import AsyncIterator
from typing import Any

from knarr.apiserver import serviceclaims
from knarr.apiserver.serviceips import IPV4, IPV6, NONE, needs_health_port, needs_node_ports
from knarr.apiserver.strategies.strategy import Context, Reservation, Strategy

Object = dict[str, Any]

EXTERNAL_NAME = "ExternalName"
_ADDRESS_FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


def _prepare_create(context: Context, service: Object) -> None:
    service["status"] = {"loadBalancer": {}}
    spec = service["spec"]
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    if spec.get("type") != EXTERNAL_NAME:
        _set_families(spec, context.parts.service_ips.families)


def _prepare_update(context: Context, service: Object, old: Object) -> None:
    spec, before = service["spec"], old.get("spec") or {}
    if spec.get("type") == EXTERNAL_NAME:
        _become_external(spec, before)
    else:
        _sync_addresses(spec, before)
        _set_families(spec, context.parts.service_ips.families)
    _keep_ports(spec, before)
    _drop_unneeded(spec, before)


def _become_external(spec: Object, before: Object) -> None:
    # What the Service had is dropped; what the caller sets anew is left for validation to refuse.
    for name in _ADDRESS_FIELDS:
        if spec.get(name) == before.get(name):
            spec.pop(name, None)


def _sync_addresses(spec: Object, before: Object) -> None:
    """Keep clusterIP and clusterIPs of the old object where the new one leaves them out, and let one follow the other."""
    if before.get("type") != EXTERNAL_NAME:
        if not spec.get("clusterIP") and before.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
        if not spec.get("clusterIPs") and before.get("clusterIP") == spec.get("clusterIP") and before.get("clusterIPs"):
            spec["clusterIPs"] = list(before["clusterIPs"])
        if not spec.get("ipFamilies") and before.get("ipFamilies"):
            spec["ipFamilies"] = list(before["ipFamilies"])
        if not spec.get("ipFamilyPolicy") and before.get("ipFamilyPolicy"):
            spec["ipFamilyPolicy"] = before["ipFamilyPolicy"]
    ip, ips = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if ip and not ips:
        spec["clusterIPs"] = [ip]
    elif ip != before.get("clusterIP") and ips == before.get("clusterIPs"):
        spec["clusterIPs"] = [ip] if ip else []


def _set_families(spec: Object, available: tuple[str, ...]) -> None:
    """Fill in ipFamilies and ipFamilyPolicy."""
    families = list(spec.get("ipFamilies") or ())
    if not families:
        families = [family for ip in spec.get("clusterIPs") or () if (family := _family_of(ip))]
    policy = spec.get("ipFamilyPolicy")
    if policy is None:
        is_headless = spec.get("clusterIP") == NONE
        if is_headless and not spec.get("selector"):
            policy = "RequireDualStack"
        else:
            policy = "RequireDualStack" if len(families) > 1 else "SingleStack"
    if not families:
        families = [available[0]]
    wants_two = policy in ("PreferDualStack", "RequireDualStack")
    if wants_two and len(families) == 1:
        other = IPV6 if families[0] == IPV4 else IPV4
        if other in available or (policy == "RequireDualStack" and spec.get("clusterIP") == NONE):
            families.append(other)
    spec["ipFamilies"], spec["ipFamilyPolicy"] = families, policy


def _keep_ports(spec: Object, before: Object) -> None:
    """Keep node ports where they are needed and not named, and drop those that are not needed any more."""
    had = {(port.get("protocol"), port.get("port")): port.get("nodePort") for port in before.get("ports") or ()}
    if needs_node_ports(spec):
        used = {port.get("nodePort") for port in spec.get("ports") or ()}
        for port in spec.get("ports") or ():
            number = had.get((port.get("protocol"), port.get("port")))
            if not port.get("nodePort") and number and number not in used:
                port["nodePort"] = number
    elif needs_node_ports(before):
        for port in spec.get("ports") or ():
            if port.get("nodePort") and port["nodePort"] in had.values():
                del port["nodePort"]
    if needs_health_port(spec):
        if not spec.get("healthCheckNodePort") and before.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = before["healthCheckNodePort"]
    elif spec.get("healthCheckNodePort") and spec["healthCheckNodePort"] == before.get("healthCheckNodePort"):
        del spec["healthCheckNodePort"]


def _drop_unneeded(spec: Object, before: Object) -> None:
    """Drop what the new type has no use for and the caller did not set anew."""
    kind = spec.get("type")
    is_balanced = kind == "LoadBalancer"
    is_external = is_balanced or kind == "NodePort" or (kind == "ClusterIP" and bool(spec.get("externalIPs")))
    unneeded = [] if is_balanced else ["allocateLoadBalancerNodePorts", "loadBalancerClass"]
    if not is_external:
        unneeded.append("externalTrafficPolicy")
    if kind == EXTERNAL_NAME:
        unneeded.append("internalTrafficPolicy")
    for name in unneeded:
        if name in spec and spec[name] == before.get(name):
            del spec[name]


def _reserve(context: Context, service: Object, old: Object | None) -> Reservation:
    # A deletion gives back when it is committed.
    if context.parts.config.is_shared and not context.dry_run:
        return serviceclaims.open_claim(context.parts, service, old)
    return _hold(context, service, old)


@contextlib.asynccontextmanager
async def _hold(context: Context, service: Object, old: Object | None) -> AsyncIterator[None]:
    give_back = context.parts.service_ips.reserve(service, old)
    try:
        yield
    finally:
        give_back()


def _family_of(ip: str) -> str:
    try:
        return IPV4 if ipaddress.ip_address(ip).version == 4 else IPV6
    except ValueError:
        return ""


SERVICES = Strategy(
    prepare_create=_prepare_create,
    prepare_update=_prepare_update,
    reserve=_reserve,
    create_on_update=True,
    returns_deleted=True,
)
