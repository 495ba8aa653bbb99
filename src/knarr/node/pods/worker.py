"""The worker of one pod: whenever something happens it looks, plans, acts and reports.

What happens: a new version from the API, an event of the runtime, a probe's result, an action's end, a moment that was waited for. Starts
are made one after the other in one lane; containers are ended side by side, at any time. A pod that is to end clears the lane.

Counterpart: pkg/kubelet/pod_workers.go, kubelet.go SyncPod, SyncTerminatingPod, SyncTerminatedPod (v1.37).
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Coroutine, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from lightkube.models import core_v1

from knarr.kit.backoff import Curve
from knarr.node.pods import spec as specs
from knarr.node.pods import start, status
from knarr.node.pods.env import Facts
from knarr.node.pods.errors import ConfigFailed, MountFailed, StartFailed
from knarr.node.pods.observe import Observed
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
from knarr.node.pods.publish import Publisher
from knarr.node.pods.resources import qos_class
from knarr.node.pods.stopping import stop_container
from knarr.node.pods.tools import Tools
from knarr.node.pods.view import Retry, Stop, View, Waiting
from knarr.node.probes import ask
from knarr.node.probes.prober import Prober
from knarr.node.probes.prober import Tools as ProbeTools
from knarr.node.runtime.errors import RuntimeFailure
from knarr.node.runtime.runtime import Container, ContainerState, Event, EventKind, Sandbox
from knarr.node.volumes.pod import PodVolumes, remove_folder
from knarr.node.volumes.source import ApiSource
from knarr.node.waiting import wait_set

RETRY = Curve(first_s=1.0, limit_s=10.0)
"""Between attempts at what failed for a reason without a pause of its own."""
REFRESH_SHORTEST_S = 1.0
FORCED_GRACE_S = 1
LATE_FIRST_S = 0.005
LATE_TRIES = 9
"""containerd tells that a container has ended a moment before its own records do."""

logger = logging.getLogger(__name__)


class Worker:
    """One pod on this node.

    Attributes:
        uid: The pod's.
        observed: What the runtime has of it.
        acted: Counts actions: a list made before the last one is out of date.

    Args:
        pod: As the API has it.
        tools: The node.
        sandboxes: What the runtime has of it from before this agent started.
        containers: Likewise.
    """

    def __init__(
        self, pod: core_v1.Pod, tools: Tools, sandboxes: Iterable[Sandbox] = (), containers: Iterable[Container] = ()
    ) -> None:
        self._pod = pod
        self._tools = tools
        self.uid = specs.uid_of(pod)
        self._folder = tools.node.pod_folder(self.uid)
        self.observed = Observed(tools.runtime, self._folder)
        self._publisher = Publisher(tools.client, tools.clock, pod)
        source = ApiSource(pod, tools.client, tools.objects, tools.clock, self._on_object_change)
        facts = Facts(tools.node.name, tools.node.ips, allocatable=tools.node.allocatable)
        self._volumes = PodVolumes(self._folder, source, facts)
        self._wake = asyncio.Event()
        self._wake.set()
        self._listed: tuple[tuple[Sandbox, ...], tuple[Container, ...]] | None = (tuple(sandboxes), tuple(containers))
        self._changed: set[str] = set()
        self._late: dict[str, int] = {}
        self._waiting: dict[str, Waiting] = {}
        self._retries: dict[str, Retry] = {}
        self._next_retries: dict[str, Retry] = {}
        self._hold_until_s: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._missing: set[str] = set()
        self._probers: dict[str, Prober] = {}
        self._lane: asyncio.Task[None] | None = None
        self._stops: dict[str, tuple[asyncio.Task[None], int]] = {}
        self._hooked: set[str] = set()
        self.acted = 0
        self._stop: Stop | None = None
        self._reclaimed = False
        self._reclaiming: asyncio.Task[None] | None = None
        self._gone = False
        self._has_volumes = False
        self._stale_volumes = False
        self._refreshing: asyncio.Task[None] | None = None
        self._status: core_v1.PodStatus | None = None
        self._view: View | None = None

    @property
    def pod(self) -> core_v1.Pod:
        """The newest version, with the status that was last worked out here."""
        return self._merged_pod()

    @property
    def is_busy(self) -> bool:
        """Whether something is being made or ended right now."""
        return _is_busy(self._lane) or bool(self._stops)

    @property
    def view(self) -> View | None:
        """What was last known."""
        return self._view

    def update(self, pod: core_v1.Pod) -> None:
        """Take in a new version from the API."""
        old, self._pod = self._pod, pod
        self._publisher.observe(pod)
        if _shown(old) != _shown(pod):
            self._stale_volumes = True  # downward API
        self._wake.set()

    def lose(self) -> None:
        """Take in that the API no longer has the pod: end it, and clean up."""
        self._gone = True
        self._publisher.stop()
        self._wake.set()

    def notice(self, event: Event) -> None:
        """Take in that something happened to a container or sandbox of the pod."""
        self._changed.add(event.id)
        if event.kind is EventKind.EXITED:
            self._late[event.id] = 0
        self._wake.set()

    async def adopt(self, sandboxes: Iterable[Sandbox], containers: Iterable[Container]) -> None:
        """Take in a complete list of what the runtime has of the pod."""
        if await self.observed.compare(sandboxes, containers):
            self._wake.set()

    async def run(self) -> None:
        """Work until the pod is gone from the API and from this node."""
        try:
            while not await self._step():
                pass
        finally:
            tasks = [self._lane, self._refreshing, self._reclaiming, *(task for task, _ in self._stops.values())]
            for task in tasks:
                if task is not None:
                    task.cancel()
            for prober in self._probers.values():
                prober.stop()

    async def _step(self) -> bool:
        """Look, plan, act, report and wait once; return whether all is over."""
        self._wake.clear()
        try:
            await self._look()
        except RuntimeFailure as err:
            logger.debug("%s: %s", specs.format_pod(self._pod), err)
            await self._wait(self._tools.clock.now().timestamp() + RETRY.first_s)
            return False
        now_s = self._tools.clock.now().timestamp()
        await self._decide_stop(now_s)
        self._sync_probes(self._make_view())
        view = self._view = self._make_view()
        plan = plan_pod(view, now_s=now_s)
        self._take_plan(plan)
        view = self._view = self._make_view(plan.waiting)
        self._report(view)
        self._act(plan.actions, plan.retries)
        if self._gone and self._reclaimed and not view.running:
            return await self._clean_up()
        self._refresh_volumes(now_s)
        await self._wait(self._next_wake_s(plan, now_s))
        return False

    async def _wait(self, until_s: float | None) -> None:
        seconds = None if until_s is None else max(0.0, until_s - self._tools.clock.now().timestamp())
        await wait_set(self._wake, self._tools.clock, seconds)

    async def _look(self) -> None:
        if self._listed is not None:
            await self.observed.compare(*self._listed)
            self._listed = None
        while self._changed:
            id_ = self._changed.pop()
            try:
                await self.observed.look_at(id_)
            except RuntimeFailure:
                self._changed.add(id_)
                raise
            self._look_again(id_)

    def _look_again(self, id_: str) -> None:
        """Look again soon at a container that has ended but that the runtime still shows as running."""
        tries = self._late.pop(id_, None)
        if tries is None or tries >= LATE_TRIES or not self.observed.is_running(id_):
            return
        self._late[id_] = tries + 1
        self._changed_later(id_, LATE_FIRST_S * 2**tries)

    def _changed_later(self, id_: str, delay_s: float) -> None:
        def notice() -> None:
            self._changed.add(id_)
            self._wake.set()

        asyncio.get_running_loop().call_later(delay_s, notice)

    def _make_view(self, waiting: dict[str, Waiting] | None = None) -> View:
        probers = self._probers
        return View(
            pod=self._merged_pod(),
            sandboxes=self.observed.sandboxes,
            containers=self.observed.containers,
            waiting={**self._waiting, **(waiting or {})},
            retries=self._retries,
            started=frozenset(id_ for id_, prober in probers.items() if prober.is_started),
            ready=frozenset(id_ for id_, prober in probers.items() if prober.is_ready),
            failed_probes={id_: prober.kill for id_, prober in probers.items() if prober.kill is not None},
            stopping=frozenset(self._stops),
            stop=self._stop,
            reclaimed=self._reclaimed,
        )

    def _merged_pod(self) -> core_v1.Pod:
        """Return the pod with the status as last worked out here, and what others wrote beside it."""
        if self._status is None:
            return self._pod
        theirs = self._pod.status or core_v1.PodStatus()
        ours = {condition.type for condition in self._status.conditions or []}
        others = [condition for condition in theirs.conditions or [] if condition.type not in ours]
        conditions = [*(self._status.conditions or []), *others]
        merged = msgspec.structs.replace(self._status, conditions=conditions)
        return msgspec.structs.replace(self._pod, status=merged)

    # Deciding that the pod ends.

    async def _decide_stop(self, now_s: float) -> None:
        wanted = self._wanted_stop(now_s)
        if wanted is None:
            return
        if self._stop is None:
            self._stop = wanted
            await self._clear_lane()
        elif wanted.grace_s < self._stop.grace_s:
            self._stop = replace(self._stop, grace_s=wanted.grace_s)
            # Whatever ends too slowly for the new grace period is asked again.
            for id_, (task, grace_s) in [*self._stops.items()]:
                if grace_s > wanted.grace_s:
                    task.cancel()
                    del self._stops[id_]

    def _wanted_stop(self, now_s: float) -> Stop | None:
        pod = self._pod
        metadata = pod.metadata
        assert metadata is not None
        grace_s = specs.grace_period_s(pod)
        if self._gone:
            forced = metadata.deletionTimestamp is not None and not metadata.deletionGracePeriodSeconds
            return Stop(FORCED_GRACE_S if forced else grace_s, now_s)
        if metadata.deletionTimestamp is not None:
            return Stop(max(FORCED_GRACE_S, grace_s), now_s)
        known = self._status or pod.status
        if known is not None and known.phase in status.FINAL_PHASES:
            return Stop(grace_s, now_s, known.reason or "", known.message or "")
        deadline_s = self._deadline_s()
        if deadline_s is not None and now_s >= deadline_s:
            if self._stop is None:
                self._tools.tell(pod, "Normal", "DeadlineExceeded", DEADLINE_MESSAGE)
            return Stop(grace_s, now_s, "DeadlineExceeded", DEADLINE_MESSAGE)
        return None

    def _deadline_s(self) -> float | None:
        seconds = specs.spec_of(self._pod).activeDeadlineSeconds
        known = self._status or self._pod.status
        if seconds is None or known is None or known.startTime is None:
            return None
        return known.startTime.timestamp() + seconds

    async def _clear_lane(self) -> None:
        lane, self._lane = self._lane, None
        if lane is None or lane.done():
            return
        lane.cancel()
        await asyncio.wait([lane])
        # What was being made when the lane was cleared may be there all the same.
        with contextlib.suppress(RuntimeFailure):
            runtime = self._tools.runtime
            await self.observed.compare(
                await runtime.list_sandboxes(uid=self.uid), await runtime.list_containers(uid=self.uid)
            )

    # Acting.

    def _take_plan(self, plan: Plan) -> None:
        for name, waiting in plan.waiting.items():
            if self._waiting.get(name) != waiting:
                text = f"Back-off restarting failed container {name} in pod {specs.format_pod(self._pod)}"
                self._tools.tell(self._pod, "Warning", "BackOff", text, container=name)
            self._waiting[name] = waiting

    def _act(self, actions: tuple[Action, ...], retries: dict[str, Retry]) -> None:
        lane: list[RunSandbox | Start | StopSandbox] = []
        for action in actions:
            if isinstance(action, StopContainer):
                self._begin_stop(action)
            elif isinstance(action, Reclaim):
                self._begin_reclaim()
            else:
                lane.append(action)
        now_s = self._tools.clock.now().timestamp()
        due = [action for action in lane if self._hold_until_s.get(_key(action), 0.0) <= now_s]
        if due and not _is_busy(self._lane):
            self._next_retries = retries
            self._lane = self._spawn("lane", self._run_lane(due))

    def _spawn(self, what: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.acted += 1
        task = asyncio.create_task(work, name=f"{what} {specs.format_pod(self._pod)}")
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (err := task.exception()) is not None:
            logger.error("%s failed", task.get_name(), exc_info=err)
        self._wake.set()

    async def _run_lane(self, actions: list[RunSandbox | Start | StopSandbox]) -> None:
        for action in actions:
            key = _key(action)
            try:
                if isinstance(action, RunSandbox):
                    await self._run_sandbox(action)
                elif isinstance(action, StopSandbox):
                    await self._tools.runtime.stop_sandbox(action.id)
                    await self.observed.look_at_sandbox(action.id)
                else:
                    await self._start(action)
            except StartFailed as err:
                self._on_start_failed(key, err)
            except MountFailed as err:
                self._tools.tell(self._pod, "Warning", "FailedMount", str(err))
                self._hold(key)
                self._missing.add(key)
            except RuntimeFailure as err:
                if isinstance(action, RunSandbox):
                    text = f"Failed to create pod sandbox: {err}"
                    self._tools.tell(self._pod, "Warning", "FailedCreatePodSandBox", text)
                else:
                    logger.warning("%s: %s", specs.format_pod(self._pod), err)
                self._hold(key)
            else:
                self._failures.pop(key, None)
                self._hold_until_s.pop(key, None)
            self._wake.set()

    def _hold(self, key: str, seconds: float | None = None) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause_s = RETRY.delay_s(failures) if seconds is None else seconds
        self._hold_until_s[key] = self._tools.clock.now().timestamp() + pause_s

    def _on_start_failed(self, name: str, err: StartFailed) -> None:
        self._waiting[name] = Waiting(err.reason, err.message)
        if err.event:
            text = (
                err.reason if err.reason in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull") else err.message
            )
            self._tools.tell(self._pod, "Warning", err.event, f"Error: {text}", container=name)
        self._hold(name, err.retry_s)
        if isinstance(err, ConfigFailed):
            self._missing.add(name)

    async def _run_sandbox(self, action: RunSandbox) -> None:
        pod = self._pod
        if action.attempt:
            text = "Pod sandbox changed, it will be killed and re-created."
            self._tools.tell(pod, "Normal", "SandboxChanged", text)
        start.make_folders(pod, self._tools)
        await self._volumes.set_up(pod)
        self._has_volumes = True
        sandbox_id = await start.run_sandbox(pod, self._tools, attempt=action.attempt)
        await self.observed.look_at_sandbox(sandbox_id)

    async def _start(self, action: Start) -> None:
        pod = self._pod
        container = specs.find_container(pod, action.name)
        sandbox = next((s for s in self.observed.sandboxes if s.ready), None)
        if container is None or sandbox is None:
            return
        if not self._has_volumes:  # adopted: the volumes are there, but not known here
            start.make_folders(pod, self._tools)
            await self._volumes.set_up(pod)
            self._has_volumes = True
        ips = tuple(self._tools.node.ips) if specs.is_host_network(pod) else sandbox.ips
        place = start.Place(sandbox, ips, self._volumes, self._on_reference_change)
        target_id = start.target_of(container, self.observed.containers)
        container_id = await start.create_container(
            pod, container, place, self._tools, attempt=action.attempt, target_id=target_id
        )
        if action.name in self._next_retries:
            self._retries[action.name] = self._next_retries[action.name]
        self.observed.expect(_created(container_id, container.name, sandbox.id, action.attempt, self._tools))
        try:
            await start.start_container(pod, container, container_id, self._tools)
        finally:
            await self.observed.look_at_container(container_id, sandbox_id=sandbox.id)
        self._waiting.pop(action.name, None)
        self._wake.set()
        await start.run_post_start(pod, container, container_id, place, self._tools)
        await self._remove_superfluous()

    async def _remove_superfluous(self) -> None:
        containers, sandboxes = self.observed.superfluous()
        for container in containers:
            await self._tools.runtime.remove_container(container.id)
            self.observed.forget(container.id)
            if container.log_path:
                _remove_logs(self._tools, self._pod, container)
        for sandbox in sandboxes:
            await self._tools.runtime.remove_sandbox(sandbox.id)
            self.observed.forget(sandbox.id)

    def _begin_stop(self, action: StopContainer) -> None:
        container = next((c for c in self.observed.containers if c.id == action.id), None)
        if container is None or action.id in self._stops:
            return
        if (prober := self._probers.get(action.id)) is not None:
            prober.stop(keep_readiness=True)
        with_hook = action.id not in self._hooked
        self._hooked.add(action.id)
        work = self._stop_one(action, container, with_hook=with_hook)
        self._stops[action.id] = (self._spawn("stop", work), action.grace_s)

    async def _stop_one(self, action: StopContainer, container: Container, *, with_hook: bool) -> None:
        ips = self.observed.sandboxes[0].ips if self.observed.sandboxes else ()
        try:
            await stop_container(
                self._pod,
                container,
                self._tools,
                grace_s=action.grace_s,
                message=action.message,
                ip=ips[0] if ips else "",
                with_hook=with_hook,
            )
            await self.observed.look_at_container(container.id, sandbox_id=container.sandbox_id)
        except RuntimeFailure as err:
            logger.warning("%s: %s", specs.format_pod(self._pod), err)
            await self._tools.clock.sleep(RETRY.first_s)
        entry = self._stops.get(action.id)
        if entry is not None and entry[0] is asyncio.current_task():
            del self._stops[action.id]

    def _begin_reclaim(self) -> None:
        if not _is_busy(self._reclaiming):
            self._reclaiming = self._spawn("reclaim", self._reclaim())

    async def _reclaim(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
        await self._volumes.tear_down()
        self._has_volumes = False
        await self._tools.objects.release(self.uid)
        self._tools.node.cgroups.remove_pod(self.uid, qos_class(self._pod))
        self._reclaimed = True

    async def _clean_up(self) -> bool:
        """Remove what is left of a pod that is gone; return whether that worked."""
        try:
            for container in self.observed.containers:
                await self._tools.runtime.remove_container(container.id)
            for sandbox in self.observed.sandboxes:
                await self._tools.runtime.remove_sandbox(sandbox.id)
        except RuntimeFailure as err:
            logger.debug("%s: %s", specs.format_pod(self._pod), err)
            await self._tools.clock.sleep(RETRY.first_s)
            self._wake.set()
            return False
        self._tools.images.forget(self.uid)
        await asyncio.to_thread(remove_all, self._tools, self._pod)
        return True

    # Reporting.

    def _report(self, view: View) -> None:
        if self._gone:
            return
        new = status.pod_status(view, host_ips=self._tools.node.ips, now=self._tools.clock.now())
        self._status = new
        metadata = self._pod.metadata
        assert metadata is not None
        final = metadata.deletionTimestamp is not None and status.is_final(view, new)
        self._publisher.publish(new, final=final)
        if self._stop is None and new.phase in status.FINAL_PHASES:
            self._wake.set()  # what it holds can be given back

    def _sync_probes(self, view: View) -> None:
        running = {c.id: c for c in view.containers if c.state is ContainerState.RUNNING}
        for id_ in self._probers.keys() - running.keys():
            self._probers.pop(id_).stop()
        ips = tuple(self._tools.node.ips) if specs.is_host_network(view.pod) else view.ips
        for id_, container in running.items():
            spec = specs.find_container(view.pod, container.name)
            if id_ in self._probers or spec is None:
                continue
            known = self._known_status(id_)
            self._probers[id_] = Prober(
                ask.Target(spec, id_, ips[0] if ips else ""),
                container.started_at_ns / 1e9,
                self._probe_tools(),
                was_ready=known is not None and known.ready,
                was_started=known is not None and bool(known.started),
            )

    def _known_status(self, container_id: str) -> core_v1.ContainerStatus | None:
        """Return what the API says of a container that ran before this agent started."""
        known = self._pod.status
        lists = (known.containerStatuses, known.initContainerStatuses) if known is not None else ()
        full = f"{status.RUNTIME}://{container_id}"
        return next((entry for entries in lists for entry in entries or [] if entry.containerID == full), None)

    def _probe_tools(self) -> ProbeTools:
        def tell(name: str, message: str) -> None:
            self._tools.tell(self._pod, "Warning", "Unhealthy", message, container=name)

        runtime = self._tools.runtime
        return ProbeTools(
            lambda target, probe: ask.ask(runtime, target, probe),
            self._tools.clock,
            self._tools.random,
            tell,
            self._wake.set,
        )

    # Volumes that follow API objects.

    def _on_object_change(self) -> None:
        self._stale_volumes = True
        self._on_reference_change()

    def _on_reference_change(self) -> None:
        # What failed for want of an object is tried again at once.
        for key in self._missing:
            self._hold_until_s.pop(key, None)
        self._missing.clear()
        self._wake.set()

    def _refresh_volumes(self, now_s: float) -> None:
        if self._stop is not None or _is_busy(self._refreshing):
            return
        at = self._volumes.refresh_at
        due = self._stale_volumes or (at is not None and at.timestamp() <= now_s)
        adopted = not self._has_volumes and any(sandbox.ready for sandbox in self.observed.sandboxes)
        if (due and self._has_volumes) or (adopted and not _is_busy(self._lane)):
            self._stale_volumes = False
            self._refreshing = self._spawn("refresh volumes", self._refresh())

    async def _refresh(self) -> None:
        try:
            if self._has_volumes:
                await self._volumes.refresh(self._pod)
            else:
                await self._volumes.set_up(self._pod)
                self._has_volumes = True
        except MountFailed as err:
            self._tools.tell(self._pod, "Warning", "FailedMount", str(err))
        await self._tools.clock.sleep(REFRESH_SHORTEST_S)

    def _next_wake_s(self, plan: Plan, now_s: float) -> float | None:
        moments = [plan.wake_s, self._deadline_s() if self._stop is None else None, *self._hold_until_s.values()]
        if self._has_volumes and self._stop is None:
            moments.append(_seconds(self._volumes.refresh_at))
        future = [moment for moment in moments if moment is not None and moment > now_s]
        return min(future, default=None)


def remove_all(tools: Tools, pod: core_v1.Pod) -> None:
    """Remove a pod's folder, its logs and its group."""

    uid = specs.uid_of(pod)
    remove_folder(tools.node.pod_folder(uid))
    shutil.rmtree(tools.node.log_folder(pod), ignore_errors=True)
    tools.node.cgroups.remove_pod(uid, qos_class(pod))


def _created(id_: str, name: str, sandbox_id: str, attempt: int, tools: Tools) -> Container:
    at_ns = int(tools.clock.now().timestamp() * 1e9)
    return Container(id_, sandbox_id, name, attempt, "", "", ContainerState.CREATED, at_ns)


def _remove_logs(tools: Tools, pod: core_v1.Pod, container: Container) -> None:
    folder = tools.node.log_folder(pod) / container.name
    for path in folder.glob(f"{container.attempt}.log*"):
        path.unlink(missing_ok=True)


def _is_busy(task: asyncio.Task[None] | None) -> bool:
    return task is not None and not task.done()


def _key(action: RunSandbox | Start | StopSandbox) -> str:
    if isinstance(action, Start):
        return action.name
    return "" if isinstance(action, RunSandbox) else action.id


def _shown(pod: core_v1.Pod) -> tuple[Any, Any]:
    metadata = pod.metadata
    assert metadata is not None
    return metadata.labels, metadata.annotations


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None
