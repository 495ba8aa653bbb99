"""TaintToleration: taints keep pods away, or make a node less wanted.

Upstream counterpart: pkg/scheduler/framework/plugins/tainttoleration (v1.37).
"""

from collections.abc import Iterable

import numpy as np

from knarr.control import tolerations
from knarr.scheduler.cluster import Cluster, Mask, Rows
from knarr.scheduler.events import NODE_EVENTS, Event
from knarr.scheduler.framework import Rejection, Scores, normalized
from knarr.scheduler.podfacts import PodFacts

BINDING = frozenset({"NoSchedule", "NoExecute"})


class TaintToleration:
    """The plugin."""

    name = "TaintToleration"
    events = NODE_EVENTS

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """Taints are a node's own."""
        return True

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes with a taint that the pod does not tolerate."""
        yield Rejection(untolerated(pod, cluster, rows), "node(s) had untolerated taint(s)", is_final=True)

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        """Prefer nodes with fewer taints of effect PreferNoSchedule that the pod does not tolerate."""
        soft = [one for one in pod.spec.tolerations or () if not one.effect or one.effect == "PreferNoSchedule"]
        columns = [
            column
            for column, taint in enumerate(cluster.taints)
            if taint.effect == "PreferNoSchedule" and not tolerations.is_tolerated(soft, taint)
        ]
        if not columns:
            return None
        return np.asarray(cluster.tainted[rows][:, columns].sum(axis=1), np.float64)

    def normalize(self, scores: Scores) -> Scores:
        """Make the fewest taints the best."""
        return normalized(scores, reverse=True)

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A node that came or has other taints."""
        return event.changes_taints


def untolerated(pod: PodFacts, cluster: Cluster, rows: Rows) -> Mask:
    """Tell which rows have a taint that keeps the pod away."""
    columns = [
        column
        for column, taint in enumerate(cluster.taints)
        if taint.effect in BINDING and not tolerations.is_tolerated(pod.spec.tolerations, taint)
    ]
    if not columns:
        return np.zeros(len(rows), np.bool_)
    return np.asarray(cluster.tainted[rows][:, columns].any(axis=1), np.bool_)
