"""Path elements: how the members of objects, maps and lists are named in sets of fields."""

from typing import Any

import msgspec

from knarr.api.schema.types import Type

ANY = Type("any")
_KINDS_OF_LIST = {"map": "map", "set": "set"}


def child(shape: Type, name: str) -> Type:
    """Return the type of a member of an object or map; "any" for one that the schema does not know."""
    return shape.fields.get(name) or shape.element or ANY


def is_granular(shape: Type, value: Any) -> bool:
    """Return whether the parts of a value are owned one by one: maps, and lists whose elements have an identity."""
    if isinstance(value, dict):
        return shape.kind == "any" or (shape.kind in ("object", "map") and shape.map_type != "atomic")
    if isinstance(value, list):
        return shape.kind == "list" and shape.list_type in _KINDS_OF_LIST
    return False


def of_item(shape: Type, item: Any) -> str:
    """Return the path element of an item of a "map" or "set" list.

    Raises:
        KeyError: An item of a "map" list lacks a key that has no default, the key is the argument; or is no object, no argument.
    """
    if shape.list_type == "set":
        return "v:" + msgspec.json.encode(item).decode()
    if not isinstance(item, dict):
        raise KeyError
    keys = {}
    for name in sorted(shape.list_map_keys):
        value = item.get(name)
        if value is None:
            value = child(shape.element or ANY, name).default
            if value is None:
                raise KeyError(name)
        keys[name] = value
    return "k:" + msgspec.json.encode(keys).decode()


def of_items(shape: Type, items: list[Any]) -> dict[str, list[Any]]:
    """Group the items of a "map" or "set" list by path element, in order; items without their keys are left out."""
    grouped: dict[str, list[Any]] = {}
    for item in items:
        try:
            element = of_item(shape, item)
        except KeyError:
            continue
        grouped.setdefault(element, []).append(item)
    return grouped
