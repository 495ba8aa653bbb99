"""What is broken: API servers and etcd members as processes that can be killed, paused and cut off."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.store import etcd

ROOT = Path(__file__).resolve().parents[3]
BRIDGE, NETWORK = "knarrst0", "10.213.7"


class Process:
    """A process that is started again with the same command."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=log, stderr=log)

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it where it is."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGCONT)

    def tail(self) -> str:
        """Return the end of its log."""
        return self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""


def server(name: str, port: int, store: str, folder: Path) -> Process:
    """Prepare an API server."""
    command = [sys.executable, "-m", "tests.live.store.server", str(port), store, str(folder)]
    return Process(name, command, folder / f"{name}.log")


class Members:
    """Three etcd members, each in a network namespace of its own on one bridge."""

    def __init__(self, folder: Path) -> None:
        self.names = ["knarrst1", "knarrst2", "knarrst3"]
        cluster = ",".join(f"{name}=http://{self.host(name)}:2380" for name in self.names)
        self.processes = {}
        for name in self.names:
            here = f"http://{self.host(name)}"
            command = ["ip", "netns", "exec", name, etcd.BINARY, f"--name={name}", f"--data-dir={folder}/{name}"]
            command += [
                f"--listen-client-urls={here}:2379,http://127.0.0.1:2379",
                f"--advertise-client-urls={here}:2379",
            ]
            command += [f"--listen-peer-urls={here}:2380", f"--initial-advertise-peer-urls={here}:2380"]
            command += [f"--initial-cluster={cluster}", "--logger=zap"]
            self.processes[name] = Process(name, command, folder / f"{name}.log")

    def host(self, name: str) -> str:
        """Return a member's address."""
        return f"{NETWORK}.{10 + self.names.index(name)}"

    @property
    def store(self) -> str:
        """The address of the cluster."""
        return "etcd://" + ",".join(f"{self.host(name)}:2379" for name in self.names)

    def start(self) -> None:
        """Make the network and start the members."""
        self.stop()
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for name in self.names:
            ip("netns", "add", name)
            ip("link", "add", f"{name}v", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"{name}v", "master", BRIDGE, "up")
            ip("-n", name, "addr", "add", f"{self.host(name)}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        for process in self.processes.values():
            process.start()

    def cut(self, name: str, *, peers_alone: bool) -> None:
        """Cut a member off: from the other members alone, or from everybody."""
        what = "tcp dport 2380 drop\ntcp sport 2380 drop" if peers_alone else 'iifname != "lo" drop'
        rules = f"table inet cut {{\nchain cut {{\ntype filter hook input priority 0\n{what}\n}}\n}}\n"
        subprocess.run(["ip", "netns", "exec", name, "nft", "-f", "-"], input=rules, text=True, check=True)

    def mend(self, name: str) -> None:
        """Undo a cut."""
        subprocess.run(["ip", "netns", "exec", name, "nft", "flush", "ruleset"], check=True)

    def stop(self) -> None:
        """End the members and leave no network behind."""
        for process in self.processes.values():
            process.resume()
            process.kill()
        for name in self.names:
            subprocess.run(["ip", "link", "del", f"{name}v"], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", BRIDGE], check=False, capture_output=True)


def ip(*words: str) -> None:
    """Run `ip`."""
    subprocess.run(["ip", *words], check=True)


class Tmpfs:
    """A small file system that can be filled up."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self._megabytes = megabytes

    def mount(self) -> None:
        """Make it."""
        options = f"size={self._megabytes}m,mode=0700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "knarr-test", self.folder], check=True)

    def fill(self) -> None:
        """Leave no space."""
        with open(self.folder / "filler", "wb", buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue

    def empty(self) -> None:
        """Give the space back."""
        (self.folder / "filler").unlink(missing_ok=True)

    def unmount(self) -> None:
        """Remove it, as soon as nobody uses it."""
        deadline = time.monotonic() + 10
        while subprocess.run(["umount", self.folder], check=False, capture_output=True).returncode:
            if time.monotonic() > deadline:
                subprocess.run(["umount", "-l", self.folder], check=True)
                return
            time.sleep(0.1)
