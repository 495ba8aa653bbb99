"""How many replicas a metric asks for.

Pods that are not ready, or have no metrics, are taken to be idle when scaling up and busy when scaling down, so that they dampen but never
turn a decision.

Upstream counterpart: pkg/controller/podautoscaler/replica_calculator.go and metrics/utilization.go (v1.37).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lightkube.models import core_v1

from knarr.api import quantity
from knarr.control import informer
from knarr.controllers import pods as podinfo

TOLERANCE = 0.1
CPU_INITIALIZATION = timedelta(minutes=5)
INITIAL_READINESS = timedelta(seconds=30)


class NoReplicas(ValueError):
    """Raised when a metric gives no number; the message says why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The metric of a pod.

    Attributes:
        value: In thousandths.
        at: When it was taken.
        window_s: Over which time.
    """

    value: int
    at: datetime
    window_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How far a ratio may be from 1 without anything being done."""

    down: float = TOLERANCE
    up: float = TOLERANCE

    def allow(self, ratio: float) -> bool:
        """Tell whether a ratio is near enough to 1."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a metric asks for.

    Attributes:
        replicas: How many.
        utilization: In percent of what is requested; None for metrics without.
        value: In thousandths, of a pod on average or of all, as the metric has it.
    """

    replicas: int
    utilization: int | None
    value: int


@dataclass(frozen=True, slots=True)
class _Groups:
    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


