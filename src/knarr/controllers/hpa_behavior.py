"""How fast a workload may be scaled: stabilization windows, policies, limits.

Upstream counterpart: normalizeDesiredReplicas and normalizeDesiredReplicasWithBehaviors,
pkg/controller/podautoscaler/horizontal.go (v1.37).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lightkube.models import autoscaling_v2

DOWN_WINDOW_S = 300
UP_POLICIES = (
    autoscaling_v2.HPAScalingPolicy(type="Pods", value=4, periodSeconds=15),
    autoscaling_v2.HPAScalingPolicy(type="Percent", value=100, periodSeconds=15),
)
DOWN_POLICIES = (autoscaling_v2.HPAScalingPolicy(type="Percent", value=100, periodSeconds=15),)
KEPT = timedelta(hours=1)
"""Longest window and longest period that the API allows."""

LOWEST = "recent recommendations were lower than current one, applying the lowest recent recommendation"
HIGHEST = "recent recommendations were higher than current one, applying the highest recent recommendation"
WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
TOO_FAST = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
TOO_FAST_DOWN = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")


@dataclass(slots=True)
class Past:
    """What is remembered of an autoscaler.

    Attributes:
        recommendations: When, and how many replicas.
        changes: When, and by how many replicas it was scaled, down below zero.
    """

    recommendations: list[tuple[datetime, int]] = field(default_factory=list)
    changes: list[tuple[datetime, int]] = field(default_factory=list)

    def recommend(self, now: datetime, replicas: int) -> None:
        """Remember a recommendation."""
        self.recommendations = [one for one in self.recommendations if one[0] > now - KEPT]
        self.recommendations.append((now, replicas))

    def scaled(self, now: datetime, change: int) -> None:
        """Remember that it was scaled."""
        self.changes = [one for one in self.changes if one[0] > now - KEPT]
        self.changes.append((now, change))


@dataclass(frozen=True, slots=True)
class Limited:
    """What is left of a recommendation.

    Attributes:
        replicas: How many.
        able: Reason and message of AbleToScale.
        limit: Reason and message of ScalingLimited.
        is_limited: Whether it is.
    """

    replicas: int
    able: tuple[str, str]
    limit: tuple[str, str]
    is_limited: bool


def limit(
    spec: autoscaling_v2.HorizontalPodAutoscalerSpec, past: Past, current: int, desired: int, now: datetime
) -> Limited:
    """Return how far a recommendation may be followed now, and remember it.

    Args:
        spec: Bounds and behaviour.
        past: Recommendations and changes before; the new recommendation is added.
        current: Replicas now.
        desired: What the metrics ask for.
        now: The wall time.
    """
    if spec.behavior is None:
        stable, reason = _highest(past, desired, DOWN_WINDOW_S, now), ("ScaleDownStabilized", HIGHEST)
    else:
        stable, reason = _stabilize(spec.behavior, past, current, desired, now)
    past.recommend(now, desired)
    able = reason if stable != desired else ("ReadyForNewScale", "recommended size matches current size")
    if spec.behavior is None:
        replicas, why = _bounded(spec, current, stable)
    else:
        replicas, why = _at_rate(spec, spec.behavior, past, current, stable, now)
    return Limited(replicas, able, why, replicas != stable)


def _stabilize(
    behavior: autoscaling_v2.HorizontalPodAutoscalerBehavior, past: Past, current: int, desired: int, now: datetime
) -> tuple[int, tuple[str, str]]:
    up_s = (behavior.scaleUp.stabilizationWindowSeconds if behavior.scaleUp else None) or 0
    down_s = behavior.scaleDown.stabilizationWindowSeconds if behavior.scaleDown else None
    least = min([desired, *_recent(past, up_s, now)])
    most = _highest(past, desired, DOWN_WINDOW_S if down_s is None else down_s, now)
    stable = min(max(current, least), most)
    if desired >= current:
        return stable, ("ScaleUpStabilized", LOWEST)
    return stable, ("ScaleDownStabilized", HIGHEST)


def _highest(past: Past, desired: int, window_s: float, now: datetime) -> int:
    return max([desired, *_recent(past, window_s, now)])


def _recent(past: Past, window_s: float, now: datetime) -> Iterable[int]:
    since = now - timedelta(seconds=window_s)
    return (replicas for at, replicas in past.recommendations if at > since)


def _bounded(
    spec: autoscaling_v2.HorizontalPodAutoscalerSpec, current: int, desired: int
) -> tuple[int, tuple[str, str]]:
    least, most, why = _least(spec), spec.maxReplicas, TOO_MANY
    fastest = max(2 * current, 4)
    if most > fastest:
        most, why = fastest, TOO_FAST
    if desired < least:
        return least, TOO_FEW
    return (most, why) if desired > most else (desired, WITHIN)


def _at_rate(
    spec: autoscaling_v2.HorizontalPodAutoscalerSpec,
    behavior: autoscaling_v2.HorizontalPodAutoscalerBehavior,
    past: Past,
    current: int,
    desired: int,
    now: datetime,
) -> tuple[int, tuple[str, str]]:
    if desired > current:
        most, why = spec.maxReplicas, TOO_MANY
        fastest = max(current, _up_limit(behavior.scaleUp, past, current, now))
        if most > fastest:
            most, why = fastest, TOO_FAST
        return (most, why) if desired > most else (desired, WITHIN)
    if desired < current:
        least, why = _least(spec), TOO_FEW
        slowest = min(current, _down_limit(behavior.scaleDown, past, current, now))
        if least < slowest:
            least, why = slowest, TOO_FAST_DOWN
        return (least, why) if desired < least else (desired, WITHIN)
    return desired, WITHIN


def _up_limit(rules: autoscaling_v2.HPAScalingRules | None, past: Past, current: int, now: datetime) -> int:
    if rules is not None and rules.selectPolicy == "Disabled":
        return current
    proposals = []
    for policy in (rules.policies if rules else None) or UP_POLICIES:
        start = current - _changed(past, policy.periodSeconds, now)
        if policy.type == "Pods":
            proposals.append(start + policy.value)
        else:
            proposals.append(math.ceil(round(start * (1 + policy.value / 100), 9)))
    return min(proposals) if rules is not None and rules.selectPolicy == "Min" else max(proposals)


def _down_limit(rules: autoscaling_v2.HPAScalingRules | None, past: Past, current: int, now: datetime) -> int:
    if rules is not None and rules.selectPolicy == "Disabled":
        return current
    proposals = []
    for policy in (rules.policies if rules else None) or DOWN_POLICIES:
        start = current - _changed(past, policy.periodSeconds, now)
        if policy.type == "Pods":
            proposals.append(start - policy.value)
        else:
            proposals.append(int(round(start * (1 - policy.value / 100), 9)))
    return max(proposals) if rules is not None and rules.selectPolicy == "Min" else min(proposals)


def _changed(past: Past, period_s: int, now: datetime) -> int:
    since = now - timedelta(seconds=period_s)
    return sum(change for at, change in past.changes if at > since)


def _least(spec: autoscaling_v2.HorizontalPodAutoscalerSpec) -> int:
    return 1 if spec.minReplicas is None else spec.minReplicas
