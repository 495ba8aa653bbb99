"""subPath: showing a part of a volume, safe against links that a container plants while we look.

The path is resolved, checked to be within the volume, and opened step by step without following links; what is bound
into the container is the opened descriptor, not the name.

Source: pkg/volume/util/subpath/subpath_linux.go (v1.37).
"""

import os
import stat
from pathlib import Path, PurePosixPath

from knarr.node.pods.errors import VolumeMissing
from knarr.node.volumes import mounts

_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def bind_part(volume: Path, part: str, target: Path) -> Path:
    """Bind `volume/part` to `target`, making missing folders in the volume; return `target`.

    Args:
        volume: A volume's root.
        part: Relative, without "..".
        target: Where to bind it: `pods/UID/volume-subpaths/VOLUME/CONTAINER/INDEX`.

    Raises:
        VolumeMissing: It leads out of the volume.
    """
    if mounts.is_mount(target):
        return target
    descriptor = open_part(volume, part)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        mounts.bind(f"/proc/self/fd/{descriptor}", target)
    finally:
        os.close(descriptor)
    return target


def open_part(volume: Path, part: str) -> int:
    """Open `volume/part` as a path descriptor, making missing folders.

    Raises:
        VolumeMissing: It leads out of the volume, or changes meanwhile.
    """
    pure = PurePosixPath(part)
    if pure.is_absolute() or ".." in pure.parts:
        raise VolumeMissing(f'subPath "{part}" must be a relative path without ".."')
    root = Path(os.path.realpath(volume))
    _make_missing(root, pure)
    resolved = Path(os.path.realpath(root / pure))
    if not resolved.is_relative_to(root):
        raise VolumeMissing(f'subpath "{part}" not within volume path "{volume}"')
    descriptor = os.open(root, _PATH)
    for step in resolved.relative_to(root).parts:
        try:
            following = os.open(step, _PATH, dir_fd=descriptor)
        except OSError as err:
            raise VolumeMissing(f'failed to open subpath "{part}": {err.strerror}') from err
        finally:
            os.close(descriptor)
        descriptor = following
        if stat.S_ISLNK(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise VolumeMissing(f'subpath "{part}" has an unexpected symlink')
    return descriptor


def _make_missing(root: Path, part: PurePosixPath) -> None:
    place = root
    for index, step in enumerate(part.parts):
        place = Path(os.path.realpath(place / step))
        if not place.is_relative_to(root):
            raise VolumeMissing(f'subpath "{part}" not within volume path "{root}"')
        if not place.exists():
            _make_folders(place.parent, (place.name, *part.parts[index + 1 :]), stat.S_IMODE(root.stat().st_mode))
            return


def _make_folders(existing: Path, steps: tuple[str, ...], mode: int) -> None:
    descriptor = os.open(existing, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for step in steps:
            os.mkdir(step, dir_fd=descriptor)
            following = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = following
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
