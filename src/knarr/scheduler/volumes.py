"""Claims, volumes and classes as scheduling sees them: which claims a pod has, what they are bound to, which volumes would suit them.

Upstream counterpart: k8s.io/component-helpers/storage/volume and pkg/scheduler/framework/plugins/volumebinding/binder.go (v1.37).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightkube.models import core_v1, storage_v1

from knarr.control import selectors
from knarr.scheduler import podfacts
from knarr.scheduler.podfacts import PodFacts

SELECTED_NODE = "volume.kubernetes.io/selected-node"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
WAITS = "WaitForFirstConsumer"

Claim = core_v1.PersistentVolumeClaim
Volume = core_v1.PersistentVolume


@dataclass(frozen=True, slots=True)
class Storage:
    """How to look things up.

    Attributes:
        claim: By namespace and name.
        volume: By name.
        storage_class: By name.
        volumes: All of a class.
        capacities: All that storage systems tell of what is free.
        driver: By name.
        csi_node: By the name of the node.
        attachments: All.
    """

    claim: Callable[[str, str], Claim | None]
    volume: Callable[[str], Volume | None]
    storage_class: Callable[[str], storage_v1.StorageClass | None]
    volumes: Callable[[str], Sequence[Volume]] = field(default=lambda name: ())
    capacities: Callable[[], Sequence[storage_v1.CSIStorageCapacity]] = field(default=lambda: ())
    driver: Callable[[str], storage_v1.CSIDriver | None] = field(default=lambda name: None)
    csi_node: Callable[[str], storage_v1.CSINode | None] = field(default=lambda name: None)
    attachments: Callable[[], Sequence[storage_v1.VolumeAttachment]] = field(default=lambda: ())

    def claims(self, pod: PodFacts) -> Iterator[Claim]:
        """Yield the claims of a pod that exist."""
        for name in claims_of(pod):
            claim = self.claim(pod.namespace, name)
            if claim is not None:
                yield claim

    def bound(self, pod: PodFacts) -> Iterator[Volume]:
        """Yield the volumes that the pod's claims are bound to, as far as they exist."""
        for claim in self.claims(pod):
            volume = self.volume((claim.spec.volumeName or "") if claim.spec else "")
            if volume is not None:
                yield volume

    def waits(self, claim: Claim) -> bool:
        """Tell whether a claim is bound only when a pod that uses it has a node."""
        found = self.storage_class(class_of(claim))
        return found is not None and found.volumeBindingMode == WAITS


def claims_of(pod: PodFacts) -> list[str]:
    """Return the names of a pod's claims, those made for its ephemeral volumes included."""
    names = []
    for volume in pod.spec.volumes or ():
        if volume.persistentVolumeClaim is not None:
            names.append(volume.persistentVolumeClaim.claimName)
        elif volume.ephemeral is not None:
            names.append(f"{pod.name}-{volume.name}")
    return names


def concerns(pod: PodFacts, changed: Any) -> bool:
    """Tell whether something of storage that changed may matter to a pod: of claims only its own do."""
    if not isinstance(changed, Claim) or changed.metadata is None:
        return True
    return changed.metadata.namespace == pod.namespace and changed.metadata.name in claims_of(pod)


def is_bound(claim: Claim) -> bool:
    """Tell whether a claim has its volume for good."""
    return bool(claim.spec and claim.spec.volumeName and BIND_COMPLETED in annotations(claim))


def annotations(obj: Claim | Volume) -> dict[str, str]:
    """Return the annotations of an object."""
    return (obj.metadata.annotations or {}) if obj.metadata else {}


def class_of(obj: Claim | Volume) -> str:
    """Return the storage class of a claim or volume; empty for none."""
    return annotations(obj).get(OLD_CLASS) or (obj.spec.storageClassName if obj.spec else None) or ""


def size(volume: Volume) -> int:
    """Return how large a volume is, in bytes."""
    return podfacts.amount("storage", ((volume.spec.capacity or {}) if volume.spec else {}).get("storage", "0"))


def wanted(claim: Claim) -> int:
    """Return how much a claim asks for, in bytes."""
    requests = claim.spec.resources.requests if claim.spec and claim.spec.resources else None
    return podfacts.amount("storage", (requests or {}).get("storage", "0"))


def refers_to(volume: Volume, claim: Claim) -> bool:
    """Tell whether a volume is meant for a claim, be it only by name."""
    reference = volume.spec.claimRef if volume.spec else None
    if reference is None or claim.metadata is None:
        return False
    is_named = (reference.namespace, reference.name) == (claim.metadata.namespace, claim.metadata.name)
    return is_named and (not reference.uid or reference.uid == claim.metadata.uid)


def suits(volume: Volume, claim: Claim) -> bool:
    """Tell whether a volume could be a claim's, wherever it may be reached from."""
    assert volume.spec and volume.metadata and claim.spec
    if volume.metadata.deletionTimestamp is not None or size(volume) < wanted(claim):
        return False
    if (volume.spec.volumeMode or "Filesystem") != (claim.spec.volumeMode or "Filesystem"):
        return False
    if (volume.spec.volumeAttributesClassName or "") != (claim.spec.volumeAttributesClassName or ""):
        return False
    if not {*(claim.spec.accessModes or ())} <= {*(volume.spec.accessModes or ())}:
        return False
    if volume.spec.claimRef is not None:
        return refers_to(volume, claim)
    if (volume.status.phase if volume.status else None) != "Available" or class_of(volume) != class_of(claim):
        return False
    return claim.spec.selector is None or selectors.matches(claim.spec.selector, volume.metadata.labels)
