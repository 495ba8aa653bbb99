"""PodTopologySpread: pods of a kind spread evenly over zones, nodes or whatever a label names.

Upstream counterpart: pkg/scheduler/framework/plugins/podtopologyspread (v1.37; KEPs 895, 3022, 3094, 3243).
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from lightkube.models import core_v1, meta_v1
from msgspec.structs import replace

from knarr.control import selectors
from knarr.scheduler import nodeselectors
from knarr.scheduler.census import Counts
from knarr.scheduler.cluster import ABSENT, Cluster, Mask, Rows
from knarr.scheduler.events import NODE_EVENTS, POD_EVENTS, Event
from knarr.scheduler.framework import MAX_SCORE, Rejection, Scores
from knarr.scheduler.plugins.taint_toleration import untolerated
from knarr.scheduler.podfacts import PodFacts

DEFAULTS = (("kubernetes.io/hostname", 3), ("topology.kubernetes.io/zone", 5))
"""What applies to pods without constraints: key and skew. Source: systemDefaultConstraints."""

SelectorOf = Callable[[PodFacts], meta_v1.LabelSelector | None]


class PodTopologySpread:
    """The plugin.

    Args:
        selector_of: Gives what selects a pod's kind: its Services and its controller; None if nothing does.
        defaults: Constraints of pods that have none themselves; None means upstream's.
    """

    name = "PodTopologySpread"
    events = NODE_EVENTS | POD_EVENTS

    def __init__(
        self, selector_of: SelectorOf, *, defaults: Sequence[core_v1.TopologySpreadConstraint] | None = None
    ) -> None:
        self._selector_of = selector_of
        self._own_defaults = defaults

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """Nodes are alike unless there are constraints."""
        return not pod.spec.topologySpreadConstraints and not self._defaults(pod)

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes where the pod would make the spread more uneven than allowed."""
        constraints = self._constraints(pod, "DoNotSchedule")
        keys = [one.topologyKey for one in constraints]
        for constraint in constraints:
            ids = cluster.label_ids(constraint.topologyKey)
            missing = ids[rows] == ABSENT
            reason = "node(s) didn't match pod topology spread constraints"
            yield Rejection(missing, f"{reason} (missing required label)", is_final=True)
            selector = _selector(constraint, pod)
            everywhere = cluster.rows()
            counted = everywhere[_eligible(constraint, pod, cluster, everywhere, keys)]
            counts = _count(selector, pod, cluster, constraint.topologyKey, counted)
            domains = np.flatnonzero(np.bincount(ids[counted]))
            lowest = int(counts[domains].min()) if len(domains) else 0
            if len(domains) < (constraint.minDomains or 1):
                lowest = 0
            own = int(selectors.matches(selector, pod.labels))
            yield Rejection(~missing & (counts[ids[rows]] + own - lowest > constraint.maxSkew), reason)

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        """Prefer nodes in domains with fewer pods of the kind."""
        constraints = self._constraints(pod, "ScheduleAnyway")
        is_default = not pod.spec.topologySpreadConstraints and self._own_defaults is None
        if not constraints:
            return None
        # The default constraints, unlike those of a pod's own, take nodes that lack one of the labels.
        keys = [] if is_default else [one.topologyKey for one in constraints]
        ignored = np.zeros(len(rows), np.bool_)
        raw = np.zeros(len(rows))
        for constraint in constraints:
            ids = cluster.label_ids(constraint.topologyKey)
            if not is_default:
                ignored |= ids[rows] == ABSENT
            everywhere = cluster.rows()
            counted = everywhere[_eligible(constraint, pod, cluster, everywhere, keys)]
            counts = _count(_selector(constraint, pod), pod, cluster, constraint.topologyKey, counted)
            domains = np.count_nonzero(np.bincount(ids[rows]))
            # The log makes a domain more count less where there are many (upstream's topologyNormalizingWeight).
            found = np.where(
                ids[rows] == ABSENT, 0.0, counts[ids[rows]] * np.log(domains + 2) + (constraint.maxSkew - 1)
            )
            raw += found
        raw = np.round(raw)
        if ignored.all():
            return None
        highest, lowest = raw[~ignored].max(), raw[~ignored].min()
        if highest == 0:
            return np.where(ignored, 0.0, MAX_SCORE)
        return np.where(ignored, 0.0, np.floor(MAX_SCORE * (highest + lowest - raw) / highest))

    def _constraints(self, pod: PodFacts, kind: str) -> list[core_v1.TopologySpreadConstraint]:
        given = pod.spec.topologySpreadConstraints or self._defaults(pod)
        return [one for one in given if one.whenUnsatisfiable == kind]

    def _defaults(self, pod: PodFacts) -> list[core_v1.TopologySpreadConstraint]:
        if self._own_defaults is not None and not self._own_defaults:
            return []
        selector = self._selector_of(pod)
        if selector is None:
            return []
        if self._own_defaults is not None:
            return [replace(one, labelSelector=selector) for one in self._own_defaults]
        return [
            core_v1.TopologySpreadConstraint(
                maxSkew=skew, topologyKey=key, whenUnsatisfiable="ScheduleAnyway", labelSelector=selector
            )
            for key, skew in DEFAULTS
        ]

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A node that came or has other labels or taints, or a pod that one of the constraints counts."""
        if event.is_of_node:
            return event.changes_labels or event.changes_taints
        other = event.pod
        if not event.is_of_pod or other is None or other.namespace != pod.namespace:
            return False
        return any(
            selectors.matches(_selector(one, pod), other.labels) for one in self._constraints(pod, "DoNotSchedule")
        )


def _selector(constraint: core_v1.TopologySpreadConstraint, pod: PodFacts) -> meta_v1.LabelSelector | None:
    selector = constraint.labelSelector
    keys = [key for key in constraint.matchLabelKeys or () if key in pod.labels]
    if selector is None or not keys:
        return selector
    return replace(selector, matchLabels={**(selector.matchLabels or {}), **{key: pod.labels[key] for key in keys}})


def _eligible(
    constraint: core_v1.TopologySpreadConstraint, pod: PodFacts, cluster: Cluster, rows: Rows, keys: Iterable[str]
) -> Mask:
    """Tell which rows make up the domains: they have all topology labels and are within the constraint's policies."""
    mask = np.ones(len(rows), np.bool_)
    for key in keys:
        mask &= cluster.label_ids(key)[rows] != ABSENT
    if (constraint.nodeAffinityPolicy or "Honor") == "Honor":
        mask &= nodeselectors.matches(cluster, rows, pod.spec)
    if constraint.nodeTaintsPolicy == "Honor":
        mask &= ~untolerated(pod, cluster, rows)
    return mask


def _count(selector: meta_v1.LabelSelector | None, pod: PodFacts, cluster: Cluster, key: str, counted: Rows) -> Counts:
    """Count the matching pods by the id of their domain."""
    everywhere = cluster.count((frozenset((pod.namespace,)), selector), with_terminating=False)
    weights = everywhere[counted]
    return np.bincount(cluster.label_ids(key)[counted], weights, minlength=len(cluster.values)).astype(np.int64)
