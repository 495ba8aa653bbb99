"""hostPath: a file or folder of the node, checked or made as its type says.

Source: pkg/volume/hostpath/host_path.go (v1.37).
"""

import stat
from collections.abc import Callable
from pathlib import Path

from lightkube.models import core_v1

from knarr.node.pods.errors import VolumeMissing
from knarr.node.volumes.volume import Mounted, Work

_CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


async def set_up(work: Work, volume: core_v1.Volume) -> Mounted:
    """Check that the path is what the volume's type says."""
    source = volume.hostPath
    assert source is not None
    return Mounted(check(source.path, source.type or ""))


def check(path: str, kind: str) -> Path:
    """Return a path of the node after checking or making it.

    Args:
        path: Absolute.
        kind: The hostPath type; empty checks nothing.

    Raises:
        VolumeMissing: There is something else, or nothing.
    """
    place = Path(path)
    if kind == "DirectoryOrCreate":
        if not place.exists():
            place.mkdir(parents=True, mode=0o755)
        kind = "Directory"
    elif kind == "FileOrCreate":
        if not place.exists():
            try:
                place.touch(mode=0o644)
            except OSError as err:
                raise VolumeMissing(f"hostPath type check failed: {path}: {err.strerror}") from err
        kind = "File"
    if not kind:
        return place
    expected, words = _CHECKS[kind]
    try:
        mode = place.stat().st_mode
    except OSError:
        mode = 0
    if not expected(mode):
        raise VolumeMissing(f"hostPath type check failed: {path} is not {words}")
    return place
