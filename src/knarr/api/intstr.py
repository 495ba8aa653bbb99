"""Numbers that may also be percentages: `3` or `"25%"`.

Source: k8s.io/apimachinery/pkg/util/intstr GetScaledValueFromIntOrPercent (v1.37).
"""

import re

_PERCENT = re.compile(r"([0-9]+)%")


def scale(value: int | str, total: int, *, round_up: bool) -> int:
    """Return a count, or the percentage of `total` that a text like "25%" names.

    Args:
        value: A count, or digits followed by "%".
        total: What 100 % is.
        round_up: Whether fractions become the next larger count.

    Raises:
        ValueError: A text that is no percentage.
    """
    if isinstance(value, int):
        return value
    match = _PERCENT.fullmatch(value)
    if match is None:
        raise ValueError(f'invalid value for IntOrString: invalid type: string is not a percentage: "{value}"')
    product = int(match[1]) * total
    return -(-product // 100) if round_up else product // 100
