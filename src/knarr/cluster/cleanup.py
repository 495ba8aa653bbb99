"""Takes away what a stopped cluster could leave on the machine: processes, mounts (network namespaces are mounts too), cgroups.

Everything is found by the cluster's own folders and names, so that other clusters and programs are never touched, and
every step may be repeated.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from knarr.cluster.layout import Layout
from knarr.cluster.settings import Settings

CGROUP_MOUNT = Path("/sys/fs/cgroup")
KILL_TIMEOUT_S = 10.0


def processes_below(folder: Path) -> list[int]:
    """Return the ids of processes whose command line names `folder` or something in it: containerd and its shims."""
    found = []
    needle = f"{folder}/".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if needle in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def processes_in_cgroup(root: str) -> list[int]:
    """Return the ids of processes below the cgroup `root` ("/knarr-NAME") in any hierarchy."""
    found: set[int] = set()
    for folder in cgroup_folders(root):
        for path in folder.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(int(line) for line in path.read_text().split())
    return sorted(found)


def cgroup_folders(root: str) -> list[Path]:
    """Return where the cgroup `root` exists: one folder with cgroups v2, one a controller with v1."""
    name = root.lstrip("/")
    mounts = [CGROUP_MOUNT, *(path for path in CGROUP_MOUNT.iterdir() if path.is_dir() and not path.is_symlink())]
    return [mount / name for mount in mounts if (mount / name).is_dir()]


def end_processes(pids: Iterable[int]) -> None:
    """Kill processes and wait until they are gone."""
    left = set(pids)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while any(_is_alive(pid) for pid in left) and time.monotonic() < deadline:
        time.sleep(0.02)


def mounts_below(folders: Iterable[Path]) -> list[str]:
    """Return the mount points below `folders`, innermost first."""
    prefixes = tuple(f"{folder}/" for folder in folders)
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    decoded = [point.encode().decode("unicode_escape") for point in points]
    return [point for point in reversed(decoded) if f"{point}/".startswith(prefixes)]


def unmount(points: Iterable[str]) -> None:
    """Unmount, lazily where something still holds on."""
    for point in points:
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)


def remove_cgroups(root: str) -> None:
    """Remove the cgroup `root` and all below it from every hierarchy; they are empty by now."""
    for folder in cgroup_folders(root):
        for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                path.rmdir()
        with contextlib.suppress(OSError):
            folder.rmdir()


def sweep(layout: Layout, settings: Settings) -> None:
    """Take away everything on the machine that belongs to the cluster, whatever state it was left in.

    Args:
        layout: Whose folders.
        settings: Whose names.
    """
    end_processes(
        [*processes_in_cgroup(settings.cgroup_root), *processes_below(layout.data), *processes_below(layout.run)]
    )
    unmount(mounts_below([layout.data, layout.run]))
    remove_cgroups(settings.cgroup_root)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    with contextlib.suppress(OSError):
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    return False
