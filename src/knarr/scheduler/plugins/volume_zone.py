"""VolumeZone: a bound volume that names zones or regions by label is reached only from there.

Upstream counterpart: pkg/scheduler/framework/plugins/volumezone (v1.37).
"""

from collections.abc import Iterable

import numpy as np
from lightkube.models import core_v1, storage_v1

from knarr.scheduler.cluster import ABSENT, Cluster, Rows
from knarr.scheduler.events import NODE_EVENTS, Event, Kind
from knarr.scheduler.framework import Rejection
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.volumes import Storage, claims_of, concerns

NEWER = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}
LABELS = (*NEWER, *NEWER.values())
RELEVANT = (core_v1.PersistentVolumeClaim, core_v1.PersistentVolume, storage_v1.StorageClass)
"""What of storage may change where a volume is reached from."""


class VolumeZone:
    """The plugin.

    Args:
        storage: Claims and volumes.
    """

    name = "VolumeZone"
    events = NODE_EVENTS | {Kind.STORAGE}

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """Pods without claims can go anywhere."""
        return not claims_of(pod)

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes in other zones and regions; nodes that name none are taken to be everywhere."""
        wanted = [
            (key, value.split("__"))
            for volume in self._storage.bound(pod)
            for key, value in ((volume.metadata.labels or {}) if volume.metadata else {}).items()
            if key in LABELS
        ]
        if not wanted:
            return
        named = np.zeros(len(rows), np.bool_)
        for key in LABELS:
            named |= cluster.label_ids(key)[rows] != ABSENT
        for key, values in wanted:
            ids = cluster.label_ids(key)[rows]
            if key in NEWER:
                ids = np.where(ids == ABSENT, cluster.label_ids(NEWER[key])[rows], ids)
            fits = np.isin(ids, [cluster.value_id(value) for value in values])
            yield Rejection(named & ~fits, "node(s) had no available volume zone", is_final=True)

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A claim or volume that changed, or a node that came or has other labels."""
        if event.kind is Kind.STORAGE:
            return isinstance(event.storage, RELEVANT) and concerns(pod, event.storage)
        return event.changes_labels
