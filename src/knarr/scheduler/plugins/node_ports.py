"""NodePorts: two pods cannot have the same host port of a node."""

from collections.abc import Iterable

import numpy as np

from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.events import Event, Kind
from knarr.scheduler.framework import Rejection
from knarr.scheduler.podfacts import PodFacts, Port

EVERY_ADDRESS = frozenset({"0.0.0.0", "::", ""})


class NodePorts:
    """The plugin."""

    name = "NodePorts"
    events = frozenset({Kind.NODE_ADDED, Kind.POD_GONE})

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """Only ports of the same node collide."""
        return True

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes where another pod has one of the ports."""
        if not pod.ports:
            return
        taken = [
            any(
                _collide(mine, theirs)
                for other in cluster.pods[row].values()
                for theirs in other.ports
                for mine in pod.ports
            )
            for row in rows
        ]
        yield Rejection(np.array(taken, np.bool_), "node(s) didn't have free ports for the requested pod ports")

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A node that came, or a pod with host ports that went."""
        return event.kind is Kind.NODE_ADDED or (
            event.kind is Kind.POD_GONE and event.pod is not None and bool(event.pod.ports)
        )


def _collide(mine: Port, theirs: Port) -> bool:
    if (mine[0], mine[2]) != (theirs[0], theirs[2]):
        return False
    return mine[1] == theirs[1] or mine[1] in EVERY_ADDRESS or theirs[1] in EVERY_ADDRESS
