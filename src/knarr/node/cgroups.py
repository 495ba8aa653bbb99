"""Control groups of pods, on v1 and v2, by cgroupfs or systemd names.

A pod's containers run below one group a pod, below one a QoS class, below the cluster's root:
`/knarr-NAME/kubepods/burstable/pod<uid>`. The runtime makes the containers' own groups inside; the agent makes and limits those above.

Source: pkg/kubelet/cm (v1.37): names, shares of the QoS classes, conversion of shares to weights.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
CONTROLLERS_V1 = ("cpu", "cpuacct", "memory", "pids", "cpuset")
MIN_SHARES = 2
CPU_PERIOD_US = 100_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a group may use; None leaves a limit as it is.

    Attributes:
        cpu_shares: Relative weight on the v1 scale, 2 to 262144.
        cpu_quota_us: Microseconds of CPU a period of 100 ms; -1 takes the limit away.
        memory_bytes: Hard limit; -1 takes it away.
        pids: Most processes.
    """

    cpu_shares: int | None = None
    cpu_quota_us: int | None = None
    memory_bytes: int | None = None
    pids: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a group has used and uses.

    Attributes:
        cpu_ns: CPU time since its start, nanoseconds.
        memory_bytes: All memory charged to it.
        working_set_bytes: Without the file pages that were not touched lately.
        rss_bytes: Anonymous memory.
        limit_bytes: Memory limit, 0 if there is none.
        page_faults: Minor and major together.
        major_page_faults: Those that read from disk.
        processes: Number of processes and threads.
    """

    cpu_ns: int = 0
    memory_bytes: int = 0
    working_set_bytes: int = 0
    rss_bytes: int = 0
    limit_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0
    processes: int = 0


def is_unified() -> bool:
    """Tell whether the machine has cgroups v2 alone."""
    return (MOUNT / "cgroup.controllers").exists()


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The groups below one cluster root.

    Attributes:
        root: Such as "/knarr-default"; "/" puts kubepods at the top as upstream does.
        systemd: Whether names are slices made by systemd.
        unified: Whether the machine has v2 alone.
        mount: Where the hierarchies are mounted.
    """

    root: str
    systemd: bool
    unified: bool
    mount: Path = MOUNT

    def pod_parent(self, uid: str, qos: str) -> str:
        """Return a pod's group, in the form that the CRI wants as `cgroup_parent`."""
        return self.format_name(self._pod_parts(uid, qos))

    def format_name(self, parts: tuple[str, ...]) -> str:
        """Write a group's name for the driver: "/a/b" or "/a.slice/a-b.slice"."""
        whole = tuple(part for part in self.root.split("/") if part) + parts
        if not self.systemd:
            return "/" + "/".join(whole)
        escaped = [part.replace("-", "_") for part in whole]
        return "/" + "/".join("-".join(escaped[: end + 1]) + ".slice" for end in range(len(escaped)))

    def create_root(self) -> None:
        """Make the root and one group a QoS class; best effort gets the least CPU."""
        for parts, limits in (
            (("kubepods",), Limits()),
            (("kubepods", "besteffort"), Limits(cpu_shares=MIN_SHARES)),
            (("kubepods", "burstable"), Limits()),
        ):
            self._create(self.format_name(parts), limits)

    def create_pod(self, uid: str, qos: str, limits: Limits) -> None:
        """Make a pod's group and set its limits; setting them again is fine."""
        self._create(self.pod_parent(uid, qos), limits)

    def remove_pod(self, uid: str, qos: str) -> None:
        """Remove a pod's group and what is left inside; a process that still ends there keeps it, and the caller tries again."""
        remove_tree(self.pod_parent(uid, qos), mount=self.mount)

    def list_pods(self) -> dict[str, str]:
        """Return the uids of pods that have a group, each with its QoS class."""
        found = {}
        for qos in ("guaranteed", "burstable", "besteffort"):
            parts = ("kubepods",) if qos == "guaranteed" else ("kubepods", qos)
            folder = self._folder(self.format_name(parts), "memory")
            for entry in _entries(folder):
                uid = _pod_uid(entry, systemd=self.systemd)
                if uid:
                    found[uid] = qos
        return found

    def read_pod(self, uid: str, qos: str) -> Usage:
        """Read what a pod uses."""
        return self._read(self.pod_parent(uid, qos))

    def read_container(self, uid: str, qos: str, container_id: str) -> Usage:
        """Read what a container uses."""
        name = f"cri-containerd-{container_id}.scope" if self.systemd else container_id
        return self._read(f"{self.pod_parent(uid, qos)}/{name}")

    def read_root(self) -> Usage:
        """Read what the whole machine uses."""
        return self._read("/")

    def _pod_parts(self, uid: str, qos: str) -> tuple[str, ...]:
        qos = qos.lower()
        return ("kubepods", f"pod{uid}") if qos == "guaranteed" else ("kubepods", qos, f"pod{uid}")

    def _folder(self, name: str, controller: str) -> Path:
        base = self.mount if self.unified else self.mount / controller
        return base / name.lstrip("/")

    def _create(self, name: str, limits: Limits) -> None:
        if self.unified:
            folder = self._folder(name, "")
            _enable_controllers(self.mount, folder)
            _write_all(folder, _files_v2(limits))
            return
        for controller in CONTROLLERS_V1:
            if (self.mount / controller).is_dir():
                folder = self._folder(name, controller)
                folder.mkdir(parents=True, exist_ok=True)
                if controller == "cpuset":
                    _inherit_cpuset(self.mount / controller, folder)
                _write_all(folder, _files_v1(limits).get(controller, {}))

    def _read(self, name: str) -> Usage:
        return _read_v2(self._folder(name, "")) if self.unified else _read_v1(self, name)


