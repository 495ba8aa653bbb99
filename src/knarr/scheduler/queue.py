"""Pods that wait for a node: those to try now, those to try after a pause, and those for which something must change first.

A pod that found no node waits until an event comes in which one of the plugins that rejected it is interested; then it is tried again,
but no sooner than its backoff allows, unless there is nothing else to try. Events that come while a pod is being tried count as if they
came after.

Upstream counterpart: pkg/scheduler/backend/queue (v1.37).
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from knarr.kit.backoff import Curve
from knarr.kit.clock import Clock
from knarr.scheduler.events import Event, Kind
from knarr.scheduler.podfacts import PodFacts

BACKOFF = Curve(first_s=1.0, limit_s=10.0)
UNSCHEDULABLE_LIMIT_S = 300.0
"""After this long without a helpful event a pod is tried again all the same."""
FLUSH_PERIOD_S = 30.0


class Advice(Protocol):
    """What the queue asks the plugins."""

    def key(self, pod: PodFacts, since_s: float) -> tuple[Any, ...]:
        """Return the key by which pods to be tried are sorted."""

    def gate(self, pod: PodFacts) -> str:
        """Return the plugin that does not let a pod be tried yet; empty if none minds."""

    def hears(self, plugin: str, kind: Kind) -> bool:
        """Tell whether events of a kind can help pods that the named plugin rejected."""

    def may_help(self, plugin: str, event: Event, pod: PodFacts) -> bool:
        """Tell whether an event may help a pod that the named plugin rejected."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A pod in the queue.

    Attributes:
        facts: The pod.
        since_s: When it came into the queue; of equal priorities the older goes first.
        attempts: How often it was tried.
        rejected_by: Plugins that rejected it last; empty after an error.
        failed_s: When it was tried last.
        gated: The plugin that does not let it be tried; empty if none minds.
    """

    facts: PodFacts
    since_s: float
    attempts: int = 0
    rejected_by: Collection[str] = ()
    failed_s: float = 0.0
    gated: str = ""


class Queue:
    """The scheduling queue.

    Args:
        clock: Times backoff.
        advice: Asks the plugins.
        backoff: How long pods rest between tries.
    """

    def __init__(self, clock: Clock, advice: Advice, backoff: Curve = BACKOFF) -> None:
        self._clock = clock
        self._advice = advice
        self._curve = backoff
        self._known: dict[str, Waiting] = {}
        self._active: list[tuple[tuple[Any, ...], int, Waiting]] = []
        self._backoff: list[tuple[float, int, Waiting]] = []
        self._after_error: list[tuple[float, int, Waiting]] = []
        self._unschedulable: dict[str, Waiting] = {}
        self._rejected: dict[str, dict[str, Waiting]] = {}
        self._counts = {"active": 0, "backoff": 0, "unschedulable": 0, "gated": 0, "in flight": 0}
        self._flushed_s = clock.monotonic_s()
        self._place: dict[str, str] = {}
        self._in_flight: dict[str, int] = {}
        self._recent: deque[tuple[int, Event]] = deque()
        self._sequence = itertools.count(1)
        self._last_event = 0
        self._wakeup = asyncio.Event()

    def __len__(self) -> int:
        return len(self._known)

    def counts(self) -> dict[str, int]:
        """Return how many pods wait in which place, for metrics."""
        return self._counts

    @property
    def has_active(self) -> bool:
        """Whether there is a pod to try now."""
        return self._counts["active"] > 0

    def waiting(self, uid: str) -> Waiting | None:
        """Return what is known of a pod."""
        return self._known.get(uid)

    def add(self, facts: PodFacts) -> None:
        """Take in a new or changed pod that has no node; a change of what it asks for is tried at once."""
        waiting = self._known.get(facts.uid)
        if waiting is None:
            waiting = self._known[facts.uid] = Waiting(facts, self._clock.monotonic_s())
            self._admit(waiting)
            return
        changed = waiting.facts.spec != facts.spec or waiting.facts.labels != facts.labels
        waiting.facts = facts
        if waiting.gated:
            self._admit(waiting)
        elif changed and self._place.get(facts.uid) == "unschedulable":
            self._requeue(waiting)

    def remove(self, uid: str) -> None:
        """Forget a pod: it has a node, or is gone."""
        waiting = self._known.pop(uid, None)
        if waiting is not None:
            self._leave(waiting)
        if self._in_flight.pop(uid, None) is not None:
            self._forget_events()

    async def pop(self) -> Waiting:
        """Wait for a pod to try and take it; `retry` or `remove` must follow."""
        while True:
            self._flush()
            while self._active:
                _, _, waiting = heapq.heappop(self._active)
                if self._place.get(waiting.facts.uid) != "active" or self._known.get(waiting.facts.uid) is not waiting:
                    continue
                return self._take(waiting)
            early = self._first(self._backoff)
            if early is not None:  # KEP-5142: nobody else is kept waiting by it
                return self._take(early)
            await self._wait()

    def _take(self, waiting: Waiting) -> Waiting:
        self._leave(waiting)
        self._set(waiting, "in flight")
        self._in_flight[waiting.facts.uid] = self._last_event
        waiting.attempts += 1
        return waiting

    def retry(self, waiting: Waiting, rejected_by: Collection[str]) -> None:
        """Put a pod that was tried back.

        Args:
            waiting: As `pop` gave it.
            rejected_by: The plugins whose rejection kept it from having a node; empty after an error, which is tried again soon.
        """
        uid = waiting.facts.uid
        began = self._in_flight.pop(uid, None)
        if self._known.get(uid) is not waiting:
            return
        waiting.rejected_by = tuple(rejected_by)
        waiting.failed_s = self._clock.monotonic_s()
        missed = [event for number, event in self._recent if began is not None and number > began]
        if not rejected_by or any(self._helps(event, waiting) for event in missed):
            self._requeue(waiting)
        else:
            self._put(waiting, "unschedulable")
        self._forget_events()

    def move(self, event: Event, *, but: str = "") -> None:
        """Try again the pods that an event may help, all but the one with uid `but`."""
        if self._in_flight:
            self._last_event = next(self._sequence)
            self._recent.append((self._last_event, event))
        for plugin, rejected in [*self._rejected.items()]:
            if self._advice.hears(plugin, event.kind):
                for waiting in [*rejected.values()]:
                    if waiting.facts.uid != but and self._advice.may_help(plugin, event, waiting.facts):
                        self._admit(waiting)

    def activate(self, uid: str) -> None:
        """Try a pod again now."""
        waiting = self._known.get(uid)
        if waiting is not None and self._place.get(uid) in {"unschedulable", "backoff", "gated"}:
            waiting.failed_s = float("-inf")
            self._admit(waiting)

    def _helps(self, event: Event, waiting: Waiting) -> bool:
        return any(
            self._advice.hears(plugin, event.kind) and self._advice.may_help(plugin, event, waiting.facts)
            for plugin in waiting.rejected_by
        )

    def _admit(self, waiting: Waiting) -> None:
        """Let a pod be tried, as soon as its backoff allows, unless a plugin minds."""
        self._leave(waiting)
        waiting.gated = self._advice.gate(waiting.facts)
        if waiting.gated:
            waiting.rejected_by = (waiting.gated,)
            self._put(waiting, "gated")
        elif waiting.attempts:
            self._requeue(waiting)
        else:
            self._put(waiting, "active")

    def _requeue(self, waiting: Waiting) -> None:
        until_s = waiting.failed_s + self._curve.delay_s(waiting.attempts)
        self._put(waiting, "backoff" if until_s > self._clock.monotonic_s() else "active", until_s)

    def _put(self, waiting: Waiting, place: str, until_s: float = 0.0) -> None:
        self._leave(waiting)
        self._set(waiting, place)
        uid = waiting.facts.uid
        if place in {"unschedulable", "gated"}:
            self._unschedulable[uid] = waiting
            for plugin in waiting.rejected_by:
                self._rejected.setdefault(plugin, {})[uid] = waiting
        elif place == "active":
            key = self._advice.key(waiting.facts, waiting.since_s)
            heapq.heappush(self._active, (key, next(self._sequence), waiting))
            self._wakeup.set()
        elif place == "backoff":
            heap = self._backoff if waiting.rejected_by else self._after_error
            heapq.heappush(heap, (until_s, next(self._sequence), waiting))
            self._wakeup.set()

    def _set(self, waiting: Waiting, place: str) -> None:
        self._place[waiting.facts.uid] = place
        self._counts[place] += 1

    def _leave(self, waiting: Waiting) -> None:
        uid = waiting.facts.uid
        place = self._place.pop(uid, None)
        if place is None:
            return
        self._counts[place] -= 1
        if self._unschedulable.pop(uid, None) is not None:
            for plugin in waiting.rejected_by:
                rejected = self._rejected.get(plugin, {})
                rejected.pop(uid, None)
                if not rejected:
                    self._rejected.pop(plugin, None)

    def _flush(self) -> None:
        now = self._clock.monotonic_s()
        for heap in (self._backoff, self._after_error):
            while heap and heap[0][0] <= now:
                waiting = heapq.heappop(heap)[2]
                if self._rests(waiting):
                    self._put(waiting, "active")
        if now - self._flushed_s < FLUSH_PERIOD_S:
            return
        self._flushed_s = now
        for waiting in [*self._unschedulable.values()]:
            if not waiting.gated and now - waiting.failed_s > UNSCHEDULABLE_LIMIT_S:
                self._put(waiting, "active")

    def _first(self, heap: list[tuple[float, int, Waiting]]) -> Waiting | None:
        """Take the first pod off a heap of those that rest; None if there is none."""
        while heap:
            waiting = heapq.heappop(heap)[2]
            if self._rests(waiting):
                return waiting
        return None

    def _rests(self, waiting: Waiting) -> bool:
        """Tell whether a pod of a heap is still there, and rests."""
        uid = waiting.facts.uid
        return self._place.get(uid) == "backoff" and self._known.get(uid) is waiting

    async def _wait(self) -> None:
        self._wakeup.clear()
        delay_s = FLUSH_PERIOD_S
        for heap in (self._backoff, self._after_error):
            if heap:
                delay_s = min(delay_s, max(0.001, heap[0][0] - self._clock.monotonic_s()))
        sleeping = asyncio.ensure_future(self._clock.sleep(delay_s))
        waking = asyncio.ensure_future(self._wakeup.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    def _forget_events(self) -> None:
        oldest = next(iter(self._in_flight.values()), None)  # they came in order
        if oldest is None:
            self._recent.clear()
            return
        while self._recent and self._recent[0][0] <= oldest:
            self._recent.popleft()
