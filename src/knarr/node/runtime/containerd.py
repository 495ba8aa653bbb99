"""An own containerd per cluster: configured, started, adopted, watched.

It runs in a session of its own with everything below the data folder, so that it and its shims outlive the agent; the next
agent finds it by pid file. A pidfd tells of its end at once, whether or not it is our child, and it is started again with backoff.
"""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from knarr.kit import clock as clocks
from knarr.node.runtime.cri import CriRuntime, wait_serving
from knarr.node.runtime.errors import ContainerdFailed, RuntimeFailure

START_TIMEOUT_S = 30.0
BACKOFF_FIRST_S = 0.2
BACKOFF_LIMIT_S = 30.0
STABLE_AFTER_S = 60.0
STOP_TIMEOUT_S = 10.0
CAP_SYS_RESOURCE = 24
_CNI_FOLDERS = (Path("/opt/cni/bin"), Path("/usr/lib/cni"), Path("/usr/libexec/cni"))


@dataclass(frozen=True, slots=True)
class Config:
    """Where an own containerd lives and how it runs containers.

    Attributes:
        root: Durable: images and snapshots.
        state: Gone with the machine's boot: sockets and mounts of running containers. Keep it short, sockets have 107 bytes.
        log: The file that its output is appended to.
        cni_conf: Folder of CNI configurations.
        cni_bin: Folder of CNI plugins.
        sandbox_image: The pause image; must be present or pullable.
        registry_conf: Folder of hosts.toml files, one folder a registry (containerd's "hosts" format).
        systemd_cgroup: Whether cgroups are made through systemd.
        oci_runtime: Path of crun or runc.
        snapshotter: overlayfs, or native where overlayfs cannot lie on the data folder.
        restrict_oom_score_adj: For machines where this process may not lower OOM scores.
    """

    root: Path
    state: Path
    log: Path
    cni_conf: Path
    cni_bin: Path
    sandbox_image: str
    registry_conf: Path
    systemd_cgroup: bool
    oci_runtime: str
    snapshotter: str
    restrict_oom_score_adj: bool

    @property
    def socket(self) -> Path:
        """The unix socket with CRI and containerd's own services."""
        return self.state / "containerd.sock"

    @property
    def pid_file(self) -> Path:
        """Where its pid is noted."""
        return self.state / "containerd.pid"

    @property
    def file(self) -> Path:
        """The configuration file."""
        return self.root / "config.toml"


def detect_config(root: Path, state: Path, log: Path, *, cni_conf: Path, sandbox_image: str) -> Config:
    """Fill in what the machine decides: cgroup driver, OCI runtime, snapshotter, CNI plugins.

    Args:
        root: See Config.
        state: See Config.
        log: See Config.
        cni_conf: See Config.
        sandbox_image: See Config.

    Returns:
        A configuration for this machine.
    """
    root.mkdir(parents=True, exist_ok=True)
    return Config(
        root=root,
        state=state,
        log=log,
        cni_conf=cni_conf,
        cni_bin=next((folder for folder in _CNI_FOLDERS if (folder / "loopback").exists()), _CNI_FOLDERS[0]),
        sandbox_image=sandbox_image,
        registry_conf=root.parent / "registries",
        systemd_cgroup=uses_systemd_cgroups(),
        oci_runtime=_find_oci_runtime(),
        snapshotter="native" if _is_overlay(root) else "overlayfs",
        restrict_oom_score_adj=not has_capability(CAP_SYS_RESOURCE),
    )


def _find_oci_runtime() -> str:
    # crun starts containers in half the time of runc, but refuses cgroups v1 with a v2 hierarchy beside them.
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    names = ("crun", "runc") if unified else ("runc", "crun")
    return next((path for name in names if (path := shutil.which(name))), "runc")


def uses_systemd_cgroups() -> bool:
    """Tell whether systemd owns the cgroups: it is running, and they are pure v2."""
    return Path("/run/systemd/system").is_dir() and Path("/sys/fs/cgroup/cgroup.controllers").exists()


def has_capability(number: int) -> bool:
    """Tell whether this process has the capability `number` in its effective set."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def format_config(config: Config) -> str:
    """Write the containerd configuration, format version 2 (read by containerd 1.3 to 2.x).

    Returns:
        TOML text.

    Source: containerd 1.6 docs/cri/config.md.
    """
    return f"""\
version = 2
root = "{config.root}"
state = "{config.state}"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]

[grpc]
  address = "{config.socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{config.root}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{config.sandbox_image}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = {_bool(config.restrict_oom_score_adj)}
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{config.cni_bin}"
    conf_dir = "{config.cni_conf}"

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{config.registry_conf}"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{config.snapshotter}"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{config.oci_runtime}"
        SystemdCgroup = {_bool(config.systemd_cgroup)}
