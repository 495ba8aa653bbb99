"""Preemption: which pods of lower priority have to go so that a pod fits, and on which node that costs least.

Upstream counterpart: pkg/scheduler/framework/preemption and plugins/defaultpreemption (v1.37).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from lightkube.models import policy_v1

from knarr.control import selectors
from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.cycle import Unplaced, apply_filters, fit_message
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.profile import Profile

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
NEVER = "not eligible due to preemptionPolicy=Never."
TERMINATING = "not eligible due to a terminating pod on the nominated node."
CANDIDATES = 100
"""Most candidates that are compared, unless configured."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node and the pods that would have to go.

    Attributes:
        node: Its name.
        victims: Highest priority first.
        violations: How many of them a disruption budget protects.
    """

    node: str
    victims: Sequence[PodFacts]
    violations: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Preemption is of no use.

    Attributes:
        message: Why.
        keeps: Whether the pod keeps the node for which it has displaced others before.
        takes_over: Whether from now on this plugin alone says which events may help the pod.
    """

    message: str
    keeps: bool = False
    takes_over: bool = False


def plan(
    pod: PodFacts,
    unplaced: Unplaced,
    cluster: Cluster,
    profile: Profile,
    budgets: Sequence[policy_v1.PodDisruptionBudget],
    *,
    nominated: str = "",
    limit: int = CANDIDATES,
) -> Candidate | Refused:
    """Decide whom to displace.

    Args:
        pod: Found no node.
        unplaced: Why.
        cluster: Is changed while simulating, and left as it was.
        profile: The filters.
        budgets: Protect pods as far as possible.
        nominated: The node for which the pod has displaced others before.
        limit: Most candidates that are compared.
    """
    if pod.spec.preemptionPolicy == "Never":
        return Refused(NEVER)
    if nominated in cluster.index:
        there = cluster.pods[cluster.index[nominated]].values()
        if any(other.is_terminating and other.priority < pod.priority for other in there):
            return Refused(TERMINATING, keeps=True)
    reasons: Counter[str] = Counter()
    if unplaced.total > len(unplaced.preemptible):
        reasons[NOT_HELPFUL] = unplaced.total - len(unplaced.preemptible)
    candidates = []
    for row in unplaced.preemptible:
        found = _simulate(pod, cluster, profile, int(row), budgets)
        if isinstance(found, Candidate):
            candidates.append(found)
            if len(candidates) >= limit:
                break
        else:
            reasons.update(found)
    if candidates:
        return min(candidates, key=_cost)
    return Refused(fit_message(unplaced.total, reasons))


def _simulate(
    pod: PodFacts, cluster: Cluster, profile: Profile, row: int, budgets: Sequence[policy_v1.PodDisruptionBudget]
) -> Candidate | Iterable[str]:
    """Remove all pods of lower priority, then give back as many as possible, the most important first."""
    lower = [other for other in cluster.pods[row].values() if other.priority < pod.priority]
    if not lower:
        return (NO_VICTIMS,)
    node = cluster.names[row]
    rows: Rows = np.array([row], np.intp)
    removed = {other.uid: other for other in lower}
    for other in lower:
        cluster.remove_pod(other.uid)
    try:
        filtered = apply_filters(pod, cluster, profile, rows)
        if not len(filtered.rows):
            return [*filtered.reasons]
        protected, free = _split(lower, budgets)
        victims: list[PodFacts] = []
        violations = 0
        for other in [*sorted(protected, key=_importance), *sorted(free, key=_importance)]:
            cluster.add_pod(other, node)
            if len(apply_filters(pod, cluster, profile, rows).rows):
                del removed[other.uid]
                continue
            cluster.remove_pod(other.uid)
            victims.append(other)
            violations += other in protected
        return Candidate(node, sorted(victims, key=_importance), violations)
    finally:
        for other in removed.values():
            cluster.add_pod(other, node)


def _split(
    pods: Sequence[PodFacts], budgets: Sequence[policy_v1.PodDisruptionBudget]
) -> tuple[list[PodFacts], list[PodFacts]]:
    """Sort pods into those whose going would violate a budget and the others."""
    allowed = [(budget.status.disruptionsAllowed or 0) if budget.status else 0 for budget in budgets]
    protected: list[PodFacts] = []
    free: list[PodFacts] = []
    for pod in sorted(pods, key=_importance):
        is_protected = False
        for index, budget in enumerate(budgets):
            assert budget.spec and budget.metadata
            if budget.metadata.namespace != pod.namespace or not selectors.matches(budget.spec.selector, pod.labels):
                continue
            if budget.status and pod.name in (budget.status.disruptedPods or {}):
                continue
            allowed[index] -= 1
            is_protected |= allowed[index] < 0
        (protected if is_protected else free).append(pod)
    return protected, free


def _importance(pod: PodFacts) -> tuple[int, float]:
    """Sort key: higher priority first, then the one that has run longer."""
    return (-pod.priority, _started(pod))


def _started(pod: PodFacts) -> float:
    since = pod.pod.status.startTime if pod.pod.status else None
    return since.timestamp() if since is not None else float("inf")


def _cost(candidate: Candidate) -> tuple[float, ...]:
    """Sort key of candidates, the cheapest first.

    Source: pickOneNodeForPreemption: fewest violations, lowest highest priority, lowest sum of priorities, fewest victims, the most
    important victim started last.
    """
    victims = candidate.victims
    if not victims:
        return (candidate.violations, float("-inf"), 0, 0, 0)
    highest = victims[0].priority
    total = sum(pod.priority + 2**31 for pod in victims)
    latest = min(_started(pod) for pod in victims if pod.priority == highest)
    return (candidate.violations, highest, total, len(victims), -latest)
