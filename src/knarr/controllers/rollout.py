"""How a Deployment moves from its old ReplicaSets to its new one: arithmetic on replica counts, nothing else.

Upstream counterpart: pkg/controller/deployment (rolling.go, recreate.go, sync.go and util/deployment_util.go).

Invariants: a rolling update never has more than replicas + maxSurge pods nor, through its own doing, fewer than
replicas - maxUnavailable available ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from knarr.api import intstr


@dataclass(frozen=True, slots=True)
class Counts:
    """One ReplicaSet as far as a rollout cares.

    Attributes:
        name: Its name.
        desired: spec.replicas.
        actual: status.replicas.
        available: status.availableReplicas.
        created: Sorts ReplicaSets by age; any ordered text such as an RFC 3339 time.
        wanted_then: The deployment's size when this one was last scaled (an annotation), or None.
        max_then: The same plus the surge, or None.
    """

    name: str
    desired: int
    actual: int
    available: int
    created: str = ""
    wanted_then: int | None = None
    max_then: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a rolling update in pods.

    Attributes:
        replicas: The size wanted.
        surge: How many more there may be.
        unavailable: How many fewer may be available.
    """

    replicas: int
    surge: int
    unavailable: int


def limits(replicas: int, max_surge: int | str | None, max_unavailable: int | str | None) -> Limits:
    """Turn counts or percentages into bounds: surge rounds up, unavailable down, and not both are zero.

    Source: ResolveFenceposts.
    """
    surge = intstr.scale(max_surge or 0, replicas, round_up=True)
    unavailable = min(intstr.scale(max_unavailable or 0, replicas, round_up=False), replicas)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Limits(replicas, surge, unavailable)


def plan_rolling(new: Counts, old: Sequence[Counts], bounds: Limits) -> dict[str, int]:
    """Plan the next step of a rolling update: grow the new ReplicaSet, else shrink old ones.

    Returns:
        The sizes to set, by ReplicaSet name; empty when there is nothing to do now.
    """
    grown = _grow_new(new, old, bounds)
    if grown != new.desired:
        return {new.name: grown}
    return _shrink_old(new, old, bounds)


def _grow_new(new: Counts, old: Sequence[Counts], bounds: Limits) -> int:
    if new.desired >= bounds.replicas:
        return bounds.replicas
    total = new.desired + sum(one.desired for one in old)
    room = bounds.replicas + bounds.surge - total
    return new.desired + max(0, min(room, bounds.replicas - new.desired))


def _shrink_old(new: Counts, old: Sequence[Counts], bounds: Limits) -> dict[str, int]:
    sizes = {one.name: one.desired for one in old}
    if not sum(sizes.values()):
        return {}
    total = new.desired + sum(sizes.values())
    min_available = bounds.replicas - bounds.unavailable
    may_go = total - min_available - (new.desired - new.available)
    if may_go <= 0:
        return {}
    by_age = sorted(old, key=lambda one: one.created)
    for one in by_age:  # pods that are not available anyway go first
        gone = min(may_go, max(0, one.desired - one.available))
        sizes[one.name] -= gone
        may_go -= gone
    available = new.available + sum(one.available for one in old)
    may_go = min(max(0, available - min_available), sum(sizes.values()))
    for one in by_age:
        gone = min(may_go, sizes[one.name])
        sizes[one.name] -= gone
        may_go -= gone
    return {one.name: sizes[one.name] for one in old if sizes[one.name] != one.desired}


def plan_recreate(new: Counts, old: Sequence[Counts], replicas: int, *, old_pods_running: bool) -> dict[str, int]:
    """Plan the next step of a re-creation: all old ones to zero, and only when their pods are gone the new one up."""
    shrunk = {one.name: 0 for one in old if one.desired}
    if shrunk or old_pods_running:
        return shrunk
    return {} if new.desired == replicas else {new.name: replicas}


def plan_scale(new: Counts | None, old: Sequence[Counts], bounds: Limits, *, is_rolling: bool) -> dict[str, int]:
    """Plan how a change of the deployment's size is spread, while a rollout may be half done.

    One active ReplicaSet takes the whole size. When the new one is saturated, the old ones go to zero. Otherwise, for
    rolling updates, the difference is spread over all in proportion to their sizes, leftovers to the largest.

    Source: (*DeploymentController).scale.
    """
    everything = [*old, *([new] if new else [])]
    active = [one for one in everything if one.desired > 0]
    if len(active) <= 1:
        only = active[0] if active else (new or max(old, key=lambda one: one.created, default=None))
        return {} if only is None or only.desired == bounds.replicas else {only.name: bounds.replicas}
    if new and _is_saturated(new, bounds.replicas):
        return {one.name: 0 for one in old if one.desired}
    return _spread(active, bounds) if is_rolling else {}


def _is_saturated(new: Counts, replicas: int) -> bool:
    return new.desired == new.wanted_then == new.available == replicas


def _spread(active: Sequence[Counts], bounds: Limits) -> dict[str, int]:
    allowed = bounds.replicas + bounds.surge if bounds.replicas > 0 else 0
    to_add = allowed - sum(one.desired for one in active)
    if to_add > 0:
        ordered = sorted(active, key=lambda one: (one.desired, one.created), reverse=True)  # newest first among equals
    else:
        ordered = sorted(active, key=lambda one: one.created)
        ordered.sort(key=lambda one: one.desired, reverse=True)  # oldest first among equals
    added = 0
    sizes = {}
    for one in ordered:
        share = _share(one, bounds, to_add, added) if to_add else 0
        sizes[one.name] = one.desired + share
        added += share
    if ordered and to_add:
        first = ordered[0].name
        sizes[first] = max(0, sizes[first] + to_add - added)
    return {one.name: sizes[one.name] for one in ordered if sizes[one.name] != one.desired}


def _share(one: Counts, bounds: Limits, to_add: int, added: int) -> int:
    if one.desired == 0:
        return 0
    allowed = to_add - added
    if bounds.replicas == 0:
        fraction = -one.desired
    else:
        base = one.max_then or (bounds.replicas + bounds.surge)
        fraction = round_half_away(one.desired * (bounds.replicas + bounds.surge), base) - one.desired
    return min(fraction, allowed) if to_add > 0 else max(fraction, allowed)


def round_half_away(numerator: int, denominator: int) -> int:
    """Return numerator / denominator rounded to the nearest integer, halves away from zero; both are positive."""
    return (2 * numerator + denominator) // (2 * denominator)
