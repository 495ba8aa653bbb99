"""NodeResourcesFit: what a pod asks for must be free, and nodes are preferred by how much of them is in use.

Upstream counterpart: pkg/scheduler/framework/plugins/noderesources (fit.go, least_allocated.go, most_allocated.go,
requested_to_capacity_ratio.go; v1.37).
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from knarr.scheduler import podfacts
from knarr.scheduler.arguments import LEAST, MAX_RATIO_SCORE, MOST, Strategy
from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.events import NODE_EVENTS, Event, Kind
from knarr.scheduler.framework import MAX_SCORE, Rejection, Scores
from knarr.scheduler.podfacts import CPU, MEMORY, PodFacts

Amounts = npt.NDArray[np.int64]


class NodeResourcesFit:
    """The plugin.

    Args:
        strategy: How it scores.
        ignored: Resources, and groups of resources, that it does not look at.
    """

    name = "NodeResourcesFit"
    events = NODE_EVENTS | {Kind.POD_GONE, Kind.POD_UPDATED}

    def __init__(
        self,
        strategy: Strategy | None = None,
        ignored: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset()),
    ) -> None:
        self._strategy = strategy or Strategy()
        self._ignored = ignored

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """What is free on a node is its own."""
        return True

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes without room."""
        yield Rejection(cluster.pods_count[rows] + 1 > cluster.pods_allowed[rows], "Too many pods")
        for name, wanted in pod.requests.items():
            if wanted <= 0 or self._is_ignored(name):
                continue
            allocatable, used = _amounts(cluster, name, rows)
            hopeless = allocatable < wanted
            reason = f"Insufficient {name}"
            yield Rejection(hopeless, reason, is_final=True)
            yield Rejection((allocatable - used < wanted) & ~hopeless, reason)

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        """Prefer nodes by the share of each resource that would be in use."""
        total = np.zeros(len(rows), np.int64)
        weights = np.zeros(len(rows), np.int64)
        for name, weight in self._strategy.resources:
            if name in (CPU, MEMORY):
                column, wanted = (0, pod.cpu_score) if name == CPU else (1, pod.memory_score)
                allocatable, used = cluster.allocatable[rows, column], cluster.scored[rows, column]
            else:
                wanted = pod.requests.get(name, 0)
                if not wanted:
                    continue
                allocatable, used = _amounts(cluster, name, rows)
            has = allocatable > 0
            total += np.where(has, weight * self._rate(allocatable, used + wanted), 0)
            weights += np.where(has, weight, 0)
        safe = np.maximum(weights, 1)
        # Upstream rounds the average of a ratio to the nearest, of the others down.
        found = total // safe if self._strategy.type in (LEAST, MOST) else np.round(total / safe)
        return np.asarray(found, np.float64)

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
            if wanted > 0 and not self._is_ignored(name)
        )

    def _rate(self, allocatable: Amounts, used: Amounts) -> Amounts:
        safe = np.maximum(allocatable, 1)
        if self._strategy.type == LEAST:
            return np.where(used <= allocatable, (allocatable - used) * MAX_SCORE // safe, 0)
        if self._strategy.type == MOST:
            return np.minimum(used, allocatable) * MAX_SCORE // safe
        utilization = np.where(used <= allocatable, used * 100 // safe, 100)
        at = [point for point, _ in self._strategy.shape]
        scores = [score * MAX_SCORE // MAX_RATIO_SCORE for _, score in self._strategy.shape]
        return np.asarray(np.interp(utilization, at, scores), np.int64)

    def _is_ignored(self, name: str) -> bool:
        names, groups = self._ignored
        return name in names or ("/" in name and name.partition("/")[0] in groups)


def _amounts(cluster: Cluster, name: str, rows: Rows) -> tuple[Amounts, Amounts]:
    """Return how much of a resource the rows have, and how much of that is asked for already."""
    column = cluster.columns.get(name)
    if column is None:
        nothing = np.zeros(len(rows), np.int64)
        return nothing, nothing
    return cluster.allocatable[rows, column], cluster.requested[rows, column]
