"""StatefulSets: pods with names, storage and an order of their own.

What it observes: the StatefulSet, the pods that it controls and its ControllerRevisions. The plan takes one step: with OrderedReady at most
one pod is touched at a time, each only when all before it are ready; with Parallel all at once. A pod's claims are made before it.

Upstream counterpart: pkg/controller/statefulset (stateful_set_control.go, stateful_set_utils.go).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lightkube.models import apps_v1, core_v1, meta_v1
from msgspec.structs import replace

from knarr.api import intstr
from knarr.control import owners
from knarr.controllers import history
from knarr.controllers import pods as podinfo

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
REVISION_LABEL = history.REVISION_LABEL
_ORDINAL = re.compile(r"(.*)-([0-9]+)")


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a plan depends on.

    Attributes:
        stateful_set: As last seen.
        pods: Those it controls.
        current: The revision that pods not yet updated have.
        update: The revision of the present template.
        now: The wall time.
        claims: Of the namespace, by name.
    """

    stateful_set: apps_v1.StatefulSet
    pods: Sequence[core_v1.Pod]
    current: apps_v1.ControllerRevision
    update: apps_v1.ControllerRevision
    now: datetime
    claims: Mapping[str, core_v1.PersistentVolumeClaim] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Create:
    """Create the pod of an ordinal, its claims first."""

    pod: core_v1.Pod
    ordinal: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a pod; `recreates` if it goes only because it has finished."""

    pod: core_v1.Pod
    recreates: bool = False


@dataclass(frozen=True, slots=True)
class Restore:
    """Give a pod back the labels by which it is known."""

    pod: core_v1.Pod
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Claim:
    """Create the claims that a pod waits for and that have gone missing."""

    ordinal: int


Action = Create | Delete | Restore | Claim


def plan(observed: Observed) -> list[Action]:
    """Decide the next step: towards the right number of pods, and then towards the right revision."""
    stateful_set = observed.stateful_set
    assert stateful_set.spec
    if stateful_set.metadata is not None and stateful_set.metadata.deletionTimestamp is not None:
        return []
    monotonic = stateful_set.spec.podManagementPolicy != "Parallel"
    by_ordinal = {ordinal_of(pod): pod for pod in observed.pods}
    actions: list[Action] = []
    for ordinal in ordinals(stateful_set):
        step, waits = _plan_replica(observed, ordinal, by_ordinal.get(ordinal))
        actions += step
        if monotonic and (step or waits):
            return actions
    condemned = [
        by_ordinal[ordinal] for ordinal in sorted(by_ordinal.keys() - set(ordinals(stateful_set)), reverse=True)
    ]
    step, waits = _plan_condemned(observed, condemned, monotonic=monotonic)
    actions += step
    if actions or (waits and monotonic):
        return actions
    return _plan_update(observed, by_ordinal)


def _plan_replica(observed: Observed, ordinal: int, pod: core_v1.Pod | None) -> tuple[list[Action], bool]:
    if pod is None:
        if any(is_stale(claim, None) for claim in _claims_of(observed, ordinal)):
            return [], True  # the claim is on its way out: a pod would hold it
        return [Create(pod_for(observed, ordinal), ordinal)], False
    if _is_going(pod):
        return [], True
    if podinfo.phase(pod) in {"Failed", "Succeeded"}:
        return [Delete(pod, recreates=True)], False
    actions: list[Action] = []
    missing = identity(observed.stateful_set, ordinal).items() - ((pod.metadata and pod.metadata.labels) or {}).items()
    if missing:
        actions.append(Restore(pod, dict(missing)))
    assert observed.stateful_set.spec
    if podinfo.phase(pod) == "Pending":
        there = len(_claims_of(observed, ordinal))
        if there < len(observed.stateful_set.spec.volumeClaimTemplates or ()):
            actions.append(Claim(ordinal))
    return actions, not _is_available(observed, pod)


def _claims_of(observed: Observed, ordinal: int) -> list[core_v1.PersistentVolumeClaim]:
    names = (_meta(one).name or "" for one in claims_for(observed.stateful_set, ordinal))
    return [observed.claims[name] for name in names if name in observed.claims]


def is_stale(claim: core_v1.PersistentVolumeClaim, pod: core_v1.Pod | None) -> bool:
    """Tell whether a claim is going to be deleted together with an earlier pod of its name.

    Args:
        claim: The claim.
        pod: The pod that uses it now, if there is one.
    """
    meta = _meta(claim)
    if meta.deletionTimestamp is not None:
        return True
    uid = pod.metadata.uid if pod is not None and pod.metadata else None
    return any(one.kind == "Pod" and one.uid != uid for one in meta.ownerReferences or ())


def has_claim(stateful_set: apps_v1.StatefulSet, name: str) -> bool:
    """Tell whether a claim's name is one of this set's."""
    assert stateful_set.spec and stateful_set.metadata
    templates = stateful_set.spec.volumeClaimTemplates or ()
    match = _ORDINAL.fullmatch(name)
    return match is not None and any(match[1] == f"{_meta(one).name}-{stateful_set.metadata.name}" for one in templates)


def identity(stateful_set: apps_v1.StatefulSet, ordinal: int) -> dict[str, str]:
    """Return the labels by which the pod of an ordinal is known."""
    name = (stateful_set.metadata.name or "") if stateful_set.metadata else ""
    return {POD_NAME_LABEL: f"{name}-{ordinal}", POD_INDEX_LABEL: str(ordinal)}


def claim_owners(
    stateful_set: apps_v1.StatefulSet,
    claim: core_v1.PersistentVolumeClaim,
    *,
    condemned: core_v1.Pod | None,
) -> list[meta_v1.OwnerReference]:
    """Return who should own a claim, by the retention policy: the set, the pod that is scaled away, or neither of them.

    Args:
        stateful_set: The set.
        claim: As it is; owners that have nothing to do with the set stay.
        condemned: The claim's pod, if its ordinal is beyond the set's.
    """
    assert stateful_set.spec and stateful_set.metadata
    policy = stateful_set.spec.persistentVolumeClaimRetentionPolicy
    when_deleted = (policy.whenDeleted if policy else None) or "Retain"
    when_scaled = (policy.whenScaled if policy else None) or "Retain"
    current = list(_meta(claim).ownerReferences or ())
    others = [one for one in current if one.kind not in ("StatefulSet", "Pod")]
    if any(one.controller for one in others):
        return current
    wanted: apps_v1.StatefulSet | core_v1.Pod | None = None
    if condemned is not None and when_scaled == "Delete":
        wanted = condemned
    elif when_deleted == "Delete":
        wanted = stateful_set
    if wanted is None or wanted.metadata is None:
        return others
    standing = next((one for one in current if one.uid == wanted.metadata.uid), None)
    return [*others, standing or owners.controller_reference(wanted)]


def _plan_condemned(
    observed: Observed, condemned: Sequence[core_v1.Pod], *, monotonic: bool
) -> tuple[list[Action], bool]:
    """Shrink from the highest ordinal; in order, an unhealthy pod is only passed by if it is itself the one to go."""
    actions: list[Action] = []
    unhealthy = [pod for pod in observed.pods if not podinfo.is_ready(pod) or _is_going(pod)]
    first_unhealthy = min(unhealthy, key=ordinal_of, default=None)
    for pod in condemned:
        if _is_going(pod):
            if monotonic:
                return actions, True
            continue
        if monotonic and not _is_available(observed, pod) and pod is not first_unhealthy:
            return actions, True
        actions.append(Delete(pod))
        if monotonic:
            return actions, True
    return actions, bool(condemned)


def _plan_update(observed: Observed, by_ordinal: Mapping[int, core_v1.Pod]) -> list[Action]:
    stateful_set = observed.stateful_set
    assert stateful_set.spec
    strategy = stateful_set.spec.updateStrategy
    if strategy is not None and strategy.type == "OnDelete":
        return []
    rolling = strategy.rollingUpdate if strategy else None
    partition = (rolling.partition or 0) if rolling else 0
    limit = 1
    if rolling is not None and rolling.maxUnavailable is not None:
        limit = max(1, intstr.scale(rolling.maxUnavailable, _replicas(stateful_set), round_up=True))
    start = ordinals(stateful_set).start
    actions: list[Action] = []
    unavailable = 0
    for ordinal in reversed(ordinals(stateful_set)):
        pod = by_ordinal[ordinal]
        is_old = revision_of(pod) != _name(observed.update)
        if ordinal >= start + partition and is_old and not _is_going(pod):
            if not _is_available(observed, pod):
                actions.append(Delete(pod))  # it is of no use as it is
                unavailable += 1
            elif unavailable < limit:
                actions.append(Delete(pod))
                unavailable += 1
        elif not _is_available(observed, pod):
            unavailable += 1
        if unavailable >= limit:
            break
    return actions


def pod_for(observed: Observed, ordinal: int) -> core_v1.Pod:
    """Build the pod of an ordinal, of the current revision if the rollout has not come to it yet."""
    stateful_set = observed.stateful_set
    assert stateful_set.spec and stateful_set.metadata
    is_current = _keeps_current(observed, ordinal)
    revision = observed.current if is_current else observed.update
    template = history.template_of(revision) if is_current else stateful_set.spec.template
    assert template is not None
    name = f"{stateful_set.metadata.name}-{ordinal}"
    pod = podinfo.from_template(
        template,
        namespace=stateful_set.metadata.namespace or "",
        generate_name="",
        owner=owners.controller_reference(stateful_set),
    )
    assert pod.metadata and pod.spec
    labels = {**(pod.metadata.labels or {}), **identity(stateful_set, ordinal)}
    labels[REVISION_LABEL] = _name(revision)
    meta = replace(pod.metadata, name=name, generateName=f"{stateful_set.metadata.name}-", labels=labels)
    claims = {
        _meta(one).name or "": f"{_meta(one).name}-{name}" for one in stateful_set.spec.volumeClaimTemplates or ()
    }
    volumes = [volume for volume in pod.spec.volumes or () if volume.name not in claims]
    volumes += [
        core_v1.Volume(
            name=volume,
            persistentVolumeClaim=core_v1.PersistentVolumeClaimVolumeSource(claimName=claim, readOnly=False),
        )
        for volume, claim in claims.items()
    ]
    spec = replace(
        pod.spec, hostname=name, subdomain=stateful_set.spec.serviceName or pod.spec.subdomain, volumes=volumes or None
    )
    return replace(pod, metadata=meta, spec=spec)


def claims_for(stateful_set: apps_v1.StatefulSet, ordinal: int) -> list[core_v1.PersistentVolumeClaim]:
    """Build the claims of an ordinal."""
    assert stateful_set.spec and stateful_set.metadata
    assert stateful_set.spec.selector
    found = []
    for template in stateful_set.spec.volumeClaimTemplates or ():
        meta = _meta(template)
        name = f"{meta.name}-{stateful_set.metadata.name}-{ordinal}"
        labels = {**(meta.labels or {}), **(stateful_set.spec.selector.matchLabels or {})}
        fresh = replace(meta, name=name, namespace=stateful_set.metadata.namespace, labels=labels or None)
        found.append(replace(template, metadata=fresh, status=None))
    return found


def compute_status(observed: Observed, collisions: int | None) -> apps_v1.StatefulSetStatus:
    """Return the status that the StatefulSet should have; a finished rollout makes its revision the current one."""
    stateful_set = observed.stateful_set
    assert stateful_set.metadata and stateful_set.spec
    standing = [pod for pod in observed.pods if not _is_going(pod)]
    ready = [pod for pod in observed.pods if podinfo.phase(pod) == "Running" and podinfo.is_ready(pod)]
    current_name, update_name = _name(observed.current), _name(observed.update)
    current = [pod for pod in standing if revision_of(pod) == current_name]
    updated = [pod for pod in standing if revision_of(pod) == update_name]
    replicas = len(observed.pods)
    strategy = stateful_set.spec.updateStrategy
    rolls = strategy is None or strategy.type != "OnDelete"
    if rolls and len(updated) == replicas == len(ready) and replicas == _replicas(stateful_set):
        current_name, current = update_name, updated
    return apps_v1.StatefulSetStatus(
        replicas=replicas,
        readyReplicas=len(ready) or None,
        availableReplicas=sum(_is_available(observed, pod) for pod in ready),
        currentReplicas=len(current) or None,
        updatedReplicas=len(updated) or None,
        currentRevision=current_name,
        updateRevision=update_name,
        observedGeneration=stateful_set.metadata.generation,
        collisionCount=collisions or 0,
    )


def ordinals(stateful_set: apps_v1.StatefulSet) -> range:
    """Return the ordinals that there should be."""
    assert stateful_set.spec
    start = (stateful_set.spec.ordinals.start or 0) if stateful_set.spec.ordinals else 0
    return range(start, start + _replicas(stateful_set))


def ordinal_of(pod: core_v1.Pod) -> int:
    """Return the ordinal in a pod's name, -1 for none."""
    match = _ORDINAL.fullmatch((pod.metadata.name or "") if pod.metadata else "")
    return int(match[2]) if match else -1


