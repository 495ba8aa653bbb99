"""Whether two parts of objects mean the same, and how they differ.

An absent field, null and an empty list or map are one thing to Go once decoded; so is a zero in fields that are no pointers.

Source: k8s.io/apimachinery/pkg/api/equality and pkg/util/diff (v1.37).
"""

import difflib
import json
from typing import Any

from knarr.api.validation.collector import IMMUTABLE, Errors

# Fields without a pointer in Go, whose zero is the same as their absence.
_ZERO_IS_ABSENT = frozenset({
    "stdin", "stdinOnce", "tty", "hostNetwork", "hostPID", "hostIPC", "hostPort", "readOnly", "initialDelaySeconds",
    "unschedulable", "partition", "minReadySeconds", "generation", "observedGeneration", "lun", "port", "containerPort",
    "nodePort", "weight", "serviceName",
})  # fmt: skip


def is_equal(left: Any, right: Any) -> bool:
    """Return whether two decoded values are semantically equal."""
    if left == right and type(left) is type(right):
        return True
    if isinstance(left, dict) or isinstance(right, dict):
        if not (left or right):
            return True
        if not isinstance(left or {}, dict) or not isinstance(right or {}, dict):
            return False
        return _are_equal_maps(left or {}, right or {})
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(is_equal, left, right))
    if _is_empty(left) and _is_empty(right):
        return True
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or value == [] or value == {}


def _are_equal_maps(left: dict[str, Any], right: dict[str, Any]) -> bool:
    for key in left.keys() | right.keys():
        one, two = left.get(key), right.get(key)
        if not is_equal(one, two) and not (key in _ZERO_IS_ABSENT and not one and not two):
            return False
    return True


def immutable(errors: Errors, path: str, value: Any, old: Any) -> None:
    """Check that a field has not changed."""
    if not is_equal(value, old):
        errors.invalid(path, value, IMMUTABLE)


def format_diff(old: Any, new: Any) -> str:
    """Return the lines in which two values differ, with some context."""
    before, after = (json.dumps(one, indent=2, sort_keys=True, ensure_ascii=False).splitlines() for one in (old, new))
    return "\n".join(list(difflib.unified_diff(before, after, lineterm="", n=2))[2:])
