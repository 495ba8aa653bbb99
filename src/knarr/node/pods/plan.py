"""What to do next about a pod: a pure function of what its worker knows.

The order is upstream's: a sandbox, init containers one after the other (sidecars until they have started), then the main
ones. A container that ended is started again as its policy says, after a pause that doubles from 10 s to 5 min. A pod that
ends loses its main containers first, then its sidecars from last to first, then its sandbox.

Source: pkg/kubelet/kuberuntime/kuberuntime_manager.go computePodActions, doBackOff (v1.37).
"""

from dataclasses import dataclass, field

from knarr.node.pods import resize
from knarr.node.pods import spec as specs
from knarr.node.pods.spec import ContainerSpec
from knarr.node.pods.view import Kill, Retry, View, Waiting
from knarr.node.runtime.runtime import Container, ContainerState

BACKOFF_FIRST_S = 10.0
BACKOFF_LIMIT_S = 300.0
BACKOFF_RESET_S = 600.0
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


@dataclass(frozen=True, slots=True)
class RunSandbox:
    """Make a sandbox; `attempt` counts those before it."""

    attempt: int


@dataclass(frozen=True, slots=True)
class StopSandbox:
    """Stop a sandbox that is of no more use."""

    id: str


@dataclass(frozen=True, slots=True)
class Start:
    """Start a container for the `attempt`-th time after the first."""

    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class StopContainer:
    """End a running container; with `restarts` so that another takes its place."""

    id: str
    grace_s: int
    message: str = ""
    restarts: bool = False


@dataclass(frozen=True, slots=True)
class Resize:
    """Give the running containers, by id, the resources that their pod has been granted."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reclaim:
    """Give back the volumes and groups of a pod whose processes are all gone."""


Action = RunSandbox | StopSandbox | Start | StopContainer | Resize | Reclaim


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, and when to look again.

    Attributes:
        actions: Starts are done one after the other in this order; the rest side by side.
        waiting: Containers that wait out a pause, by name.
        retries: Backoffs that changed, by container name.
        wake_s: When to plan again at the latest, seconds since the epoch; None if only an event can change anything.
    """

    actions: tuple[Action, ...] = ()
    waiting: dict[str, Waiting] = field(default_factory=dict)
    retries: dict[str, Retry] = field(default_factory=dict)
    wake_s: float | None = None


def plan_pod(view: View, *, now_s: float) -> Plan:
    """Decide what to do next about a pod.

    Args:
        view: What is known of it.
        now_s: Wall time, seconds since the epoch.

    Returns:
        The actions; none if the pod is as it should be, or is on its way there.
    """
    if view.stop is not None:
        return Plan(plan_stop(view, now_s=now_s))
    return _Planner(view, now_s).plan()


def plan_stop(view: View, *, now_s: float) -> tuple[Action, ...]:
    """Decide how to end a pod: main containers, then sidecars from last to first, then sandboxes, then what is left."""
    assert view.stop is not None
    running = view.running
    if running:
        left_s = max(0, round(view.stop.grace_s - (now_s - view.stop.since_s)))
        sidecars = [c.name for c in specs.init_containers(view.pod) if specs.is_sidecar(c)]
        first = [c for c in running if c.name not in sidecars]
        if not first:
            last = max(sidecars.index(c.name) for c in running)
            first = [c for c in running if c.name == sidecars[last]]
        return tuple(StopContainer(c.id, left_s) for c in first if c.id not in view.stopping)
    ready = [sandbox for sandbox in view.sandboxes if sandbox.ready]
    if ready:
        return tuple(StopSandbox(sandbox.id) for sandbox in ready)
    return () if view.reclaimed else (Reclaim(),)


