"""NodeVolumeLimits: a node takes as many volumes of a CSI driver as its CSINode says.

Upstream counterpart: pkg/scheduler/framework/plugins/nodevolumelimits/csi.go (v1.37).
"""

from collections.abc import Iterable, Iterator

import numpy as np
from lightkube.models import core_v1, storage_v1

from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.events import Event, Kind
from knarr.scheduler.framework import Rejection
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.volumes import NO_PROVISIONER, Storage, claims_of, class_of, concerns

Attached = tuple[str, str]
"""Driver and what it calls the volume."""


class NodeVolumeLimits:
    """The plugin.

    Args:
        storage: Claims, volumes, classes, attachments and what nodes say of their drivers.
    """

    name = "NodeVolumeLimits"
    events = frozenset({Kind.NODE_ADDED, Kind.POD_GONE, Kind.STORAGE})

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """Pods without claims can go anywhere."""
        return not claims_of(pod)

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes on which one volume more would be too many."""
        mine = {*self._attached(pod)}
        if not mine:
            return
        attached: dict[str, set[Attached]] = {}
        for one in self._storage.attachments():
            volume = self._storage.volume(one.spec.source.persistentVolumeName or "")
            if volume is not None and volume.spec and volume.spec.csi:
                place = attached.setdefault(one.spec.nodeName, set())
                place.add((volume.spec.csi.driver, volume.spec.csi.volumeHandle))
        full = [self._is_full(mine, cluster, int(row), attached) for row in rows]
        yield Rejection(np.array(full, np.bool_), "node(s) exceed max volume count")

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A pod with claims that went, an attachment, a node's drivers or a claim of its own that changed, or a node that came."""
        if event.kind is Kind.STORAGE:
            relevant = (storage_v1.VolumeAttachment, storage_v1.CSINode, core_v1.PersistentVolumeClaim)
            return isinstance(event.storage, relevant) and concerns(pod, event.storage)
        return event.kind is not Kind.POD_GONE or (event.pod is not None and bool(claims_of(event.pod)))

    def _is_full(self, mine: set[Attached], cluster: Cluster, row: int, attached: dict[str, set[Attached]]) -> bool:
        node = self._storage.csi_node(cluster.names[row])
        drivers = (node.spec.drivers or ()) if node is not None and node.spec else ()
        limits = {
            one.name: one.allocatable.count
            for one in drivers
            if one.allocatable is not None and one.allocatable.count is not None
        }
        if not limits.keys() & {driver for driver, _ in mine}:
            return False
        there = attached.get(cluster.names[row], set()) | {
            one for other in cluster.pods[row].values() for one in self._attached(other)
        }
        return any(
            sum(driver == one for one, _ in there | mine) > limit
            for driver, limit in limits.items()
            if any(driver == one for one, _ in mine - there)
        )

    def _attached(self, pod: PodFacts) -> Iterator[Attached]:
        for claim in self._storage.claims(pod):
            assert claim.metadata and claim.spec
            volume = self._storage.volume(claim.spec.volumeName or "")
            if volume is not None:
                if volume.spec and volume.spec.csi is not None:
                    yield volume.spec.csi.driver, volume.spec.csi.volumeHandle
                continue
            found = self._storage.storage_class(class_of(claim))
            if found is not None and found.provisioner != NO_PROVISIONER:
                yield found.provisioner, f"{claim.metadata.namespace}/{claim.metadata.name}"
