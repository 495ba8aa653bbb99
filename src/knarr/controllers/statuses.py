"""Comparing statuses: absent, zero and empty are the same, since the API drops what is empty."""

from typing import Any

import msgspec


def is_same(left: Any, right: Any) -> bool:
    """Tell whether two statuses of one type say the same."""
    return bool(_plain(left) == _plain(right))


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        fields = ((name, _plain(getattr(value, name))) for name in value.__struct_fields__)
        return {name: item for name, item in fields if item} or None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value] or None
    if isinstance(value, dict):
        return value or None
    return value or None