def is_finished(view: View) -> bool:
    """Tell whether a pod has run to its end: nothing runs and nothing is to be started again."""
    spec = specs.spec_of(view.pod)
    if specs.restart_policy(view.pod) == "Never":
        for container in specs.init_containers(view.pod):
            newest = view.newest(container.name)
            ended = newest is not None and newest.state is ContainerState.EXITED
            if ended and newest is not None and newest.exit_code != 0 and not specs.is_sidecar(container):
                return not specs.should_restart(view.pod, container, newest.exit_code)
    for main in spec.containers:
        newest = view.newest(main.name)
        if newest is None or newest.state is not ContainerState.EXITED:
            return False
        if specs.should_restart(view.pod, main, newest.exit_code):
            return False
    return True


def next_retry(retry: Retry | None, *, ended_s: float, now_s: float) -> Retry:
    """Return the backoff after one more start.

    Args:
        retry: The one before; None or one older than 10 minutes starts over.
        ended_s: When the container ended.
        now_s: The present.
    """
    if retry is None or ended_s - retry.updated_s > BACKOFF_RESET_S:
        return Retry(BACKOFF_FIRST_S, now_s)
    return Retry(min(retry.delay_s * 2, BACKOFF_LIMIT_S), now_s)


def due_s(retry: Retry | None, *, ended_s: float) -> float:
    """Return when a container that ended may start again, seconds since the epoch."""
    if retry is None or ended_s - retry.updated_s > BACKOFF_RESET_S:
        return 0.0
    return ended_s + retry.delay_s


