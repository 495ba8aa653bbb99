"""How fast pods of unready nodes may be evicted, zone by zone: not at all when so much is down that the fault is rather on this side.

Upstream counterpart: handleDisruption, ComputeZoneState and the zone pod evictors in pkg/controller/nodelifecycle (v1.37).
"""

from collections import Counter

from lightkube.models import core_v1

RATE = 0.1
"""Nodes a second whose pods are evicted. Source: kube-controller-manager --node-eviction-rate."""
SLOW_RATE = 0.01
"""The same in a large zone most of whose nodes are down. Source: --secondary-node-eviction-rate."""
UNHEALTHY_SHARE = 0.55
LARGE_ZONE = 50
"""Zones up to this size are not evicted from at all while most of their nodes are down."""


class Zones:
    """How many nodes of each zone are ready, counted as they change: with thousands of nodes nobody looks at all of them for one."""

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[str, bool]] = {}
        self._ready: Counter[str] = Counter()
        self._unready: Counter[str] = Counter()

    def note(self, name: str, node: core_v1.Node | None) -> bool:
        """Take in a node as it is now, None for gone; tell whether that changes how fast any zone may be evicted from."""
        now = (zone_of(node), is_ready(node)) if node is not None else None
        before = self._nodes.get(name)
        if now == before:
            return False
        rates = self.rates()
        for found, step in ((before, -1), (now, 1)):
            if found is not None:
                count = self._ready if found[1] else self._unready
                count[found[0]] += step
        if now is None:
            del self._nodes[name]
        else:
            self._nodes[name] = now
        return self.rates() != rates

    def rate(self, zone: str) -> float | None:
        """Return how many nodes of a zone a second may be evicted from; None if even what has begun is to be taken back.

        Args:
            zone: As `zone_of` names it.
        """
        ready, unready = self._ready[zone], self._unready[zone]
        if self._nodes and not self._ready.total():
            return None
        if not ready or unready <= 2 or unready / (ready + unready) < UNHEALTHY_SHARE:
            return RATE  # a whole zone that is down while others work is really down
        return SLOW_RATE if ready + unready > LARGE_ZONE else 0.0

    def rates(self) -> dict[str, float | None]:
        """Return the rate of each zone."""
        return {zone: self.rate(zone) for zone in {*self._ready, *self._unready}}


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
