"""NodeName: a pod that names its node fits only there."""

from collections.abc import Iterable

from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.events import Event, Kind
from knarr.scheduler.framework import Rejection
from knarr.scheduler.podfacts import PodFacts


class NodeName:
    """The plugin."""

    name = "NodeName"
    events = frozenset({Kind.NODE_ADDED})

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """Names are."""
        return True

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out all other nodes."""
        if pod.spec.nodeName:
            row = cluster.index.get(pod.spec.nodeName, -1)
            yield Rejection(rows != row, "node(s) didn't match the requested node name", is_final=True)

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A node that came."""
        return event.kind is Kind.NODE_ADDED
