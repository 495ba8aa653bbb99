"""What a pod's status says, as a pure function of what its worker knows.

A container that waits for its next start is Waiting with the reason, and how it last ended is its `lastState`. A pod does not become
Succeeded or Failed while anything of it runs, and what it once became it stays.

Source: pkg/kubelet/kubelet_pods.go generateAPIPodStatus, getPhase, convertToAPIContainerStatuses; pkg/kubelet/status/generate.go (v1.37).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lightkube.models import core_v1

from knarr.node.pods import resize
from knarr.node.pods import spec as specs
from knarr.node.pods.resources import qos_class
from knarr.node.pods.spec import ContainerSpec
from knarr.node.pods.view import View, Waiting
from knarr.node.runtime.runtime import Container, ContainerState

RUNTIME = "containerd"
LOST_EXIT_CODE = 137
LOST_REASON = "ContainerStatusUnknown"
LOST_MESSAGE = "The container could not be located when the pod was terminated"
FINAL_PHASES = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class _Part:
    """A container of the spec with its status."""

    spec: ContainerSpec
    status: core_v1.ContainerStatus


def pod_status(view: View, *, host_ips: Sequence[str], now: datetime) -> core_v1.PodStatus:
    """Return a pod's whole status.

    Args:
        view: What is known of it.
        host_ips: The node's addresses, the primary one first.
        now: The present, for new transitions.
    """
    pod = view.pod
    old = pod.status or core_v1.PodStatus()
    spec = specs.spec_of(pod)
    init = [_Part(c, _container_status(view, c, init=True)) for c in specs.init_containers(pod)]
    main = [_Part(c, _container_status(view, c, init=False)) for c in spec.containers]
    ephemeral = [_Part(c, _container_status(view, c, init=False)) for c in specs.ephemeral_containers(pod)]
    phase = _phase(view, init, main)
    ips = _pod_ips(view, host_ips)
    generation = pod.metadata.generation if pod.metadata is not None else None
    return core_v1.PodStatus(
        observedGeneration=generation,
        phase=phase,
        conditions=_conditions(view, phase, init, main, generation=generation, now=_whole(now)),
        reason=(view.stop.reason if view.stop is not None else "") or old.reason or None,
        message=(view.stop.message if view.stop is not None else "") or old.message or None,
        hostIP=host_ips[0] if host_ips else None,
        hostIPs=[core_v1.HostIP(ip) for ip in host_ips] or None,
        podIP=ips[0] if ips else None,
        podIPs=[core_v1.PodIP(ip) for ip in ips] or None,
        startTime=old.startTime or _whole(now),
        initContainerStatuses=[part.status for part in init] or None,
        containerStatuses=[part.status for part in main] or None,
        ephemeralContainerStatuses=[part.status for part in ephemeral] or None,
        qosClass=qos_class(pod),
    )


def is_final(view: View, status: core_v1.PodStatus) -> bool:
    """Tell whether a pod that ends may be deleted from the API: nothing runs, and what it held is given back."""
    return view.stop is not None and view.reclaimed and not view.running and status.phase in FINAL_PHASES


def to_time(nanoseconds: int) -> datetime:
    """Convert nanoseconds since the epoch to a time with whole seconds, as the API keeps it."""
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _pod_ips(view: View, host_ips: Sequence[str]) -> list[str]:
    if specs.is_host_network(view.pod):
        return list(host_ips)
    if view.ips:
        return list(view.ips)
    # The addresses of a pod that ended stay readable.
    old = view.pod.status.podIPs if view.pod.status is not None else None
    return [entry.ip for entry in old or []] if view.sandboxes or view.stop is not None else []


def _container_status(view: View, container: ContainerSpec, *, init: bool) -> core_v1.ContainerStatus:
    # One that is created but not started yet says nothing new.
    history = [c for c in view.history(container.name) if c.state is not ContainerState.CREATED]
    newest = history[0] if history else None
    status = _initial_status(view, container)
    if newest is not None:
        status.restartCount = int(newest.annotations.get(specs.RESTART_COUNT) or newest.attempt)
        status.image = newest.image or container.image or ""
        status.imageID = newest.image_ref
        status.containerID = f"{RUNTIME}://{newest.id}"
        status.state = _state(newest, status.state)
        if newest.id in view.applied:
            status.resources = view.applied[newest.id]
        ended = next((c for c in history[1:] if c.state is ContainerState.EXITED), None)
        if ended is not None:
            status.lastState = core_v1.ContainerState(terminated=_terminated(ended))
    elif view.stop is not None and not view.running:
        status = _lost_status(view, container, status)
    waiting = view.waiting.get(container.name)
    if waiting is not None and _may_start(view, container, newest, init=init):
        _overlay(status, waiting)
    status.started = view.is_started(container, newest)
    if init and not specs.is_sidecar(container):
        status.ready = newest is not None and newest.state is ContainerState.EXITED and newest.exit_code == 0
    else:
        running = newest is not None and newest.state is ContainerState.RUNNING
        status.ready = running and bool(status.started) and newest is not None and newest.id in view.ready
    return status


def _initial_status(view: View, container: ContainerSpec) -> core_v1.ContainerStatus:
    has_init = bool(specs.init_containers(view.pod))
    is_ephemeral = isinstance(container, core_v1.EphemeralContainer)
    reason = "PodInitializing" if has_init and not is_ephemeral else "ContainerCreating"
    mounts = [
        core_v1.VolumeMountStatus(
            mountPath=mount.mountPath,
            name=mount.name,
            readOnly=mount.readOnly or None,
            recursiveReadOnly="Disabled" if mount.readOnly else None,
        )
        for mount in container.volumeMounts or []
    ]
    status = core_v1.ContainerStatus(
        name=container.name,
        image=container.image or "",
        imageID="",
        ready=False,
        restartCount=0,
        started=False,
        state=core_v1.ContainerState(waiting=core_v1.ContainerStateWaiting(reason=reason)),
        lastState=core_v1.ContainerState(),
        volumeMounts=mounts or None,
    )
    if container.resources is not None and not is_ephemeral:
        status.resources = container.resources
        status.allocatedResources = container.resources.requests
    return status


def _lost_status(view: View, container: ContainerSpec, status: core_v1.ContainerStatus) -> core_v1.ContainerStatus:
    """Return the status of a container that should be there but is not, in a pod that has ended."""
    known = _known_status(view.pod, container.name)
    if known is None or known.state is None or known.state.running is None:
        if known is not None and known.state is not None and known.state.terminated is not None:
            return known
        if known is None or not known.containerID:
            return status
    else:
        status.restartCount = known.restartCount
        status.lastState = known.lastState
    status.state = core_v1.ContainerState(
        terminated=core_v1.ContainerStateTerminated(LOST_EXIT_CODE, reason=LOST_REASON, message=LOST_MESSAGE)
    )
    return status


def _known_status(pod: core_v1.Pod, name: str) -> core_v1.ContainerStatus | None:
    status = pod.status
    if status is None:
        return None
    lists = (status.initContainerStatuses, status.containerStatuses, status.ephemeralContainerStatuses)
    return next((entry for entries in lists for entry in entries or [] if entry.name == name), None)


def _state(container: Container, fallback: core_v1.ContainerState | None) -> core_v1.ContainerState:
    if container.state is ContainerState.RUNNING:
        started = core_v1.ContainerStateRunning(startedAt=to_time(container.started_at_ns))
        return core_v1.ContainerState(running=started)
    if container.state is ContainerState.EXITED:
        return core_v1.ContainerState(terminated=_terminated(container))
    return fallback or core_v1.ContainerState()


def _terminated(container: Container) -> core_v1.ContainerStateTerminated:
    return core_v1.ContainerStateTerminated(
        exitCode=container.exit_code,
        reason=container.reason or ("Completed" if container.exit_code == 0 else "Error"),
        message=container.message or None,
        startedAt=to_time(container.started_at_ns),
        finishedAt=to_time(container.finished_at_ns),
        containerID=f"{RUNTIME}://{container.id}",
    )


def _may_start(view: View, container: ContainerSpec, newest: Container | None, *, init: bool) -> bool:
    if view.stop is not None:
        return False
    if newest is None or newest.state is ContainerState.CREATED:
        return True
    if newest.state is not ContainerState.EXITED:
        return False
    if init and not specs.is_sidecar(container) and newest.exit_code == 0:
        return False
    return specs.should_restart(view.pod, container, newest.exit_code)


def _overlay(status: core_v1.ContainerStatus, waiting: Waiting) -> None:
    if status.state is not None and status.state.terminated is not None:
        status.lastState = status.state
    status.state = core_v1.ContainerState(
        waiting=core_v1.ContainerStateWaiting(reason=waiting.reason, message=waiting.message or None)
    )


def _phase(view: View, init: list[_Part], main: list[_Part]) -> str:
    old = view.pod.status.phase if view.pod.status is not None else None
    if old in FINAL_PHASES:
        return old
    phase = _natural_phase(view, init, main)
    if view.stop is not None:
        if view.running:
            return old or "Pending"
        return "Failed" if view.stop.reason else phase
    if phase in FINAL_PHASES and view.running:
        return "Running"  # sidecars end after the main containers
    return phase


def _natural_phase(view: View, init: list[_Part], main: list[_Part]) -> str:
    policy = specs.restart_policy(view.pod)
    pending, failed = _count_initialization(view, init)
    if failed and policy == "Never":
        return "Failed"
    if pending and view.stop is None:
        return "Pending"
    states = [part.status for part in main]
    running = sum(1 for status in states if status.state and status.state.running)
    ended = [end for status in states if (end := _end_of(status)) is not None]
    waiting = len(states) - running - len(ended)
    succeeded = all(end.exitCode == 0 for end in ended)
    if view.stop is not None:
        return "Succeeded" if ended and not waiting and succeeded else "Failed"
    if waiting:
        return "Pending"
    if running:
        return "Running"
    return _phase_of_ended(view, main, succeeded=succeeded)


def _phase_of_ended(view: View, main: list[_Part], *, succeeded: bool) -> str:
    for part in main:
        end = _end_of(part.status)
        if end is not None and specs.should_restart(view.pod, part.spec, end.exitCode):
            return "Running"
    return "Succeeded" if succeeded else "Failed"


def _end_of(status: core_v1.ContainerStatus) -> core_v1.ContainerStateTerminated | None:
    state = status.state or core_v1.ContainerState()
    if state.terminated is not None:
        return state.terminated
    if state.waiting is not None and status.lastState is not None:
        return status.lastState.terminated
    return None


def _count_initialization(view: View, init: list[_Part]) -> tuple[int, int]:
    """Count the init containers that are not done, and those that failed."""
    if view.has_initialized:
        return 0, 0
    pending = failed = 0
    for part in init:
        if specs.is_sidecar(part.spec):
            pending += not part.status.started
            continue
        end = _end_of(part.status)
        if end is None:
            pending += 1
        elif end.exitCode != 0:
            failed += 1
            pending += 1
    return pending, failed


def _conditions(
    view: View, phase: str, init: list[_Part], main: list[_Part], *, generation: int | None, now: datetime
) -> list[core_v1.PodCondition]:
    sidecars = [part for part in init if specs.is_sidecar(part.spec)]
    containers_ready = _containers_ready(phase, [*sidecars, *main])
    wanted = [
        _ready_to_start(view),
        _initialized(view, phase, init),
        _ready(view.pod, containers_ready),
        containers_ready,
    ]
    old = {c.type: c for c in (view.pod.status.conditions or [])} if view.pod.status is not None else {}
    wanted += _resize_conditions(view, old)
    if "PodScheduled" not in old:
        wanted.append(_condition("PodScheduled", value=True))
    for condition in wanted:
        before = old.get(condition.type)
        same = before is not None and before.status == condition.status
        condition.lastTransitionTime = before.lastTransitionTime if same and before is not None else now
        condition.observedGeneration = generation
    return wanted


def _resize_conditions(view: View, old: Mapping[str, core_v1.PodCondition]) -> list[core_v1.PodCondition]:
    found = []
    if view.pending is not None:
        pending = view.pending
        found.append(_condition("PodResizePending", value=True, reason=pending.reason, message=pending.message))
    elif "PodResizePending" in old and old["PodResizePending"].status == "True":
        found.append(_condition("PodResizePending", value=False))
    if _is_resizing(view):
        found.append(_condition("PodResizeInProgress", value=True))
    elif "PodResizeInProgress" in old and old["PodResizeInProgress"].status == "True":
        found.append(_condition("PodResizeInProgress", value=False))
    return found


def _is_resizing(view: View) -> bool:
    for container in view.running:
        spec = specs.find_container(view.pod, container.name)
        if spec is None or container.id not in view.applied:
            continue
        if not resize.is_same(view.applied[container.id], spec.resources):
            return True
    return False


def _condition(kind: str, *, value: bool, reason: str = "", message: str = "") -> core_v1.PodCondition:
    return core_v1.PodCondition(
        type=kind, status="True" if value else "False", reason=reason or None, message=message or None
    )


def _ready_to_start(view: View) -> core_v1.PodCondition:
    ready = view.sandbox is not None and (specs.is_host_network(view.pod) or bool(view.ips))
    return _condition("PodReadyToStartContainers", value=ready)


def _initialized(view: View, phase: str, init: list[_Part]) -> core_v1.PodCondition:
    kind = "Initialized"
    if phase == "Succeeded":
        return _condition(kind, value=True, reason="PodCompleted")
    if view.has_initialized:
        return _condition(kind, value=True)
    incomplete = [
        part.spec.name
        for part in init
        if not (part.status.started if specs.is_sidecar(part.spec) else part.status.ready)
    ]
    if not incomplete:
        return _condition(kind, value=True)
    message = f"containers with incomplete status: {_go_list(incomplete)}"
    return _condition(kind, value=False, reason="ContainersNotInitialized", message=message)


def _containers_ready(phase: str, parts: list[_Part]) -> core_v1.PodCondition:
    kind = "ContainersReady"
    if phase == "Succeeded":
        return _condition(kind, value=False, reason="PodCompleted")
    if phase == "Failed":
        return _condition(kind, value=False, reason="PodFailed")
    unready = [part.spec.name for part in parts if not part.status.ready]
    if not unready:
        return _condition(kind, value=True)
    message = f"containers with unready status: {_go_list(unready)}"
    return _condition(kind, value=False, reason="ContainersNotReady", message=message)


def _ready(pod: core_v1.Pod, containers: core_v1.PodCondition) -> core_v1.PodCondition:
    if containers.status != "True":
        return _condition("Ready", value=False, reason=containers.reason or "", message=containers.message or "")
    conditions = {c.type: c for c in (pod.status.conditions or [])} if pod.status is not None else {}
    problems = []
    for gate in specs.spec_of(pod).readinessGates or []:
        found = conditions.get(gate.conditionType)
        if found is None:
            problems.append(f'corresponding condition of pod readiness gate "{gate.conditionType}" does not exist.')
        elif found.status != "True":
            problems.append(
                f'the status of pod readiness gate "{gate.conditionType}" is not "True", but {found.status}'
            )
    if problems:
        return _condition("Ready", value=False, reason="ReadinessGatesNotReady", message=", ".join(problems))
    return _condition("Ready", value=True)


def _go_list(names: Iterable[str]) -> str:
    return f"[{' '.join(names)}]"
