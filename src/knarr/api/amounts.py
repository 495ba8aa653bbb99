"""Quantities as whole numbers of billionths, for comparing and adding them without allocation.

A quantity never has anything finer than 1n, so an integer holds every one exactly. Parsing is cached, because a cluster
repeats few different amounts.

Source: k8s.io/apimachinery/pkg/api/resource (v1.37): grammar, rounding up to 1n, canonical form.
"""

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from functools import lru_cache

NANOS = 10**9
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_GRAMMAR = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?\d{1,4}))?", re.ASCII)


@lru_cache(8192)
def nanos(quantity: str | int | float) -> int:
    """Return a quantity in billionths, rounded away from zero.

    Args:
        quantity: As decoded from JSON: "100m", "1.5Gi", "2e3", 4.

    Raises:
        ValueError: it is not a quantity.
    """
    return read(str(quantity))


def read(quantity: str) -> int:
    """Return a quantity in billionths as `nanos` does, without keeping it in the cache.

    Raises:
        ValueError: it is not a quantity.
    """
    match = _GRAMMAR.fullmatch(quantity)
    if match is None:
        raise ValueError(
            f"not a quantity: {quantity!r}; expected a number with an optional suffix such as m, k, Mi or e3"
        )
    number, binary, decimal, exponent = match.groups()
    with localcontext() as context:
        context.prec = 60
        value = Decimal(number)
        if binary:
            value *= _BINARY[binary]
        else:
            value = value.scaleb(int(exponent) if exponent else _DECIMAL[decimal or ""])
        return int((value * NANOS).to_integral_value(ROUND_CEILING if value > 0 else ROUND_FLOOR))


def format_like(amount: int, sample: str) -> str:
    """Write an amount in canonical form, with the kind of suffix that `sample` has.

    Args:
        amount: In billionths.
        sample: A quantity; "Mi" or the like asks for powers of 1024, anything else for powers of 1000.
    """
    if sample.endswith("i") and amount % NANOS == 0 and abs(amount) >= 1024 * NANOS:
        whole, suffix = amount // NANOS, ""
        for name, size in _BINARY.items():
            if whole % size == 0:
                suffix, unit = name, size
        return f"{whole // unit}{suffix}" if suffix else str(whole)
    if amount == 0:
        return "0"
    exponent = -9
    while amount % 1000 == 0 and exponent < 18:
        amount, exponent = amount // 1000, exponent + 3
    return f"{amount}{next(suffix for suffix, power in _DECIMAL.items() if power == exponent)}"
