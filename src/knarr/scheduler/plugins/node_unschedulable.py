"""NodeUnschedulable: nodes that are cordoned take only pods that tolerate it."""

from collections.abc import Iterable

from lightkube.models import core_v1

from knarr.control import tolerations
from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.events import NODE_EVENTS, Event
from knarr.scheduler.framework import Rejection
from knarr.scheduler.podfacts import PodFacts

TAINT = core_v1.Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


class NodeUnschedulable:
    """The plugin."""

    name = "NodeUnschedulable"
    events = NODE_EVENTS

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """Each node is cordoned by itself."""
        return True

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out cordoned nodes."""
        if not tolerations.is_tolerated(pod.spec.tolerations, TAINT):
            yield Rejection(cluster.unschedulable[rows], "node(s) were unschedulable", is_final=True)

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A node that came or was uncordoned."""
        return event.changes_taints
