"""Counts that may also be percentages, as rollouts and disruption budgets have them.

Source: ValidatePositiveIntOrPercent and its kin in k8s.io/kubernetes/pkg/apis/apps/validation (v1.37).
"""

from typing import Any

from knarr.api import names
from knarr.api.validation.collector import NOT_NEGATIVE, Errors

_NEITHER = "must be an integer or percentage (e.g '5%%')"


def positive(errors: Errors, value: Any, path: str) -> None:
    """Check a count that is not negative, or a percentage."""
    if isinstance(value, str):
        errors.all_invalid(path, value, names.percent(value))
    elif value is None:
        errors.invalid(path, value, _NEITHER)
    elif value < 0:
        errors.invalid(path, value, NOT_NEGATIVE)


def at_most_all(errors: Errors, value: Any, path: str) -> None:
    """Check that a percentage is not above 100 %."""
    if isinstance(value, str) and number(value) > 100:
        errors.invalid(path, value, "must not be greater than 100%")


def number(value: Any) -> int:
    """Return a count, or the number before "%"; 0 for what is neither."""
    if isinstance(value, str):
        return 0 if names.percent(value) else int(value[:-1])
    return value or 0
