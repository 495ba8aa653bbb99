"""Waiting longer after each failure.

Source: k8s.io/client-go/util/workqueue ItemExponentialFailureRateLimiter and k8s.io/apimachinery/pkg/util/wait.Backoff (v1.37).
"""

from collections.abc import Hashable
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from knarr.kit.clock import Clock

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Curve:
    """How delays grow: `first_s`, then `factor` times the one before, at most `limit_s`.

    Attributes:
        first_s: Delay after the first failure, in seconds.
        limit_s: Longest delay, before jitter.
        factor: Growth a failure.
        jitter: Up to this fraction of a delay is added at random.
    """

    first_s: float
    limit_s: float
    factor: float = 2.0
    jitter: float = 0.0

    def delay_s(self, failures: int, random: Random | None = None) -> float:
        """Return the delay after a number of failures in a row, 0 for none."""
        if failures <= 0:
            return 0.0
        try:
            delay = min(self.first_s * self.factor ** (failures - 1), self.limit_s)
        except OverflowError:
            delay = self.limit_s
        if self.jitter and random is not None:
            delay += delay * self.jitter * random.random()
        return delay


class Backoff:
    """The delays of one thing that fails, is tried again, and starts over once it has worked for a while.

    Args:
        curve: How delays grow.
        clock: Tells how long the thing worked.
        random: Source of jitter.
        reset_after_s: Without a failure for this long, the next one counts as the first.
    """

    def __init__(self, curve: Curve, clock: Clock, random: Random, *, reset_after_s: float = 120.0) -> None:
        self._curve = curve
        self._clock = clock
        self._random = random
        self._reset_after_s = reset_after_s
        self._failures = 0
        self._last_s = 0.0

    @property
    def failures(self) -> int:
        """Failures in a row so far."""
        return self._failures

    def next_delay_s(self) -> float:
        """Count one failure and return how long to wait after it."""
        now = self._clock.monotonic_s()
        if self._failures and now - self._last_s > self._reset_after_s:
            self._failures = 0
        self._failures += 1
        delay = self._curve.delay_s(self._failures, self._random)
        self._last_s = now + delay
        return delay

    async def sleep(self) -> None:
        """Count one failure and wait as long as it takes."""
        await self._clock.sleep(self.next_delay_s())

    def reset(self) -> None:
        """Forget the failures."""
        self._failures = 0


class KeyedBackoff(Generic[K]):
    """The delays of many things, each told by its key."""

    def __init__(self, curve: Curve, random: Random | None = None) -> None:
        self._curve = curve
        self._random = random
        self._failures: dict[K, int] = {}

    def next_delay_s(self, key: K) -> float:
        """Count one failure of `key` and return how long to wait after it."""
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        return self._curve.delay_s(failures, self._random)

    def failures(self, key: K) -> int:
        """Return how often `key` has failed in a row."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """Start over with `key`: it worked, or is gone."""
        self._failures.pop(key, None)

    def __len__(self) -> int:
        return len(self._failures)
