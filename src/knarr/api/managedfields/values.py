"""Values under a schema: which fields they have, what is left without some, what becomes of one laid over another.

Source: sigs.k8s.io/structured-merge-diff/v6/typed: tofieldset.go, remove.go, merge.go, validate.go.
"""

from typing import Any

from knarr.api.managedfields.elements import ANY, child, is_granular, of_item, of_items
from knarr.api.managedfields.fieldset import HERE, FieldSet, format_path, is_member
from knarr.api.schema.types import Type

Object = dict[str, Any]
_NOTHING = object()


def empty(shape: Type) -> Object:
    """Return what Go's zero value of a kind looks like: the structs that are always there, and null for lists."""
    return {name: empty(inner) if inner.kind == "object" else None for name, inner in shape.always}


def field_set(value: Any, shape: Type) -> FieldSet:
    """Return the places of a value that someone who applies it owns."""
    fields: FieldSet = {}
    if isinstance(value, dict):
        for key, one in value.items():
            inner = child(shape, key)
            if not is_granular(inner, one):
                fields["f:" + key] = {}
                continue
            below = field_set(one, inner)
            named = key in shape.fields
            if one == {}:
                fields["f:" + key] = {}
            elif below:
                fields["f:" + key] = below if named else {HERE: {}, **below}
            elif not named:
                fields["f:" + key] = {}
        return fields
    inner = shape.element or ANY
    for element, items in of_items(shape, value).items():
        below = field_set(items[0], inner) if len(items) == 1 and is_granular(inner, items[0]) else {}
        fields[element] = {HERE: {}, **below} if below else {}
    return fields


def with_named_parents(fields: FieldSet, shape: Type) -> FieldSet:
    """Return a set to which every struct field that has something below it belongs itself."""
    result: FieldSet = {}
    for element, node in fields.items():
        if element == HERE:
            result[HERE] = {}
            continue
        named = element[:2] == "f:" and element[2:] in shape.fields
        inner = child(shape, element[2:]) if element[:2] == "f:" else shape.element or ANY
        below = with_named_parents(node, inner)
        result[element] = {HERE: {}, **below} if named and below else below
    return result


def without(value: Any, shape: Type, fields: FieldSet) -> Any:
    """Return a value without the places of a set and all that is below them; what becomes empty is null."""
    if not fields or not is_granular(shape, value):
        return value
    if isinstance(value, dict):
        kept: Object = {}
        for key, one in value.items():
            node = fields.get("f:" + key)
            if node is None:
                kept[key] = one
            elif not is_member(node):
                kept[key] = without(one, child(shape, key), node)
        return kept or None
    items = []
    for item in value:
        try:
            node = fields.get(of_item(shape, item))
        except KeyError:
            node = None
        if node is None:
            items.append(item)
        elif not is_member(node):
            items.append(without(item, shape.element or ANY, node))
    return items or None


def merge(live: Any, applied: Any, shape: Type) -> Any:
    """Lay an applied value over a live one: leaves of `applied` win, what it does not mention stays."""
    if not is_granular(shape, applied) or type(live) is not type(applied):
        if applied is None and is_granular(shape, live):
            return live
        return applied
    if isinstance(applied, dict):
        merged = dict(live)
        for key, one in applied.items():
            was = merged.get(key, _NOTHING)
            merged[key] = one if was is _NOTHING else merge(was, one, child(shape, key))
        return merged
    return _merge_lists(live, applied, shape)


