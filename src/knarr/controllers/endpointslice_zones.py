"""Topology-aware hints: each zone gets endpoints in proportion to its CPU, as far as possible its own.

For Services with the annotation `service.kubernetes.io/topology-mode: Auto`. Hints that stand are kept while they are fair, so that a pod
that comes or goes moves no other; if no fair allocation exists there are no hints, and traffic goes anywhere.

Upstream counterpart: staging/src/k8s.io/endpointslice/topologycache (v1.37; KEP-2433).
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lightkube.models import core_v1, discovery_v1

from knarr.api import amounts

MODES = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
"""The annotations, the older one last."""
ZONE = "topology.kubernetes.io/zone"
OVERLOAD = 0.2
"""No zone has so few endpoints that each bears more than this share above the average."""
EXCLUDED = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
INSUFFICIENT_NODE_INFO = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
ONE_ZONE = "Nodes only ready in one zone"
TOO_FEW = "Insufficient number of endpoints"
OVERLOADED = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
NO_ZONE = "One or more endpoints do not have a zone specified"
ENABLED = "Topology Aware Hints has been enabled"


@dataclass(frozen=True, slots=True)
class Allocation:
    """For which zone each endpoint is.

    Attributes:
        zones: By the endpoint's address; empty if there are no hints.
        reason: Why there are none.
    """

    zones: Mapping[str, str]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Share:
    least: int
    most: int
    desired: float


def is_wanted(service: core_v1.Service) -> bool:
    """Tell whether a Service asks for hints by zone."""
    annotations = (service.metadata.annotations or {}) if service.metadata else {}
    mode = next((annotations[name] for name in MODES if name in annotations), "")
    return mode in ("Auto", "auto")


def capacity(node: core_v1.Node | None) -> tuple[str, int] | None:
    """Return the zone and the CPU (in billionths) that a node counts with; None if it does not count at all."""
    if node is None or node.metadata is None or node.status is None:
        return None
    labels = node.metadata.labels or {}
    ready = next((one for one in node.status.conditions or () if one.type == "Ready"), None)
    if any(label in labels for label in EXCLUDED) or ready is None or ready.status != "True":
        return None
    return labels.get(ZONE, ""), amounts.nanos((node.status.allocatable or {}).get("cpu", "0"))


def ratios(nodes: Iterable[core_v1.Node]) -> Mapping[str, float] | str:
    """Return each zone's share of the CPU of all nodes, or why that cannot be said."""
    cpus: Counter[str] = Counter()
    for found in map(capacity, nodes):
        if found is not None and not all(found):
            return INSUFFICIENT_NODE_INFO
        if found is not None:
            cpus[found[0]] += found[1]
    if not cpus:
        return INSUFFICIENT_NODE_INFO
    return {zone: cpu / cpus.total() for zone, cpu in sorted(cpus.items())} if len(cpus) > 1 else ONE_ZONE


def allocate(
    endpoints: Iterable[discovery_v1.Endpoint], shares: Mapping[str, float] | str, standing: Mapping[str, str]
) -> Allocation:
    """Decide for which zone each ready endpoint is.

    Args:
        endpoints: Of one family.
        shares: As `ratios` gives them.
        standing: The zones of hints that are there, by address.
    """
    ready = {one.addresses[0]: one.zone or "" for one in endpoints if one.conditions and one.conditions.ready}
    bounds = _bounds(len(ready), shares)
    if isinstance(bounds, str):
        return Allocation({}, bounds)
    if not all(ready.values()):
        return Allocation({}, NO_ZONE)
    kept = {address: zone for address in ready if (zone := standing.get(address, ready[address])) in bounds}
    if len(kept) == len(ready) and _is_fair(kept, bounds):
        return Allocation(kept)
    return Allocation(_redistribute(ready, bounds))


def standing(slices: Iterable[discovery_v1.EndpointSlice]) -> dict[str, str]:
    """Return the zones that hints name, by address."""
    return {
        one.addresses[0]: one.hints.forZones[0].name
        for slice_ in slices
        for one in slice_.endpoints or ()
        if one.hints and one.hints.forZones
    }


def _bounds(count: int, shares: Mapping[str, float] | str) -> Mapping[str, _Share] | str:
    """Return how many endpoints each zone may have, or why there is no fair number."""
    if isinstance(shares, str):
        return shares
    told = f"({count} endpoints, {len(shares)} zones)"
    if len(shares) > count:
        return f"{TOO_FEW} {told}"
    least = {zone: math.ceil(round(share * count / (1 + OVERLOAD), 9)) for zone, share in shares.items()}
    spare = count - sum(least.values())
    if spare < 0:
        return f"{OVERLOADED} {told}"
    return {
        zone: _Share(least[zone], least[zone] + spare, max(share * count, least[zone]))
        for zone, share in shares.items()
    }


def _is_fair(zones: Mapping[str, str], bounds: Mapping[str, _Share]) -> bool:
    counts = Counter(zones.values())
    return all(bound.least <= counts[zone] <= bound.most for zone, bound in bounds.items())


def _redistribute(own: Mapping[str, str], bounds: Mapping[str, _Share]) -> dict[str, str]:
    """Give each endpoint to its own zone, and then from zones that have too many to those that have too few."""
    zones, counts = dict(own), Counter(own.values())
    surplus = {zone: counts[zone] - bound.desired for zone, bound in bounds.items()}
    surplus |= {zone: float(count) for zone, count in counts.items() if zone not in bounds}
    by_zone: dict[str, list[str]] = {}
    for address in sorted(own, reverse=True):
        by_zone.setdefault(own[address], []).append(address)
    while True:
        giver, taker = max(surplus, key=lambda zone: surplus[zone]), min(surplus, key=lambda zone: surplus[zone])
        given, needed = surplus[giver], -surplus[taker]
        if (given < 1 and needed < 1) or given < 0.5 or needed < 0.5:
            return zones
        zones[by_zone[giver].pop()] = taker
        surplus[giver] -= 1
        surplus[taker] += 1


def has_changed(old: core_v1.Node | None, new: core_v1.Node | None) -> bool:
    """Tell whether a node counts otherwise than before."""
    return capacity(old) != capacity(new)
