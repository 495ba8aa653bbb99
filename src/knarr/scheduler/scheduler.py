"""The scheduler: finds a node for each pod that has none.

`watching` keeps `cluster` and `queue` up to date; one loop takes pods from the queue and decides; binding and telling happen beside it, the
pod meanwhile counting as if it ran on its node.

Upstream counterpart: pkg/scheduler (scheduler.go, schedule_one.go; v1.37).
"""

import asyncio
import contextlib
import logging
import time
from typing import Any

from lightkube.models import core_v1

from knarr.api import errors
from knarr.client import DeleteOptions
from knarr.control import Context
from knarr.kit import metrics
from knarr.kit.backoff import Curve
from knarr.kit.tasks import Supervisor
from knarr.scheduler import cycle, preemption
from knarr.scheduler.binding import Binder, Stopped, WaitingPod, WaitingPods
from knarr.scheduler.cluster import Cluster
from knarr.scheduler.configuration import Settings
from knarr.scheduler.equivalence import Memory
from knarr.scheduler.events import Event, Kind
from knarr.scheduler.explain import Explanation, explain
from knarr.scheduler.explanations import Explanations
from knarr.scheduler.extenders import Extenders
from knarr.scheduler.framework import State
from knarr.scheduler.nominator import Nominator
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.profile import Profile
from knarr.scheduler.queue import Queue, Waiting
from knarr.scheduler.telling import Teller
from knarr.scheduler.watching import Watching

UNSCHEDULABLE = "Unschedulable"
IN_FLIGHT = 256
"""Most bindings at a time: enough for the store to write many together."""

_ATTEMPTS = metrics.PROCESS.counter(
    "scheduler_schedule_attempts_total", "Number of attempts to schedule pods, by the result.", ("result", "profile")
)  # fmt: skip
_BUCKETS = tuple(0.001 * 2**step for step in range(15))
_DURATION = metrics.PROCESS.histogram(
    "scheduler_scheduling_attempt_duration_seconds",
    "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
    _BUCKETS,
    ("result", "profile"),
)
_ALGORITHM = metrics.PROCESS.histogram(
    "scheduler_scheduling_algorithm_duration_seconds", "Scheduling algorithm latency in seconds", _BUCKETS
).labels()
_PREEMPTED = metrics.PROCESS.histogram(
    "scheduler_preemption_victims", "Number of selected preemption victims", (1, 2, 4, 8, 16, 32, 64)
).labels()
_PENDING = metrics.PROCESS.gauge("scheduler_pending_pods", "Number of pending pods, by the queue type.", ("queue",))

logger = logging.getLogger(__name__)


