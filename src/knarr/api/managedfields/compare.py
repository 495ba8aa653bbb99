"""What changed between two states of an object, as sets of fields.

The walk skips at once whatever is the same object or equal, which C does for it, and so costs what the changes cost.

Source: sigs.k8s.io/structured-merge-diff/v6/typed/compare.go.
"""

from dataclasses import dataclass
from typing import Any

from knarr.api.managedfields.elements import ANY, child, is_granular, of_items
from knarr.api.managedfields.fieldset import HERE, FieldSet
from knarr.api.schema.types import Type

_ABSENT = object()
_NONE: FieldSet = {}


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a new state differs from an old one.

    Attributes:
        changed: Places added or modified.
        removed: Places that are no more.
    """

    changed: FieldSet
    removed: FieldSet

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)


def compare(old: dict[str, Any], new: dict[str, Any], shape: Type, skip: FieldSet = _NONE) -> Comparison:
    """Compare two states of one object.

    Args:
        old: The state before.
        new: The state after.
        shape: The schema of its kind.
        skip: Places not to be looked at, nor what is below them.
    """
    changed: FieldSet = {}
    removed: FieldSet = {}
    _compare_maps(old, new, shape, changed, removed, skip)
    return Comparison(changed, removed)


def whole(value: Any, shape: Type) -> FieldSet:
    """Return the set below a place that comes or goes as a whole."""
    if not value or not is_granular(shape, value):
        return {}
    below: FieldSet = {HERE: {}}
    if isinstance(value, dict):
        for key, one in value.items():
            below["f:" + key] = whole(one, child(shape, key))
    else:
        for element, items in of_items(shape, value).items():
            below[element] = {} if len(items) > 1 else whole(items[0], shape.element or ANY)
    return below


def _compare_maps(
    old: dict[str, Any], new: dict[str, Any], shape: Type, changed: FieldSet, removed: FieldSet, skip: FieldSet
) -> None:
    for key, value in new.items():
        was = old.get(key, _ABSENT)
        if was is value or was == value:
            continue
        element = "f:" + key
        skipped = skip.get(element) if skip else None
        if skipped is not None and not skipped:
            continue
        inner = child(shape, key)
        if was is _ABSENT:
            if not skipped:
                changed[element] = whole(value, inner)
                continue
            was = {}
        _compare_values(was, value, inner, element, changed, removed, skipped or _NONE)
    for key in old.keys() - new.keys():
        element = "f:" + key
        if element not in skip:
            removed[element] = whole(old[key], child(shape, key))


def _compare_values(
    old: Any, new: Any, shape: Type, element: str, changed: FieldSet, removed: FieldSet, skip: FieldSet
) -> None:
    """Compare two different values of a place and enter what changed below its path element."""
    if isinstance(old if old is not None else new, dict) and isinstance(new if new is not None else old, dict):
        if is_granular(shape, old or new or {}) and (old or new):
            changed_below: FieldSet = {}
            removed_below: FieldSet = {}
            _compare_maps(old or {}, new or {}, shape, changed_below, removed_below, skip)
            _enter(element, changed, changed_below, removed, removed_below)
            return
    elif (
        isinstance(old if old is not None else new, list)
        and isinstance(new if new is not None else old, list)
        and is_granular(shape, old or new or [])
        and (old or new)
    ):
        changed_below, removed_below = {}, {}
        _compare_lists(old or [], new or [], shape, changed_below, removed_below)
        _enter(element, changed, changed_below, removed, removed_below)
        return
    changed[element] = {}


def _enter(
    element: str, changed: FieldSet, changed_below: FieldSet, removed: FieldSet, removed_below: FieldSet
) -> None:
    if changed_below:
        changed[element] = changed_below
    if removed_below:
        removed[element] = removed_below


def _compare_lists(old: list[Any], new: list[Any], shape: Type, changed: FieldSet, removed: FieldSet) -> None:
    before, after = of_items(shape, old), of_items(shape, new)
    inner = shape.element or ANY
    for element, items in after.items():
        were = before.get(element, ())
        if len(items) > 1:
            if were and list(were) == items:
                continue
            if len(were) == 1:
                removed[element] = whole(were[0], inner)
            changed[element] = {}
        elif len(were) == 1:
            if were[0] != items[0]:
                _compare_values(were[0], items[0], inner, element, changed, removed, _NONE)
        else:
            changed[element] = whole(items[0], inner)
            if were:
                removed[element] = {}
    for element in before.keys() - after.keys():
        items = before[element]
        removed[element] = {} if len(items) > 1 else whole(items[0], inner)
