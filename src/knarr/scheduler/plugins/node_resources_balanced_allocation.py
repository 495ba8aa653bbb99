"""NodeResourcesBalancedAllocation: prefers nodes whose CPU and memory would be used to a similar degree.

Upstream counterpart: pkg/scheduler/framework/plugins/noderesources/balanced_allocation.go (v1.37).
"""

import numpy as np

from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.framework import MAX_SCORE, Scores
from knarr.scheduler.podfacts import CPU, MEMORY, PodFacts


class NodeResourcesBalancedAllocation:
    """The plugin."""

    name = "NodeResourcesBalancedAllocation"

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        """Prefer nodes by how little the shares of CPU and memory in use would differ."""
        wanted = np.array([pod.requests.get(CPU, 0), pod.requests.get(MEMORY, 0)], np.int64)
        if not wanted.any():
            return None
        allocatable = cluster.allocatable[rows, :2]
        shares = np.minimum((cluster.requested[rows, :2] + wanted) / np.maximum(allocatable, 1), 1.0)
        deviation = np.where((allocatable > 0).all(axis=1), np.abs(shares[:, 0] - shares[:, 1]) / 2, 0.0)
        return np.asarray(np.floor((1 - deviation) * MAX_SCORE), np.float64)
