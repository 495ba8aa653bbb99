"""Shares, lending and borrowing: numbers in, numbers out."""

import pytest

from knarr.apiserver.flowcontrol import allocation
from knarr.apiserver.flowcontrol.allocation import Claim, Demand, Limits


@pytest.mark.parametrize(
    ("shares", "lendable", "borrowing", "limits"),
    [
        (30, 33, None, Limits(74, 50, 674)),
        (5, 0, None, Limits(13, 13, 613)),
        (100, 90, None, Limits(245, 24, 845)),
        (40, 50, 20, Limits(98, 49, 118)),
    ],
    ids=["system", "catch-all", "workload-low", "limited borrowing"],
)
def test_nominal_limits_of_600_seats(shares: int, lendable: int, borrowing: int | None, limits: Limits) -> None:
    assert allocation.nominal(600, shares, 245, lendable, borrowing) == limits


@pytest.mark.parametrize(
    ("total", "claims", "shares"),
    [
        (10, [(1, 0, 10), (1, 0, 10)], [5, 5]),
        (9, [(1, 0, 10), (2, 0, 10)], [3, 6]),
        (10, [(1, 0, 2), (1, 0, 10)], [2, 8]),
        (10, [(9, 6, 10), (1, 3, 10)], [7, 3]),
        (10, [(0, 0, 10), (5, 5, 10)], [0, 10]),
    ],
)
def test_shares_are_proportional_within_bounds(
    total: float, claims: list[tuple[float, float, float]], shares: list[float]
) -> None:
    found = allocation.share(total, [Claim(*claim) for claim in claims])
    assert found is not None
    assert found[0] == pytest.approx(shares, abs=0.01)


def test_bounds_without_a_solution() -> None:
    assert allocation.share(10, [Claim(1, 0, 2), Claim(1, 0, 2)]) is None


LIMITS = {"a": Limits(50, 10, 150), "b": Limits(50, 50, 150), "exempt": Limits(0, 0, 100)}


def test_an_idle_level_lends_and_a_busy_one_borrows() -> None:
    demands = {"a": Demand(), "b": Demand(peak=200, smoothed=200.0), "exempt": Demand()}
    current, fair = allocation.adjust(LIMITS, demands, {"exempt"})
    assert current == {"a": 10, "b": 90, "exempt": 0}
    assert 0 < fair < 1


def test_a_level_gets_back_what_it_lent_when_it_needs_it() -> None:
    demands = {"a": Demand(peak=60, smoothed=60.0), "b": Demand(peak=200, smoothed=200.0), "exempt": Demand()}
    current, _ = allocation.adjust(LIMITS, demands, {"exempt"})
    assert current["a"] == 50


def test_the_exempt_level_takes_what_it_needs() -> None:
    demands = {"a": Demand(), "b": Demand(), "exempt": Demand(peak=95)}
    current, fair = allocation.adjust(LIMITS, demands, {"exempt"})
    assert current == {"a": 10, "b": 50, "exempt": 95}
    assert fair == 0.0


def test_demand_falls_slowly_and_rises_at_once() -> None:
    busy = Demand().after(100.0, 0.0, 100)
    assert busy.smoothed == 100.0
    for _ in range(30):
        busy = busy.after(0.0, 0.0, 0)
    assert 45 < busy.smoothed < 55
