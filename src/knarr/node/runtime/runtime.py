"""The seam between the node agent and whatever runs containers, shaped like the CRI but in plain frozen values.

`cri.CriRuntime` is containerd behind this; a simulated one serves tests and node-less clusters. Three protocols, because
their callers differ: pod workers run sandboxes and containers, the image cache pulls and removes, the HTTPS server opens streams.

Invariants: ids are the runtime's own; times are nanoseconds since the epoch, 0 meaning "not yet"; stopping or
removing what is gone already succeeds.

Source: k8s.io/cri-api/pkg/apis/runtime/v1 (v1.37).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class ContainerState(Enum):
    """Where a container is in its life; the value is the CRI's number."""

    CREATED = 0
    RUNNING = 1
    EXITED = 2
    UNKNOWN = 3


class NamespaceMode(Enum):
    """Whose namespace a container joins; the value is the CRI's number."""

    POD = 0
    CONTAINER = 1
    NODE = 2
    TARGET = 3


class Propagation(Enum):
    """How mounts travel between host and container; the value is the CRI's number."""

    PRIVATE = 0
    HOST_TO_CONTAINER = 1
    BIDIRECTIONAL = 2


class EventKind(Enum):
    """What happened to a container or to a sandbox's own process."""

    CREATED = "created"
    STARTED = "started"
    EXITED = "exited"
    OOM = "oom"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened in the runtime. `id` names a container or a sandbox."""

    kind: EventKind
    id: str


@dataclass(frozen=True, slots=True)
class Version:
    """Name and version of the runtime, such as "containerd", "1.6.20"."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Condition:
    """RuntimeReady or NetworkReady, and why not."""

    type: str
    ready: bool
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Dns:
    """What goes into resolv.conf."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A host port led to a container port. `protocol` is TCP, UDP or SCTP."""

    protocol: str
    container_port: int
    host_port: int
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The network, process and IPC namespaces of a sandbox or container."""

    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.CONTAINER
    ipc: NamespaceMode = NamespaceMode.POD
    target_id: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """A seccomp or AppArmor profile: RuntimeDefault, Unconfined or Localhost with a path or name."""

    type: str = "RuntimeDefault"
    localhost_ref: str = ""


@dataclass(frozen=True, slots=True)
class SeLinux:
    """SELinux labels."""

    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


@dataclass(frozen=True, slots=True)
class Security:
    """What a container's processes may do and as whom they run; the sandbox uses the part that fits.

    Attributes:
        run_as_user: Numeric uid; None leaves it to `run_as_username`, else to the image.
        masked_paths: None leaves the runtime's default list, an empty tuple unmasks /proc.
    """

    namespaces: Namespaces = Namespaces()
    run_as_user: int | None = None
    run_as_username: str = ""
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    strict_groups: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    privileged: bool = False
    readonly_rootfs: bool = False
    no_new_privileges: bool = False
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    seccomp: Profile = Profile("Unconfined")
    apparmor: Profile | None = None
    selinux: SeLinux | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits of one container; 0 means not set.

    Attributes:
        cpu_period_us: CFS period in microseconds.
        cpu_quota_us: CFS quota in microseconds a period.
        unified: cgroup v2 files and what to write there.
    """

    cpu_shares: int = 0
    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    memory_limit_bytes: int = 0
    oom_score_adj: int = 0
    unified: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """All that a sandbox is made from. `cgroup_parent` is in cgroupfs or systemd form, as the driver wants it."""

    name: str
    namespace: str
    uid: str
    attempt: int = 0
    hostname: str = ""
    log_directory: str = ""
    dns: Dns = Dns()
    ports: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    security: Security = Security()


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path seen inside a container."""

    container_path: str
    host_path: str
    readonly: bool = False
    propagation: Propagation = Propagation.PRIVATE
    recursive_readonly: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """A host device seen inside a container; permissions of "rwm"."""

    container_path: str
    host_path: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """All that a container is made from. `log_path` is relative to the sandbox's log directory."""

    name: str
    attempt: int
    image: str
    user_image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: Resources = Resources()
    security: Security = Security()


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox as observed. `ips` is empty in lists and in the host's network; `host_network` is known from status alone."""

    id: str
    name: str
    namespace: str
    uid: str
    attempt: int
    ready: bool
    created_at_ns: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    ips: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Container:
    """A container as observed. What follows `annotations` is known from its status alone, not from lists."""

    id: str
    sandbox_id: str
    name: str
    attempt: int
    image: str
    image_ref: str
    state: ContainerState
    created_at_ns: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    started_at_ns: int = 0
    finished_at_ns: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    log_path: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command inside a container printed, and its exit code."""

    stdout: bytes
    stderr: bytes
    exit_code: int


@dataclass(frozen=True, slots=True)
class Image:
    """An image on this node. `uid` and `username` are what it runs as by default; at most one is set."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size_bytes: int
    uid: int | None = None
    username: str = ""
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to sign in to a registry."""

    username: str = ""
    password: str = ""
    auth: str = ""
    server_address: str = ""
    identity_token: str = ""


class Runtime(Protocol):
    """Runs sandboxes and containers. Every method may raise `errors.RuntimeFailure`."""

    async def version(self) -> Version:
        """Return what the runtime is."""

    async def conditions(self) -> list[Condition]:
        """Return whether the runtime and its network are ready."""

    async def run_sandbox(self, config: SandboxConfig, *, handler: str = "") -> str:
        """Create and start a sandbox with its network; return its id."""

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill what runs in a sandbox and give its network back."""

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Remove a sandbox and its containers."""

    async def list_sandboxes(self, *, uid: str = "") -> list[Sandbox]:
        """Return all sandboxes, or those of one pod; no order."""

    async def sandbox_status(self, sandbox_id: str) -> Sandbox | None:
        """Return one sandbox with its addresses, or None if there is none."""

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        """Create a container in a sandbox that runs; return its id."""

    async def start_container(self, container_id: str) -> None:
        """Start a created container."""

    async def stop_container(self, container_id: str, *, timeout_s: int) -> None:
        """Ask a container to end, and kill it after `timeout_s`; return when it has ended."""

    async def remove_container(self, container_id: str) -> None:
        """Remove a container, killing it if it runs."""

    async def list_containers(self, *, uid: str = "") -> list[Container]:
        """Return all containers, or those of one pod; no order."""

    async def container_status(self, container_id: str, *, verbose: bool = False) -> Container | None:
        """Return one container in full, or None if there is none; `verbose` also finds its pid."""

    async def exec_sync(self, container_id: str, command: Sequence[str], *, timeout_s: int) -> ExecResult:
        """Run a command in a container to its end.

        Raises:
            errors.ExecTimeout: it ran longer than `timeout_s`.
        """

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        """Give a running container other limits; a CPU quota or memory limit of -1 takes the limit away."""

    async def reopen_log(self, container_id: str) -> None:
        """Have the runtime open the log file anew, after a rotation moved it."""

    def events(self) -> AsyncIterator[Event]:
        """Return what happens from now on; ends with an error when the runtime goes away."""


class Images(Protocol):
    """Keeps images. Every method may raise `errors.RuntimeFailure`."""

    async def list_images(self) -> list[Image]:
        """Return all images."""

    async def image_status(self, image: str) -> Image | None:
        """Return the image of that name, digest or id, or None."""

    async def pull_image(self, image: str, credentials: Credentials | None = None) -> str:
        """Pull an image; return the reference to create containers from."""

    async def remove_image(self, image: str) -> None:
        """Remove an image with all its names."""

    async def image_filesystem(self) -> tuple[str, int]:
        """Return where images are stored and the bytes that they use."""


class Streams(Protocol):
    """Opens streaming endpoints: each method returns the URL of the runtime's own streaming server."""

    async def exec_url(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> str:
        """Prepare a command in a container."""

    async def attach_url(self, container_id: str, *, tty: bool, stdin: bool, stdout: bool, stderr: bool) -> str:
        """Prepare an attachment to a container's main process."""

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        """Prepare connections to ports inside a sandbox."""
