"""Sets of fields in the form that objects carry them: FieldsV1.

A set is a dict from path elements ("f:spec", "k:{\\"name\\":\\"app\\"}", "v:\\"x\\"") to the sets below them; "." in a set says that the
place itself belongs too, and an empty set below an element says the same. Nothing here changes its arguments, and results
share what they can with them, so that sets of a pod's size cost microseconds.

Source: sigs.k8s.io/structured-merge-diff/v6/fieldpath and https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from collections.abc import Iterator
from typing import Any

import msgspec

FieldSet = dict[str, Any]
HERE = "."


def is_member(node: FieldSet) -> bool:
    """Return whether a place that is listed with the set `node` below it belongs itself."""
    return not node or HERE in node


def _node(member: bool, children: FieldSet) -> FieldSet | None:
    if not children:
        return {} if member else None
    return {HERE: {}, **children} if member else children


def _difference(node: FieldSet, other: FieldSet, *, recursive: bool) -> FieldSet | None:
    if recursive and is_member(other):
        return None
    member = is_member(node) and not is_member(other)
    return _node(member, _difference_below(node, other, recursive=recursive))


def _difference_below(node: FieldSet, other: FieldSet, *, recursive: bool) -> FieldSet:
    children: FieldSet = {}
    for element, child in node.items():
        if element == HERE:
            continue
        against = other.get(element)
        if against is None:
            children[element] = child
        else:
            left = _difference(child, against, recursive=recursive)
            if left is not None:
                children[element] = left
    return children


def difference(fields: FieldSet, other: FieldSet) -> FieldSet:
    """Return the places of `fields` that are not in `other`."""
    return _difference_below(fields, other, recursive=False) if other else fields


def difference_recursive(fields: FieldSet, other: FieldSet) -> FieldSet:
    """Return the places of `fields` that are neither in `other` nor below one that is."""
    return _difference_below(fields, other, recursive=True) if other else fields


def union(fields: FieldSet, other: FieldSet) -> FieldSet:
    """Return the places that are in either set."""
    if not other or fields is other:
        return fields
    if not fields:
        return other
    return _union_below(fields, other)


def _union_below(fields: FieldSet, other: FieldSet) -> FieldSet:
    result = dict(fields)
    for element, node in other.items():
        if element == HERE:
            continue
        mine = result.get(element)
        if mine is None or not mine:
            result[element] = (
                node if mine is None else _node(True, {key: one for key, one in node.items() if key != HERE})
            )
        elif mine is not node:
            merged = _union_below(mine, node)
            result[element] = {HERE: {}, **merged} if is_member(node) and HERE not in merged else merged
    return result


def intersection(fields: FieldSet, other: FieldSet) -> FieldSet:
    """Return the places that are in both sets."""
    children: FieldSet = {}
    for element, node in fields.items():
        against = other.get(element)
        if element == HERE or against is None:
            continue
        both = _node(is_member(node) and is_member(against), intersection(node, against))
        if both is not None:
            children[element] = both
    return children


def paths(fields: FieldSet, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every place of a set as its path elements: those of one level first, in order, then those below."""
    elements = sorted(element for element in fields if element != HERE)
    for element in elements:
        if is_member(fields[element]):
            yield (*prefix, element)
    for element in elements:
        yield from paths(fields[element], (*prefix, element))


def sort(fields: FieldSet) -> FieldSet:
    """Return the set with its elements in the order in which upstream writes them."""
    if not fields:
        return fields
    return {element: sort(fields[element]) for element in sorted(fields)}


def format_path(path: tuple[str, ...]) -> str:
    """Print a place as upstream does: `.spec.containers[name="app"].image`."""
    return "".join(map(_format_element, path))


def _format_element(element: str) -> str:
    kind, _, text = element.partition(":")
    if kind == "f":
        return f".{text}"
    if kind == "k":
        keys = msgspec.json.decode(text)
        return f"[{','.join(f'{name}={msgspec.json.encode(keys[name]).decode()}' for name in sorted(keys))}]"
    return f"[={text}]" if kind == "v" else f"[{text}]"


def is_well_formed(fields: Any) -> bool:
    """Return whether a decoded FieldsV1 that came from outside is a set."""
    if not isinstance(fields, dict):
        return False
    for element, node in fields.items():
        if element == HERE:
            if node != {}:
                return False
            continue
        kind, colon, text = element.partition(":")
        if not colon or kind not in ("f", "k", "v", "i"):
            return False
        if kind != "f":
            try:
                value = msgspec.json.decode(text)
            except msgspec.DecodeError:
                return False
            if kind == "k" and not isinstance(value, dict):
                return False
        if not is_well_formed(node):
            return False
    return True
