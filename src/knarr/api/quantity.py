"""Quantities as the API writes them: read, compared, and put into canonical form, with upstream's error words.

`amounts` does the arithmetic; this module knows the three notations (1500m, 1Gi, 1e3) and keeps the one that was used.

Source: k8s.io/apimachinery/pkg/api/resource quantity.go (v1.37).
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache, total_ordering

from knarr.api import amounts

FORMAT_WRONG = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"  # upstream's words
)
SUFFIX_WRONG = "unable to parse quantity's suffix"
NUMERIC_WRONG = "unable to parse numeric part of quantity"

_MAX = (2**63 - 1) * amounts.NANOS
_MAX_EXPONENT = 400
_MAX_CACHED = 64
_SPLIT = re.compile(r"([+-]?[0-9]*(?:\.[0-9]*)?)([eEinumkKMGTP]*)([-+]?[0-9]*)", re.ASCII)
_BINARY_SUFFIXES = frozenset({"Ki", "Mi", "Gi", "Ti", "Pi", "Ei"})
_DECIMAL_SUFFIXES = frozenset({"", "n", "u", "m", "k", "M", "G", "T", "P", "E"})


class QuantityError(ValueError):
    """Raised when a text is no quantity; the message is upstream's."""


class Format(Enum):
    """How a quantity is written."""

    DECIMAL_SI = "DecimalSI"
    BINARY_SI = "BinarySI"
    DECIMAL_EXPONENT = "DecimalExponent"


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An exact amount.

    Attributes:
        nanos: In billionths.
        format: How it is written.
    """

    nanos: int
    format: Format = Format.DECIMAL_SI

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __lt__(self, other: "Quantity") -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __add__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    @property
    def value(self) -> int:
        """The amount as a whole number, rounded up."""
        return _divide_up(self.nanos, amounts.NANOS)

    @property
    def milli_value(self) -> int:
        """The amount in thousandths, rounded up."""
        return _divide_up(self.nanos, amounts.NANOS // 1000)

    def __str__(self) -> str:
        nanos = self.nanos
        if self.format is Format.BINARY_SI and abs(nanos) >= 1024 * amounts.NANOS:
            return amounts.format_like(self.value * amounts.NANOS, "Ki")
        if self.format is Format.DECIMAL_EXPONENT:
            return _format_exponent(nanos)
        return amounts.format_like(nanos, "")


def _divide_up(nanos: int, unit: int) -> int:
    """Divide, rounding away from zero."""
    whole = -(-abs(nanos) // unit)
    return whole if nanos >= 0 else -whole


def _format_exponent(nanos: int) -> str:
    if nanos == 0:
        return "0"
    exponent = -9
    while nanos % 1000 == 0:
        nanos, exponent = nanos // 1000, exponent + 3
    return f"{nanos}e{exponent}" if exponent else str(nanos)


def parse(text: str) -> Quantity:
    """Read a quantity; results are cached, unless the text is oddly long.

    Args:
        text: Such as "100m", "1.5Gi", "2e3".

    Raises:
        QuantityError: it is none; the message is upstream's.
    """
    return _parse_cached(text) if len(text) <= _MAX_CACHED else _parse(text)


def _parse(text: str) -> Quantity:
    match = _SPLIT.fullmatch(text)
    if not text or match is None:
        raise QuantityError(FORMAT_WRONG)
    number, suffix, exponent = match.groups()
    if exponent and suffix not in ("e", "E"):
        raise QuantityError(FORMAT_WRONG if not suffix else SUFFIX_WRONG)
    form, shown = _format(suffix, exponent)
    if not any(character.isdigit() for character in number):
        raise QuantityError(NUMERIC_WRONG)
    nanos = amounts.read(number + shown)
    return Quantity(max(-_MAX, min(nanos, _MAX)), form)


_parse_cached = lru_cache(8192)(_parse)


def _format(suffix: str, exponent: str) -> tuple[Format, str]:
    if exponent:
        digits = exponent.lstrip("+-")
        if not digits:
            raise QuantityError(SUFFIX_WRONG)
        power = max(-_MAX_EXPONENT, min(int(exponent[:8]), _MAX_EXPONENT))
        return Format.DECIMAL_EXPONENT, f"e{power}"
    if suffix in _BINARY_SUFFIXES:
        return Format.BINARY_SI, suffix
    if suffix in _DECIMAL_SUFFIXES:
        return Format.DECIMAL_SI, suffix
    raise QuantityError(SUFFIX_WRONG)


def canonical(text: str) -> str:
    """Return a quantity as the API writes it: "1000m" becomes "1", "1024Mi" becomes "1Gi".

    Raises:
        QuantityError: it is none.
    """
    return _canonical_cached(text) if len(text) <= _MAX_CACHED else str(_parse(text.strip()))


@lru_cache(8192)
def _canonical_cached(text: str) -> str:
    return str(_parse(text.strip()))
