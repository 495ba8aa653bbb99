"""NodeResourcesFit: what a pod asks for must be free, and nodes with more left are preferred.

Upstream counterpart: pkg/scheduler/framework/plugins/noderesources (fit.go, least_allocated.go; v1.37).
"""

from collections.abc import Iterable

import numpy as np

from knarr.scheduler import podfacts
from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.events import Event
from knarr.scheduler.framework import MAX_SCORE, Rejection, Scores
from knarr.scheduler.podfacts import PodFacts


class NodeResourcesFit:
    """The plugin."""

    name = "NodeResourcesFit"

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes without room."""
        yield Rejection(cluster.pods_count[rows] + 1 > cluster.pods_allowed[rows], "Too many pods")
        for name, wanted in pod.requests.items():
            if wanted <= 0:
                continue
            column = cluster.columns.get(name)
            allocatable = cluster.allocatable[rows, column] if column is not None else np.zeros(len(rows), np.int64)
            used = cluster.requested[rows, column] if column is not None else 0
            hopeless = allocatable < wanted
            reason = f"Insufficient {name}"
            yield Rejection(hopeless, reason, is_final=True)
            yield Rejection((allocatable - used < wanted) & ~hopeless, reason)

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        """Prefer nodes with more CPU and memory left."""
        wanted = np.array([pod.cpu_score, pod.memory_score], np.int64)
        allocatable = cluster.allocatable[rows, :2]
        left = allocatable - cluster.scored[rows] - wanted
        safe = np.maximum(allocatable, 1)
        each = np.where((allocatable > 0) & (left >= 0), left * MAX_SCORE // safe, 0)
        present = np.maximum((allocatable > 0).sum(axis=1), 1)
        return np.asarray(each.sum(axis=1) // present, np.float64)

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A node with enough in it that came or grew, or a pod that went."""
        if not event.changes_resources:
            return False
        if not event.is_of_node or event.node is None:
            return True
        allocatable = (event.node.status.allocatable or {}) if event.node.status else {}
        return all(
            podfacts.amount(name, allocatable.get(name, 0)) >= wanted
            for name, wanted in pod.requests.items()
            if wanted > 0
        )
