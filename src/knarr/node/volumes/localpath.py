"""Folders for volumes of the class `local-path`: made when a pod first uses one, removed when the volume is being deleted.

Of which volumes the folder is gone is said in an annotation of the node, for the controller that holds the volumes until then. Only a
folder that has exactly the name that its claim gives it is ever removed.

Upstream counterpart: none; rancher/local-path-provisioner does this with helper pods.
"""

import asyncio
import logging
import shutil
from pathlib import Path

from lightkube.models import core_v1

from knarr.client import Client, PatchType
from knarr.control import informer

PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
PROVISIONER = "knarr.dev/local-path"
NODE = "knarr.dev/node"
REMOVED = "knarr.dev/removed-volumes"
MODE = 0o777
"""Of a new folder: pods of any user write to it; its parent is closed to others."""

logger = logging.getLogger(__name__)


def is_folder_volume(volume: core_v1.PersistentVolume) -> bool:
    """Tell whether a volume is a folder that is made on first use."""
    return _annotation(volume, PROVISIONED_BY) == PROVISIONER


def make(place: Path) -> None:
    """Make a volume's folder if it is missing."""
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        place.mkdir(exist_ok=True)
        place.chmod(MODE)


def removable(volume: core_v1.PersistentVolume, node_name: str) -> Path | None:
    """Return the folder that is to be removed with a volume, or None if there is none on this node or it is not to go yet."""
    meta, spec = volume.metadata, volume.spec
    if meta is None or spec is None or spec.local is None or spec.claimRef is None:
        return None
    if not is_folder_volume(volume) or _annotation(volume, NODE) != node_name or meta.deletionTimestamp is None:
        return None
    if spec.persistentVolumeReclaimPolicy != "Delete":
        return None
    place, claim = Path(spec.local.path), spec.claimRef
    is_named = place.name == f"pvc-{claim.uid}_{claim.namespace}_{claim.name}" and meta.name == f"pvc-{claim.uid}"
    return place if is_named and place.is_absolute() and ".." not in place.parts else None


class Folders:
    """Removes the folders of volumes that are being deleted.

    Args:
        client: The node's.
        volumes: All volumes.
        node_name: This node.
    """

    def __init__(self, client: Client, volumes: informer.Informer[core_v1.PersistentVolume], node_name: str) -> None:
        self._client = client
        self._volumes = volumes
        self._node_name = node_name
        self._changed = asyncio.Event()
        self._told: list[str] | None = None

    async def run(self) -> None:
        """Follow the volumes until cancelled."""
        self._volumes.on_change(lambda old, new: self._changed.set())
        await self._volumes.wait_synced()
        while True:
            self._changed.clear()
            await self._remove()
            await self._changed.wait()

    async def _remove(self) -> None:
        gone = []
        for volume in self._volumes.list():
            place = removable(volume, self._node_name)
            if place is None:
                continue
            if place.exists() and not place.is_symlink():
                await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
            if place.exists():
                logger.warning("the folder %s of a deleted volume cannot be removed", place)
            else:
                gone.append(informer.key_of(volume)[1])
        if gone != (self._told or []):
            body = {"metadata": {"annotations": {REMOVED: ",".join(sorted(gone)) or None}}}
            await self._client.patch(core_v1.Node, self._node_name, body, PatchType.MERGE)
            self._told = gone


def _annotation(volume: core_v1.PersistentVolume, key: str) -> str | None:
    annotations = (volume.metadata.annotations or {}) if volume.metadata else {}
    return annotations.get(key)
