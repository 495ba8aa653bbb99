"""How the server's seats are shared among the priority levels: configured shares first, then lending by demand.

Pure: numbers in, numbers out.

Upstream counterpart: k8s.io/apiserver/pkg/util/flowcontrol/{conc_alloc,apf_controller}.go (v1.37), KEP-1040 "Dispatching".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SMOOTHING = 0.977
"""How much of a past demand is still counted ten seconds later: half of it after five minutes."""
_SMALLEST_TARGET = 0.001


@dataclass(frozen=True, slots=True)
class Limits:
    """The seats of a level as configured.

    Attributes:
        nominal: Its share of the server.
        lowest: What is left when it lends all that it may.
        highest: What it has when it borrows all that it may.
    """

    nominal: int
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True)
class Demand:
    """How many seats a level could use.

    Attributes:
        average: Over the last period.
        deviation: Likewise.
        peak: Likewise.
        smoothed: Over several periods.
    """

    average: float = 0.0
    deviation: float = 0.0
    peak: int = 0
    smoothed: float = 0.0

    def after(self, average: float, deviation: float, peak: int) -> "Demand":
        """Return the demand after one more period."""
        if math.isnan(average):
            return Demand(self.average, self.deviation, peak, self.smoothed)
        envelope = average + deviation
        smoothed = max(envelope, SMOOTHING * self.smoothed + (1 - SMOOTHING) * envelope)
        return Demand(average, deviation, peak, smoothed)


@dataclass(frozen=True, slots=True)
class Claim:
    """What one level asks of the adjustment: between two bounds, best near a target."""

    target: float
    lower: float
    upper: float


def nominal(total: int, shares: int, all_shares: int, lendable_percent: int, borrowing_percent: int | None) -> Limits:
    """Return the configured limits of a level.

    Args:
        total: Seats of the server.
        shares: Of this level.
        all_shares: Of all levels together.
        lendable_percent: 0 to 100.
        borrowing_percent: None means no limit.
    """
    seats = math.ceil(total * shares / all_shares) if all_shares else 0
    lendable = _round(seats * lendable_percent / 100)
    borrowed = total if borrowing_percent is None else _round(seats * borrowing_percent / 100)
    return Limits(seats, seats - lendable, seats + borrowed)


def share(total: float, claims: Sequence[Claim]) -> tuple[list[float], float] | None:
    """Share `total` in proportion to the targets, as far as the bounds let it.

    Returns:
        The shares and the proportion p at which each is its target times p, moved into its bounds; None if the bounds leave no solution.
    """
    targets = [max(claim.target, _SMALLEST_TARGET) for claim in claims]
    if sum(claim.lower for claim in claims) > total + 1e-7 or sum(claim.upper for claim in claims) < total - 1e-7:
        return None

    def at(proportion: float) -> list[float]:
        return [
            min(max(proportion * target, claim.lower), claim.upper)
            for claim, target in zip(claims, targets, strict=True)
        ]

    # The sum grows with p, and is a straight line between two neighbouring bends.
    bends = sorted(
        {bound / target for claim, target in zip(claims, targets, strict=True) for bound in (claim.lower, claim.upper)}
    )
    before, before_sum = 0.0, sum(at(0.0))
    for bend in bends:
        bend_sum = sum(at(bend))
        if bend_sum >= total:
            rise = bend_sum - before_sum
            proportion = bend if rise <= 0 else before + (bend - before) * (total - before_sum) / rise
            return at(proportion), proportion
        before, before_sum = bend, bend_sum
    return at(before), before


def adjust(limits: dict[str, Limits], demands: dict[str, Demand], exempt: set[str]) -> tuple[dict[str, int], float]:
    """Return how many seats each level gets for the next period, and the fair fraction.

    Args:
        limits: By level.
        demands: By level, at the end of the last period.
        exempt: The levels that take what they need.
    """
    current: dict[str, int] = {}
    claims: dict[str, Claim] = {}
    total = sum(one.nominal for one in limits.values())
    remaining = total
    for name, limit in limits.items():
        demand = demands[name]
        if name in exempt:
            current[name] = max(limit.lowest, demand.peak)
            remaining -= current[name]
            continue
        least = max(limit.lowest, min(limit.nominal, demand.peak))
        claims[name] = Claim(max(least, demand.smoothed), least, limit.highest)
    lowest = sum(limits[name].lowest for name in claims)
    least = sum(int(claim.lower) for claim in claims.values())
    if remaining <= lowest:
        return {**current, **{name: limits[name].lowest for name in claims}}, 0.0
    if remaining <= least:
        fraction = (remaining - lowest) / (least - lowest)
        for name, claim in claims.items():
            low = limits[name].lowest
            current[name] = low + _round((claim.lower - low) * fraction)
        return current, 0.0
    found = share(total, list(claims.values()))
    if found is None:
        return {**current, **{name: limits[name].nominal for name in claims}}, 0.0
    shares, fair = found
    return {**current, **{name: _round(seats) for name, seats in zip(claims, shares, strict=True)}}, fair


def _round(value: float) -> int:
    return math.floor(value + 0.5)
