"""What this machine is and has: read from /proc, /sys and /etc.

Source: pkg/kubelet/nodestatus/setters.go, google/cadvisor machine info (as of v1.37): which file gives which field.
"""

import os
import platform
import shutil
import socket
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

PROC = Path("/proc")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64", "s390x": "s390x"}
RESERVED_MEMORY_BYTES = 100 << 20
"""Memory below which pods would be evicted: not for them to ask for."""
RESERVED_STORAGE_SHARE = Fraction(1, 10)


@dataclass(frozen=True, slots=True)
class Machine:
    """The fixed facts of a machine."""

    cores: int
    memory_bytes: int
    storage_bytes: int
    huge_pages: dict[str, int]
    machine_id: str
    system_uuid: str
    boot_id: str
    kernel: str
    os_image: str
    architecture: str


def read_machine(storage: Path) -> Machine:
    """Read what this machine is.

    Args:
        storage: A folder on the file system that pods write to.
    """
    return Machine(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=read_meminfo()["MemTotal"],
        storage_bytes=shutil.disk_usage(storage).total,
        huge_pages=_read_huge_pages(),
        machine_id=_read("/etc/machine-id"),
        system_uuid=_read("/sys/class/dmi/id/product_uuid") or _read("/etc/machine-id"),
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        kernel=platform.release(),
        os_image=_read_os_image(),
        architecture=ARCHITECTURES.get(platform.machine(), platform.machine()),
    )


def capacity(machine: Machine, *, max_pods: int) -> dict[str, Fraction]:
    """Return what the node has, in cores, bytes and pieces."""
    found = {
        "cpu": Fraction(machine.cores),
        "ephemeral-storage": Fraction(machine.storage_bytes),
        "memory": Fraction(machine.memory_bytes),
        "pods": Fraction(max_pods),
    }
    return found | {f"hugepages-{size}": Fraction(total) for size, total in machine.huge_pages.items()}


def allocatable(total: dict[str, Fraction]) -> dict[str, Fraction]:
    """Return what pods may use of `total`."""
    found = dict(total)
    huge = sum((amount for name, amount in total.items() if name.startswith("hugepages-")), Fraction(0))
    found["memory"] = max(Fraction(0), total["memory"] - RESERVED_MEMORY_BYTES - huge)
    found["ephemeral-storage"] = Fraction(int(total["ephemeral-storage"] * (1 - RESERVED_STORAGE_SHARE)))
    return found


def format_amounts(amounts: dict[str, Fraction]) -> dict[str, str]:
    """Write amounts as the kubelet does: memory and storage in Ki where that is exact."""
    found = {}
    for name, amount in sorted(amounts.items()):
        number = int(amount)
        in_ki = (name == "memory" or name.startswith("hugepages-") or name == "ephemeral-storage") and number
        found[name] = f"{number // 1024}Ki" if in_ki and number % 1024 == 0 else str(number)
    return found


def read_meminfo() -> dict[str, int]:
    """Return /proc/meminfo in bytes."""
    found = {}
    for line in (PROC / "meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        found[name] = int(words[0]) * (1024 if len(words) > 1 else 1)
    return found


def available_memory_bytes() -> int:
    """Return how much memory could be had without swapping."""
    return read_meminfo().get("MemAvailable", 0)


def free_share(folder: Path) -> float:
    """Return which share of a file system's bytes is free, 0 to 1."""
    usage = shutil.disk_usage(folder)
    return usage.free / usage.total if usage.total else 1.0


def free_pids() -> int:
    """Return how many more processes the kernel allows."""
    limit = int(_read("/proc/sys/kernel/pid_max") or 1 << 22)
    limit = min(limit, int(_read("/proc/sys/kernel/threads-max") or limit))
    running = int(_read("/proc/loadavg").split()[3].partition("/")[2] or 0)
    return limit - running


def default_ip() -> str:
    """Return the address of the interface that the default route uses, or the loopback one on a machine without."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: the kernel only picks the source address
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
    return address


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _read_os_image() -> str:
    for line in _read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def _read_huge_pages() -> dict[str, int]:
    found = {}
    for folder in sorted(Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB")):
        size_kib = int(folder.name.removeprefix("hugepages-").removesuffix("kB"))
        total = int(_read(str(folder / "nr_hugepages")) or 0) * size_kib * 1024
        name = f"{size_kib >> 20}Gi" if size_kib % (1 << 20) == 0 else f"{size_kib >> 10}Mi"
        if size_kib % 1024 == 0:
            found[name] = total
    return found
