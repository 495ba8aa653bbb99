"""One pod, played: its sandbox and containers exist as values alone, and time does to them what its script says.

Nothing here waits or calls: `step` is told the time, brings everything up to it, plans with the function that real pods are planned
with (`pods.plan`), does at once what was planned, and says what the API should show (`pods.status`) and when to come back. So
fifty thousand of these fit one process, where as many pod workers with their tasks would not.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType

import msgspec
from lightkube.models import core_v1

from knarr.node.pods import spec as specs
from knarr.node.pods import status as statuses
from knarr.node.pods.admit import Rejection
from knarr.node.pods.plan import (
    DEADLINE_MESSAGE,
    Action,
    Plan,
    Reclaim,
    RunSandbox,
    Start,
    StopContainer,
    StopSandbox,
    plan_pod,
)
from knarr.node.pods.spec import ContainerSpec
from knarr.node.pods.view import Retry, Stop, View, Waiting
from knarr.node.runtime.runtime import Container, ContainerState, Sandbox
from knarr.node.simulated.script import Script

ROUNDS = 50
"""Most plans of one step; a pod needs two or three a container."""
KILLED = 137
FORCED_GRACE_S = 1
KEPT_RUNS = 2
"""Runs of a container that are remembered: the present one and the one before, as the kubelet keeps them."""
_NO_LABELS = MappingProxyType[str, str]({})


@dataclass(slots=True)
class _Life:
    """What the future holds for a running container, seconds since the epoch."""

    exit_s: float
    ready_s: float
    code: int
    reason: str = ""
    message: str = ""
    is_stopping: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step came to.

    Attributes:
        status: What the API should show.
        is_final: Nothing is left of the pod, and the API may forget it.
        wake_s: When to step again at the latest, seconds since the epoch; None: not before something happens.
        waiting: Containers that newly wait out a backoff.
    """

    status: core_v1.PodStatus
    is_final: bool
    wake_s: float | None
    waiting: tuple[str, ...] = ()