def by_utilization(
    current: int,
    target_percent: int,
    pods: Sequence[core_v1.Pod],
    readings: Mapping[str, Reading],
    *,
    resource: str,
    container: str = "",
    tolerances: Tolerances,
    now: datetime,
) -> Proposal:
    """Return how many replicas bring the use of a resource to a share of what is requested.

    Args:
        current: Replicas now.
        target_percent: Of requests.
        pods: All of the target.
        readings: Of pods, by name.
        resource: "cpu" or another.
        container: Only this one's; empty means all.
        tolerances: When to leave things alone.
        now: The wall time.

    Raises:
        NoReplicas: no pods, no metrics, or no requests.
    """
    groups, known = _prepare(pods, readings, resource, now)
    requests = {informer.key_of(pod)[1]: _request(pod, resource, container) for pod in pods}
    ratio, percent, value = _utilization(known, requests, target_percent)
    grows = bool(groups.unready) and ratio > 1.0
    if not grows and not groups.missing:
        replicas = current if tolerances.allow(ratio) else math.ceil(_exact(ratio * groups.ready))
        return Proposal(replicas, percent, value)
    if ratio < 1.0:
        busy = max(100, target_percent)
        known |= {name: requests[name] * busy // 100 for name in groups.missing}
    elif ratio > 1.0:
        known |= dict.fromkeys(groups.missing, 0)
    if grows:
        known |= dict.fromkeys(groups.unready, 0)
    damped = _utilization(known, requests, target_percent)[0]
    return Proposal(_damped(current, ratio, damped, len(known), tolerances), percent, value)


def by_average(
    current: int,
    target: int,
    pods: Sequence[core_v1.Pod],
    readings: Mapping[str, Reading],
    *,
    resource: str = "",
    tolerances: Tolerances,
    now: datetime,
) -> Proposal:
    """Return how many replicas bring the average of a metric of pods to a target, in thousandths.

    Raises:
        NoReplicas: no pods or no metrics.
    """
    groups, known = _prepare(pods, readings, resource, now)
    value = sum(known.values()) // len(known)
    ratio = value / target
    grows = bool(groups.unready) and ratio > 1.0
    if not grows and not groups.missing:
        replicas = current if tolerances.allow(ratio) else math.ceil(_exact(ratio * groups.ready))
        return Proposal(replicas, None, value)
    if ratio < 1.0:
        known |= dict.fromkeys(groups.missing, target)
    else:
        known |= dict.fromkeys(groups.missing, 0)
    if grows:
        known |= dict.fromkeys(groups.unready, 0)
    damped = sum(known.values()) // len(known) / target
    return Proposal(_damped(current, ratio, damped, len(known), tolerances), None, value)


def by_value(current: int, target: int, value: int, pods: Sequence[core_v1.Pod], *, tolerances: Tolerances) -> Proposal:
    """Return how many replicas bring one value, which falls as they grow, to a target; both in thousandths."""
    ratio = value / target
    if current == 0:
        return Proposal(math.ceil(_exact(ratio)), None, value)
    if tolerances.allow(ratio):
        return Proposal(current, None, value)
    ready = sum(podinfo.is_ready(pod) for pod in pods if podinfo.phase(pod) == "Running")
    return Proposal(math.ceil(_exact(ratio * ready)), None, value)


def by_share(replicas: int, target: int, value: int, *, tolerances: Tolerances) -> Proposal:
    """Return how many replicas bring one value, divided among them, to a target; both in thousandths."""
    ratio = value / (target * replicas) if replicas else math.inf
    wanted = replicas if tolerances.allow(ratio) else math.ceil(_exact(value / target))
    return Proposal(wanted, None, math.ceil(value / replicas) if replicas else value)


def _prepare(
    pods: Sequence[core_v1.Pod], readings: Mapping[str, Reading], resource: str, now: datetime
) -> tuple[_Groups, dict[str, int]]:
    if not pods:
        raise NoReplicas("no pods returned by selector while calculating replica count")
    groups = _group(pods, readings, resource, now)
    names = {informer.key_of(pod)[1] for pod in pods}
    known = {
        name: one.value
        for name, one in readings.items()
        if name in names and name not in groups.ignored and name not in groups.unready
    }
    if not known:
        raise NoReplicas("did not receive metrics for targeted pods (pods might be unready)")
    return groups, known


def _group(pods: Sequence[core_v1.Pod], readings: Mapping[str, Reading], resource: str, now: datetime) -> _Groups:
    ready, unready, missing, ignored = 0, set(), set(), set()
    for pod in pods:
        assert pod.metadata
        name = pod.metadata.name or ""
        if pod.metadata.deletionTimestamp is not None or podinfo.phase(pod) == "Failed":
            ignored.add(name)
        elif podinfo.phase(pod) == "Pending":
            unready.add(name)
        elif name not in readings:
            missing.add(name)
        elif resource == "cpu" and _is_starting(pod, readings[name], now):
            unready.add(name)
        else:
            ready += 1
    return _Groups(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def _is_starting(pod: core_v1.Pod, reading: Reading, now: datetime) -> bool:
    """Tell whether what a pod uses may be its start alone."""
    start = pod.status.startTime if pod.status else None
    ready = podinfo.condition(pod, "Ready")
    if ready is None or start is None or ready.lastTransitionTime is None:
        return True
    if start + CPU_INITIALIZATION > now:
        settled = ready.lastTransitionTime + timedelta(seconds=reading.window_s)
        return ready.status == "False" or reading.at < settled
    return ready.status == "False" and start + INITIAL_READINESS > ready.lastTransitionTime


def _request(pod: core_v1.Pod, resource: str, container: str) -> int:
    assert pod.spec
    whole = ((pod.spec.resources.requests if pod.spec.resources else None) or {}).get(resource)
    if whole is not None and not container:
        return quantity.parse(str(whole)).milli_value
    sidecars = [one for one in pod.spec.initContainers or () if one.restartPolicy == "Always"]
    total = 0
    for one in [*pod.spec.containers, *sidecars]:
        if container and one.name != container:
            continue
        asked = ((one.resources.requests if one.resources else None) or {}).get(resource)
        if asked is None:
            name = informer.key_of(pod)[1]
            raise NoReplicas(f"missing request for {resource} in container {one.name} of Pod {name}")
        total += quantity.parse(str(asked)).milli_value
    return total


def _utilization(known: Mapping[str, int], requests: Mapping[str, int], target: int) -> tuple[float, int, int]:
    names = [name for name in known if name in requests]
    requested = sum(requests[name] for name in names)
    if not requested:
        raise NoReplicas("no metrics returned matched known pods")
    used = sum(known[name] for name in names)
    percent = used * 100 // requested
    return percent / target, percent, used // len(names)


def _damped(current: int, ratio: float, damped: float, count: int, tolerances: Tolerances) -> int:
    if tolerances.allow(damped) or (ratio < 1.0 < damped) or (ratio > 1.0 > damped):
        return current
    replicas = math.ceil(_exact(damped * count))
    turns = (damped < 1.0 and replicas > current) or (damped > 1.0 and replicas < current)
    return current if turns else replicas


def _exact(number: float) -> float:
    """Take away what floating point adds: 3.0000000000000004 replicas are 3."""
    return round(number, 9)
