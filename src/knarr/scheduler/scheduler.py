"""The scheduler: finds a node for each pod that has none.

Informers keep `cluster` and `queue` up to date; one loop takes pods from the queue and decides; binding and telling happen beside it, the
pod meanwhile counting as if it ran on its node.

Upstream counterpart: pkg/scheduler (scheduler.go, schedule_one.go, eventhandlers.go; v1.37).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator, Mapping

from lightkube.models import core_v1, policy_v1, storage_v1

from knarr.api import errors
from knarr.client import DeleteOptions, PatchType, subresources
from knarr.control import Context
from knarr.control import events as recording
from knarr.kit import metrics
from knarr.kit.tasks import Supervisor
from knarr.scheduler import cycle, podfacts, preemption
from knarr.scheduler.cluster import Cluster
from knarr.scheduler.events import Event, Kind
from knarr.scheduler.kinship import Kinship
from knarr.scheduler.plugins import order, volume_binding
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.queue import Queue, Waiting

NAME = "default-scheduler"
UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"
CLAIMS_TIMEOUT_S = 600.0
CLAIMS_POLL_S = 0.1
AFTER_DRA = "no new claims to deallocate, preemption: "
"""What the PostFilter of dynamic resources says before preemption has its word."""

_ATTEMPTS = metrics.PROCESS.counter(
    "scheduler_schedule_attempts_total", "Number of attempts to schedule pods, by the result.", ("result", "profile")
)  # fmt: skip
_DURATION = metrics.PROCESS.histogram(
    "scheduler_scheduling_attempt_duration_seconds",
    "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
    tuple(0.001 * 2**step for step in range(15)),
    ("result", "profile"),
)
_PENDING = metrics.PROCESS.gauge("scheduler_pending_pods", "Number of pending pods, by the queue type.", ("queue",))

logger = logging.getLogger(__name__)


class Scheduler:
    """Places pods.

    Args:
        context: Client, informers, clock and chance.
        supervisor: Looks after bindings.
        name: Takes the pods whose spec.schedulerName is this.
    """

    def __init__(self, context: Context, supervisor: Supervisor, *, name: str = NAME) -> None:
        self._client = context.client
        self._informers = context.informers.view()
        self._random = context.random
        self._recorder = recording.Recorder(context.client, name, clock=context.clock)
        self._clock = context.clock
        self._supervisor = supervisor
        self._name = name
        self._cluster = Cluster()
        self._nominated: dict[str, tuple[PodFacts, str]] = {}
        self._namespaces = self._informers.of(core_v1.Namespace)
        self._budgets = self._informers.of(policy_v1.PodDisruptionBudget)
        self._claims = self._informers.of(core_v1.PersistentVolumeClaim)
        self._volumes = self._informers.of(core_v1.PersistentVolume)
        self._classes = self._informers.of(storage_v1.StorageClass)
        storage = volume_binding.Storage(
            self._claims.get, lambda name: self._volumes.get("", name), lambda name: self._classes.get("", name)
        )
        self._order = order.default(self._namespace_labels, storage, Kinship(self._informers).selector_of)
        self._filters = {plugin.name: plugin for plugin in self._order.filters}
        self._queue = Queue(context.clock, self._may_help)
        self._nodes = self._informers.of(core_v1.Node)
        self._pods = self._informers.of(core_v1.Pod, field_selector=UNFINISHED)
        self._nodes.on_change(self._observe_node)
        self._pods.on_change(self._observe_pod)
        for informer in (self._claims, self._volumes, self._classes):
            informer.on_change(self._observe_storage)

    async def run(self) -> None:
        """Place pods until cancelled."""
        await self._informers.wait_synced()
        while True:
            waiting = await self._queue.pop()
            try:
                self._try(waiting)
            except Exception as err:  # a border: one pod that trips a plugin must not keep the others waiting
                logger.error("%s/%s cannot be tried", waiting.facts.namespace, waiting.facts.name, exc_info=err)
                self._queue.retry(waiting, ())
            for place, count in self._queue.counts().items():
                _PENDING.labels(place).set(count)
            await asyncio.sleep(0)  # the events of what was decided come first

    def _try(self, waiting: Waiting) -> None:
        pod = waiting.facts
        began = time.perf_counter()
        with self._with_nominated(pod):
            decided = cycle.decide(pod, self._cluster, self._order, self._random)
        if isinstance(decided, cycle.Placed):
            self._cluster.add_pod(pod, decided.node)
            self._supervisor.once(f"bind {pod.namespace}/{pod.name}", self._bind(waiting, decided.node, began))
            return
        result = "unschedulable"
        _ATTEMPTS.labels(result, self._name).add()
        _DURATION.labels(result, self._name).observe(time.perf_counter() - began)
        self._give_up(waiting, decided)

    def _give_up(self, waiting: Waiting, unplaced: cycle.Unplaced) -> None:
        pod = waiting.facts
        nominated = self._nominated.get(pod.uid, (pod, ""))[1]
        node = ""
        after = ""
        if unplaced.total:
            with self._with_nominated(pod):
                found = preemption.plan(
                    pod, unplaced, self._cluster, self._order, self._budgets.list(), nominated=nominated
                )
            if isinstance(found, preemption.Candidate):
                node = found.node
                self._nominated[pod.uid] = (pod, node)
                self._supervisor.once(f"preempt for {pod.namespace}/{pod.name}", self._preempt(pod, found))
            else:
                after = AFTER_DRA + found.message
                if found.message != preemption.TERMINATING:
                    self._nominated.pop(pod.uid, None)
        self._queue.retry(waiting, unplaced.plugins or tuple(self._filters))
        keep = node or self._nominated.get(pod.uid, (pod, ""))[1]
        self._tell_failure(pod, "Unschedulable", unplaced.message(after), keep)

    async def _bind(self, waiting: Waiting, node: str, began: float) -> None:
        pod = waiting.facts
        try:
            await self._bind_claims(pod, node)
            await subresources.bind(self._client, pod.pod, node)
        except errors.StatusError as err:
            self._cluster.remove_pod(pod.uid)
            self._queue.move(Event(Kind.POD_GONE, pod=pod))
            if isinstance(err, errors.NotFound):
                self._queue.remove(pod.uid)
                return
            self._queue.retry(waiting, ())
            if isinstance(err, errors.Conflict):
                return  # it has a node already: its own events will tell before it is tried again
            _ATTEMPTS.labels("error", self._name).add()
            self._tell_failure(pod, "SchedulerError", f"binding rejected: {err}", "")
            return
        self._nominated.pop(pod.uid, None)
        self._queue.remove(pod.uid)
        _ATTEMPTS.labels("scheduled", self._name).add()
        _DURATION.labels("scheduled", self._name).observe(time.perf_counter() - began)
        text = f"Successfully assigned {pod.namespace}/{pod.name} to {node}"
        self._recorder.event(pod.pod, recording.NORMAL, "Scheduled", text, action="Binding")

    async def _bind_claims(self, pod: PodFacts, node: str) -> None:
        """Tell the claims that waited for it which node was chosen, and wait until each has its volume."""
        waiting = self._order.volumes.waiting(pod)
        for claim in waiting:
            assert claim.metadata
            body = {"metadata": {"annotations": {volume_binding.SELECTED_NODE: node}}}
            await self._client.patch(
                core_v1.PersistentVolumeClaim,
                claim.metadata.name or "",
                body,
                PatchType.MERGE,
                namespace=pod.namespace,
            )
        deadline_s = self._clock.monotonic_s() + CLAIMS_TIMEOUT_S
        while self._order.volumes.waiting(pod):
            if self._clock.monotonic_s() > deadline_s:
                raise errors.ServerTimeout("binding volumes: context deadline exceeded")
            await self._clock.sleep(CLAIMS_POLL_S)

    def _tell_failure(self, pod: PodFacts, reason: str, message: str, nominated: str) -> None:
        self._recorder.event(pod.pod, recording.WARNING, "FailedScheduling", message, action="Scheduling")
        self._supervisor.once(f"status of {pod.namespace}/{pod.name}", self._write(pod, reason, message, nominated))

    async def _write(self, pod: PodFacts, reason: str, message: str, nominated: str) -> None:
        current = self._pods.get(pod.namespace, pod.name)
        status = current.status if current is not None and current.status else core_v1.PodStatus()
        before = next((one for one in status.conditions or () if one.type == "PodScheduled"), None)
        stands = before is not None and (before.status, before.reason, before.message) == ("False", reason, message)
        if stands and (status.nominatedNodeName or "") == nominated:
            return
        condition = core_v1.PodCondition(type="PodScheduled", status="False", reason=reason, message=message)
        is_new = before is None or before.status != "False"
        condition.lastTransitionTime = (
            self._clock.now().replace(microsecond=0) if before is None or is_new else before.lastTransitionTime
        )
        body: dict[str, object] = {"status": {"conditions": [condition]}, "metadata": {"uid": pod.uid}}
        if (status.nominatedNodeName or "") != nominated:
            body["status"] = {"conditions": [condition], "nominatedNodeName": nominated or None}
        with contextlib.suppress(errors.NotFound, errors.Conflict):
            await self._client.patch(
                core_v1.Pod, pod.name, body, PatchType.STRATEGIC, namespace=pod.namespace, subresource="status"
            )

    async def _preempt(self, pod: PodFacts, candidate: preemption.Candidate) -> None:
        condition = core_v1.PodCondition(
            type="DisruptionTarget",
            status="True",
            reason="PreemptionByScheduler",
            message=f"{self._name}: preempting to accommodate a higher priority pod",
            lastTransitionTime=self._clock.now().replace(microsecond=0),
        )
        for victim in candidate.victims:
            if victim.is_terminating:
                continue
            with contextlib.suppress(errors.NotFound):
                await self._client.patch(
                    core_v1.Pod,
                    victim.name,
                    {"status": {"conditions": [condition]}},
                    PatchType.STRATEGIC,
                    namespace=victim.namespace,
                    subresource="status",
                )
                options = DeleteOptions(uid=victim.uid)
                await self._client.delete(core_v1.Pod, victim.name, namespace=victim.namespace, options=options)
                text = f"Preempted by pod {pod.uid} on node {candidate.node}"
                self._recorder.event(victim.pod, recording.NORMAL, "Preempted", text, action="Preempting")

    def _observe_storage(self, old: object, new: object) -> None:
        self._queue.move(Event(Kind.STORAGE))

    def _observe_node(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        if new is None:
            assert old is not None and old.metadata
            self._cluster.remove_node(old.metadata.name or "")
            return
        self._cluster.set_node(new)
        if old is None:
            self._queue.move(Event(Kind.NODE_ADDED, node=new))
            return
        event = Event(Kind.NODE_UPDATED, node=new, old_node=old)
        if event.changes_labels or event.changes_resources or event.changes_taints:
            self._queue.move(event)

    def _observe_pod(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        if old is not None and (new is None or _uid(new) != _uid(old) or _is_finished(new)):
            self._forget(old)
            old = None
        if new is None or _is_finished(new):
            return
        assert new.metadata and new.spec
        if old is not None and _is_same(old, new):
            return
        if new.spec.nodeName:
            self._place(new)
        elif new.metadata.deletionTimestamp is not None:
            self._queue.remove(_uid(new))
            self._nominated.pop(_uid(new), None)
        elif (new.spec.schedulerName or NAME) == self._name and _uid(new) not in self._cluster.located:
            self._queue.add(podfacts.of(new))  # one that is located is being bound

    def _place(self, pod: core_v1.Pod) -> None:
        assert pod.spec
        uid = _uid(pod)
        is_known = uid in self._cluster.located
        facts = podfacts.of(pod)
        self._queue.remove(uid)
        self._nominated.pop(uid, None)
        self._cluster.add_pod(facts, pod.spec.nodeName or "")
        self._queue.move(Event(Kind.POD_UPDATED if is_known else Kind.POD_ADDED, pod=facts))

    def _forget(self, pod: core_v1.Pod) -> None:
        uid = _uid(pod)
        self._queue.remove(uid)
        nominated = self._nominated.pop(uid, None)
        facts = self._cluster.remove_pod(uid)
        if facts is not None or nominated is not None:
            self._queue.move(Event(Kind.POD_GONE, pod=facts or podfacts.of(pod)))

    @contextlib.contextmanager
    def _with_nominated(self, pod: PodFacts) -> Iterator[None]:
        """Count pods that displaced others as if they ran on the nodes that they wait for, unless `pod` is more important."""
        added = []
        for uid, (other, node) in self._nominated.items():
            if uid == pod.uid or other.priority < pod.priority or uid in self._cluster.located:
                continue
            if node in self._cluster.index:
                self._cluster.add_pod(other, node)
                added.append(uid)
        try:
            yield
        finally:
            for uid in added:
                self._cluster.remove_pod(uid)

    def _may_help(self, plugin: str, event: Event, pod: PodFacts) -> bool:
        return self._filters[plugin].may_help(event, pod)

    def _namespace_labels(self) -> Mapping[str, Mapping[str, str]]:
        return {one.metadata.name or "": one.metadata.labels or {} for one in self._namespaces.list() if one.metadata}


def run(context: Context, supervisor: Supervisor) -> None:
    """Start the scheduler; it runs until the supervisor ends.

    Args:
        context: Of the process, as `control.context.open_context(client_for, "kube-scheduler", …)` gives it.
        supervisor: Restarts what fails.
    """
    supervisor.run("scheduler", Scheduler(context, supervisor).run)


def _uid(pod: core_v1.Pod) -> str:
    return (pod.metadata.uid or "") if pod.metadata else ""


def _is_finished(pod: core_v1.Pod) -> bool:
    return pod.status is not None and pod.status.phase in ("Succeeded", "Failed")


def _is_same(old: core_v1.Pod, new: core_v1.Pod) -> bool:
    """Tell whether nothing that scheduling depends on has changed: most changes of a pod are of its status."""
    assert old.metadata and new.metadata
    return (
        old.metadata.deletionTimestamp == new.metadata.deletionTimestamp
        and old.metadata.labels == new.metadata.labels
        and old.spec == new.spec
    )
