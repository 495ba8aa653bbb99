"""Writing a folder of files so that a reader sees all of the old or all of the new, never a mixture.

The files lie in a folder named for the time; `..data` is a link to it that is swapped by one rename; each visible name
is a link through `..data`.

Source: pkg/volume/util/atomic_writer.go (v1.37).
"""

import contextlib
import os
import shutil
from datetime import datetime
from pathlib import Path, PurePosixPath

from knarr.node.volumes.volume import File, Payload

DATA = "..data"
_NEXT = "..data_tmp"
_NAME_LIMIT = 4096


def write(target: Path, payload: Payload, *, group: int | None = None, now: datetime) -> bool:
    """Make the folder `target` show exactly the files of `payload`.

    Args:
        target: The volume's folder, which exists.
        payload: The files.
        group: The group that may read them all; None leaves modes as they are.
        now: Names the folder of this version.

    Returns:
        Whether anything had to be written.

    Raises:
        ValueError: A path leads out of the volume.
    """
    files = {check_path(path): _grant(file, group) for path, file in payload.items()}
    old = _link_of(target / DATA)
    if old is not None and _read(target / old, group) == _wanted(files, group):
        return False
    stamp = f"..{now:%Y_%m_%d_%H_%M_%S}.{os.urandom(4).hex()}"
    _write_version(target / stamp, files, group)
    with contextlib.suppress(FileNotFoundError):
        (target / _NEXT).unlink()
    (target / _NEXT).symlink_to(stamp)
    (target / _NEXT).rename(target / DATA)
    _show(target, {PurePosixPath(path).parts[0] for path in files})
    if old is not None:
        shutil.rmtree(target / old, ignore_errors=True)
    return True


def check_path(path: str) -> str:
    """Return a path of a file within a volume in its shortest form.

    Raises:
        ValueError: It is absolute, empty, too long, goes up, or begins with "..".
    """
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or len(path) > _NAME_LIMIT:
        raise ValueError(f"invalid path: must be relative and may not contain '..': {path}")
    if pure.parts[0].startswith(".."):
        raise ValueError(f"invalid path: must not start with '..': {path}")
    return str(pure)


def _grant(file: File, group: int | None) -> File:
    return file if group is None else File(file.data, file.mode | 0o440, file.user)


def _wanted(files: dict[str, File], group: int | None) -> dict[str, tuple[bytes, int, int, int]]:
    return {path: (file.data, file.mode, file.user or 0, group or 0) for path, file in files.items()}


def _read(folder: Path, group: int | None) -> dict[str, tuple[bytes, int, int, int]]:
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            info = path.stat()
            found[str(path.relative_to(folder))] = (path.read_bytes(), info.st_mode & 0o7777, info.st_uid, info.st_gid)
    return found


def _write_version(folder: Path, files: dict[str, File], group: int | None) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    for path, file in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(file.data)
            os.fchown(out.fileno(), file.user or 0, group or 0)
            os.fchmod(out.fileno(), file.mode)  # after fchown, which would clear set-id bits
    for root, _, _ in os.walk(folder):
        os.chmod(root, 0o755 if group is None else 0o2775)
        if group is not None:
            os.chown(root, -1, group)


def _show(target: Path, names: set[str]) -> None:
    for name in names:
        link = target / name
        if _link_of(link) != f"{DATA}/{name}":
            if link.is_dir() and not link.is_symlink():
                shutil.rmtree(link)
            else:
                link.unlink(missing_ok=True)
            link.symlink_to(f"{DATA}/{name}")
    for entry in os.scandir(target):
        if not entry.name.startswith("..") and entry.name not in names:
            os.unlink(entry.path)


def _link_of(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
