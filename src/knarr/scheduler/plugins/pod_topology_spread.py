"""PodTopologySpread: pods of a kind spread evenly over zones, nodes or whatever a label names.

Upstream counterpart: pkg/scheduler/framework/plugins/podtopologyspread (v1.37; KEPs 895, 3022, 3094, 3243).
"""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
from lightkube.models import core_v1, meta_v1
from msgspec.structs import replace

from knarr.control import selectors
from knarr.scheduler import nodeselectors
from knarr.scheduler.cluster import ABSENT, Cluster, Mask, Rows
from knarr.scheduler.events import Event
from knarr.scheduler.framework import MAX_SCORE, Rejection, Scores
from knarr.scheduler.plugins.taint_toleration import untolerated
from knarr.scheduler.podfacts import PodFacts

DEFAULTS = (("kubernetes.io/hostname", 3), ("topology.kubernetes.io/zone", 5))
"""What applies to pods without constraints: key and skew. Source: systemDefaultConstraints."""

SelectorOf = Callable[[PodFacts], meta_v1.LabelSelector | None]
Counts = npt.NDArray[np.int64]


class PodTopologySpread:
    """The plugin.

    Args:
        selector_of: Gives what selects a pod's kind: its Services and its controller; None if nothing does.
    """

    name = "PodTopologySpread"

    def __init__(self, selector_of: SelectorOf) -> None:
        self._selector_of = selector_of

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes where the pod would make the spread more uneven than allowed."""
        constraints = _constraints(pod, "DoNotSchedule")
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
            domains = np.unique(ids[counted])
            lowest = int(counts[domains].min()) if len(domains) else 0
            if len(domains) < (constraint.minDomains or 1):
                lowest = 0
            own = int(selectors.matches(selector, pod.labels))
            yield Rejection(~missing & (counts[ids[rows]] + own - lowest > constraint.maxSkew), reason)

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        """Prefer nodes in domains with fewer pods of the kind."""
        constraints = _constraints(pod, "ScheduleAnyway")
        is_default = not pod.spec.topologySpreadConstraints
        if is_default:
            constraints = self._defaults(pod)
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
            domains = len(np.unique(ids[rows]))
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

    def _defaults(self, pod: PodFacts) -> list[core_v1.TopologySpreadConstraint]:
        selector = self._selector_of(pod)
        if selector is None:
            return []
        return [
            core_v1.TopologySpreadConstraint(
                maxSkew=skew, topologyKey=key, whenUnsatisfiable="ScheduleAnyway", labelSelector=selector
            )
            for key, skew in DEFAULTS
        ]

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A node that came or has other labels or taints, or another pod of the same namespace."""
        if event.is_of_node:
            return event.changes_labels or event.changes_taints
        return event.is_of_pod and event.pod is not None and event.pod.namespace == pod.namespace


def _constraints(pod: PodFacts, kind: str) -> list[core_v1.TopologySpreadConstraint]:
    return [one for one in pod.spec.topologySpreadConstraints or () if one.whenUnsatisfiable == kind]


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
    ids = cluster.label_ids(key)
    counts: Counts = np.zeros(len(cluster.values), np.int64)
    is_counted = np.zeros(len(cluster.names), np.bool_)
    is_counted[counted] = True
    for other in cluster.pods_in((pod.namespace,)):
        row = cluster.located[other.uid]
        if is_counted[row] and not other.is_terminating and selectors.matches(selector, other.labels):
            counts[ids[row]] += 1
    return counts
