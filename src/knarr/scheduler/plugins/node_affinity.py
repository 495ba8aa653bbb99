"""NodeAffinity: nodeSelector and node affinity, required and preferred.

Upstream counterpart: pkg/scheduler/framework/plugins/nodeaffinity (v1.37).
"""

from collections.abc import Iterable

import numpy as np

from knarr.scheduler import nodeselectors
from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.events import Event
from knarr.scheduler.framework import Rejection, Scores, normalized
from knarr.scheduler.podfacts import PodFacts


class NodeAffinity:
    """The plugin."""

    name = "NodeAffinity"

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes that do not match."""
        if pod.spec.nodeSelector or (pod.spec.affinity and pod.spec.affinity.nodeAffinity):
            mask = ~nodeselectors.matches(cluster, rows, pod.spec)
            yield Rejection(mask, "node(s) didn't match Pod's node affinity/selector", is_final=True)

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        """Prefer nodes by the weights of the preferences that they fulfil."""
        affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity else None
        preferred = affinity.preferredDuringSchedulingIgnoredDuringExecution if affinity else None
        if not preferred:
            return None
        raw = np.zeros(len(rows))
        for term in preferred:
            raw += term.weight * nodeselectors.matches_term(cluster, rows, term.preference)
        return normalized(raw)

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A node that came or has other labels."""
        return event.changes_labels