"""


class Containerd:
    """One running containerd. Use `open_containerd`."""

    def __init__(self, config: Config, clock: clocks.Clock) -> None:
        self.config = config
        self._clock = clock
        self._pid = 0
        self.restarts = 0

    @property
    def pid(self) -> int:
        """The daemon's pid; 0 while it is down."""
        return self._pid

    async def start(self) -> None:
        """Adopt the running daemon, or start one, and wait until it serves.

        Raises:
            ContainerdFailed: It did not answer in time.
        """
        for folder in (self.config.root, self.config.state, self.config.cni_conf, self.config.registry_conf):
            folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        self.config.log.parent.mkdir(parents=True, exist_ok=True)
        self._pid = find_running(self.config)
        if not self._pid:
            self.config.file.write_text(format_config(self.config))
            self._pid = await self._spawn()
        try:
            await wait_serving(str(self.config.socket), timeout_s=START_TIMEOUT_S)
        except RuntimeFailure as err:
            raise ContainerdFailed(err.message, str(self.config.log)) from err

    async def supervise(self) -> None:
        """Start the daemon again whenever it ends, until cancelled."""
        backoff_s = BACKOFF_FIRST_S
        while True:
            started_s = self._clock.monotonic_s()
            await wait_exit(self._pid)
            self._pid = 0
            self.restarts += 1
            if self._clock.monotonic_s() - started_s > STABLE_AFTER_S:
                backoff_s = BACKOFF_FIRST_S
            await self._clock.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_LIMIT_S)
            with contextlib.suppress(ContainerdFailed):  # the next round tries again, after a longer pause
                await self.start()

    async def stop(self) -> None:
        """End the daemon; containers keep running on their shims."""
        pid = self._pid or find_running(self.config)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(wait_exit(pid), STOP_TIMEOUT_S)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                await wait_exit(pid)
        self._pid = 0
        self.config.pid_file.unlink(missing_ok=True)

    async def _spawn(self) -> int:
        with self.config.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                "containerd",
                "--config",
                str(self.config.file),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.config.pid_file.write_text(f"{process.pid}\n")
        return process.pid


@contextlib.asynccontextmanager
async def open_containerd(config: Config, clock: clocks.Clock) -> AsyncIterator[Containerd]:
    """Run the own containerd and keep it running; leaving the block leaves it alive.

    Args:
        config: Where and how.
        clock: Times the backoff.

    Yields:
        The daemon, serving.

    Raises:
        ContainerdFailed: It did not come up.
    """
    daemon = Containerd(config, clock)
    await daemon.start()
    task = asyncio.create_task(daemon.supervise(), name="containerd")
    try:
        yield daemon
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def remove_everything(config: Config, clock: clocks.Clock) -> None:
    """Remove every pod sandbox of the instance and end it: what `down` does.

    Args:
        config: The instance; one that is not running is started first, since only it can end what its shims hold.
        clock: The system's.
    """
    daemon = Containerd(config, clock)
    await daemon.start()
    runtime = CriRuntime(str(config.socket))
    try:
        for container in await runtime.list_containers():
            await runtime.stop_container(container.id, timeout_s=0)
        for sandbox in await runtime.list_sandboxes():
            await runtime.stop_sandbox(sandbox.id)
            await runtime.remove_sandbox(sandbox.id)
    finally:
        await runtime.aclose()
        await daemon.stop()
    _unmount_below(config.state)


def find_running(config: Config) -> int:
    """Return the pid of the instance's daemon, or 0; a pid that meanwhile belongs to another program does not count."""
    try:
        pid = int(config.pid_file.read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return 0
    return pid if os.fsencode(config.file) in arguments else 0


async def wait_exit(pid: int) -> None:
    """Wait until the process `pid` has ended, also if it is not a child; pid 0 counts as ended."""
    if not pid:
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _unmount_below(folder: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    prefix = f"{folder}/"
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((p for p in points if p.startswith(prefix)), reverse=True):
        libc.umount2(os.fsencode(point), 2)  # MNT_DETACH: whoever still looks at it does not keep it


def _is_overlay(folder: Path) -> bool:
    # os.statvfs hides the type; mountinfo has it, the longest mount point above the folder wins.
    best, kind = "", ""
    path = str(folder.resolve())
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        point = fields[4]
        inside = point == "/" or path == point or path.startswith(f"{point}/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[fields.index("-") + 1]
    return kind == "overlay"


def _bool(value: bool) -> str:
    return "true" if value else "false"
