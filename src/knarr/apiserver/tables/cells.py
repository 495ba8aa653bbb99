"""Texts that many cells have in common: ages, selectors, lists cut short, container names.

Source: k8s.io/apimachinery/pkg/util/duration duration.go; pkg/printers/internalversion/printers.go (v1.37).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from knarr.api import labels

Object = Mapping[str, Any]

NONE, UNSET, UNKNOWN, INVALID = "<none>", "<unset>", "<unknown>", "<invalid>"
_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def part(obj: Object, *path: str) -> Any:
    """Return what lies at a path, {} where there is nothing."""
    value: Any = obj
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
        if value is None:
            return {}
    return value


def items(obj: Object, *path: str) -> list[Any]:
    """Return the list at a path, an empty one where there is none."""
    value = part(obj, *path)
    return value if isinstance(value, list) else []


def text(obj: Object, *path: str, absent: str = "") -> str:
    """Return the text at a path; `absent` where there is none or it is empty."""
    value = part(obj, *path)
    return str(value) if value not in ({}, "", None) else absent


def number(obj: Object, *path: str) -> int:
    """Return the number at a path, 0 where there is none."""
    value = part(obj, *path)
    return value if isinstance(value, int) else 0


def name(obj: Object) -> str:
    """Return metadata.name."""
    return text(obj, "metadata", "name")


def age(obj: Object, now: datetime) -> str:
    """Return how long ago an object was created."""
    return since(part(obj, "metadata", "creationTimestamp"), now)


def since(timestamp: Any, now: datetime) -> str:
    """Return how long ago a timestamp is."""
    moment = parse_time(timestamp)
    return UNKNOWN if moment is None else human_duration((now - moment).total_seconds())


def parse_time(timestamp: Any) -> datetime | None:
    """Return the moment of a timestamp, None if there is none."""
    if not isinstance(timestamp, str) or not timestamp:
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def human_duration(elapsed_s: float) -> str:
    """Write a duration in two units at most, the finer ones only while it is short."""
    seconds = int(elapsed_s)
    if seconds < -1:
        return INVALID
    if seconds < 0:
        return "0s"
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    if seconds < 10 * _MINUTE:
        return _two(seconds // _MINUTE, "m", seconds % _MINUTE, "s")
    if seconds < 3 * _HOUR:
        return f"{seconds // _MINUTE}m"
    if seconds < 8 * _HOUR:
        return _two(seconds // _HOUR, "h", seconds // _MINUTE % 60, "m")
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR}h"
    if seconds < 8 * _DAY:
        return _two(seconds // _DAY, "d", seconds // _HOUR % 24, "h")
    if seconds < 2 * _YEAR:
        return f"{seconds // _DAY}d"
    if seconds < 8 * _YEAR:
        return _two(seconds // _YEAR, "y", seconds // _DAY % 365, "d")
    return f"{seconds // _YEAR}y"


def _two(coarse: int, coarse_unit: str, fine: int, fine_unit: str) -> str:
    return f"{coarse}{coarse_unit}{fine}{fine_unit}" if fine else f"{coarse}{coarse_unit}"


def boolean(value: Any) -> str:
    """Write an optional truth value: "True", "False" or "<unset>"."""
    return UNSET if not isinstance(value, bool) else str(value)


def label_map(values: Any) -> str:
    """Write a map of labels as "a=b,c=d", "<none>" if it is empty."""
    return ",".join(f"{key}={value}" for key, value in sorted(values.items())) if values else NONE


def selector(value: Any, empty: str = NONE) -> str:
    """Write a LabelSelector object."""
    try:
        return str(labels.from_object(value or {})) or empty
    except labels.SelectorError:
        return INVALID


def containers(template: Object) -> tuple[str, str]:
    """Return the names and the images of a pod template's containers."""
    found = items(template, "spec", "containers")
    return ",".join(text(one, "name") for one in found), ",".join(text(one, "image") for one in found)


def first_few(found: Sequence[str], most: int, total: int, joiner: str = ",") -> str:
    """Join the first of many texts: "a,b,c + 4 more..."."""
    shown = joiner.join(found[:most])
    return f"{shown} + {total - most} more..." if total > most else shown


def joined(values: Iterable[str], empty: str = NONE, joiner: str = ",") -> str:
    """Join texts, or return `empty` if there are none."""
    return joiner.join(values) or empty