class _Planner:
    """One planning of a pod that is to run."""

    def __init__(self, view: View, now_s: float) -> None:
        self.view = view
        self.now_s = now_s
        self.actions: list[Action] = []
        self.waiting: dict[str, Waiting] = {}
        self.retries: dict[str, Retry] = {}
        self.wakes: list[float] = []
        self.resizes: list[str] = []

    def plan(self) -> Plan:
        view = self.view
        if is_finished(view):
            self._end()
        elif view.sandbox is None:
            self._replace_sandbox()
        else:
            self._ephemeral()
            if self._initialize():
                self._run_main()
            if self.resizes:
                self.actions.append(Resize(tuple(self.resizes)))
        return Plan(tuple(self.actions), self.waiting, self.retries, min(self.wakes, default=None))

    def _end(self) -> None:
        # Sidecars end with the main containers, and the sandbox after them.
        running = [c for c in self.view.running if c.id not in self.view.stopping]
        if self.view.running:
            sidecars = [c.name for c in specs.init_containers(self.view.pod)]
            last = max(running, key=lambda c: sidecars.index(c.name) if c.name in sidecars else 1 << 30, default=None)
            if last is not None and not self.view.stopping:
                self.actions.append(StopContainer(last.id, specs.grace_period_s(self.view.pod)))
            return
        self.actions.extend(StopSandbox(sandbox.id) for sandbox in self.view.sandboxes if sandbox.ready)

    def _replace_sandbox(self) -> None:
        view = self.view
        leftovers = view.running
        for container in leftovers:
            if container.id not in view.stopping:
                text = "Pod sandbox changed, it will be killed and re-created."
                self._kill(container, Kill(text), restarts=False)
        if leftovers:
            return
        older = [sandbox for sandbox in view.sandboxes[1:] if sandbox.ready]
        self.actions.extend(StopSandbox(sandbox.id) for sandbox in older)
        attempt = view.sandboxes[0].attempt + 1 if view.sandboxes else 0
        if attempt and view.containers and specs.restart_policy(view.pod) == "Never":
            return
        self.actions.append(RunSandbox(attempt))

    def _ephemeral(self) -> None:
        for container in specs.ephemeral_containers(self.view.pod):
            if self.view.newest(container.name) is None:
                self.actions.append(Start(container.name, 0))

    def _initialize(self) -> bool:
        """Plan the init containers; tell whether the main ones may start."""
        view = self.view
        sandbox = view.sandbox
        assert sandbox is not None
        over = view.has_initialized
        for container in specs.init_containers(view.pod):
            newest = view.newest(container.name, sandbox_id=sandbox.id)
            if not specs.is_sidecar(container):
                if not over and not self._is_initialized(container, newest):
                    return False
                continue
            if newest is not None and newest.state is ContainerState.RUNNING:
                if self._check_running(container, newest) and not over and not view.is_started(container, newest):
                    return False
            else:
                self._start(container, newest)
                if not over:
                    return False
        return True

    def _is_initialized(self, container: ContainerSpec, newest: Container | None) -> bool:
        if newest is not None and newest.state in (ContainerState.RUNNING, ContainerState.UNKNOWN):
            return False
        if newest is not None and newest.state is ContainerState.EXITED:
            if newest.exit_code == 0:
                return True
            # Init containers that fail are started again under Always and OnFailure alike.
            if not specs.should_restart(self.view.pod, container, newest.exit_code):
                return False
        self._start(container, newest)
        return False

    def _run_main(self) -> None:
        sandbox = self.view.sandbox
        assert sandbox is not None
        for container in specs.spec_of(self.view.pod).containers:
            newest = self.view.newest(container.name)
            if newest is None or newest.state is ContainerState.CREATED:
                self._start(container, newest)
            elif newest.state is ContainerState.EXITED:
                # One that ended with an earlier sandbox and needs no restart has done its work.
                if specs.should_restart(self.view.pod, container, newest.exit_code):
                    self._start(container, newest)
            else:
                self._check_running(container, newest)

    def _check_running(self, container: ContainerSpec, observed: Container) -> bool:
        """Kill a running container that must not go on; tell whether it may."""
        if observed.id in self.view.stopping:
            return True
        if observed.state is ContainerState.UNKNOWN:
            self._kill(observed, Kill("Container is in unknown state, try killing it before restart"))
            return False
        known = observed.annotations.get(specs.CONTAINER_HASH)
        if known and known != specs.container_hash(container):
            self._kill(observed, Kill(f"Container {container.name} definition changed, will be restarted"))
            return False
        kill = self.view.failed_probes.get(observed.id)
        if kill is not None:
            self._kill(observed, kill)
            return False
        return self._check_resources(container, observed)

    def _check_resources(self, container: ContainerSpec, observed: Container) -> bool:
        """Plan a change of resources; tell whether the container may go on for it."""
        if observed.id not in self.view.applied:
            return True
        applied = self.view.applied[observed.id]
        if resize.is_same(applied, container.resources):
            return True
        if resize.needs_restart(container, applied, container.resources):
            self._kill(observed, Kill(f"Container {container.name} resize requires restart"))
            return False
        self.resizes.append(observed.id)
        return True

    def _kill(self, observed: Container, kill: Kill, *, restarts: bool = True) -> None:
        grace_s = specs.grace_period_s(self.view.pod) if kill.grace_s is None else kill.grace_s
        self.actions.append(StopContainer(observed.id, grace_s, kill.message, restarts))

    def _start(self, container: ContainerSpec, previous: Container | None) -> None:
        name = container.name
        newest = self.view.newest(name)
        if newest is not None and newest.state is ContainerState.EXITED:
            ended_s = newest.finished_at_ns / 1e9
            retry = self.view.retries.get(name)
            due = due_s(retry, ended_s=ended_s)
            if due > self.now_s:
                assert retry is not None
                text = (
                    f"back-off {_format_delay(retry.delay_s)} restarting failed container={name} "
                    f"pod={specs.format_pod(self.view.pod)}"
                )
                self.waiting[name] = Waiting("CrashLoopBackOff", text)
                self.wakes.append(due)
                return
            if previous is not None:
                self.retries[name] = next_retry(retry, ended_s=ended_s, now_s=self.now_s)
        self.actions.append(Start(name, newest.attempt + 1 if newest is not None else self.view.attempts.get(name, 0)))


def _format_delay(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
