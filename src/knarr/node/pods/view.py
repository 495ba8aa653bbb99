"""What a pod worker knows of its pod at one moment: the input of planning and of the status.

Values only; the worker replaces them as events arrive.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lightkube.models import core_v1

from knarr.node.pods import spec as specs
from knarr.node.pods.spec import ContainerSpec
from knarr.node.runtime.runtime import Container, ContainerState, Sandbox


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container does not run: a CamelCase reason and a message."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """The backoff of one container.

    Attributes:
        delay_s: How long to wait after its last end.
        updated_s: When it was last made longer, seconds since the epoch.
    """

    delay_s: float
    updated_s: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Why the whole pod ends.

    Attributes:
        reason: Pod status reason such as DeadlineExceeded or Evicted; empty for a deletion.
        message: Pod status message.
        grace_s: Seconds that its containers get.
        since_s: When it began, seconds since the epoch.
    """

    grace_s: int
    since_s: float
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Kill:
    """Why one container is to end: a failed probe or a changed spec.

    Attributes:
        message: For the event.
        grace_s: Seconds that it gets; None for the pod's own.
    """

    message: str
    grace_s: int | None = None


@dataclass(frozen=True, slots=True)
class View:
    """A pod as its worker sees it.

    Attributes:
        pod: The newest version from the API.
        sandboxes: Newest first.
        containers: Newest first.
        waiting: By container name: why its next start failed or waits.
        retries: By container name.
        started: Ids of containers that passed their startup probe, or have none and run.
        ready: Ids of containers that passed their readiness probe, or have none and run.
        failed_probes: By container id: why it must be killed.
        attempts: By container name: how often it was started before, for one that the runtime no longer knows.
        applied: By container id: the resources that it runs with, as far as known.
        pending: Why a resize is not granted.
        stopping: Ids of containers that are being killed.
        stop: Set once the whole pod ends.
        reclaimed: Whether volumes and groups of an ended pod are gone.
    """

    pod: core_v1.Pod
    sandboxes: tuple[Sandbox, ...] = ()
    containers: tuple[Container, ...] = ()
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    retries: Mapping[str, Retry] = field(default_factory=dict)
    started: frozenset[str] = frozenset()
    ready: frozenset[str] = frozenset()
    failed_probes: Mapping[str, Kill] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    applied: Mapping[str, core_v1.ResourceRequirements | None] = field(default_factory=dict)
    pending: Waiting | None = None
    stopping: frozenset[str] = frozenset()
    stop: Stop | None = None
    reclaimed: bool = False

    @property
    def sandbox(self) -> Sandbox | None:
        """The newest sandbox if it is ready."""
        newest = self.sandboxes[0] if self.sandboxes else None
        return newest if newest is not None and newest.ready else None

    @property
    def ips(self) -> tuple[str, ...]:
        """The pod's own addresses; empty without a ready sandbox or in the host's network."""
        return self.sandbox.ips if self.sandbox is not None else ()

    def newest(self, name: str, *, sandbox_id: str = "") -> Container | None:
        """Return the newest container of that name, of one sandbox or of any."""
        for container in self.containers:
            if container.name == name and (not sandbox_id or container.sandbox_id == sandbox_id):
                return container
        return None

    def history(self, name: str) -> list[Container]:
        """Return all containers of that name, newest first."""
        return [container for container in self.containers if container.name == name]

    @property
    def running(self) -> list[Container]:
        """The containers that run, or might."""
        return [c for c in self.containers if c.state in (ContainerState.RUNNING, ContainerState.UNKNOWN)]

    @property
    def has_initialized(self) -> bool:
        """Whether initialization of the present sandbox is over: any main container was made in it."""
        sandbox = self.sandbox
        if sandbox is None:
            return False
        mains = {container.name for container in specs.spec_of(self.pod).containers}
        return any(c.sandbox_id == sandbox.id and c.name in mains for c in self.containers)

    def is_started(self, container: ContainerSpec, observed: Container | None) -> bool:
        """Tell whether a container runs and has passed its startup probe, if it has one."""
        if observed is None or observed.state is not ContainerState.RUNNING:
            return False
        return container.startupProbe is None or observed.id in self.started
