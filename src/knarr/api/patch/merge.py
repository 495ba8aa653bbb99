"""JSON Merge Patch: a partial object laid over the original, null meaning removal.

Source: RFC 7386.
"""

from typing import Any

from knarr.api import errors


def merge_patch(original: dict[str, Any], patch: Any) -> dict[str, Any]:
    """Lay a partial object over another.

    Args:
        original: The object; not changed.
        patch: The decoded patch.

    Returns:
        The merged object, sharing with `original` and `patch` what is unchanged.

    Raises:
        BadRequest: `patch` is not an object, or nests too deep.
    """
    if not isinstance(patch, dict):
        raise errors.BadRequest("Invalid JSON Patch")
    try:
        return _merge(original, patch)
    except RecursionError as err:
        raise errors.BadRequest("exceeded max depth") from err


def _merge(original: Any, patch: dict[str, Any]) -> dict[str, Any]:
    merged = dict(original) if isinstance(original, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merge(merged.get(key), value)
        else:
            merged[key] = value
    return merged
