"""VolumeRestrictions: some volumes take one pod, or one node's pods, at a time.

Upstream counterpart: pkg/scheduler/framework/plugins/volumerestrictions (v1.37).
"""

from collections.abc import Iterable

import numpy as np
from lightkube.models import core_v1

from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.events import Event, Kind
from knarr.scheduler.framework import Rejection
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.volumes import Storage, claims_of, concerns

IN_USE = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
)
NO_DISK = "node(s) had no available disk"


class VolumeRestrictions:
    """The plugin.

    Args:
        storage: Claims.
    """

    name = "VolumeRestrictions"
    events = frozenset({Kind.NODE_ADDED, Kind.POD_GONE, Kind.STORAGE})

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """Pods without such volumes can go anywhere."""
        return not claims_of(pod) and not any(map(_disk, pod.spec.volumes or ()))

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes while another pod has the claim, and those where another pod has the disk."""
        single = {
            claim.metadata.name
            for claim in self._storage.claims(pod)
            if claim.metadata and claim.spec and "ReadWriteOncePod" in (claim.spec.accessModes or ())
        }
        if single and any(
            other.namespace == pod.namespace and other.uid != pod.uid and not single.isdisjoint(claims_of(other))
            for other in cluster.everyone()
        ):
            yield Rejection(np.ones(len(rows), np.bool_), IN_USE)
        mine = [disk for volume in pod.spec.volumes or () if (disk := _disk(volume)) is not None]
        if mine:
            taken = [any(_collide(mine, other) for other in cluster.pods[row].values()) for row in rows]
            yield Rejection(np.array(taken, np.bool_), NO_DISK)

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A pod with claims or disks that went, a claim of its own that changed, or a node that came."""
        if event.kind is Kind.STORAGE:
            return isinstance(event.storage, core_v1.PersistentVolumeClaim) and concerns(pod, event.storage)
        if event.kind is Kind.POD_GONE and event.pod is not None:
            return bool(claims_of(event.pod)) or any(map(_disk, event.pod.spec.volumes or ()))
        return True


def _collide(mine: Iterable[tuple[tuple[str, ...], bool]], other: PodFacts) -> bool:
    theirs = [disk for volume in other.spec.volumes or () if (disk := _disk(volume)) is not None]
    return any(one[0] == two[0] and not (one[1] and two[1]) for one in mine for two in theirs)


def _disk(volume: core_v1.Volume) -> tuple[tuple[str, ...], bool] | None:
    """Return which disk a volume is, and whether it may be shared for reading."""
    if volume.gcePersistentDisk is not None:
        return ("gce", volume.gcePersistentDisk.pdName), bool(volume.gcePersistentDisk.readOnly)
    if volume.awsElasticBlockStore is not None:
        return ("aws", volume.awsElasticBlockStore.volumeID), False
    if volume.iscsi is not None:
        return ("iscsi", volume.iscsi.iqn), bool(volume.iscsi.readOnly)
    if volume.rbd is not None:
        monitors = ",".join(sorted(volume.rbd.monitors))
        return ("rbd", monitors, volume.rbd.pool or "", volume.rbd.image), bool(volume.rbd.readOnly)
    return None
