"""The status of a Deployment: counts over its ReplicaSets and the conditions Available, Progressing, ReplicaFailure.

Upstream counterpart: pkg/controller/deployment/progress.go and sync.go (calculateStatus).
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from lightkube.models import apps_v1
from msgspec.structs import replace

from knarr.controllers.rollout import limits

if TYPE_CHECKING:
    from knarr.controllers.deployment import Observed

AVAILABLE = "Available"
PROGRESSING = "Progressing"
REPLICA_FAILURE = "ReplicaFailure"
NO_DEADLINE = 2**31 - 1
"""The progressDeadlineSeconds that means none."""
FINAL_REASON = "NewReplicaSetAvailable"


def compute(observed: "Observed", new: apps_v1.ReplicaSet | None) -> apps_v1.DeploymentStatus:
    """Return the status that the Deployment should have now.

    Args:
        observed: What the plan sees.
        new: The ReplicaSet of the current template, if there is one.
    """
    deployment, now = observed.deployment, observed.now
    counted = _count(observed, new)
    conditions = list((deployment.status.conditions or []) if deployment.status else [])
    conditions = _set(conditions, _availability(deployment, counted, now))
    if _has_deadline(deployment):
        conditions = _progress(deployment, counted, conditions, new, now)
    failure = next((c for one in observed.replica_sets for c in _conditions(one) if c.type == REPLICA_FAILURE), None)
    if failure is not None:
        conditions = _set(
            conditions,
            _condition(REPLICA_FAILURE, failure.status or "", failure.reason or "", failure.message or "", now),
        )
    else:
        conditions = [c for c in conditions if c.type != REPLICA_FAILURE]
    return replace(counted, conditions=conditions or None)


def with_created(
    deployment: apps_v1.Deployment, computed: apps_v1.DeploymentStatus, name: str, now: datetime
) -> apps_v1.DeploymentStatus:
    """Return a status that tells of a new ReplicaSet; the progress deadline counts from here."""
    if not _has_deadline(deployment):
        return computed
    fresh = _condition(PROGRESSING, "True", "NewReplicaSetCreated", f'Created new replica set "{name}"', now)
    return replace(computed, conditions=_set(list(computed.conditions or ()), fresh))


def with_failed_creation(deployment: apps_v1.Deployment, message: str, now: datetime) -> apps_v1.DeploymentStatus:
    """Return the status as it is, with word of a ReplicaSet that could not be created."""
    current = deployment.status or apps_v1.DeploymentStatus()
    fresh = _condition(PROGRESSING, "False", "ReplicaSetCreateError", message, now)
    return replace(current, conditions=_set(list(current.conditions or ()), fresh))


def is_complete(deployment: apps_v1.Deployment, status: apps_v1.DeploymentStatus) -> bool:
    """Tell whether every replica is updated and available, no old one is left, and the spec has been seen."""
    wanted = _replicas(deployment)
    generation = (deployment.metadata.generation or 0) if deployment.metadata else 0
    counts = {status.updatedReplicas or 0, status.replicas or 0, status.availableReplicas or 0}
    return counts == {wanted} and (status.observedGeneration or 0) >= generation


def deadline_in_s(deployment: apps_v1.Deployment, status: apps_v1.DeploymentStatus, now: datetime) -> float | None:
    """Return the seconds until the progress deadline should be looked at, or None if it does not matter."""
    condition = find(status.conditions, PROGRESSING)
    if condition is None or not _has_deadline(deployment) or _is_settled(condition) or is_complete(deployment, status):
        return None
    assert deployment.spec
    since = condition.lastUpdateTime or now
    return max(1.0, math.ceil((deployment.spec.progressDeadlineSeconds or 600) - (now - since).total_seconds()) + 1)


def find(conditions: Sequence[apps_v1.DeploymentCondition] | None, kind: str) -> apps_v1.DeploymentCondition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions or () if condition.type == kind), None)


def _count(observed: "Observed", new: apps_v1.ReplicaSet | None) -> apps_v1.DeploymentStatus:
    deployment = observed.deployment
    counts = [one.status for one in observed.replica_sets if one.status]
    available = sum(status.availableReplicas or 0 for status in counts)
    wanted = sum(_size(one) for one in observed.replica_sets)
    terminating = sum(status.terminatingReplicas or 0 for status in counts)
    previous = deployment.status
    return apps_v1.DeploymentStatus(
        observedGeneration=deployment.metadata.generation if deployment.metadata else None,
        replicas=sum(status.replicas for status in counts) or None,
        updatedReplicas=(new.status.replicas or None) if new and new.status else None,
        readyReplicas=sum(status.readyReplicas or 0 for status in counts) or None,
        availableReplicas=available or None,
        unavailableReplicas=max(0, wanted - available) or None,
        terminatingReplicas=terminating,
        collisionCount=previous.collisionCount if previous else None,
    )


def _size(one: apps_v1.ReplicaSet) -> int:
    return (one.spec.replicas or 0) if one.spec else 0


def _availability(
    deployment: apps_v1.Deployment, status: apps_v1.DeploymentStatus, now: datetime
) -> apps_v1.DeploymentCondition:
    assert deployment.spec
    replicas, unavailable = _replicas(deployment), 0
    strategy = deployment.spec.strategy
    if strategy and strategy.type == "RollingUpdate" and strategy.rollingUpdate and replicas:
        rolling = strategy.rollingUpdate
        unavailable = limits(replicas, rolling.maxSurge, rolling.maxUnavailable).unavailable
    if (status.availableReplicas or 0) >= replicas - unavailable:
        return _condition(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
    return _condition(
        AVAILABLE, "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now
    )


def _progress(
    deployment: apps_v1.Deployment,
    status: apps_v1.DeploymentStatus,
    conditions: list[apps_v1.DeploymentCondition],
    new: apps_v1.ReplicaSet | None,
    now: datetime,
) -> list[apps_v1.DeploymentCondition]:
    assert deployment.spec and deployment.metadata
    current = find(conditions, PROGRESSING)
    subject = (
        f'ReplicaSet "{new.metadata.name}"' if new and new.metadata else f'Deployment "{deployment.metadata.name}"'
    )
    if deployment.spec.paused:
        if current and current.reason == "DeploymentPaused":
            return conditions
        return _set(conditions, _condition(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused", now))
    if current and current.reason == "DeploymentPaused":
        return _set(conditions, _condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed", now))
    if current and current.reason == FINAL_REASON and (status.replicas or 0) == (status.updatedReplicas or 0):
        return conditions  # a finished rollout stays finished, whatever happens to its pods later
    if is_complete(deployment, status):
        text = f"{subject} has successfully progressed."
        return _set(conditions, _condition(PROGRESSING, "True", FINAL_REASON, text, now))
    if current is None and new is not None:
        reason, text = "NewReplicaSetCreated", f'Created new replica set "{new.metadata.name if new.metadata else ""}"'
        return _set(conditions, _condition(PROGRESSING, "True", reason, text, now))
    if _is_progressing(deployment, status):
        fresh = _condition(PROGRESSING, "True", "ReplicaSetUpdated", f"{subject} is progressing.", now)
        if current and current.status == "True":
            fresh = replace(fresh, lastTransitionTime=current.lastTransitionTime)
        return [*(c for c in conditions if c.type != PROGRESSING), fresh]
    if current and _is_overdue(deployment, current, now):
        text = f"{subject} has timed out progressing."
        return _set(conditions, _condition(PROGRESSING, "False", "ProgressDeadlineExceeded", text, now))
    return conditions


def _is_progressing(deployment: apps_v1.Deployment, status: apps_v1.DeploymentStatus) -> bool:
    before = deployment.status or apps_v1.DeploymentStatus()

    def old(counts: apps_v1.DeploymentStatus) -> int:
        return (counts.replicas or 0) - (counts.updatedReplicas or 0)

    return (
        (status.updatedReplicas or 0) > (before.updatedReplicas or 0)
        or old(status) < old(before)
        or (status.readyReplicas or 0) > (before.readyReplicas or 0)
        or (status.availableReplicas or 0) > (before.availableReplicas or 0)
    )


def _is_overdue(deployment: apps_v1.Deployment, current: apps_v1.DeploymentCondition, now: datetime) -> bool:
    if _is_settled(current):
        return False
    assert deployment.spec
    since = current.lastUpdateTime or now
    return (now - since).total_seconds() > (deployment.spec.progressDeadlineSeconds or 600)


def _is_settled(condition: apps_v1.DeploymentCondition) -> bool:
    return condition.reason in {FINAL_REASON, "ProgressDeadlineExceeded", "DeploymentPaused"}


def _has_deadline(deployment: apps_v1.Deployment) -> bool:
    assert deployment.spec
    deadline = deployment.spec.progressDeadlineSeconds
    return deadline is not None and deadline != NO_DEADLINE


def _replicas(deployment: apps_v1.Deployment) -> int:
    assert deployment.spec
    return 1 if deployment.spec.replicas is None else deployment.spec.replicas


def _conditions(one: apps_v1.ReplicaSet) -> Sequence[apps_v1.ReplicaSetCondition]:
    return (one.status.conditions or ()) if one.status else ()


def _condition(kind: str, status: str, reason: str, message: str, now: datetime) -> apps_v1.DeploymentCondition:
    stamp = now.replace(microsecond=0)
    return apps_v1.DeploymentCondition(
        type=kind, status=status, reason=reason, message=message, lastUpdateTime=stamp, lastTransitionTime=stamp
    )


def _set(
    conditions: list[apps_v1.DeploymentCondition], fresh: apps_v1.DeploymentCondition
) -> list[apps_v1.DeploymentCondition]:
    """Put `fresh` in place of its type's condition unless status and reason stand already; keep the transition time."""
    current = find(conditions, fresh.type or "")
    if current and (current.status, current.reason) == (fresh.status, fresh.reason):
        return conditions
    if current and current.status == fresh.status:
        fresh = replace(fresh, lastTransitionTime=current.lastTransitionTime)
    return [*(condition for condition in conditions if condition.type != fresh.type), fresh]
