"""Looks at the machine and says what stands in a cluster's way, and how to mend it.

Every check reads files or runs one short command under a deadline, so that looking never hangs. A check has no side
effects: what the agent can mend by itself (such as `ip_forward`) is only noted.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from knarr.cluster import settings, supervisor
from knarr.cluster.layout import Layout, home

COMMAND_TIMEOUT_S = 5.0
DISK_NEEDED_BYTES = 2 * 1024**3
DISK_COMFORTABLE_BYTES = 5 * 1024**3
MEMORY_COMFORTABLE_BYTES = 1024**3
KERNEL_NEEDED = (5, 10)
CONTROLLERS_NEEDED = ("cpu", "memory", "pids")
CNI_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin")
CNI_PLUGINS = ("bridge", "host-local", "loopback")


class Verdict(Enum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: Its name.
        verdict: Only FAILED keeps a cluster from starting.
        detail: What is there.
        fix: What to do; empty when all is well.
    """

    check: str
    verdict: Verdict
    detail: str
    fix: str = ""


def examine(layout: Layout, *, simulated: bool = False) -> list[Finding]:
    """Run every check for a cluster at `layout`, which need not exist yet.

    Args:
        layout: Whose.
        simulated: Only what a cluster of simulated nodes needs.
    """
    return [check(layout) for check in (SIMULATED_CHECKS if simulated else CHECKS)]


def _ok(check: str, detail: str) -> Finding:
    return Finding(check, Verdict.OK, detail)


def check_root(_layout: Layout) -> Finding:
    """A node mounts, makes namespaces and programs nftables."""
    if os.geteuid() == 0:
        return _ok("root", "running as root")
    return Finding("root", Verdict.FAILED, f"running as uid {os.geteuid()}", "run as root: `sudo knarr up`")


def check_kernel(_layout: Layout) -> Finding:
    """The kernel is new enough for overlayfs on anything and for what the service rules say (reject before routing)."""
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers >= KERNEL_NEEDED:
        return _ok("kernel", release)
    needed = ".".join(map(str, KERNEL_NEEDED))
    return Finding("kernel", Verdict.FAILED, release, f"use Linux {needed} or newer")


def check_programs(_layout: Layout) -> Finding:
    """The programs that the agent runs are installed."""
    needed = {
        "containerd": "containerd", "ctr": "containerd", "nft": "nftables", "conntrack": "conntrack",
        "ip": "iproute2", "catatonit": "catatonit", "mount": "mount",
    }  # fmt: skip
    missing = {package for program, package in needed.items() if _which(program) is None}
    if _which("runc") is None and _which("crun") is None:
        missing.add("runc")
    if not missing:
        return _ok("programs", "all installed")
    names = " ".join(sorted(missing))
    return Finding("programs", Verdict.FAILED, f"missing: {names}", f"apt-get install -y {names}")


def check_cni(_layout: Layout) -> Finding:
    """The CNI plugins are installed."""
    for folder in CNI_FOLDERS:
        if all(Path(folder, plugin).exists() for plugin in CNI_PLUGINS):
            return _ok("cni", folder)
    where = " nor ".join(CNI_FOLDERS)
    return Finding("cni", Verdict.FAILED, f"no plugins in {where}", "apt-get install -y containernetworking-plugins")


