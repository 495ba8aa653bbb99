"""Claims and volumes: what the next step of each is.

What it observes: a claim, all volumes, the storage classes; or a volume and the claim that it refers to. A claim is bound when both refer
to each other and the claim says so (`bind-completed`); each step leaves a state from which anybody can go on.

Upstream counterpart: pkg/controller/volume/persistentvolume/pv_controller.go (v1.37).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lightkube.models import core_v1, storage_v1

from knarr.controllers import volumematching as matching

AVAILABLE, BOUND, RELEASED, FAILED = "Available", "Bound", "Released", "Failed"
PENDING, LOST = "Pending", "Lost"
BUILT_IN = "kubernetes.io/"
"""Provisioners of these names were part of upstream's own code once; there are none any more."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a claim is decided by.

    Attributes:
        volumes: All.
        classes: Storage classes by name.
        node: The one that the scheduler chose for the claim's pod, if it did.
        waiting_pods: Names of pods that use the claim and have no node.
    """

    volumes: Sequence[core_v1.PersistentVolume] = ()
    classes: dict[str, storage_v1.StorageClass] = field(default_factory=dict)
    node: core_v1.Node | None = None
    waiting_pods: Sequence[str] = ()


@dataclass(slots=True)
class ClaimPlan:
    """What becomes of a claim.

    Attributes:
        bind: The volume that is to be its own.
        phase: To be written if it differs; the volume's facts come with Bound.
        provisioner: Who is asked for a volume.
        default_class: The class that it gets since it names none.
        events: Type, reason, message.
    """

    bind: core_v1.PersistentVolume | None = None
    phase: str | None = None
    provisioner: str = ""
    default_class: str = ""
    events: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(slots=True)
class VolumePlan:
    """What becomes of a volume.

    Attributes:
        phase: To be written if it differs.
        message: Why it failed.
        unbind: It forgets its claim.
        wake: Its claim is to be looked at.
        events: Type, reason, message.
    """

    phase: str | None = None
    message: str = ""
    unbind: bool = False
    wake: bool = False
    events: list[tuple[str, str, str]] = field(default_factory=list)


def plan_claim(claim: core_v1.PersistentVolumeClaim, around: Surroundings) -> ClaimPlan:
    """Decide the next step of a claim."""
    assert claim.spec
    if matching.annotation(claim, matching.BIND_COMPLETED) is not None:
        return _plan_bound(claim, around)
    if claim.spec.volumeName:
        return _plan_named(claim, around)
    storage_class = around.classes.get(matching.class_of(claim))
    waits = storage_class is not None and storage_class.volumeBindingMode == matching.WAITS
    found = matching.find(claim, around.volumes, waits=waits, node=around.node)
    if found is not None:
        return ClaimPlan(bind=found, phase=BOUND)
    if not matching.has_class(claim):
        default = matching.default_class(around.classes.values())
        if default is not None and default.metadata:
            return ClaimPlan(default_class=default.metadata.name or "")
    step = ClaimPlan(phase=PENDING)
    if waits and not matching.annotation(claim, matching.SELECTED_NODE):
        step.events.append(_waiting(around.waiting_pods))
    elif matching.class_of(claim):
        _provision(matching.class_of(claim), storage_class, step)
    else:
        text = "no persistent volumes available for this claim and no storage class is set"
        step.events.append(("Normal", "FailedBinding", text))
    return step


def plan_volume(volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim | None) -> VolumePlan:
    """Decide the next step of a volume.

    Args:
        volume: The volume.
        claim: The one that `claimRef` names, if it exists.
    """
    assert volume.spec and volume.metadata
    reference = volume.spec.claimRef
    if reference is None or not reference.uid:
        return VolumePlan(phase=AVAILABLE, wake=reference is not None and claim is not None)
    if claim is not None and claim.metadata and claim.metadata.uid != reference.uid:
        claim = None
    if claim is None:
        return _plan_released(volume)
    assert claim.spec
    if not claim.spec.volumeName:
        step = VolumePlan(wake=True)
        if (claim.spec.volumeMode or "Filesystem") != (volume.spec.volumeMode or "Filesystem"):
            name = f"{reference.namespace}/{reference.name}"
            text = f'Cannot bind PersistentVolume to requested PersistentVolumeClaim "{name}" due to incompatible volumeMode.'
            step.events.append(("Warning", "VolumeMismatch", text))
        return step
    if claim.spec.volumeName == volume.metadata.name:
        return VolumePlan(phase=BOUND)
    is_provisioned = matching.annotation(volume, matching.PROVISIONED_BY) is not None
    if is_provisioned and volume.spec.persistentVolumeReclaimPolicy == "Delete":
        return _plan_released(volume)  # made for a claim that got another one meanwhile
    return VolumePlan(phase=AVAILABLE, unbind=True)


def _plan_bound(claim: core_v1.PersistentVolumeClaim, around: Surroundings) -> ClaimPlan:
    assert claim.spec and claim.metadata
    if not claim.spec.volumeName:
        text = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        return ClaimPlan(phase=LOST, events=[("Warning", "ClaimLost", text)])
    volume = _named(around.volumes, claim.spec.volumeName)
    if volume is None:
        text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        return ClaimPlan(phase=LOST, events=[("Warning", "ClaimLost", text)])
    assert volume.spec
    reference = volume.spec.claimRef
    if reference is None or reference.uid == claim.metadata.uid:
        return ClaimPlan(bind=volume, phase=BOUND)
    text = "Two claims are bound to the same volume, this one is bound incorrectly"
    return ClaimPlan(phase=LOST, events=[("Warning", "ClaimMisbound", text)])


def _plan_named(claim: core_v1.PersistentVolumeClaim, around: Surroundings) -> ClaimPlan:
    """Plan for a claim that asks for one volume by name."""
    assert claim.spec
    name = claim.spec.volumeName or ""
    volume = _named(around.volumes, name)
    if volume is None:
        return ClaimPlan(phase=PENDING)
    assert volume.spec
    if volume.spec.claimRef is None:
        reason = matching.why_not(volume, claim)
        if reason is None:
            return ClaimPlan(bind=volume, phase=BOUND)
        text = f'Cannot bind to requested volume "{name}": {reason}'
        return ClaimPlan(phase=PENDING, events=[("Warning", "VolumeMismatch", text)])
    if matching.is_bound_to(volume, claim):
        return ClaimPlan(bind=volume, phase=BOUND)
    text = f'volume "{name}" already bound to a different claim.'
    return ClaimPlan(phase=PENDING, events=[("Warning", "FailedBinding", text)])


def _plan_released(volume: core_v1.PersistentVolume) -> VolumePlan:
    assert volume.spec and volume.metadata
    phase = (volume.status.phase if volume.status else None) or ""
    if phase == FAILED:
        return VolumePlan()
    policy = volume.spec.persistentVolumeReclaimPolicy or "Retain"
    if phase != RELEASED or policy == "Retain":
        return VolumePlan(phase=RELEASED)
    name = volume.metadata.name
    if policy == "Recycle":
        text = "No recycler plugin found for the volume!"
        return VolumePlan(phase=FAILED, message=text, events=[("Warning", "VolumeFailedRecycle", text)])
    if matching.annotation(volume, matching.PROVISIONED_BY) is not None or volume.spec.csi is not None:
        return VolumePlan(phase=RELEASED)  # whoever made it takes it away
    text = f'error getting deleter volume plugin for volume "{name}": no deletable volume plugin matched'
    return VolumePlan(phase=FAILED, message=text, events=[("Warning", "VolumeFailedDelete", text)])


def _provision(name: str, storage_class: storage_v1.StorageClass | None, step: ClaimPlan) -> None:
    if storage_class is None:
        text = f'storageclass.storage.k8s.io "{name}" not found'
        step.events.append(("Warning", "ProvisioningFailed", text))
        return
    provisioner = storage_class.provisioner
    if provisioner.startswith(BUILT_IN):
        text = f"no volume plugin matched name: {provisioner}"
        step.events.append(("Warning", "ProvisioningFailed", text))
        return
    text = (
        f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the "
        "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
        "correctly registered."
    )
    step.provisioner = provisioner
    step.events.append(("Normal", "ExternalProvisioning", text))


def _waiting(pods: Sequence[str]) -> tuple[str, str, str]:
    if not pods:
        return "Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding"
    noun = "pod" if len(pods) == 1 else "pods"
    return "Normal", "WaitForPodScheduled", f"waiting for {noun} {','.join(pods)} to be scheduled"


def _named(volumes: Sequence[core_v1.PersistentVolume], name: str) -> core_v1.PersistentVolume | None:
    return next((one for one in volumes if one.metadata and one.metadata.name == name), None)
