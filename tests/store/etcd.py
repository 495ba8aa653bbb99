"""Real etcd members on free ports of this machine, for tests."""

import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BINARY = shutil.which("etcd") or ""
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where a test's etcd keeps its data: flushing to disk is not what is tested."""
MISSING = "etcd is not installed: `scripts/setup dev` installs Debian's etcd-server"


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has right now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Member:
    """One process; `url` is where its clients go."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.port, self._peer = free_ports(2)
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process; its data stay from one start to the next."""
        peer = f"http://127.0.0.1:{self._peer}"
        command = [BINARY, "--name=one", f"--data-dir={self.folder}/data", f"--initial-advertise-peer-urls={peer}"]
        command += [f"--listen-peer-urls={peer}", f"--initial-cluster=one={peer}", "--logger=zap"]
        if not any("listen-client" in argument for argument in self._arguments):
            here = f"http://{self.address}"
            command += [f"--listen-client-urls={here}", f"--advertise-client-urls={here}"]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([*command, *self._arguments], stdout=log, stderr=log)

    def wait_ready(self, timeout_s: float = 10.0) -> None:
        """Wait until it serves."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://{self.address}/health", timeout=1) as answer:
                    if b"true" in answer.read():
                        return
            except OSError:
                time.sleep(0.02)
        raise TimeoutError((self.folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def running(arguments: Sequence[str] = ()) -> Iterator[Member]:
    """Run one member in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="knarr-etcd-", dir=MEMORY) as folder:
        member = Member(Path(folder), *arguments)
        member.start()
        try:
            member.wait_ready()
            yield member
        finally:
            member.kill()