def check_cgroups(_layout: Layout) -> Finding:
    """The controllers for CPU, memory and process counts are there, in cgroups v1 or v2."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists():
        version, present = "v2", set(unified.read_text().split())
    else:
        version, present = "v1", {path.name for path in Path("/sys/fs/cgroup").glob("*") if path.is_dir()}
    missing = [name for name in CONTROLLERS_NEEDED if name not in present]
    if not missing:
        return _ok("cgroups", version)
    return Finding(
        "cgroups",
        Verdict.FAILED,
        f"{version} without {', '.join(missing)}",
        "boot with cgroup_enable=memory, or mount the cgroup file systems",
    )


def check_file_systems(_layout: Layout) -> Finding:
    """overlayfs, on which image layers are stacked, is known to the kernel."""
    if "\toverlay\n" in Path("/proc/filesystems").read_text() or _succeeds("modprobe", "--dry-run", "overlay"):
        return _ok("overlayfs", "available")
    return Finding("overlayfs", Verdict.FAILED, "not known to the kernel", "load it: `modprobe overlay`")


def check_nftables(_layout: Layout) -> Finding:
    """nftables can be read, so the kernel has it and we may use it."""
    if _succeeds("nft", "list", "tables"):
        return _ok("nftables", "works")
    return Finding(
        "nftables",
        Verdict.FAILED,
        "`nft list tables` fails",
        "use a kernel with nf_tables, and run as root with CAP_NET_ADMIN",
    )


def check_bridge_filter(_layout: Layout) -> Finding:
    """Packets that stay on a bridge pass the connection tracker, or pods of one node could not reach each other's Services."""
    if Path("/proc/sys/net/bridge").exists() or _succeeds("modprobe", "--dry-run", "br_netfilter"):
        return _ok("br_netfilter", "available")
    return Finding("br_netfilter", Verdict.FAILED, "not known to the kernel", "load it: `modprobe br_netfilter`")


def check_ports(layout: Layout) -> Finding:
    """The cluster's ports are free, or already its own."""
    if not layout.settings.exists():
        return _ok("ports", "chosen when the cluster is created")
    decided = settings.load(layout)
    ports = (decided.balancer_port if decided.is_joined else decided.api_port, decided.node_port)
    if any(_is_running(layout, process) for process in ("supervisor", "server", "agent")):
        return _ok("ports", f"{ports[0]} and {ports[1]} are this cluster's")
    taken = [port for port in ports if not settings.is_port_free(port)]
    if not taken:
        return _ok("ports", f"{ports[0]} and {ports[1]} are free")
    listed = ", ".join(map(str, taken))
    return Finding("ports", Verdict.FAILED, f"in use: {listed}", f"see who listens: `ss -ltnp`; free port {listed}")


def check_disk(_layout: Layout) -> Finding:
    """There is room for images and state."""
    folder = home()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1024**3:.1f} GiB free at {folder}"
    if free < DISK_NEEDED_BYTES:
        return Finding(
            "disk", Verdict.FAILED, detail, f"free at least {DISK_NEEDED_BYTES // 1024**3} GiB, or set KNARR_HOME"
        )
    if free < DISK_COMFORTABLE_BYTES:
        return Finding("disk", Verdict.WARNING, detail, "images may be removed early to save space")
    return _ok("disk", detail)


def check_memory(_layout: Layout) -> Finding:
    """There is memory for the control plane and a few pods."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    detail = f"{available / 1024**2:.0f} MiB available"
    if available < MEMORY_COMFORTABLE_BYTES:
        return Finding("memory", Verdict.WARNING, detail, "1 GiB or more leaves room for pods")
    return _ok("memory", detail)


def check_forwarding(_layout: Layout) -> Finding:
    """Packets may be forwarded between pods and the world, or the agent can switch that on."""
    path = Path("/proc/sys/net/ipv4/ip_forward")
    if path.read_text().strip() == "1":
        return _ok("ip_forward", "on")
    if os.access(path, os.W_OK):
        return _ok("ip_forward", "off; the agent switches it on")
    return Finding("ip_forward", Verdict.FAILED, "off and read-only", "sysctl -w net.ipv4.ip_forward=1")


CHECKS: Sequence[Callable[[Layout], Finding]] = (
    check_root,
    check_kernel,
    check_programs,
    check_cni,
    check_cgroups,
    check_file_systems,
    check_nftables,
    check_bridge_filter,
    check_forwarding,
    check_ports,
    check_disk,
    check_memory,
)
SIMULATED_CHECKS = (check_ports, check_disk, check_memory)


def _which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _succeeds(*command: str) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _is_running(layout: Layout, process: str) -> bool:
    return supervisor.read_pid(layout.pid_file(process)) is not None
