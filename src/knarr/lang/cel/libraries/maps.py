"""What the macros transformMap and transformMapEntry gather in; the library has their syntax, but not this function.

Source: cel-go ext/comprehensions.go.
"""

from typing import Any

from knarr.lang.cel.libraries.function import Function, plain

MAX_ENTRIES = 1000
"""Each entry copies the map so far, so that more would take too long."""


def _insert(entries: dict[Any, Any], key: Any, value: Any) -> dict[Any, Any]:
    return _merge(entries, {key: value})


def _merge(entries: dict[Any, Any], more: dict[Any, Any]) -> dict[Any, Any]:
    for key in more:
        if key in entries:
            raise ValueError(f"insert failed: key {key} already exists")
    if len(entries) + len(more) > MAX_ENTRIES:
        raise ValueError("Iteration budget exceeded")
    return {**entries, **more}


FUNCTIONS: tuple[Function, ...] = (
    plain("cel.@mapInsert", "@mapInsert_map_key_value", "map<dyn> dyn dyn", "map<dyn>", _insert),
    plain("cel.@mapInsert", "@mapInsert_map_map", "map<dyn> map<dyn>", "map<dyn>", _merge),
)
