"""Time that is passed in: the system's in production, a fake one in tests.

Whoever sleeps, times out or stamps an object takes a `Clock`. `FakeClock` moves only when a test advances it, and wakes
the sleepers whose time has come in order, so that hours of backoff, leases and cron schedules run in milliseconds.
"""

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """A wall clock, a monotonic clock and a way to sleep on it."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""

    def monotonic_s(self) -> float:
        """Return seconds since an arbitrary start; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Sleep for `seconds`; zero or less yields once."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Return the kernel's monotonic clock in seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep for `seconds` of real time."""
        await asyncio.sleep(seconds)


class FakeClock:
    """A clock that moves only by `advance`; sleepers wake in the order of their deadlines."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        """Return the start plus all that was advanced."""
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic_s(self) -> float:
        """Return the seconds advanced so far."""
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        """Sleep until the clock has been advanced by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed_s + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move the clock by `seconds`, waking each sleeper at its own deadline and letting it run before the next.

        Args:
            seconds: How far to move, 0 or more; 0 only lets runnable tasks run.
        """
        deadline = self._elapsed_s + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= deadline:
            at, _, future = heapq.heappop(self._sleepers)
            self._elapsed_s = max(self._elapsed_s, at)
            if not future.done():
                future.set_result(None)
                await self._settle()
        self._elapsed_s = deadline
        await self._settle()

    @staticmethod
    async def _settle() -> None:
        # A woken task may need a few turns of the loop until it sleeps again.
        for _ in range(50):
            await asyncio.sleep(0)