def _merge_lists(live: list[Any], applied: list[Any], shape: Type) -> list[Any]:
    """Merge the items by identity; those of `applied` keep their order, the others stay where they were among them."""
    inner = shape.element or ANY
    live_items = [(_element(shape, item, index), item) for index, item in enumerate(live)]
    single = {element: items[0] for element, items in of_items(shape, live).items() if len(items) == 1}
    wanted = [(of_item(shape, item), item) for item in applied]
    in_applied = {element for element, _ in wanted}
    in_live = {element for element, _ in live_items}
    shared = [element for element, _ in wanted if element in in_live]
    merged: list[Any] = []
    left, right, next_shared = 0, 0, 0
    done: set[str] = set()
    while left < len(live_items) or right < len(wanted):
        if left < len(live_items):
            element, item = live_items[left]
            if element not in in_applied:
                merged.append(item)
                left += 1
                continue
            if right < len(wanted) and element == wanted[right][0]:
                left += 1
            elif right < len(wanted) and next_shared < len(shared) and shared[next_shared] != element:
                left += 1
                continue
            elif element in done:
                left += 1
        if right < len(wanted):
            element, item = wanted[right]
            done.add(element)
            merged.append(merge(single[element], item, inner) if element in single else item)
            right += 1
            if next_shared < len(shared) and shared[next_shared] == element:
                next_shared += 1
    return merged


def _element(shape: Type, item: Any, index: int) -> str:
    try:
        return of_item(shape, item)
    except KeyError:
        return f"i:{index}"


def without_nulls(value: Any) -> Any:
    """Return a value without the nulls of its maps, which Go would not have kept."""
    if isinstance(value, dict):
        if not any(one is None or isinstance(one, dict | list) for one in value.values()):
            return value
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [without_nulls(one) for one in value]
    return value


def complaints(value: Any, shape: Type, path: tuple[str, ...] = ()) -> list[str]:
    """Return what keeps a value from being applied: wrong types, unknown fields, items that are there twice."""
    where = format_path(path)
    if value is None or shape.kind == "any":
        return []
    if shape.kind in ("object", "map"):
        return (
            _map_complaints(value, shape, path)
            if isinstance(value, dict)
            else [f"{where}: expected map, got {_go(value)}"]
        )
    if shape.kind == "list":
        return (
            _list_complaints(value, shape, path)
            if isinstance(value, list)
            else [f"{where}: expected list, got {_go(value)}"]
        )
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if shape.kind in ("quantity", "intstr"):
        return [] if isinstance(value, str) or is_number else [f"{where}: expected any scalar, got {_go(value)}"]
    if shape.scalar == "bool":
        return [] if isinstance(value, bool) else [f"{where}: expected boolean, got {_go(value)}"]
    if shape.scalar in ("int32", "int64", "float64"):
        return [] if is_number else [f"{where}: expected numeric (int or float), got {_go_type(value)}"]
    return [] if isinstance(value, str) else [f"{where}: expected string, got {_go(value)}"]


def _map_complaints(value: Object, shape: Type, path: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    closed = shape.kind == "object" and not shape.preserve_unknown
    for key, one in value.items():
        here = (*path, "f:" + key)
        if closed and key not in shape.fields:
            found.append(f"{format_path(here)}: field not declared in schema")
        else:
            found += complaints(one, child(shape, key), here)
    return found


def _list_complaints(value: list[Any], shape: Type, path: tuple[str, ...]) -> list[str]:
    where, inner = format_path(path), shape.element or ANY
    if not is_granular(shape, value):
        return [text for index, item in enumerate(value) for text in complaints(item, inner, (*path, f"i:{index}"))]
    found: list[str] = []
    seen: set[str] = set()
    for index, item in enumerate(value):
        try:
            element = of_item(shape, item)
        except KeyError as err:
            why = (
                f'associative list with keys has an element that omits key field "{err.args[0]}" (and doesn\'t have default value)'
                if err.args
                else "associative list with keys may not have non-map elements"
            )
            found.append(f"{where}: element {index}: {why}")
            continue
        if element in seen:
            found.append(f"{where}: duplicate entries for key {format_path((element,))}")
        seen.add(element)
        found += complaints(item, inner, (*path, element))
    return found


def _go(value: Any) -> str:
    """Print a value as Go's &value.valueUnstructured does: types and contents."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_go(one)}' for key, one in sorted(value.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_go, value))}]"
    return str(value)


def _go_type(value: Any) -> str:
    names = {str: "string", bool: "bool", dict: "map[string]interface {}", list: "[]interface {}"}
    return names.get(type(value), type(value).__name__)