def remove_tree(name: str, *, mount: Path = MOUNT) -> None:
    """Remove a group and all below it from every hierarchy; groups that still hold a process stay.

    Args:
        name: Such as "/knarr-default".
        mount: Where the hierarchies are mounted.
    """
    bases = [mount] if (mount / "cgroup.controllers").exists() else [path for path in mount.iterdir() if path.is_dir()]
    for base in bases:
        for folder, _, _ in os.walk(base / name.lstrip("/"), topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)  # cgroup files need not be removed first


def shares_to_weight(shares: int) -> int:
    """Convert v1 CPU shares (2 to 262144) to a v2 weight (1 to 10000)."""
    return 1 + ((max(MIN_SHARES, min(shares, 262_144)) - 2) * 9999) // 262_142


def _files_v2(limits: Limits) -> dict[str, str]:
    files = {}
    if limits.cpu_shares is not None:
        files["cpu.weight"] = str(shares_to_weight(limits.cpu_shares))
    if limits.cpu_quota_us is not None:
        files["cpu.max"] = f"{limits.cpu_quota_us if limits.cpu_quota_us > 0 else 'max'} {CPU_PERIOD_US}"
    if limits.memory_bytes is not None:
        files["memory.max"] = str(limits.memory_bytes) if limits.memory_bytes >= 0 else "max"
    if limits.pids is not None:
        files["pids.max"] = str(limits.pids)
    return files


def _files_v1(limits: Limits) -> dict[str, dict[str, str]]:
    files: dict[str, dict[str, str]] = {"cpu": {}, "memory": {}, "pids": {}}
    if limits.cpu_shares is not None:
        files["cpu"]["cpu.shares"] = str(max(MIN_SHARES, limits.cpu_shares))
    if limits.cpu_quota_us is not None:
        files["cpu"]["cpu.cfs_period_us"] = str(CPU_PERIOD_US)
        files["cpu"]["cpu.cfs_quota_us"] = str(limits.cpu_quota_us)
    if limits.memory_bytes is not None:
        files["memory"]["memory.limit_in_bytes"] = str(limits.memory_bytes)
    if limits.pids is not None:
        files["pids"]["pids.max"] = str(limits.pids)
    return files


def _write_all(folder: Path, files: Mapping[str, str]) -> None:
    for name, value in files.items():
        path = folder / name
        if path.exists():  # a kernel without the controller has no file, and then no limit
            path.write_text(value)


def _enable_controllers(mount: Path, folder: Path) -> None:
    wanted = ("cpu", "memory", "pids", "cpuset", "io", "hugetlb")
    parent = mount
    for part in folder.relative_to(mount).parts:
        available = (parent / "cgroup.controllers").read_text().split()
        enable = " ".join(f"+{name}" for name in wanted if name in available)
        (parent / "cgroup.subtree_control").write_text(enable)
        parent = parent / part
        parent.mkdir(exist_ok=True)


def _inherit_cpuset(base: Path, folder: Path) -> None:
    # A v1 cpuset starts empty, and nothing can run in it until it has CPUs and memory nodes.
    parent = base
    for part in folder.relative_to(base).parts:
        child = parent / part
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not (child / name).read_text().strip():
                (child / name).write_text((parent / name).read_text())
        parent = child


def _entries(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    except FileNotFoundError:
        return []


def _pod_uid(entry: str, *, systemd: bool) -> str:
    if systemd:
        if not entry.endswith(".slice"):
            return ""
        entry = entry.removesuffix(".slice").rsplit("-", 1)[-1].replace("_", "-")
    return entry[3:] if entry.startswith("pod") else ""


def _read_v1(groups: Cgroups, name: str) -> Usage:
    memory = groups._folder(name, "memory")
    stat = _read_table(memory / "memory.stat")
    used = _read_int(memory / "memory.usage_in_bytes")
    limit = _read_int(memory / "memory.limit_in_bytes")
    return Usage(
        cpu_ns=_read_int(groups._folder(name, "cpuacct") / "cpuacct.usage"),
        memory_bytes=used,
        working_set_bytes=max(0, used - stat.get("total_inactive_file", 0)),
        rss_bytes=stat.get("total_rss", 0),
        limit_bytes=limit if limit < 1 << 60 else 0,
        page_faults=stat.get("total_pgfault", 0),
        major_page_faults=stat.get("total_pgmajfault", 0),
        processes=_read_int(groups._folder(name, "pids") / "pids.current"),
    )


def _read_v2(folder: Path) -> Usage:
    stat = _read_table(folder / "memory.stat")
    # The root group has no memory.current; its statistics add up to the same.
    used = _read_int(folder / "memory.current") or stat.get("anon", 0) + stat.get("file", 0) + stat.get("kernel", 0)
    return Usage(
        cpu_ns=_read_table(folder / "cpu.stat").get("usage_usec", 0) * 1000,
        memory_bytes=used,
        working_set_bytes=max(0, used - stat.get("inactive_file", 0)),
        rss_bytes=stat.get("anon", 0),
        limit_bytes=_read_int(folder / "memory.max"),
        page_faults=stat.get("pgfault", 0),
        major_page_faults=stat.get("pgmajfault", 0),
        processes=_read_int(folder / "pids.current"),
    )


def _read_int(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # gone meanwhile, or "max"
        return 0


def _read_table(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    return {key: int(value) for key, _, value in (line.partition(" ") for line in lines) if value.isdigit()}