class Scheduler:
    """Places pods.

    Args:
        context: Client, informers, clock and chance.
        supervisor: Looks after bindings.
        settings: The configuration; None means upstream's defaults.

    Raises:
        BadConfiguration: a plugin does not exist or refuses its arguments.
    """

    def __init__(self, context: Context, supervisor: Supervisor, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        self._client = context.client
        self._random = context.random
        self._clock = context.clock
        self._supervisor = supervisor
        self._cluster = Cluster()
        self._memory = Memory()
        self._nominator = Nominator(self._cluster)
        self._waiting = WaitingPods()
        self._explanations = Explanations(self.explain, context.clock)
        self._extenders = Extenders(settings.extenders)
        backoff = Curve(first_s=settings.initial_backoff_s, limit_s=settings.max_backoff_s)
        self._queue = Queue(context.clock, self, backoff)
        self._watching = Watching(context, self._cluster, self._queue, self._nominator, self._waiting)
        tools = self._watching.tools()
        self._profiles = {one.name: one.build(tools) for one in settings.profiles}
        self._watching.watch(frozenset(self._profiles))
        self._binders = {
            name: Binder(profile, self._waiting, self._extenders, self._clock)
            for name, profile in self._profiles.items()
        }
        self._tellers = {
            name: Teller(self._client, self._clock, name, lambda: self._queue.has_active) for name in self._profiles
        }
        self._places = asyncio.Semaphore(IN_FLIGHT)
        self._attempts = {
            (result, name): (_ATTEMPTS.labels(result, name), _DURATION.labels(result, name))
            for result in ("scheduled", "unschedulable", "error")
            for name in self._profiles
        }
        self._pending = {place: _PENDING.labels(place) for place in ("active", "backoff", "unschedulable", "gated")}

    async def wait_synced(self) -> None:
        """Wait until it knows all nodes and pods."""
        await self._watching.wait_synced()

    async def run(self) -> None:
        """Place pods until cancelled."""
        await self.wait_synced()
        telling = [asyncio.ensure_future(teller.run()) for teller in self._tellers.values()]
        try:
            while True:
                await self._places.acquire()
                self._places.release()
                waiting = await self._queue.pop()
                await self._guarded(waiting)
                for place, gauge in self._pending.items():
                    gauge.set(self._queue.counts()[place])
                if not self._queue.has_active:
                    for teller in self._tellers.values():
                        teller.idle()
                await asyncio.sleep(0)  # the events of what was decided come first
        finally:
            for task in telling:
                task.cancel()
            await self._extenders.aclose()

    def explain(self, pod: PodFacts) -> Explanation:
        """Say what keeps a pod from each node; pods of other schedulers are looked at by the first profile."""
        profile = self._profiles.get(pod.spec.schedulerName or "") or next(iter(self._profiles.values()))
        with self._nominator.counted(pod):
            return explain(pod, self._cluster, profile)

    def key(self, pod: PodFacts, since_s: float) -> tuple[Any, ...]:
        """Return the key by which pods to be tried are sorted."""
        return self._profile(pod).queue_sort.less(pod, since_s)

    def gate(self, pod: PodFacts) -> str:
        """Return the plugin that does not let a pod be tried yet; empty if none minds."""
        for plugin in self._profile(pod).pre_enqueues:
            if plugin.pre_enqueue(pod) is not None:
                return plugin.name
        return ""

    def hears(self, plugin: str, kind: Kind) -> bool:
        """Tell whether events of a kind can help pods that the named plugin rejected; one that does not say hears all."""
        for profile in self._profiles.values():
            found = profile.plugins.get(plugin)
            if found is not None and kind in getattr(found, "events", (kind,)):
                return True
        return False

    def may_help(self, plugin: str, event: Event, pod: PodFacts) -> bool:
        """Tell whether an event may help a pod that the named plugin rejected."""
        ask = getattr(self._profile(pod).plugins.get(plugin), "may_help", None)
        return bool(ask(event, pod)) if ask is not None else True

    def _profile(self, pod: PodFacts) -> Profile:
        return self._profiles[pod.spec.schedulerName or next(iter(self._profiles))]

    async def _guarded(self, waiting: Waiting) -> None:
        pod = waiting.facts
        try:
            await self._try(waiting)
        except errors.StatusError as err:
            self._failed(waiting, f"{err}")
        except Exception as err:  # a border: one pod that trips a plugin must not keep the others waiting
            logger.error("%s/%s cannot be tried", pod.namespace, pod.name, exc_info=err)
            self._failed(waiting, f"{type(err).__name__}: {err}")

    async def _try(self, waiting: Waiting) -> None:
        pod, began = waiting.facts, time.perf_counter()
        profile, state = self._profile(pod), State()
        with self._nominator.counted(pod):
            decided: cycle.Placed | cycle.Unplaced
            if self._extenders.interested(pod):
                decided = await self._decide_with_extenders(pod, profile, state)
            else:
                decided = cycle.decide(pod, self._cluster, profile, self._random, memory=self._memory, state=state)
        _ALGORITHM.observe(time.perf_counter() - began)
        if isinstance(decided, cycle.Unplaced):
            self._count("unschedulable", profile, began)
            self._give_up(waiting, decided)
            return
        self._cluster.add_pod(pod, decided.node)
        binder = self._binders[profile.name]
        permit: Stopped | WaitingPod | None = binder.reserve(pod, decided.node, state)
        if permit is None:
            permit = binder.permit(pod, decided.node, state)
        if isinstance(permit, Stopped):
            self._stopped(waiting, decided.node, state, permit)
            return
        binding = self._bind(waiting, decided.node, state, permit, began=began)
        self._supervisor.once("bind", binding)

    async def _decide_with_extenders(
        self, pod: PodFacts, profile: Profile, state: State
    ) -> cycle.Placed | cycle.Unplaced:
        found = cycle.find(pod, self._cluster, profile, self._memory, state)
        if isinstance(found, cycle.Unplaced):
            return found
        rows, reasons = await self._extenders.filter(pod, self._cluster, found.rows)
        if not len(rows):
            total = len(self._cluster)
            everyone = reasons or {"node(s) refused by an extender": total}
            return cycle.Unplaced(total, everyone, frozenset(), rows)
        left = cycle.Found(rows, found.answers)
        total_scores = cycle.rate(pod, self._cluster, profile, left)
        total_scores = total_scores + await self._extenders.prioritize(pod, self._cluster, rows)
        return cycle.Placed(self._cluster.names[cycle.pick(rows, total_scores, self._random)])

    def _give_up(self, waiting: Waiting, unplaced: cycle.Unplaced) -> None:
        pod, profile = waiting.facts, self._profile(waiting.facts)
        node, said = "", []
        rejected_by = unplaced.plugins or tuple(plugin.name for plugin in profile.filters)
        if unplaced.total:
            with self._nominator.counted(pod):
                for plugin in profile.postfilters:
                    before = self._nominator.node_of(pod.uid)
                    found = plugin.postfilter(pod, unplaced, self._cluster, profile, before)
                    if found is None:
                        continue
                    if isinstance(found, preemption.Candidate):
                        node = found.node
                        break
                    said.append(found.message)
                    if found.takes_over:
                        rejected_by = (plugin.name,)
                    if not found.keeps:
                        self._nominator.forget(pod.uid)
        if node:
            said = []
            assert isinstance(found, preemption.Candidate)
            for lesser in self._nominator.lesser_on(node, pod.priority):
                self._nominator.forget(lesser.uid)
                self._write(lesser, "", "", "")
            self._nominator.nominate(pod, node)
            _PREEMPTED.observe(len(found.victims))
            self._supervisor.once(f"preempt for {pod.namespace}/{pod.name}", self._preempt(pod, found))
        self._queue.retry(waiting, rejected_by)
        message = unplaced.message(", ".join(said))
        self._tell_failure(pod, UNSCHEDULABLE, message)

    def _tell_failure(self, pod: PodFacts, reason: str, message: str) -> None:
        why = self._explanations.text(pod, message) if reason == UNSCHEDULABLE else ""
        self._tellers[self._profile(pod).name].failed(pod, message, why)
        self._write(pod, reason, message, self._nominator.node_of(pod.uid))

    def _write(self, pod: PodFacts, reason: str, message: str, nominated: str) -> None:
        current = self._watching.pod(pod.namespace, pod.name)
        teller = self._tellers[self._profile(pod).name]
        if not reason and current is not None and current.status:
            for one in current.status.conditions or ():
                if one.type == "PodScheduled":
                    reason, message = one.reason or "", one.message or ""
        writing = teller.write_failure(current, pod, reason=reason, message=message, nominated=nominated)
        self._supervisor.once(f"status of {pod.namespace}/{pod.name}", writing)

    async def _bind(
        self, waiting: Waiting, node: str, state: State, permit: WaitingPod | None, *, began: float
    ) -> None:
        pod, profile = waiting.facts, self._profile(waiting.facts)
        binder = self._binders[profile.name]
        try:
            if permit is None:
                async with self._places:
                    stopped = await binder.run(pod, node, state, None)
            else:
                stopped = await binder.run(pod, node, state, permit)
        except errors.NotFound:
            self._undo(pod, node, state)
            self._queue.remove(pod.uid)
            return
        except errors.Conflict as err:
            self._undo(pod, node, state)
            logger.debug("binding of %s/%s: %s", pod.namespace, pod.name, err)
            self._queue.retry(waiting, ())  # it has a node already: its own events will tell before it is tried again
            return
        except errors.StatusError as err:
            self._undo(pod, node, state)
            self._failed(waiting, f"binding rejected: {err}")
            return
        except Exception as err:  # a border: what a plugin raises must not leave the pod counted for good
            logger.error("%s/%s cannot be bound", pod.namespace, pod.name, exc_info=err)
            self._undo(pod, node, state)
            self._failed(waiting, f"{type(err).__name__}: {err}")
            return
        if stopped is not None:
            self._stopped(waiting, node, state, stopped)
            return
        self._nominator.forget(pod.uid)
        self._queue.remove(pod.uid)
        self._count("scheduled", profile, began)
        self._tellers[profile.name].placed(pod, node)

    def _failed(self, waiting: Waiting, message: str) -> None:
        """Note an error, which the next try may not meet."""
        pod = waiting.facts
        self._queue.retry(waiting, ())
        self._attempts["error", self._profile(pod).name][0].add()
        self._tell_failure(pod, "SchedulerError", message)

    def _stopped(self, waiting: Waiting, node: str, state: State, stopped: Stopped) -> None:
        """Note that a plugin stopped the pod after a node was found."""
        pod = waiting.facts
        self._give_back(pod, node, state)
        self._queue.retry(waiting, (stopped.plugin,) if stopped.plugin else ())
        # Only now: what the pod itself gives back must not be what it is tried again for.
        self._queue.move(Event(Kind.POD_GONE, pod=pod), but=pod.uid)
        total = len(self._cluster)
        message = f"0/{total} nodes are available: {stopped.reason}."
        self._tell_failure(pod, UNSCHEDULABLE, message)

    def _undo(self, pod: PodFacts, node: str, state: State) -> None:
        self._give_back(pod, node, state)
        self._queue.move(Event(Kind.POD_GONE, pod=pod))

    def _give_back(self, pod: PodFacts, node: str, state: State) -> None:
        self._cluster.remove_pod(pod.uid)
        self._binders[self._profile(pod).name].unreserve(pod, node, state)

    def _count(self, result: str, profile: Profile, began: float) -> None:
        attempts, duration = self._attempts[result, profile.name]
        attempts.add()
        duration.observe(time.perf_counter() - began)

    async def _preempt(self, pod: PodFacts, candidate: preemption.Candidate) -> None:
        profile = self._profile(pod)
        teller = self._tellers[profile.name]
        for victim in candidate.victims:
            waiting = self._waiting.get(victim.uid)
            if waiting is not None:
                waiting.reject("", "preempted")
                continue
            if victim.is_terminating:
                continue
            with contextlib.suppress(errors.NotFound):
                await teller.displace(victim, profile.name)
                options = DeleteOptions(uid=victim.uid)
                await self._client.delete(core_v1.Pod, victim.name, namespace=victim.namespace, options=options)
                teller.preempted(victim.pod, pod.uid, candidate.node)


def run(context: Context, supervisor: Supervisor, settings: Settings | None = None) -> None:
    """Start the scheduler; it runs until the supervisor ends.

    Args:
        context: Of the process, as `control.context.open_context(client_for, "kube-scheduler", …)` gives it.
        supervisor: Restarts what fails.
        settings: The configuration; None means upstream's defaults.
    """
    supervisor.run("scheduler", Scheduler(context, supervisor, settings).run)
