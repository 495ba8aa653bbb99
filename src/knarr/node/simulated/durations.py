"""Amounts as scripts write them: `500ms`, `2s`, `1m30s`, and ranges such as `1s..3s` of which each pod draws one."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from knarr.api import amounts as quantities

NEVER = math.inf
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h))")


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included; a single one if they are equal."""

    low: float
    high: float

    def draw(self, random: Random) -> float:
        """Return one of them by chance."""
        return self.low if self.low == self.high else random.uniform(self.low, self.high)


def parse_duration(text: str) -> Range:
    """Read a duration or a range of durations, in seconds; `never` is infinite.

    Raises:
        ValueError: It is none.
    """
    return _parse_range(text, _seconds, "a duration such as 500ms, 2s or 1m30s, a range such as 1s..3s, or never")


def parse_amount(text: str) -> Range:
    """Read a quantity such as `250m` or `64Mi`, or a range of quantities, in cores or bytes.

    Raises:
        ValueError: It is none.
    """
    return _parse_range(text, _amount, "a quantity such as 250m or 64Mi, or a range such as 100m..300m")


def _parse_range(text: str, parse: Callable[[str], float], expected: str) -> Range:
    low, dots, high = str(text).strip().partition("..")
    try:
        found = Range(parse(low.strip()), parse(high.strip() if dots else low.strip()))
    except ValueError:
        raise ValueError(f"{text!r}: expected {expected}") from None
    if found.low > found.high:
        raise ValueError(f"{text!r}: expected the smaller end of the range first")
    return found


def _seconds(text: str) -> float:
    if text == "never":
        return NEVER
    if text == "0":
        return 0.0
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(text)
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def _amount(text: str) -> float:
    return quantities.nanos(text) / quantities.NANOS
