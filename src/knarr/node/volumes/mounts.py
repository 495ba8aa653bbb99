"""Mounting and unmounting on the host, by system call.

Source: mount(2), umount2(2), proc(5).
"""

import ctypes
import os
from pathlib import Path

_MS_BIND = 4096
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8

_libc = ctypes.CDLL(None, use_errno=True)


def mount_tmpfs(target: Path, *, size_bytes: int = 0, mode: int = 0o777) -> None:
    """Mount an empty file system in memory.

    Args:
        target: An existing folder.
        size_bytes: Most that it holds; 0 leaves it to the kernel.
        mode: Permissions of its root.
    """
    options = f"mode={mode:o}" + (f",size={size_bytes}" if size_bytes else "")
    _mount("tmpfs", str(target), "tmpfs", 0, options)


def bind(source: str, target: Path) -> None:
    """Show `source`, a file or folder, at `target`, which exists and is of the same kind."""
    _mount(source, str(target), "", _MS_BIND, "")


def unmount(target: Path) -> None:
    """Unmount what is mounted last at `target`; open files keep working until they are closed."""
    if _libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW):
        _raise(target)


def list_below(folder: Path) -> list[Path]:
    """Return the mount points at or below a folder, the deepest and latest first."""
    prefix = str(folder)
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = _unescape(line.split(" ", 5)[4])
        if point == prefix or point.startswith(f"{prefix}/"):
            found.append(Path(point))
    return found[::-1]


def is_mount(target: Path) -> bool:
    """Tell whether something is mounted at exactly `target`."""
    return target in list_below(target)


def unmount_below(folder: Path) -> None:
    """Unmount everything at or below a folder."""
    for point in list_below(folder):
        unmount(point)


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    done = _libc.mount(os.fsencode(source), os.fsencode(target), kind.encode() or None, flags, options.encode() or None)
    if done:
        _raise(Path(target))


def _raise(target: Path) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), str(target))


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
