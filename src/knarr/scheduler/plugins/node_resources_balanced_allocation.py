"""NodeResourcesBalancedAllocation: prefers nodes whose resources would be used to a similar degree.

Upstream counterpart: pkg/scheduler/framework/plugins/noderesources/balanced_allocation.go (v1.37).
"""

from collections.abc import Sequence

import numpy as np

from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.framework import MAX_SCORE, Scores
from knarr.scheduler.podfacts import CPU, MEMORY, PodFacts


class NodeResourcesBalancedAllocation:
    """The plugin.

    Args:
        resources: Which are compared.
    """

    name = "NodeResourcesBalancedAllocation"

    def __init__(self, resources: Sequence[str] = (CPU, MEMORY)) -> None:
        self._resources = resources

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """A node's resources are its own."""
        return True

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        """Prefer nodes by how little the shares in use would differ: by their standard deviation."""
        compared = [name for name in self._resources if name in (CPU, MEMORY) or pod.requests.get(name)]
        if not any(pod.requests.get(name) for name in compared):
            return None
        columns = np.array([cluster.columns[name] for name in compared if name in cluster.columns], np.intp)
        wanted = np.array([pod.requests.get(name, 0) for name in compared if name in cluster.columns], np.int64)
        allocatable = cluster.allocatable[np.ix_(rows, columns)]
        has = allocatable > 0
        shares = np.minimum((cluster.requested[np.ix_(rows, columns)] + wanted) / np.maximum(allocatable, 1), 1.0)
        shares = np.where(has, shares, 0.0)
        count = np.maximum(has.sum(axis=1), 1)
        mean = shares.sum(axis=1) / count
        spread = np.where(has, (shares - mean[:, None]) ** 2, 0.0).sum(axis=1)
        return np.asarray(np.floor((1 - np.sqrt(spread / count)) * MAX_SCORE), np.float64)
