"""The work queue: keys to reconcile, each at most once in the queue and never in two workers at a time.

A key that is added while it is being worked on waits until that is done and is then worked on again, so no change is missed and no two
workers race on one object. Failing keys come back later and later.

Source: k8s.io/client-go/util/workqueue (v1.37): queue.go, delaying_queue.go, default_rate_limiters.go.
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from knarr.kit import metrics
from knarr.kit.backoff import Curve, KeyedBackoff
from knarr.kit.clock import Clock

K = TypeVar("K", bound=Hashable)

RETRY = Curve(first_s=0.005, limit_s=1000.0)
"""Retries of one key, as client-go's ItemExponentialFailureRateLimiter."""

_DEPTH = metrics.PROCESS.gauge("workqueue_depth", "Current depth of workqueue", ("name",))
_ADDS = metrics.PROCESS.counter("workqueue_adds_total", "Total number of adds handled by workqueue", ("name",))
_RETRIES = metrics.PROCESS.counter("workqueue_retries_total", "Total number of retries handled by workqueue", ("name",))
_BUCKETS = tuple(10.0**exponent for exponent in range(-8, 2))
_QUEUED = metrics.PROCESS.histogram(
    "workqueue_queue_duration_seconds", "How long in seconds an item stays in workqueue before being requested", _BUCKETS, ("name",)
)  # fmt: skip
_WORKED = metrics.PROCESS.histogram(
    "workqueue_work_duration_seconds", "How long in seconds processing an item from workqueue takes", _BUCKETS, ("name",)
)  # fmt: skip


class Queue(Generic[K]):
    """A queue of keys.

    Args:
        clock: Times delays.
        name: For metrics.
        retry: How delays of a failing key grow.
    """

    def __init__(self, clock: Clock, *, name: str = "", retry: Curve = RETRY) -> None:
        self._clock = clock
        self._backoff: KeyedBackoff[K] = KeyedBackoff(retry)
        self._ready: deque[K] = deque()
        self._dirty: dict[K, float] = {}  # waiting for a worker, and since when
        self._processing: dict[K, float] = {}
        self._delayed: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._timer: asyncio.Task[None] | None = None
        self._timer_at_s = 0.0
        self._getters: deque[asyncio.Future[None]] = deque()
        self._shut_down = False
        self._depth = _DEPTH.labels(name)
        self._adds = _ADDS.labels(name)
        self._retries = _RETRIES.labels(name)
        self._queued = _QUEUED.labels(name)
        self._worked = _WORKED.labels(name)

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K) -> None:
        """Have `key` worked on soon; nothing happens if it already waits."""
        if self._shut_down or key in self._dirty:
            return
        self._adds.add(1)
        self._dirty[key] = self._clock.monotonic_s()
        if key not in self._processing:
            self._push(key)

    def add_after(self, key: K, delay_s: float) -> None:
        """Add `key` after a delay; of several delays the one that ends first counts."""
        if self._shut_down:
            return
        if delay_s <= 0:
            self.add(key)
            return
        at_s = self._clock.monotonic_s() + delay_s
        if self._delayed.get(key, at_s + 1) <= at_s:
            return
        self._delayed[key] = at_s
        heapq.heappush(self._heap, (at_s, next(self._order), key))
        self._set_timer()

    def add_rate_limited(self, key: K) -> None:
        """Count a failure of `key` and add it after the delay that this calls for."""
        self._retries.add(1)
        self.add_after(key, self._backoff.next_delay_s(key))

    def forget(self, key: K) -> None:
        """Forget the failures of `key`."""
        self._backoff.forget(key)

    def failures(self, key: K) -> int:
        """Return how often `key` has failed in a row."""
        return self._backoff.failures(key)

    async def get(self) -> K | None:
        """Wait for a key and take it; `done` must follow. None means that the queue is shut down and empty."""
        while not self._ready:
            if self._shut_down:
                return None
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter.done() and not getter.cancelled():
                    self._wake_one()
                raise
        key = self._ready.popleft()
        now = self._clock.monotonic_s()
        self._queued.observe(now - self._dirty.pop(key))
        self._processing[key] = now
        self._depth.set(len(self._ready))
        return key

    def done(self, key: K) -> None:
        """Say that work on `key` has ended, well or not; if it was added meanwhile it waits again."""
        self._worked.observe(self._clock.monotonic_s() - self._processing.pop(key))
        if key in self._dirty:
            self._push(key)

    def shut_down(self) -> None:
        """Take no more keys; those that wait can still be got."""
        self._shut_down = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._heap.clear()
        self._delayed.clear()
        while self._getters:
            self._wake_one()

    def _push(self, key: K) -> None:
        self._ready.append(key)
        self._depth.set(len(self._ready))
        self._wake_one()

    def _wake_one(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _set_timer(self) -> None:
        if not self._heap:
            return
        at_s = self._heap[0][0]
        if self._timer is not None:
            if self._timer_at_s <= at_s:
                return
            self._timer.cancel()
        self._timer_at_s = at_s
        self._timer = asyncio.get_running_loop().create_task(self._sleep_until(at_s), name="workqueue delay")

    async def _sleep_until(self, at_s: float) -> None:
        await self._clock.sleep(at_s - self._clock.monotonic_s())
        self._timer = None
        now = max(self._clock.monotonic_s(), at_s)
        while self._heap and self._heap[0][0] <= now:
            due_s, _, key = heapq.heappop(self._heap)
            # An entry whose key has since got an earlier one is stale.
            if self._delayed.get(key) == due_s:
                del self._delayed[key]
                self.add(key)
        self._set_timer()
