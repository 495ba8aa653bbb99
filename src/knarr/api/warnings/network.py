"""Warnings about Services, their endpoints, Ingresses and NetworkPolicies.

Source: k8s.io/kubernetes/pkg/api/service/warnings.go, pkg/registry/core/endpoint, pkg/registry/discovery/endpointslice,
pkg/registry/networking/{ingress,networkpolicy} (v1.37).
"""

from typing import Any

from knarr.api.warnings import addresses

Object = dict[str, Any]

_HINTS = "service.kubernetes.io/topology-aware-hints"
_MODE = "service.kubernetes.io/topology-mode"
_CLASS = "kubernetes.io/ingress.class"
_OWN_ENDPOINTS = ("endpoints.kubernetes.io/managed-by", frozenset({"endpoint-controller"}))
_OWN_SLICES = (
    "endpointslice.kubernetes.io/managed-by",
    frozenset({"endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"}),
)


def service(obj: Object, _old: Object | None) -> list[str]:
    """Return the warnings about a Service."""
    spec = obj.get("spec") or {}
    notes = (obj.get("metadata") or {}).get("annotations") or {}
    kind, external = spec.get("type"), spec.get("externalIPs") or []
    is_headless = kind == "ClusterIP" and spec.get("clusterIP") == "None"
    found = [f"annotation {_HINTS} is deprecated, please use {_MODE} instead"] if _HINTS in notes else []
    if spec.get("clusterIP") not in (None, "", "None") and kind != "ExternalName":
        found += _each(spec.get("clusterIPs"), "spec.clusterIPs")
    if is_headless:
        if spec.get("loadBalancerIP"):
            found.append("spec.loadBalancerIP is ignored for headless services")
        if external:
            found.append("spec.externalIPs is ignored for headless services")
        if spec.get("sessionAffinity") != "None":
            found.append("spec.SessionAffinity is ignored for headless services")
    found += _each(external, "spec.externalIPs")
    if external and not is_headless and kind != "ExternalName":
        found.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if spec.get("loadBalancerIP"):
        found += addresses.of_address(spec["loadBalancerIP"], "spec.loadBalancerIP")
    for index, block in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        found += addresses.of_block(block, f"spec.loadBalancerSourceRanges[{index}]")
    if kind == "ExternalName" and external:
        found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if kind != "ExternalName" and spec.get("externalName"):
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return found


def endpoints(obj: Object, _old: Object | None) -> list[str]:
    """Return the warnings about Endpoints that our own controllers have not written."""
    if _is_own(obj, *_OWN_ENDPOINTS):
        return []
    found = []
    for index, subset in enumerate(obj.get("subsets") or ()):
        for field in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(field) or ()):
                found += addresses.of_address(address.get("ip") or "", f"subsets[{index}].{field}[{position}].ip")
    return found


def endpoint_slice(obj: Object, old: Object | None) -> list[str]:
    """Return the warnings about an EndpointSlice that our own controllers have not written."""
    is_name = obj.get("addressType") == "FQDN"
    found = ["spec.addressType: FQDN endpoints are deprecated"] if is_name and old is None else []
    if is_name or _is_own(obj, *_OWN_SLICES):
        return found
    for index, endpoint in enumerate(obj.get("endpoints") or ()):
        found += _each(endpoint.get("addresses"), f"endpoints[{index}].addresses")
    return found


def ingress(obj: Object, old: Object | None) -> list[str]:
    """Return the warning about the annotation that a field has replaced, when it comes with a new Ingress."""
    notes = (obj.get("metadata") or {}).get("annotations") or {}
    if old is not None or _CLASS not in notes:
        return []
    return [f"annotation \"{_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"]


def network_policy(obj: Object, _old: Object | None) -> list[str]:
    """Return the warnings about the blocks of a NetworkPolicy."""
    found = []
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate((obj.get("spec") or {}).get(direction) or ()):
            for position, peer in enumerate(rule.get(peers) or ()):
                block, here = peer.get("ipBlock"), f"spec.{direction}[{index}].{peers}[{position}].ipBlock"
                if block is not None:
                    found += addresses.of_block(block.get("cidr") or "", f"{here}.cidr")
                    for number, text in enumerate(block.get("except") or ()):
                        found += addresses.of_block(text, f"{here}.except[{number}]")
    return found


def _each(texts: list[str] | None, path: str) -> list[str]:
    return [words for index, text in enumerate(texts or ()) for words in addresses.of_address(text, f"{path}[{index}]")]


def _is_own(obj: Object, label: str, writers: frozenset[str]) -> bool:
    return ((obj.get("metadata") or {}).get("labels") or {}).get(label) in writers
