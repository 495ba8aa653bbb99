"""emptyDir: a folder that lives as long as the pod, on disk or in memory.

Source: pkg/volume/emptydir/empty_dir.go (v1.37).
"""

from lightkube.models import core_v1

from knarr.node.pods.resources import parse_amount
from knarr.node.volumes import mounts
from knarr.node.volumes.ownership import give_to_group
from knarr.node.volumes.volume import Mounted, Work

KIND = "empty-dir"
_MODE = 0o777


async def set_up(work: Work, volume: core_v1.Volume) -> Mounted:
    """Make the folder, once."""
    source = volume.emptyDir
    assert source is not None
    place = work.place(KIND, volume.name)
    mode = _MODE if source.mode is None else source.mode
    if place.is_dir() and (source.medium != "Memory" or mounts.is_mount(place)):
        return Mounted(place)
    place.mkdir(parents=True, exist_ok=True)
    if source.medium == "Memory":
        limit = int(parse_amount(source.sizeLimit)) if source.sizeLimit else work.memory_bytes
        mounts.mount_tmpfs(place, size_bytes=limit, mode=mode)
    place.chmod(mode)
    if work.group is not None:
        give_to_group(place, work.group, only_on_mismatch=False)
    return Mounted(place)
