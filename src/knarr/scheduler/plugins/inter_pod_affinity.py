"""InterPodAffinity: pods that want to be near others, or away from them.

Upstream counterpart: pkg/scheduler/framework/plugins/interpodaffinity (v1.37).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from lightkube.models import core_v1, meta_v1
from msgspec.structs import replace

from knarr.control import selectors
from knarr.scheduler.cluster import ABSENT, Cluster, Mask, Rows
from knarr.scheduler.events import Event
from knarr.scheduler.framework import MAX_SCORE, Rejection, Scores
from knarr.scheduler.podfacts import PodFacts

HARD_WEIGHT = 1
"""What a required affinity of a pod that runs already counts in scores."""

Term = core_v1.PodAffinityTerm
NamespaceLabels = Callable[[], Mapping[str, Mapping[str, str]]]


class InterPodAffinity:
    """The plugin.

    Args:
        namespaces: Gives the labels of all namespaces, for terms with a namespaceSelector.
    """

    name = "InterPodAffinity"

    def __init__(self, namespaces: NamespaceLabels) -> None:
        self._namespaces = namespaces

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes that are too far from pods wanted near, or too near to pods wanted away, from either side."""
        affinity = _required(pod, "podAffinity")
        if affinity:
            mask = ~self._near(affinity, pod, cluster, rows)
            yield Rejection(mask, "node(s) didn't match pod affinity rules", is_final=True)
        anti = _required(pod, "podAntiAffinity")
        if anti:
            mask = np.zeros(len(rows), np.bool_)
            for term in anti:
                mask |= self._domains(term, pod, cluster)[cluster.label_ids(term.topologyKey)][rows]
            yield Rejection(mask, "node(s) didn't match pod anti-affinity rules")
        if cluster.anti_affine:
            yield Rejection(
                self._unwanted(pod, cluster, rows), "node(s) didn't satisfy existing pods anti-affinity rules"
            )

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        """Prefer nodes by the weights of preferences, this pod's and those of pods that run already."""
        raw = np.zeros(len(cluster.names))
        touched = False
        for sign, kind in ((1, "podAffinity"), (-1, "podAntiAffinity")):
            for weighted in _preferred(pod, kind):
                touched |= self._add_matches(raw, weighted.podAffinityTerm, sign * weighted.weight, pod, cluster)
        for other in cluster.affine.values():
            row = cluster.located[other.uid]
            for term in _required(other, "podAffinity"):
                touched |= self._add_domain(raw, term, HARD_WEIGHT, other, pod, cluster, row)
            for sign, kind in ((1, "podAffinity"), (-1, "podAntiAffinity")):
                for weighted in _preferred(other, kind):
                    term, weight = weighted.podAffinityTerm, sign * weighted.weight
                    touched |= self._add_domain(raw, term, weight, other, pod, cluster, row)
        if not touched:
            return None
        mine = raw[rows]
        lowest, spread = mine.min(initial=np.inf), np.ptp(mine) if len(mine) else 0.0
        return np.floor(MAX_SCORE * (mine - lowest) / spread) if spread else np.zeros(len(rows))

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A pod that came, changed or went, or a node that came or has other labels."""
        return event.is_of_pod or event.changes_labels

    def _near(self, terms: Sequence[Term], pod: PodFacts, cluster: Cluster, rows: Rows) -> Mask:
        everyone = [other for other in cluster.pods_in(None) if all(self._matches(t, pod, other) for t in terms)]
        labelled = np.ones(len(rows), np.bool_)
        near = np.ones(len(rows), np.bool_)
        for term in terms:
            ids = cluster.label_ids(term.topologyKey)
            labelled &= ids[rows] != ABSENT
            near &= _domains_of(everyone, ids, cluster)[ids][rows]
        if not everyone and all(self._matches(term, pod, pod) for term in terms):
            return labelled  # the first of a kind that wants its own company may go anywhere
        return near & labelled

    def _domains(self, term: Term, pod: PodFacts, cluster: Cluster) -> Mask:
        ids = cluster.label_ids(term.topologyKey)
        found = [other for other in cluster.pods_in(None) if self._matches(term, pod, other)]
        return _domains_of(found, ids, cluster)

    def _unwanted(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Mask:
        mask = np.zeros(len(rows), np.bool_)
        for other in cluster.anti_affine.values():
            row = cluster.located[other.uid]
            for term in _required(other, "podAntiAffinity"):
                ids = cluster.label_ids(term.topologyKey)
                if ids[row] != ABSENT and self._matches(term, other, pod):
                    mask |= ids[rows] == ids[row]
        return mask

    def _add_matches(
        self, raw: npt.NDArray[np.float64], term: Term, weight: int, pod: PodFacts, cluster: Cluster
    ) -> bool:
        ids = cluster.label_ids(term.topologyKey)
        counts = np.zeros(len(cluster.values))
        for other in cluster.pods_in(None):
            if self._matches(term, pod, other):
                counts[ids[cluster.located[other.uid]]] += weight
        counts[ABSENT] = 0
        raw += counts[ids]
        return bool(counts.any())

    def _add_domain(
        self,
        raw: npt.NDArray[np.float64],
        term: Term,
        weight: int,
        owner: PodFacts,
        pod: PodFacts,
        cluster: Cluster,
        row: int,
    ) -> bool:
        ids = cluster.label_ids(term.topologyKey)
        if ids[row] == ABSENT or not self._matches(term, owner, pod):
            return False
        raw += weight * (ids == ids[row])
        return True

    def _matches(self, term: Term, owner: PodFacts, other: PodFacts) -> bool:
        """Tell whether a term of `owner` means `other`."""
        if not self._is_in(term, owner.namespace, other.namespace):
            return False
        return selectors.matches(_selector(term, owner), other.labels)

    def _is_in(self, term: Term, own: str, namespace: str) -> bool:
        if namespace in (term.namespaces or ()):
            return True
        if term.namespaceSelector is None:
            return not term.namespaces and namespace == own
        return selectors.matches(term.namespaceSelector, self._namespaces().get(namespace))


def _domains_of(pods: Iterable[PodFacts], ids: npt.NDArray[np.int32], cluster: Cluster) -> Mask:
    """Mark the domains, by id, in which some of the pods are."""
    found = np.zeros(len(cluster.values), np.bool_)
    for pod in pods:
        found[ids[cluster.located[pod.uid]]] = True
    found[ABSENT] = False
    return found


def _selector(term: Term, owner: PodFacts) -> meta_v1.LabelSelector | None:
    selector = term.labelSelector
    if selector is None or not (term.matchLabelKeys or term.mismatchLabelKeys):
        return selector
    more = [(key, "In") for key in term.matchLabelKeys or ()] + [(key, "NotIn") for key in term.mismatchLabelKeys or ()]
    requirements = [
        meta_v1.LabelSelectorRequirement(key=key, operator=operator, values=[owner.labels[key]])
        for key, operator in more
        if key in owner.labels
    ]
    return replace(selector, matchExpressions=[*(selector.matchExpressions or ()), *requirements])


def _required(pod: PodFacts, kind: str) -> Sequence[Term]:
    part = getattr(pod.spec.affinity, kind) if pod.spec.affinity else None
    return (part.requiredDuringSchedulingIgnoredDuringExecution or ()) if part else ()


def _preferred(pod: PodFacts, kind: str) -> Sequence[core_v1.WeightedPodAffinityTerm]:
    part = getattr(pod.spec.affinity, kind) if pod.spec.affinity else None
    return (part.preferredDuringSchedulingIgnoredDuringExecution or ()) if part else ()
