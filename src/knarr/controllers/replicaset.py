"""ReplicaSets: as many pods of a template as asked for.

What it observes: the ReplicaSet and the pods that it controls, those it just created and has not seen yet counted by
expectations. The plan creates what is missing or deletes the surplus that can best be spared, at most 500 at a time.

Upstream counterpart: pkg/controller/replicaset.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lightkube.models import apps_v1, core_v1

from knarr.controllers import pods as podinfo

BURST = 500
"""Most pods created or deleted in one go."""
REPLICA_FAILURE = "ReplicaFailure"


@dataclass(frozen=True, slots=True)
class Create:
    """Create that many pods."""

    count: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete these pods."""

    pods: tuple[core_v1.Pod, ...]


def plan(
    replica_set: apps_v1.ReplicaSet, active: Sequence[core_v1.Pod], related: Mapping[str, int]
) -> Create | Delete | None:
    """Decide how to get to the size wanted.

    Args:
        replica_set: Not being deleted.
        active: The pods it controls that are neither finished nor going.
        related: How many active pods of the same Deployment run on each node.

    Returns:
        One step, or None when the count is right.
    """
    missing = wanted_replicas(replica_set) - len(active)
    if missing > 0:
        return Create(min(missing, BURST))
    if missing < 0:
        surplus = podinfo.deletion_order(active, related=related)[: min(-missing, BURST)]
        return Delete(tuple(surplus))
    return None


def wanted_replicas(replica_set: apps_v1.ReplicaSet) -> int:
    """Return spec.replicas, 1 if it says nothing."""
    assert replica_set.spec
    return 1 if replica_set.spec.replicas is None else replica_set.spec.replicas


def compute_status(
    replica_set: apps_v1.ReplicaSet,
    pods: Sequence[core_v1.Pod],
    *,
    failure: str,
    step: Create | Delete | None,
    now: datetime,
) -> apps_v1.ReplicaSetStatus:
    """Return the status that the ReplicaSet should have.

    Args:
        replica_set: As last seen.
        pods: All pods it controls.
        failure: Why the last step failed; empty if it did not.
        step: The last step.
        now: The wall time.
    """
    assert replica_set.spec and replica_set.metadata
    min_ready_s = replica_set.spec.minReadySeconds or 0
    active = [pod for pod in pods if podinfo.is_active(pod)]
    ready = [pod for pod in active if podinfo.is_ready(pod)]
    labels = (template.metadata.labels or {}) if (template := replica_set.spec.template) and template.metadata else {}
    labelled = [pod for pod in active if labels.items() <= _labels(pod).items()]
    return apps_v1.ReplicaSetStatus(
        replicas=len(active),
        fullyLabeledReplicas=len(labelled) or None,
        readyReplicas=len(ready) or None,
        availableReplicas=sum(podinfo.is_available(pod, min_ready_s, now) for pod in ready) or None,
        terminatingReplicas=sum(podinfo.is_terminating(pod) for pod in pods),
        observedGeneration=replica_set.metadata.generation,
        conditions=_conditions(replica_set, failure, step, now),
    )


def seconds_until_available(
    replica_set: apps_v1.ReplicaSet, pods: Sequence[core_v1.Pod], now: datetime
) -> float | None:
    """Return when the next ready pod becomes available through waiting alone, or None."""
    assert replica_set.spec
    min_ready_s = replica_set.spec.minReadySeconds or 0
    if not min_ready_s:
        return None
    waits = []
    for pod in pods:
        ready = podinfo.condition(pod, "Ready")
        if ready and ready.status == "True" and ready.lastTransitionTime:
            left = min_ready_s - (now - ready.lastTransitionTime).total_seconds()
            if left > 0:
                waits.append(left)
    return min(waits, default=None)


def _conditions(
    replica_set: apps_v1.ReplicaSet, failure: str, step: Create | Delete | None, now: datetime
) -> list[apps_v1.ReplicaSetCondition] | None:
    current = list((replica_set.status.conditions or ()) if replica_set.status else ())
    standing = next((one for one in current if one.type == REPLICA_FAILURE), None)
    others = [one for one in current if one.type != REPLICA_FAILURE]
    if not failure:
        return others or None
    reason = "FailedDelete" if isinstance(step, Delete) else "FailedCreate"
    if standing is not None and standing.reason == reason:
        return current
    fresh = apps_v1.ReplicaSetCondition(
        type=REPLICA_FAILURE,
        status="True",
        reason=reason,
        message=failure,
        lastTransitionTime=now.replace(microsecond=0),
    )
    return [*others, fresh]


def _labels(pod: core_v1.Pod) -> Mapping[str, str]:
    return (pod.metadata.labels or {}) if pod.metadata else {}
