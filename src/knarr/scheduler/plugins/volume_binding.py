"""VolumeBinding: a pod runs only where its claims' volumes are, or can be made.

Claims whose class waits for the first consumer are told the chosen node before the pod is bound; who makes volumes goes by that.

Upstream counterpart: pkg/scheduler/framework/plugins/volumebinding (v1.37).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from lightkube.models import core_v1, storage_v1

from knarr.scheduler import nodeselectors
from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.events import NODE_EVENTS, Event, Kind
from knarr.scheduler.framework import Rejection
from knarr.scheduler.podfacts import PodFacts

SELECTED_NODE = "volume.kubernetes.io/selected-node"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
WAITS = "WaitForFirstConsumer"


@dataclass(frozen=True, slots=True)
class Storage:
    """How to look things up.

    Attributes:
        claim: By namespace and name.
        volume: By name.
        storage_class: By name.
    """

    claim: Callable[[str, str], core_v1.PersistentVolumeClaim | None]
    volume: Callable[[str], core_v1.PersistentVolume | None]
    storage_class: Callable[[str], storage_v1.StorageClass | None]


class VolumeBinding:
    """The plugin.

    Args:
        storage: Claims, volumes and classes.
    """

    name = "VolumeBinding"
    events = NODE_EVENTS | {Kind.STORAGE}

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out all nodes while a claim is missing or unbound, else those that a volume cannot be reached from."""
        names = claims_of(pod)
        if not names:
            return
        everywhere = np.ones(len(rows), np.bool_)
        claims = []
        for name in names:
            claim = self._storage.claim(pod.namespace, name)
            if claim is None:
                yield Rejection(everywhere, f'persistentvolumeclaim "{name}" not found', is_final=True, is_whole=True)
                return
            if claim.metadata and claim.metadata.deletionTimestamp:
                reason = f'persistentvolumeclaim "{name}" is being deleted'
                yield Rejection(everywhere, reason, is_final=True, is_whole=True)
                return
            claims.append(claim)
        if any(not is_bound(claim) and not self._waits(claim) for claim in claims):
            reason = "pod has unbound immediate PersistentVolumeClaims"
            yield Rejection(everywhere, reason, is_final=True, is_whole=True)
            return
        for claim in claims:
            if is_bound(claim):
                yield from self._reach(claim, cluster, rows)

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A claim, volume or class that changed, or a node that came or has other labels."""
        return event.kind is Kind.STORAGE or event.changes_labels

    def waiting(self, pod: PodFacts) -> Sequence[core_v1.PersistentVolumeClaim]:
        """Return the claims that have to be bound before the pod is."""
        found = [self._storage.claim(pod.namespace, name) for name in claims_of(pod)]
        return [claim for claim in found if claim is not None and not is_bound(claim)]

    def _reach(self, claim: core_v1.PersistentVolumeClaim, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        name = (claim.spec.volumeName or "") if claim.spec else ""
        volume = self._storage.volume(name)
        if volume is None:
            reason = f'node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s): persistentvolume "{name}" not found'
            yield Rejection(np.ones(len(rows), np.bool_), reason, is_final=True)
            return
        affinity = volume.spec.nodeAffinity.required if volume.spec and volume.spec.nodeAffinity else None
        if affinity is not None:
            mask = ~nodeselectors.matches_any(cluster, rows, affinity.nodeSelectorTerms)
            yield Rejection(mask, "node(s) didn't match PersistentVolume's node affinity", is_final=True)

    def _waits(self, claim: core_v1.PersistentVolumeClaim) -> bool:
        name = (claim.spec.storageClassName or "") if claim.spec else ""
        found = self._storage.storage_class(name)
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


def is_bound(claim: core_v1.PersistentVolumeClaim) -> bool:
    """Tell whether a claim has its volume for good."""
    annotations = (claim.metadata.annotations or {}) if claim.metadata else {}
    return bool(claim.spec and claim.spec.volumeName and BIND_COMPLETED in annotations)