class Player:
    """Plays one pod.

    Attributes:
        pod: As the API has it.
        containers: All that are remembered, newest first.
        address: Its own; empty until its sandbox is made.

    Args:
        pod: The pod.
        write: Gives the script of a container.
        take_address: Gives the pod an address of its node's.
        host_ips: The node's addresses.
        arrived_s: When the node got the pod, seconds since the epoch.
        rejection: Why the node does not take it.
    """

    __slots__ = (
        "_arrived_s", "_host_ips", "_lives", "_reclaimed", "_retries", "_sandbox_s", "_sandboxes", "_scripts", "_status",
        "_stop", "_take_address", "_waiting", "_write", "address", "containers", "pod",
    )  # fmt: skip

    def __init__(
        self,
        pod: core_v1.Pod,
        write: Callable[[core_v1.Pod, ContainerSpec], Script],
        take_address: Callable[[], str],
        *,
        host_ips: Sequence[str],
        arrived_s: float,
        rejection: Rejection | None = None,
    ) -> None:
        self.pod = pod
        self.address = ""
        self.containers: tuple[Container, ...] = ()
        self._write = write
        self._take_address = take_address
        self._host_ips = tuple(host_ips)
        self._arrived_s = arrived_s
        self._sandboxes: tuple[Sandbox, ...] = ()
        self._sandbox_s: float | None = None
        self._lives: dict[str, _Life] = {}
        self._scripts: dict[str, Script] = {}
        self._retries: dict[str, Retry] = {}
        self._waiting: dict[str, Waiting] = {}
        self._status: core_v1.PodStatus | None = None
        self._reclaimed = False
        self._stop = Stop(0, arrived_s, rejection.reason, rejection.message) if rejection is not None else None
        self._adopt()

    @property
    def uid(self) -> str:
        """The pod's."""
        return specs.uid_of(self.pod)

    @property
    def is_ending(self) -> bool:
        """Whether it has ended or is about to."""
        return self._stop is not None

    @property
    def waiting(self) -> dict[str, Waiting]:
        """Containers that wait out a backoff."""
        return self._waiting

    def observe(self, pod: core_v1.Pod) -> None:
        """Take in a newer version from the API."""
        self.pod = pod

    def view(self, now_s: float) -> View:
        """Return what a pod worker would know of the pod now."""
        ready = {id_ for id_, life in self._lives.items() if life.ready_s <= now_s}
        return View(
            pod=self._merged_pod(),
            sandboxes=self._sandboxes,
            containers=self.containers,
            waiting=self._waiting,
            retries=self._retries,
            started=frozenset(ready),
            ready=frozenset(ready),
            stopping=frozenset(id_ for id_, life in self._lives.items() if life.is_stopping),
            stop=self._stop,
            reclaimed=self._reclaimed,
        )

    def script(self, container: ContainerSpec) -> Script:
        """Return what a container does."""
        found = self._scripts.get(container.name)
        if found is None:
            found = self._scripts[container.name] = self._write(self.pod, container)
        return found

    def step(self, now_s: float) -> Outcome:
        """Bring everything up to the present.

        Args:
            now_s: Seconds since the epoch; never less than at the step before.
        """
        before = self._waiting
        for _ in range(ROUNDS):
            self._elapse(now_s)
            self._decide_stop(now_s)
            plan = plan_pod(self.view(now_s), now_s=now_s)
            self._waiting = plan.waiting
            if self._act(plan, now_s):
                continue
            status = statuses.pod_status(self.view(now_s), host_ips=self._host_ips, now=_moment(now_s))
            self._status = status
            if self._stop is not None or status.phase not in statuses.FINAL_PHASES:
                break  # else what an ended pod holds is given back in the next round
        view = self.view(now_s)
        metadata = self.pod.metadata
        assert metadata is not None
        is_final = metadata.deletionTimestamp is not None and statuses.is_final(view, status)
        news = tuple(name for name, waiting in self._waiting.items() if before.get(name) != waiting)
        return Outcome(status, is_final, self._wake_s(plan, now_s), news)

    # Time.

    def _elapse(self, now_s: float) -> None:
        if self._sandbox_s is not None and self._sandbox_s <= now_s:
            self._make_sandbox(self._sandbox_s)
            self._sandbox_s = None
        for id_, life in [*self._lives.items()]:
            if life.exit_s <= now_s:
                del self._lives[id_]
                self.containers = tuple(_ended(c, life) if c.id == id_ else c for c in self.containers)

    def _wake_s(self, plan: Plan, now_s: float) -> float | None:
        moments = [plan.wake_s, self._sandbox_s]
        for life in self._lives.values():
            moments += [life.exit_s, life.ready_s]
        if self._stop is None:
            moments.append(self._deadline_s())
        found = [moment for moment in moments if moment is not None and now_s < moment < math.inf]
        return min(found, default=None)

    # Deciding that the pod ends, as `pods.worker` does.

    def _decide_stop(self, now_s: float) -> None:
        wanted = self._wanted_stop(now_s)
        if wanted is None:
            return
        if self._stop is None:
            self._stop = wanted
            self._sandbox_s = None
        elif wanted.grace_s < self._stop.grace_s:
            self._stop = replace(self._stop, grace_s=wanted.grace_s)
            for life in self._lives.values():
                if life.is_stopping and life.exit_s > now_s + wanted.grace_s:
                    life.exit_s, life.code = now_s + wanted.grace_s, KILLED

    def _wanted_stop(self, now_s: float) -> Stop | None:
        metadata = self.pod.metadata
        assert metadata is not None
        grace_s = specs.grace_period_s(self.pod)
        if metadata.deletionTimestamp is not None:
            return Stop(max(FORCED_GRACE_S, grace_s), now_s)
        known = self._status or self.pod.status
        if known is not None and known.phase in statuses.FINAL_PHASES:
            return Stop(grace_s, now_s, known.reason or "", known.message or "")
        deadline_s = self._deadline_s()
        if deadline_s is not None and now_s >= deadline_s:
            return Stop(grace_s, now_s, "DeadlineExceeded", DEADLINE_MESSAGE)
        return None

    def _deadline_s(self) -> float | None:
        seconds = specs.spec_of(self.pod).activeDeadlineSeconds
        known = self._status or self.pod.status
        if seconds is None or known is None or known.startTime is None:
            return None
        return known.startTime.timestamp() + seconds

    # Doing what was planned.

    def _act(self, plan: Plan, now_s: float) -> bool:
        """Do it; tell whether anything was done that is done already."""
        done = False
        for action in plan.actions:
            done |= self._do(action, plan, now_s)
            if isinstance(action, Start):
                break  # the next one is planned when this one runs
        return done

    def _do(self, action: Action, plan: Plan, now_s: float) -> bool:
        match action:
            case RunSandbox(attempt=attempt):
                return self._run_sandbox(attempt, now_s)
            case StopSandbox(id=id_):
                self._sandboxes = tuple(replace(s, ready=False) if s.id == id_ else s for s in self._sandboxes)
            case Start(name=name, attempt=attempt):
                if name in plan.retries:
                    self._retries[name] = plan.retries[name]
                self._start(name, attempt, now_s)
            case StopContainer(id=id_, grace_s=grace_s):
                self._stop_container(id_, grace_s, now_s)
            case Reclaim():
                self._reclaimed = True
        return True

    def _run_sandbox(self, attempt: int, now_s: float) -> bool:
        if self._sandbox_s is not None:
            return False
        first = next(specs.all_containers(self.pod))
        delay_s = self.script(first).draw("start") if attempt == 0 else 0.0
        due_s = max(now_s, self._arrived_s + delay_s)
        if due_s > now_s:
            self._sandbox_s = due_s
            return False
        self._make_sandbox(now_s)
        return True

    def _make_sandbox(self, now_s: float) -> None:
        attempt = self._sandboxes[0].attempt + 1 if self._sandboxes else 0
        host = specs.is_host_network(self.pod)
        if not self.address and not host:
            self.address = self._take_address()
        made = Sandbox(
            id=_id(self.uid, "", attempt),
            name=specs.name_of(self.pod),
            namespace=specs.namespace_of(self.pod),
            uid=self.uid,
            attempt=attempt,
            ready=True,
            created_at_ns=_nanos(now_s),
            ips=() if host else (self.address,),
        )
        self._sandboxes = (made, *self._sandboxes[:1])

    def _start(self, name: str, attempt: int, now_s: float) -> None:
        container = specs.find_container(self.pod, name)
        assert container is not None
        run = self.script(container).run(attempt)
        image = container.image or ""
        annotations = {specs.CONTAINER_HASH: specs.container_hash(container)}
        made = Container(
            id=_id(self.uid, name, attempt),
            sandbox_id=self._sandboxes[0].id,
            name=name,
            attempt=attempt,
            image=image,
            image_ref=_image_ref(image),
            state=ContainerState.RUNNING,
            created_at_ns=_nanos(now_s),
            labels=_NO_LABELS,
            annotations=annotations,
            started_at_ns=_nanos(now_s),
        )
        kept = [c for c in self.containers if c.name == name][: KEPT_RUNS - 1]
        others = [c for c in self.containers if c.name != name]
        self.containers = (made, *kept, *others)
        self._lives[made.id] = _Life(now_s + run.exit_s, now_s + run.ready_s, run.code, run.reason, run.message)

    def _stop_container(self, id_: str, grace_s: int, now_s: float) -> None:
        life = self._lives.get(id_)
        container = next((c for c in self.containers if c.id == id_), None)
        if life is None or container is None:
            return
        spec = specs.find_container(self.pod, container.name)
        takes_s = self.script(spec).draw("stop") if spec is not None else 0.0
        life.is_stopping = True
        if life.exit_s > now_s + min(takes_s, grace_s):
            life.exit_s = now_s + min(takes_s, grace_s)
            life.code, life.reason, life.message = (0 if takes_s <= grace_s else KILLED), "", ""

    # What is known from before.

    def _adopt(self) -> None:
        """Take over a pod that an earlier process played, from what the API shows of it."""
        status = self.pod.status
        if status is None or status.startTime is None or self._stop is not None:
            return
        self.address = status.podIP or ""
        known = [*(status.initContainerStatuses or []), *(status.containerStatuses or [])]
        if not any(entry.containerID for entry in known):
            return
        self._make_sandbox(status.startTime.timestamp())
        for entry in known:
            self._adopt_container(entry)

    def _adopt_container(self, entry: core_v1.ContainerStatus) -> None:
        spec = specs.find_container(self.pod, entry.name)
        states = [entry.lastState, entry.state]
        for back, state in zip((1, 0), states, strict=True):
            attempt = (entry.restartCount or 0) - back
            if spec is None or state is None or attempt < 0:
                continue
            if state.running is not None and state.running.startedAt is not None:
                self._start(entry.name, attempt, state.running.startedAt.timestamp())
            elif state.terminated is not None and state.terminated.startedAt is not None:
                self._start(entry.name, attempt, state.terminated.startedAt.timestamp())
                self._end_adopted(state.terminated)

    def _end_adopted(self, ended: core_v1.ContainerStateTerminated) -> None:
        newest = self.containers[0]
        finished = (ended.finishedAt or ended.startedAt or datetime.fromtimestamp(0, UTC)).timestamp()
        life = _Life(finished, math.inf, ended.exitCode, ended.reason or "", ended.message or "")
        del self._lives[newest.id]
        self.containers = (_ended(newest, life), *self.containers[1:])

    def _merged_pod(self) -> core_v1.Pod:
        """Return the pod with the status as last worked out here, and what others wrote beside it."""
        if self._status is None:
            return self.pod
        theirs = self.pod.status or core_v1.PodStatus()
        ours = {condition.type for condition in self._status.conditions or []}
        others = [condition for condition in theirs.conditions or [] if condition.type not in ours]
        conditions = [*(self._status.conditions or []), *others]
        return msgspec.structs.replace(self.pod, status=msgspec.structs.replace(self._status, conditions=conditions))


def _ended(container: Container, life: _Life) -> Container:
    return replace(
        container,
        state=ContainerState.EXITED,
        finished_at_ns=_nanos(life.exit_s),
        exit_code=life.code,
        reason=life.reason,
        message=life.message,
    )


def _id(uid: str, name: str, attempt: int) -> str:
    return hashlib.sha256(f"{uid}/{name}/{attempt}".encode()).hexdigest()


def _image_ref(image: str) -> str:
    repository, colon, tag = image.partition("@")[0].rpartition(":")
    name = repository if colon and "/" not in tag else image
    return f"{name}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def _nanos(seconds: float) -> int:
    return int(seconds * 1_000_000) * 1000


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
