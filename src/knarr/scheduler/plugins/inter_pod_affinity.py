"""InterPodAffinity: pods that want to be near others, or away from them.

Upstream counterpart: pkg/scheduler/framework/plugins/interpodaffinity (v1.37).
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from knarr.scheduler.census import Counts
from knarr.scheduler.cluster import ABSENT, Cluster, Mask, Rows
from knarr.scheduler.events import NODE_EVENTS, POD_EVENTS, Event
from knarr.scheduler.framework import MAX_SCORE, Rejection, Scores
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.terms import HARD_WEIGHT, NamespaceLabels, Stance, Term


class InterPodAffinity:
    """The plugin.

    Args:
        namespaces: Gives the labels of all namespaces, for terms with a namespaceSelector.
        hard_weight: What a required affinity of a pod that runs already counts in scores.
        ignore_preferred: Score only by the preferences of the pod itself.
    """

    name = "InterPodAffinity"
    events = NODE_EVENTS | POD_EVENTS

    def __init__(
        self, namespaces: NamespaceLabels, *, hard_weight: int = HARD_WEIGHT, ignore_preferred: bool = False
    ) -> None:
        self._namespaces = namespaces
        self._hard_weight = hard_weight
        self._ignore_preferred = ignore_preferred

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """Nodes are alike unless somebody has terms."""
        return not pod.terms and not cluster.censuses.has_terms

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes that are too far from pods wanted near, or too near to pods wanted away, from either side."""
        near = [term for term in pod.terms if term.stance is Stance.NEAR]
        if near:
            mask = ~self._near(near, pod, cluster, rows)
            yield Rejection(mask, "node(s) didn't match pod affinity rules", is_final=True)
        away = [term for term in pod.terms if term.stance is Stance.AWAY]
        if away:
            mask = np.zeros(len(rows), np.bool_)
            for term in away:
                mask |= self._domains(self._count((term,), cluster), term, cluster)[rows] > 0
            yield Rejection(mask, "node(s) didn't match pod anti-affinity rules")
        unwanted = [one for one in cluster.censuses.groups(Stance.AWAY, pod.namespace) if self._means(one.term, pod)]
        if unwanted:
            mask = np.zeros(len(rows), np.bool_)
            for group in unwanted:
                mask |= self._domains(group.counts, group.term, cluster)[rows] > 0
            yield Rejection(mask, "node(s) didn't satisfy existing pods anti-affinity rules")

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        """Prefer nodes by the weights of preferences, this pod's and those of pods that run already."""
        raw = np.zeros(len(cluster.names))
        touched = False
        prefers = False
        for term in pod.terms:
            if term.stance is Stance.PREFER:
                prefers = True
                touched |= _add(raw, self._domains(self._count((term,), cluster), term, cluster), term.weight)
        if prefers or not self._ignore_preferred:
            for stance in (Stance.NEAR, Stance.PREFER):
                for group in cluster.censuses.groups(stance, pod.namespace):
                    weight = group.term.weight or self._hard_weight
                    if weight and self._means(group.term, pod):
                        touched |= _add(raw, self._domains(group.counts, group.term, cluster), weight)
        return raw[rows] if touched else None

    def normalize(self, scores: Scores) -> Scores:
        """Stretch them over the whole range."""
        lowest, spread = scores.min(initial=np.inf), np.ptp(scores) if len(scores) else 0.0
        return np.floor(MAX_SCORE * (scores - lowest) / spread) if spread else np.zeros(len(scores))

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A pod that it wants near came, one that it or that wants away went, or a node that came or has other labels."""
        if not event.is_of_pod:
            return event.changes_labels
        other = event.pod
        if other is None:
            return True
        if any(term.stance is not Stance.PREFER and self._means(term, other) for term in pod.terms):
            return True
        return any(term.stance is Stance.AWAY and self._means(term, pod) for term in other.terms)

    def _near(self, terms: Sequence[Term], pod: PodFacts, cluster: Cluster, rows: Rows) -> Mask:
        counts = self._count(terms, cluster)
        labelled = np.ones(len(rows), np.bool_)
        near = np.ones(len(rows), np.bool_)
        is_first = True
        for term in terms:
            domains = self._domains(counts, term, cluster)
            labelled &= cluster.label_ids(term.topology_key)[rows] != ABSENT
            near &= domains[rows] > 0
            is_first &= not domains.any()
        if is_first and all(self._means(term, pod) for term in terms):
            return labelled  # the first of a kind that wants its own company may go anywhere
        return near & labelled

    def _count(self, terms: Sequence[Term], cluster: Cluster) -> Counts:
        return cluster.count(*((term.places(self._namespaces), term.selector) for term in terms))

    def _means(self, term: Term, pod: PodFacts) -> bool:
        return term.means(pod.namespace, pod.labels, self._namespaces)

    @staticmethod
    def _domains(counts: Counts, term: Term, cluster: Cluster) -> npt.NDArray[np.float64]:
        """Return for each row how many of the counted pods are in its domain."""
        ids = cluster.label_ids(term.topology_key)
        found = np.bincount(ids, weights=counts, minlength=len(cluster.values)).astype(np.float64, copy=False)
        found[ABSENT] = 0
        return found[ids]


def _add(raw: Scores, domains: npt.NDArray[np.float64], weight: int) -> bool:
    raw += weight * domains
    return bool(domains.any())
