"""Machines made of namespaces (network, mounts, processes, host name), on links with a router between them.

Killing a machine's first process is pulling its plug: everything that ran on it is gone at once, what was on its disk stays.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WAIT_S = 60.0


def run(*command: str, check: bool = True, timeout_s: float = 240.0, stdin: str | None = None) -> str:
    """Run a command and return what it printed; with check=False also what it complained about."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stderr}\n{done.stdout}")
    return done.stdout if check else done.stdout + done.stderr


@dataclass
class Machine:
    """One machine.

    Attributes:
        name: Its host name, and what the cluster is called on it.
        address: Its address.
        gateway: The router's address on its link.
        link: The router's bridge that it hangs on.
        router: The network namespace of the router.
        folder: Its disk.
    """

    name: str
    address: str
    gateway: str
    link: str
    router: str
    folder: Path
    first: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Switch it on."""
        self.folder.mkdir(exist_ok=True)
        script = (
            f"hostname {self.name}; mkdir -p /run/netns; mount -t tmpfs netns /run/netns; ip link set lo up; "
            # A /sys of its own, whose links are its own, with the control groups of all.
            f"mkdir -p {self.folder}/groups; mount --rbind /sys/fs/cgroup {self.folder}/groups; mount -t sysfs sysfs /sys; "
            f"mount --rbind {self.folder}/groups /sys/fs/cgroup; umount -l {self.folder}/groups; "
            "sysctl -qw net.ipv4.ip_forward=0; exec catatonit -P"
        )
        flags = ["--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.first = subprocess.Popen(["unshare", *flags, "sh", "-c", script])
        deadline = time.monotonic() + 5
        while not self.pid or b"catatonit" not in Path(f"/proc/{self.pid}/cmdline").read_bytes():
            assert time.monotonic() < deadline, f"{self.name} did not start"
            time.sleep(0.02)
        port = f"v{self.name}"[:15]
        run(
            "ip", "-n", self.router, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(self.pid)
        )
        run("ip", "-n", self.router, "link", "set", port, "master", self.link, "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "add", "default", "via", self.gateway)

    @property
    def pid(self) -> int:
        """The id of its first process; 0 if it is off."""
        if self.first is None:
            return 0
        children = Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children")
        words = children.read_text().split() if children.exists() else []
        return int(words[0]) if words else 0

    def pull_plug(self) -> None:
        """Switch it off without a word."""
        if self.first is not None:
            pid = self.pid
            if pid:
                os.kill(pid, signal.SIGKILL)
            self.first.wait()
            self.first = None
            run("ip", "-n", self.router, "link", "del", f"v{self.name}"[:15], check=False)

    def command(self, *words: str) -> list[str]:
        """Return the command that runs `words` on it."""
        environment = [f"KNARR_HOME={self.folder}/lib", f"KNARR_RUN={self.folder}/run", f"HOME={self.folder}"]
        enter = ["nsenter", "-t", str(self.pid), "--net", "--uts", "--mount", "--pid"]
        return [*enter, "env", *environment, *words]

    def run(self, *words: str, check: bool = True, timeout_s: float = 240.0, stdin: str | None = None) -> str:
        """Run a command on it."""
        return run(*self.command(*words), check=check, timeout_s=timeout_s, stdin=stdin)

    def knarr(self, *words: str, check: bool = True) -> str:
        """Run `knarr` on it, for its cluster."""
        return self.run(sys.executable, "-m", "knarr", *words, "--name", self.name, check=check)

    def kubectl(self, *words: str, check: bool = True, stdin: str | None = None) -> str:
        """Run the real kubectl on it."""
        return self.run("kubectl", "--kubeconfig", f"{self.folder}/kubeconfig", *words, check=check, stdin=stdin)

    def get(self, *words: str) -> Any:
        """Return what `kubectl get … -o json` gives."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def traces(self) -> dict[str, list[str]]:
        """What a cluster has left on it, by sort; only sorts of which there is something."""
        processes = [line for line in self.run("ps", "-eo", "args=").splitlines() if str(self.folder) in line]
        links = [line.split()[1].split("@")[0].rstrip(":") for line in self.run("ip", "-o", "link").splitlines()]
        mounts = [line.split()[4] for line in self.run("cat", "/proc/self/mountinfo").splitlines()]
        found = {
            "processes": [line for line in processes if "ps -eo" not in line],
            "links": [link for link in links if link not in ("lo", "eth0")],
            "routes": [
                line
                for line in self.run("ip", "route").splitlines()
                if not line.startswith("default") and "proto kernel" not in line
            ],
            "tables": self.run("nft", "list", "tables").splitlines(),
            "mounts": [point for point in mounts if point.startswith((str(self.folder), "/run/netns/cni-"))],
            "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/knarr-{self.name}")],
        }
        return {sort: things for sort, things in found.items() if things}


@dataclass
class Links:
    """A router with two links and the machines on them."""

    tag: str
    folder: Path
    machines: list[Machine] = field(default_factory=list)

    def add(self, *, beyond: bool = False) -> Machine:
        """Add a machine to the first link, or to the one beyond the router, and switch it on."""
        number = len(self.machines) + 1
        network, link = ("198.51.100", "br1") if beyond else ("192.0.2", "br0")
        name = f"{self.tag}m{number}"
        machine = Machine(
            name, f"{network}.{number + 10}", f"{network}.1", link, f"{self.tag}r", self.folder / f"m{number}"
        )
        self.machines.append(machine)
        machine.start()
        return machine


@contextmanager
def open_links(tag: str, folder: Path) -> Iterator[Links]:
    """Make a router with two links; take everything away at the end."""
    router = f"{tag}r"
    links = Links(tag, folder)
    run("ip", "netns", "add", router)
    run("ip", "-n", router, "link", "set", "lo", "up")
    try:
        for bridge, address in (("br0", "192.0.2.1/24"), ("br1", "198.51.100.1/24")):
            run("ip", "-n", router, "link", "add", bridge, "type", "bridge")
            run("ip", "-n", router, "address", "add", address, "dev", bridge)
            run("ip", "-n", router, "link", "set", bridge, "up")
        run("nsenter", f"--net=/run/netns/{router}", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        yield links
    finally:
        for machine in links.machines:
            if machine.pid:
                machine.knarr("down", "--delete", check=False)
            machine.pull_plug()
            for path in sorted(Path("/sys/fs/cgroup").glob(f"*/knarr-{machine.name}/**/"), reverse=True):
                path.rmdir()
        run("ip", "netns", "del", router)