def is_member(stateful_set: apps_v1.StatefulSet, pod: core_v1.Pod) -> bool:
    """Tell whether a pod's name is one of this StatefulSet's."""
    match = _ORDINAL.fullmatch((pod.metadata.name or "") if pod.metadata else "")
    return match is not None and match[1] == (stateful_set.metadata.name if stateful_set.metadata else "")


def revision_of(pod: core_v1.Pod) -> str:
    """Return the name of the revision that a pod was made of."""
    return ((pod.metadata.labels or {}).get(REVISION_LABEL) or "") if pod.metadata else ""


def _keeps_current(observed: Observed, ordinal: int) -> bool:
    stateful_set = observed.stateful_set
    assert stateful_set.spec
    if _name(observed.current) == _name(observed.update):
        return False
    strategy = stateful_set.spec.updateStrategy
    if strategy is not None and strategy.type == "OnDelete":
        return False
    start = ordinals(stateful_set).start
    partition = (strategy.rollingUpdate.partition or 0) if strategy and strategy.rollingUpdate else 0
    return ordinal < start + partition


def _replicas(stateful_set: apps_v1.StatefulSet) -> int:
    assert stateful_set.spec
    return 1 if stateful_set.spec.replicas is None else stateful_set.spec.replicas


def _is_available(observed: Observed, pod: core_v1.Pod) -> bool:
    assert observed.stateful_set.spec
    min_ready_s = observed.stateful_set.spec.minReadySeconds or 0
    return podinfo.phase(pod) == "Running" and podinfo.is_available(pod, min_ready_s, observed.now)


def _is_going(pod: core_v1.Pod) -> bool:
    return pod.metadata is not None and pod.metadata.deletionTimestamp is not None


def _name(revision: apps_v1.ControllerRevision) -> str:
    return (revision.metadata.name or "") if revision.metadata else ""


def _meta(claim: core_v1.PersistentVolumeClaim) -> meta_v1.ObjectMeta:
    return claim.metadata or meta_v1.ObjectMeta()
