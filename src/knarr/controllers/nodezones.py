"""How fast pods of unready nodes may be evicted, zone by zone: not at all when so much is down that the fault is rather on this side.

Upstream counterpart: handleDisruption, ComputeZoneState and the zone pod evictors in pkg/controller/nodelifecycle (v1.37).
"""

from collections.abc import Sequence

from lightkube.models import core_v1

RATE = 0.1
"""Nodes a second whose pods are evicted. Source: kube-controller-manager --node-eviction-rate."""
SLOW_RATE = 0.01
"""The same in a large zone most of whose nodes are down. Source: --secondary-node-eviction-rate."""
UNHEALTHY_SHARE = 0.55
LARGE_ZONE = 50
"""Zones up to this size are not evicted from at all while most of their nodes are down."""


def eviction_rate(nodes: Sequence[core_v1.Node], zone: str) -> float | None:
    """Return how many nodes of a zone a second may be evicted from; None if even what has begun is to be taken back.

    Args:
        nodes: All.
        zone: As `zone_of` names it.
    """
    if nodes and not any(is_ready(node) for node in nodes):
        return None
    mine = [node for node in nodes if zone_of(node) == zone]
    unready = sum(not is_ready(node) for node in mine)
    if unready == len(mine) or unready <= 2 or unready / len(mine) < UNHEALTHY_SHARE:
        return RATE  # a whole zone that is down while others work is really down
    return SLOW_RATE if len(mine) > LARGE_ZONE else 0.0


def is_ready(node: core_v1.Node) -> bool:
    """Tell whether the Ready condition is true."""
    conditions = (node.status.conditions or ()) if node.status else ()
    return any(one.type == "Ready" and one.status == "True" for one in conditions)


def zone_of(node: core_v1.Node) -> str:
    """Return region and zone of a node, "" for none."""
    labels = (node.metadata.labels or {}) if node.metadata else {}
    region, zone = labels.get("topology.kubernetes.io/region", ""), labels.get("topology.kubernetes.io/zone", "")
    return f"{region}:{zone}" if region or zone else ""


class Pace:
    """Spreads evictions over time, each zone for itself; the first of a zone goes at once."""

    def __init__(self) -> None:
        self._last_s: dict[str, float] = {}

    def wait_s(self, zone: str, rate: float, now_s: float) -> float:
        """Return how long the next node of a zone has to wait; 0 takes the turn.

        Args:
            zone: Which.
            rate: Nodes a second, more than 0.
            now_s: Monotonic time.
        """
        last_s = self._last_s.get(zone)
        left_s = 0.0 if last_s is None else last_s + 1 / rate - now_s
        if left_s <= 1e-6:
            self._last_s[zone] = now_s
            return 0.0
        return left_s
