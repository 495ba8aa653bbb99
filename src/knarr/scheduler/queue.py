"""Pods that wait for a node: those to try now, those to try after a pause, and those for which something must change first.

A pod that found no node waits until an event comes in which one of the plugins that rejected it is interested; then it is tried again,
but no sooner than its backoff allows. Events that come while a pod is being tried count as if they came after.

Upstream counterpart: pkg/scheduler/backend/queue (v1.37).
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from knarr.kit.backoff import Curve
from knarr.kit.clock import Clock
from knarr.scheduler.events import Event
from knarr.scheduler.podfacts import PodFacts

BACKOFF = Curve(first_s=1.0, limit_s=10.0)
UNSCHEDULABLE_LIMIT_S = 300.0
"""After this long without a helpful event a pod is tried again all the same."""
FLUSH_PERIOD_S = 30.0

Hint = Callable[[str, Event, PodFacts], bool]
"""Tells whether an event may help a pod that the named plugin rejected."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A pod in the queue.

    Attributes:
        facts: The pod.
        since_s: When it came into the queue; of equal priorities the older goes first.
        attempts: How often it was tried.
        rejected_by: Plugins that rejected it last; empty after an error.
        failed_s: When it was tried last.
        gated: Whether its scheduling gates hold it back.
    """

    facts: PodFacts
    since_s: float
    attempts: int = 0
    rejected_by: Collection[str] = ()
    failed_s: float = 0.0
    gated: bool = False


class Queue:
    """The scheduling queue.

    Args:
        clock: Times backoff.
        hint: Asks the plugins.
    """

    def __init__(self, clock: Clock, hint: Hint) -> None:
        self._clock = clock
        self._hint = hint
        self._known: dict[str, Waiting] = {}
        self._active: list[tuple[int, float, int, Waiting]] = []
        self._backoff: list[tuple[float, int, Waiting]] = []
        self._unschedulable: dict[str, Waiting] = {}
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
        found = {"active": 0, "backoff": 0, "unschedulable": 0, "gated": 0}
        for uid, place in self._place.items():
            if place in found:
                found["gated" if self._known[uid].gated else place] += 1
        return found

    def add(self, facts: PodFacts) -> None:
        """Take in a new or changed pod that has no node; a change of what it asks for is tried at once."""
        waiting = self._known.get(facts.uid)
        if waiting is None:
            waiting = self._known[facts.uid] = Waiting(facts, self._clock.monotonic_s())
            waiting.gated = bool(facts.spec.schedulingGates)
            self._put(waiting, "unschedulable" if waiting.gated else "active")
            return
        changed = waiting.facts.spec != facts.spec or waiting.facts.labels != facts.labels
        waiting.facts = facts
        if waiting.gated and not facts.spec.schedulingGates:
            waiting.gated = False
            self._put(waiting, "active")
        elif changed and not waiting.gated and self._place.get(facts.uid) == "unschedulable":
            self._requeue(waiting)

    def remove(self, uid: str) -> None:
        """Forget a pod: it has a node, or is gone."""
        self._known.pop(uid, None)
        self._unschedulable.pop(uid, None)
        self._place.pop(uid, None)
        self._in_flight.pop(uid, None)

    async def pop(self) -> Waiting:
        """Wait for a pod to try and take it; `retry` or `remove` must follow."""
        while True:
            self._flush()
            while self._active:
                _, _, _, waiting = heapq.heappop(self._active)
                if self._place.get(waiting.facts.uid) != "active" or self._known.get(waiting.facts.uid) is not waiting:
                    continue
                self._place[waiting.facts.uid] = "in flight"
                self._in_flight[waiting.facts.uid] = self._last_event
                waiting.attempts += 1
                return waiting
            await self._wait()

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
        waiting.rejected_by = rejected_by
        waiting.failed_s = self._clock.monotonic_s()
        missed = [event for number, event in self._recent if began is not None and number > began]
        if not rejected_by or any(self._helps(event, waiting) for event in missed):
            self._requeue(waiting)
        else:
            self._put(waiting, "unschedulable")
        self._forget_events()

    def move(self, event: Event) -> None:
        """Try again the pods that an event may help."""
        if self._in_flight:
            self._last_event = next(self._sequence)
            self._recent.append((self._last_event, event))
        for waiting in [*self._unschedulable.values()]:
            if self._helps(event, waiting):
                self._requeue(waiting)

    def activate(self, uid: str) -> None:
        """Try a pod again now."""
        waiting = self._known.get(uid)
        if waiting is not None and self._place.get(uid) in {"unschedulable", "backoff"} and not waiting.gated:
            self._put(waiting, "active")

    def _helps(self, event: Event, waiting: Waiting) -> bool:
        if waiting.gated:
            return False
        return any(self._hint(plugin, event, waiting.facts) for plugin in waiting.rejected_by)

    def _requeue(self, waiting: Waiting) -> None:
        until_s = waiting.failed_s + BACKOFF.delay_s(waiting.attempts)
        self._put(waiting, "backoff" if until_s > self._clock.monotonic_s() else "active", until_s)

    def _put(self, waiting: Waiting, place: str, until_s: float = 0.0) -> None:
        self._place[waiting.facts.uid] = place
        self._unschedulable.pop(waiting.facts.uid, None)
        if place == "unschedulable":
            self._unschedulable[waiting.facts.uid] = waiting
        elif place == "active":
            heapq.heappush(self._active, (-waiting.facts.priority, waiting.since_s, next(self._sequence), waiting))
            self._wakeup.set()
        elif place == "backoff":
            heapq.heappush(self._backoff, (until_s, next(self._sequence), waiting))
            self._wakeup.set()

    def _flush(self) -> None:
        now = self._clock.monotonic_s()
        while self._backoff and self._backoff[0][0] <= now:
            waiting = heapq.heappop(self._backoff)[2]
            if self._place.get(waiting.facts.uid) == "backoff" and self._known.get(waiting.facts.uid) is waiting:
                self._put(waiting, "active")
        if now - self._flushed_s < FLUSH_PERIOD_S:
            return
        self._flushed_s = now
        for waiting in [*self._unschedulable.values()]:
            if not waiting.gated and now - waiting.failed_s > UNSCHEDULABLE_LIMIT_S:
                self._put(waiting, "active")

    async def _wait(self) -> None:
        self._wakeup.clear()
        delay_s = FLUSH_PERIOD_S
        if self._backoff:
            delay_s = min(delay_s, max(0.001, self._backoff[0][0] - self._clock.monotonic_s()))
        sleeping = asyncio.ensure_future(self._clock.sleep(delay_s))
        waking = asyncio.ensure_future(self._wakeup.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    def _forget_events(self) -> None:
        oldest = min(self._in_flight.values(), default=None)
        if oldest is None:
            self._recent.clear()
            return
        while self._recent and self._recent[0][0] <= oldest:
            self._recent.popleft()
