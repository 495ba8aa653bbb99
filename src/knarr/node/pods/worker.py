"""The worker of one pod: whenever something happens it looks, plans, acts and reports.

What happens: a new version from the API, an event of the runtime, a probe's result, an action's end, a moment that was waited for.

Counterpart: pkg/kubelet/pod_workers.go, kubelet.go SyncPod, SyncTerminatingPod, SyncTerminatedPod (v1.37).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import msgspec
from lightkube.models import core_v1

from knarr.node.pods import resize, status
from knarr.node.pods import spec as specs
from knarr.node.pods.actions import RETRY, Actions
from knarr.node.pods.admit import REJECTED
from knarr.node.pods.observe import Observed
from knarr.node.pods.plan import DEADLINE_MESSAGE, Plan, plan_pod
from knarr.node.pods.publish import Publisher
from knarr.node.pods.tools import Tools
from knarr.node.pods.view import Stop, View, Waiting
from knarr.node.pods.volumes import Keeper
from knarr.node.probes import ask
from knarr.node.probes.group import Group, tell_unhealthy
from knarr.node.probes.prober import Tools as ProbeTools
from knarr.node.runtime.errors import RuntimeFailure
from knarr.node.runtime.runtime import Container, Event, EventKind, Sandbox
from knarr.node.waiting import wait_set

FORCED_GRACE_S = 1
PENDING_RETRY_S = 10.0
"""How often a resize that had no room is tried again."""
LATE_FIRST_S = 0.005
LATE_TRIES = 9
"""containerd tells that a container has ended a moment before its own records do."""

logger = logging.getLogger(__name__)


class Worker:
    """One pod on this node.

    Attributes:
        uid: The pod's.
        observed: What the runtime has of it.

    Args:
        pod: As the API has it.
        tools: The node.
        sandboxes: What the runtime has of it from before this agent started.
        containers: Likewise.
        others: Gives the other pods of this node; a resize must leave room for them.
    """

    def __init__(
        self,
        pod: core_v1.Pod,
        tools: Tools,
        sandboxes: Iterable[Sandbox] = (),
        containers: Iterable[Container] = (),
        *,
        others: Callable[[], list[core_v1.Pod]] = list,
    ) -> None:
        self._pod = pod
        self._tools = tools
        self.uid = specs.uid_of(pod)
        self._allocation = resize.first_allocation(pod)
        self._pending: Waiting | None = None
        self._others = others
        self._attempts = _attempts(pod)
        self._wake = asyncio.Event()
        self._wake.set()
        self.observed = Observed(tools.runtime, tools.node.pod_folder(self.uid))
        self._publisher = Publisher(tools.client, tools.clock, pod)
        self._volumes = Keeper(self._get_pod, tools, on_change=self._on_object_change, wake=self._wake.set)
        self._actions = Actions(self._get_pod, tools, self.observed, self._volumes, self._wake.set)
        self._probes = Group(self._probe_tools())
        self._listed: tuple[tuple[Sandbox, ...], tuple[Container, ...]] | None = (tuple(sandboxes), tuple(containers))
        self._changed: set[str] = set()
        self._late: dict[str, int] = {}
        self._stop: Stop | None = None
        self._gone = False
        self._status: core_v1.PodStatus | None = None
        self._view: View | None = None

    @property
    def pod(self) -> core_v1.Pod:
        """The newest version, with the status that was last worked out here."""
        return self._merged_pod()

    @property
    def is_busy(self) -> bool:
        """Whether something is being made or ended right now."""
        return self._actions.is_busy

    @property
    def is_ending(self) -> bool:
        """Whether the pod has ended or is about to."""
        return self._stop is not None

    @property
    def acted(self) -> int:
        """How many actions were begun: a list made before the last one is out of date."""
        return self._actions.count

    @property
    def view(self) -> View | None:
        """What was last known."""
        return self._view

    def update(self, pod: core_v1.Pod) -> None:
        """Take in a new version from the API."""
        old, self._pod = self._pod, pod
        self._publisher.observe(pod)
        if _shown(old) != _shown(pod):
            self._volumes.spoil()  # downward API
        self._wake.set()

    def reject(self, reason: str, message: str) -> None:
        """Have the pod fail before it begins: this node cannot take it."""
        self._tools.tell(self._pod, "Warning", reason, message.removeprefix(REJECTED))
        self._stop = Stop(0, self._tools.clock.now().timestamp(), reason, message)

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
            self._actions.cancel()
            self._volumes.cancel()
            self._probes.stop()

    async def _step(self) -> bool:
        """Look, plan, act, report and wait once; return whether all is over."""
        self._wake.clear()
        now_s = self._tools.clock.now().timestamp()
        try:
            await self._look()
            if self._gone and self._actions.reclaimed and not self._make_view().running:
                await self._actions.clean_up()
                return True
        except RuntimeFailure as err:
            logger.debug("%s: %s", specs.format_pod(self._pod), err)
            await self._wait(now_s + RETRY.first_s)
            return False
        await self._decide_stop(now_s)
        self._decide_resources()
        ips = self._tools.node.ips if specs.is_host_network(self._pod) else self._make_view().ips
        self._probes.sync(self._pod, self.observed.containers, ips[0] if ips else "")
        plan = plan_pod(self._make_view(), now_s=now_s)
        self._tell_waiting(plan)
        self._view = self._make_view(plan.waiting)
        if not self._actions.is_replacing(plan.actions):  # upstream's kubelet ends and starts it before it looks again
            self._report(self._view)
        self._actions.begin(plan.actions, plan.retries)
        self._probes.retire(self._actions.stopping)
        if self._stop is None:
            runs = any(sandbox.ready for sandbox in self.observed.sandboxes)
            self._volumes.refresh(now_s, adopted=runs and not self._actions.is_starting)
        await self._wait(self._next_wake_s(plan, now_s))
        return False

    async def _wait(self, until_s: float | None) -> None:
        seconds = None if until_s is None else max(0.0, until_s - self._tools.clock.now().timestamp())
        await wait_set(self._wake, self._tools.clock, seconds)

    def _next_wake_s(self, plan: Plan, now_s: float) -> float | None:
        moments = [plan.wake_s, *self._actions.next_due_s(now_s)]
        if self._stop is None:
            retry_s = now_s + PENDING_RETRY_S if self._pending is not None else None
            moments += [self._deadline_s(), self._volumes.due_s, retry_s]
        return min((moment for moment in moments if moment is not None and moment > now_s), default=None)

    def _get_pod(self) -> core_v1.Pod:
        return resize.with_allocation(self._pod, self._allocation)

    def _decide_resources(self) -> None:
        """Grant what the spec asks for, if there is room."""
        pod, tools = self._pod, self._tools
        decision = resize.decide(pod, self._allocation, self._others(), allocatable=tools.node.allocatable)
        self._allocation = decision.allocation
        pending = decision.pending
        self._pending = Waiting(pending.reason, pending.message) if pending is not None else None
        for container in self.observed.containers:
            if container.id not in self._actions.applied:
                known = resize.known_resources(pod, f"{status.RUNTIME}://{container.id}")
                spec = specs.find_container(pod, container.name)
                if known is not None and spec is not None and not isinstance(spec, core_v1.EphemeralContainer):
                    self._actions.applied[container.id] = known

    def _probe_tools(self) -> ProbeTools:
        runtime = self._tools.runtime
        return ProbeTools(
            lambda target, probe: ask.ask(runtime, target, probe),
            self._tools.clock,
            self._tools.random,
            tell_unhealthy(self._tools.tell, self._get_pod),
            self._wake.set,
        )

    def _on_object_change(self) -> None:
        self._actions.retry_missing()

    # Looking.

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
        """Look again soon at what has ended but does not show it yet."""
        tries = self._late.pop(id_, None)
        if tries is None or tries >= LATE_TRIES or self.observed.has_ended(id_):
            return
        self._late[id_] = tries + 1
        self._changed_later(id_, LATE_FIRST_S * 2**tries)

    def _changed_later(self, id_: str, delay_s: float) -> None:
        def notice() -> None:
            self._changed.add(id_)
            self._wake.set()

        asyncio.get_running_loop().call_later(delay_s, notice)

    def _make_view(self, waiting: dict[str, Waiting] | None = None) -> View:
        return View(
            pod=self._merged_pod(),
            sandboxes=self.observed.sandboxes,
            containers=self.observed.containers,
            waiting={**self._actions.waiting, **(waiting or {})},
            retries=self._actions.retries,
            started=self._probes.started,
            ready=self._probes.ready,
            failed_probes=self._probes.kills,
            attempts=self._attempts,
            applied=self._actions.applied,
            pending=self._pending,
            stopping=self._actions.stopping,
            stop=self._stop,
            reclaimed=self._actions.reclaimed,
        )

    def _merged_pod(self) -> core_v1.Pod:
        """Return the pod with the status as last worked out here, and what others wrote beside it."""
        allocated = self._get_pod()
        if self._status is None:
            return allocated
        theirs = self._pod.status or core_v1.PodStatus()
        ours = {condition.type for condition in self._status.conditions or []}
        others = [condition for condition in theirs.conditions or [] if condition.type not in ours]
        conditions = [*(self._status.conditions or []), *others]
        merged = msgspec.structs.replace(self._status, conditions=conditions)
        return msgspec.structs.replace(allocated, status=merged)

    # Deciding that the pod ends.

    async def _decide_stop(self, now_s: float) -> None:
        wanted = self._wanted_stop(now_s)
        if wanted is None:
            return
        if self._stop is None:
            self._stop = wanted
            await self._actions.clear_lane()
        elif wanted.grace_s < self._stop.grace_s:
            self._stop = replace(self._stop, grace_s=wanted.grace_s)
            self._actions.hurry(wanted.grace_s)

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

    # Reporting.

    def _tell_waiting(self, plan: Plan) -> None:
        known = self._actions.waiting
        for name, waiting in plan.waiting.items():
            if known.get(name) != waiting:
                text = f"Back-off restarting failed container {name} in pod {specs.format_pod(self._pod)}"
                self._tools.tell(self._pod, "Warning", "BackOff", text, container=name)
            known[name] = waiting

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


def _attempts(pod: core_v1.Pod) -> dict[str, int]:
    """Return how often each container was started before, as the API knows: the runtime may have lost them all."""
    known = pod.status
    lists = (known.initContainerStatuses, known.containerStatuses) if known is not None else ()
    return {entry.name: entry.restartCount + 1 for entries in lists for entry in entries or [] if entry.containerID}


def _shown(pod: core_v1.Pod) -> tuple[Any, Any]:
    metadata = pod.metadata
    assert metadata is not None
    return metadata.labels, metadata.annotations
