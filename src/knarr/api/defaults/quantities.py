"""Rounding of resource lists: nothing finer than a thousandth is stored.

Source: SetDefaults_ResourceList in k8s.io/kubernetes/pkg/apis/core/v1/defaults.go (v1.37).
"""

from typing import Any

_PER_MILLI = {"n": 1_000_000, "u": 1_000}
_SUFFIXES = ("", "k", "M", "G", "T", "P", "E")


def round_up(resources: dict[str, Any] | None) -> None:
    """Round every canonical quantity of a resource list up to thousandths, in place."""
    if resources:
        for name, value in resources.items():
            if type(value) is str and value[-1:] in _PER_MILLI:
                resources[name] = _rounded(value)


def _rounded(value: str) -> str:
    try:
        count = int(value[:-1])
    except ValueError:
        return value
    millis = -(-count // _PER_MILLI[value[-1]])
    if millis % 1000:
        return f"{millis}m"
    whole, power = millis // 1000, 0
    while whole and whole % 1000 == 0 and power < len(_SUFFIXES) - 1:
        whole, power = whole // 1000, power + 1
    return f"{whole}{_SUFFIXES[power]}"
