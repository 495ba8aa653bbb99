from random import Random

import pytest

from knarr.kit.backoff import Backoff, Curve, KeyedBackoff
from knarr.kit.clock import FakeClock


def test_delays_double_up_to_the_limit() -> None:
    curve = Curve(first_s=1, limit_s=10)
    assert [curve.delay_s(failures) for failures in range(6)] == [0, 1, 2, 4, 8, 10]
    assert curve.delay_s(100_000) == 10


def test_jitter_adds_at_most_its_share() -> None:
    curve = Curve(first_s=1, limit_s=10, jitter=0.5)
    delays = {curve.delay_s(1, Random(seed)) for seed in range(50)}
    assert len(delays) > 1
    assert all(1 <= delay <= 1.5 for delay in delays)


async def test_a_long_success_starts_over() -> None:
    clock = FakeClock()
    backoff = Backoff(Curve(first_s=1, limit_s=60), clock, Random(0), reset_after_s=120)
    assert [backoff.next_delay_s() for _ in range(3)] == [1, 2, 4]
    await clock.advance(4 + 121)
    assert backoff.next_delay_s() == 1


def test_keys_fail_by_themselves() -> None:
    backoff = KeyedBackoff[str](Curve(first_s=1, limit_s=60))
    assert [backoff.next_delay_s("a"), backoff.next_delay_s("a"), backoff.next_delay_s("b")] == [1, 2, 1]
    backoff.forget("a")
    assert (backoff.failures("a"), backoff.failures("b"), len(backoff)) == (0, 1, 1)


@pytest.mark.parametrize("failures", [-1, 0])
def test_no_failure_no_delay(failures: int) -> None:
    assert Curve(first_s=1, limit_s=2).delay_s(failures) == 0
