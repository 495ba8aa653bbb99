"""NodeAffinity: nodeSelector and node affinity, required and preferred.

Upstream counterpart: pkg/scheduler/framework/plugins/nodeaffinity (v1.37).
"""

from collections.abc import Iterable

import numpy as np
from lightkube.models import core_v1

from knarr.scheduler import nodeselectors
from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.events import NODE_EVENTS, Event
from knarr.scheduler.framework import Rejection, Scores, State, normalized
from knarr.scheduler.podfacts import PodFacts


class NodeAffinity:
    """The plugin.

    Args:
        added: What all pods must and would like to match besides.
    """

    name = "NodeAffinity"
    events = NODE_EVENTS

    def __init__(self, added: core_v1.NodeAffinity | None = None) -> None:
        self._required = added.requiredDuringSchedulingIgnoredDuringExecution if added else None
        self._preferred = (added.preferredDuringSchedulingIgnoredDuringExecution or []) if added else []

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """A node's labels are its own."""
        return True

    def prefilter(self, pod: PodFacts, cluster: Cluster, state: State) -> Rows | None:
        """Narrow the nodes down to those named, if each term names some, as those of DaemonSets do."""
        affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity else None
        required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else None
        if required is None or not required.nodeSelectorTerms:
            return None
        named: set[str] = set()
        for term in required.nodeSelectorTerms:
            fields = [
                one for one in term.matchFields or () if one.key == nodeselectors.NAME_FIELD and one.operator == "In"
            ]
            if not fields:
                return None
            named |= set.intersection(*({*(one.values or ())} for one in fields))
        rows = sorted(cluster.index[name] for name in named if name in cluster.index)
        return np.array(rows, np.intp)

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes that do not match."""
        if self._required is not None:
            mask = ~nodeselectors.matches_any(cluster, rows, self._required.nodeSelectorTerms)
            yield Rejection(mask, "node(s) didn't match scheduler-enforced node affinity", is_final=True)
        if pod.spec.nodeSelector or (pod.spec.affinity and pod.spec.affinity.nodeAffinity):
            mask = ~nodeselectors.matches(cluster, rows, pod.spec)
            yield Rejection(mask, "node(s) didn't match Pod's node affinity/selector", is_final=True)

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        """Prefer nodes by the weights of the preferences that they fulfil."""
        affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity else None
        own = (affinity.preferredDuringSchedulingIgnoredDuringExecution or []) if affinity else []
        preferred = [*own, *self._preferred]
        if not preferred:
            return None
        raw = np.zeros(len(rows))
        for term in preferred:
            raw += term.weight * nodeselectors.matches_term(cluster, rows, term.preference)
        return raw

    def normalize(self, scores: Scores) -> Scores:
        """Make the highest sum of weights the best."""
        return normalized(scores)

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A node that came or has other labels."""
        return event.changes_labels
