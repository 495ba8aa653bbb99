"""Which volume suits which claim.

Upstream counterpart: k8s.io/component-helpers/storage/volume (pv_helpers.go) and checkVolumeSatisfyClaim of the volume controller (v1.37).
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from lightkube.models import core_v1, storage_v1

from knarr.api import quantity
from knarr.control import selectors
from knarr.controllers import nodes

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
OLD_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
WAITS = "WaitForFirstConsumer"


def annotation(obj: object, key: str) -> str | None:
    """Return an annotation of an object, or None."""
    meta = getattr(obj, "metadata", None)
    found: str | None = (meta.annotations or {}).get(key) if meta is not None else None
    return found


def class_of(obj: core_v1.PersistentVolumeClaim | core_v1.PersistentVolume) -> str:
    """Return the storage class of a claim or volume; empty for none."""
    return annotation(obj, OLD_CLASS) or (obj.spec.storageClassName if obj.spec else None) or ""


def has_class(claim: core_v1.PersistentVolumeClaim) -> bool:
    """Tell whether a claim says which class it wants, be it none."""
    return annotation(claim, OLD_CLASS) is not None or bool(claim.spec and claim.spec.storageClassName is not None)


def is_bound_to(volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim) -> bool:
    """Tell whether a volume refers to a claim, be it only by name."""
    reference = volume.spec.claimRef if volume.spec else None
    meta = claim.metadata
    if reference is None or meta is None:
        return False
    return (reference.name, reference.namespace) == (meta.name, meta.namespace) and reference.uid in (
        None,
        "",
        meta.uid,
    )


def why_not(volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim) -> str | None:
    """Return why the volume that a claim names cannot be its own; None if it can."""
    if _size(volume) < _requested(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if _attributes(volume) != _attributes(claim):
        return "VolumeAttributesClassName does not match"
    if _mode(volume) != _mode(claim):
        return "incompatible volumeMode"
    if not _has_modes(volume, claim):
        return "incompatible accessMode"
    return None


def find(
    claim: core_v1.PersistentVolumeClaim,
    volumes: Iterable[core_v1.PersistentVolume],
    *,
    waits: bool,
    node: core_v1.Node | None = None,
) -> core_v1.PersistentVolume | None:
    """Return the volume for a claim: the one that is meant for it, else the smallest that suits.

    Args:
        claim: Not bound yet.
        volumes: All.
        waits: Its class waits for a pod: without a node only a volume that is meant for it will do.
        node: Where the pod is going to run.
    """
    suitable: list[core_v1.PersistentVolume] = []
    for volume in volumes:
        assert volume.spec and volume.metadata
        if volume.spec.claimRef is not None and not is_bound_to(volume, claim):
            continue
        if volume.metadata.deletionTimestamp is not None or not _is_like(volume, claim):
            continue
        if is_bound_to(volume, claim):
            return volume
        if (waits and node is None) or (volume.status.phase if volume.status else None) != "Available":
            continue
        if class_of(volume) == class_of(claim) and _is_selected(volume, claim) and _reaches(volume, node):
            suitable.append(volume)
    return min(suitable, key=lambda one: (_size(one), (one.metadata.name or "") if one.metadata else ""), default=None)


def default_class(classes: Iterable[storage_v1.StorageClass]) -> storage_v1.StorageClass | None:
    """Return the default storage class, the newest if there are several."""
    marked = [one for one in classes if any(annotation(one, key) == "true" for key in DEFAULT_CLASS)]
    return max(marked, key=_created, default=None)


def _created(one: storage_v1.StorageClass) -> tuple[datetime, str]:
    assert one.metadata
    return one.metadata.creationTimestamp or datetime.min.replace(tzinfo=UTC), one.metadata.name or ""


def _is_like(volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim) -> bool:
    return (
        _size(volume) >= _requested(claim)
        and _mode(volume) == _mode(claim)
        and _has_modes(volume, claim)
        and _attributes(volume) == _attributes(claim)
    )


def _is_selected(volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim) -> bool:
    assert claim.spec and volume.metadata
    return claim.spec.selector is None or selectors.matches(claim.spec.selector, volume.metadata.labels)


def _reaches(volume: core_v1.PersistentVolume, node: core_v1.Node | None) -> bool:
    assert volume.spec
    required = volume.spec.nodeAffinity.required if volume.spec.nodeAffinity else None
    return node is None or required is None or nodes.matches(required, node)


def _has_modes(volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim) -> bool:
    assert volume.spec and claim.spec
    return set(claim.spec.accessModes or ()) <= set(volume.spec.accessModes or ())


def _mode(obj: core_v1.PersistentVolumeClaim | core_v1.PersistentVolume) -> str:
    assert obj.spec
    return obj.spec.volumeMode or "Filesystem"


def _attributes(obj: core_v1.PersistentVolumeClaim | core_v1.PersistentVolume) -> str:
    assert obj.spec
    return obj.spec.volumeAttributesClassName or ""


def _size(volume: core_v1.PersistentVolume) -> int:
    assert volume.spec
    return quantity.parse(str((volume.spec.capacity or {}).get("storage", "0"))).nanos


def _requested(claim: core_v1.PersistentVolumeClaim) -> int:
    assert claim.spec
    requests = (claim.spec.resources.requests or {}) if claim.spec.resources else {}
    return quantity.parse(str(requests.get("storage", "0"))).nanos
