"""Strategic merge patch: a merge patch that knows which lists are sets of named things.

The schema says of each list whether it is merged, and by which key of its elements; a patch steers with directives:
`$patch: replace|delete|merge` in a map or a list element, `$deleteFromPrimitiveList/<list>`, `$setElementOrder/<list>` and
`$retainKeys`. Elements that a patch brings along go before those that only the server has, unless both orders are known.

Source: k8s.io/apimachinery/pkg/util/strategicpatch (v1.37) and
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from collections.abc import Hashable
from typing import Any

import msgspec

from knarr.api import errors
from knarr.api.patch.errors import Inapplicable
from knarr.api.schema.types import Type

_DIRECTIVE = "$patch"
_RETAIN_KEYS = "$retainKeys"
_DELETE = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"
_DROPPED = object()

Object = dict[str, Any]


def strategic_merge_patch(original: Object, patch: Any, definition: Type | None) -> Object:
    """Lay a partial object over another, list elements merged as the schema says.

    Args:
        original: The object; not changed.
        patch: The decoded patch.
        definition: The schema of the kind; None merges maps and replaces lists.

    Returns:
        The merged object, sharing with `original` and `patch` what is unchanged.

    Raises:
        BadRequest: `patch` is not an object or nests too deep, or a directive is malformed.
        Unprocessable: A list element lacks its merge key, or a list of lists is to be merged.
    """
    if not isinstance(patch, dict):
        raise errors.BadRequest("invalid JSON document")
    try:
        return _merge_maps(original, patch, definition)
    except Inapplicable as err:
        raise errors.Unprocessable() from err
    except RecursionError as err:
        raise errors.BadRequest("exceeded max depth") from err


def _merge_maps(original: Object, patch: Object, shape: Type | None) -> Object:
    directive = patch.get(_DIRECTIVE)
    if directive is not None:
        if directive == "replace":
            return {key: value for key, value in patch.items() if key != _DIRECTIVE}
        if directive == "delete":
            return {}
        if directive != "merge":
            raise errors.BadRequest(f"Unknown patch type found: {directive}")
    merged = dict(original)
    if _RETAIN_KEYS in patch:
        _retain_keys(merged, patch)
    ordered = {key.removeprefix(_ORDER) for key in patch if key.startswith(_ORDER)}
    for name in ordered:
        _merge_ordered(merged, patch, name, _child(shape, name))
    for key, value in patch.items():
        if key in (_DIRECTIVE, _RETAIN_KEYS) or key in ordered or key.startswith(_ORDER):
            continue
        if key.startswith(_DELETE):
            _delete_scalars(merged, key.removeprefix(_DELETE), value)
        elif value is None:
            merged.pop(key, None)
        else:
            _put(merged, key, value, _child(shape, key))
    return merged


def _put(merged: Object, key: str, value: Any, shape: Type | None) -> None:
    here = merged.get(key)
    if isinstance(value, dict) and isinstance(here, dict):
        replaced = shape is not None and "replace" in _strategies(shape)
        merged[key] = _without_directives(value) if replaced else _merge_maps(here, value, shape)
    elif isinstance(value, list) and isinstance(here, list):
        merged[key] = _merge_lists(here, value, shape)
    else:
        value = _without_directives(value)
        if value is not _DROPPED:
            merged[key] = value


def _child(shape: Type | None, name: str) -> Type | None:
    if shape is None:
        return None
    return shape.fields.get(name) or shape.element


def _strategies(shape: Type) -> tuple[str, ...]:
    return tuple(shape.patch_strategy.split(","))


def _without_directives(value: Any) -> Any:
    """Return a value as it is written where nothing was: without directives and nulls of maps."""
    if isinstance(value, list):
        kept = [_without_directives(one) for one in value]
        return [one for one in kept if one is not _DROPPED]
    if not isinstance(value, dict):
        return value
    if value.get(_DIRECTIVE) == "delete" or (value.get(_DIRECTIVE) == "replace" and len(value) == 1):
        return _DROPPED
    clean = {}
    for key, child in value.items():
        if child is None or key in (_DIRECTIVE, _RETAIN_KEYS) or key.startswith((_DELETE, _ORDER)):
            continue
        child = _without_directives(child)
        if child is not _DROPPED:
            clean[key] = child
    return clean


def _retain_keys(merged: Object, patch: Object) -> None:
    """Remove what the patch's `$retainKeys` does not list."""
    retained = patch[_RETAIN_KEYS]
    if not isinstance(retained, list) or not all(isinstance(name, str) for name in retained):
        raise errors.BadRequest("invalid patch format of retainKeys")
    for key, value in patch.items():
        if key.startswith("$") or value is None:
            continue
        if key not in retained:
            raise errors.BadRequest("patch content doesn't match retainKeys list")
    for key in merged.keys() - set(retained):
        del merged[key]


def _delete_scalars(merged: Object, name: str, removed: Any) -> None:
    if not isinstance(removed, list) or not name:
        raise errors.BadRequest("invalid patch format of primitive list")
    here = merged.get(name)
    if isinstance(here, list):
        gone = {_identity(one) for one in removed}
        merged[name] = [one for one in here if _identity(one) not in gone]


def _merge_ordered(merged: Object, patch: Object, name: str, shape: Type | None) -> None:
    """Merge one list of a map and bring it in the order that `$setElementOrder/<name>` asks for."""
    order, here, changes = patch[_ORDER + name], merged.get(name), patch.get(name)
    removed = patch.get(_DELETE + name)
    if not isinstance(order, list) or (changes is not None and not isinstance(changes, list)):
        raise errors.BadRequest("invalid patch format of setElementOrder list")
    if isinstance(here, list) and removed is not None:
        _delete_scalars(merged, name, removed)
        here = merged[name]
    merge_key = (shape.patch_merge_key or "") if shape is not None else ""
    if changes is not None:
        _check_order(changes, order, merge_key)
    if isinstance(here, list):
        result = _merge_lists(here, changes, shape) if changes else here
    elif changes is None:
        if name in patch:
            merged.pop(name, None)
        return
    else:
        here, result = [], _without_directives(changes)
    merged[name] = _arrange(result, order, here, merge_key)


def _check_order(changes: list[Any], order: list[Any], merge_key: str) -> None:
    """Check that the elements of a patch are in its own order list, in that order."""
    listed = [_identity(one, merge_key) for one in order]
    position = 0
    for one in changes:
        if isinstance(one, dict) and one.get(_DIRECTIVE) in ("delete", "replace"):
            continue
        identity = _identity(one, merge_key)
        if identity not in listed[position:]:
            raise errors.BadRequest(
                f"The order in patch list:\n{_print(changes)}\n doesn't match {_ORDER[:-1]} list:\n{_print(order)}\n"
            )
        position = listed.index(identity, position)


def _print(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _merge_lists(here: list[Any], changes: list[Any], shape: Type | None) -> list[Any]:
    if shape is None or "merge" not in _strategies(shape):
        return [one for one in map(_without_directives, changes) if one is not _DROPPED]
    if not changes:
        return here
    if any(isinstance(one, list) for one in (*here, *changes)):
        raise Inapplicable("lists of lists are not supported")
    if not any(isinstance(one, dict) for one in (*here, *changes)):
        listed = {_identity(one): one for one in (*here, *changes)}
        return _arrange(list(listed.values()), changes, here, "")
    if not all(isinstance(one, dict) for one in (*here, *changes)):
        raise Inapplicable("list elements are of different types")
    return _merge_elements(here, changes, shape)


def _merge_elements(here: list[Any], changes: list[Any], shape: Type) -> list[Any]:
    merge_key = shape.patch_merge_key or ""
    if not merge_key:
        raise Inapplicable("cannot merge lists without merge key")
    kept, real = list(here), []
    for change in changes:
        directive = change.get(_DIRECTIVE)
        if directive is None or (directive == "merge" and len(change) > 1):
            real.append(change)
        elif directive == "replace":
            rest = [one for one in changes if one.get(_DIRECTIVE) is None]
            return [one for one in map(_without_directives, rest) if one is not _DROPPED]
        elif directive == "delete":
            identity = _identity(change, merge_key)
            kept = [one for one in kept if _identity(one, merge_key) != identity]
        elif directive != "merge":
            raise errors.BadRequest(f"Unknown patch type found: {directive}")
    places = {_identity(one, merge_key): place for place, one in reversed(list(enumerate(kept)))}
    for change in real:
        identity = _identity(change, merge_key)
        place = places.get(identity)
        if place is not None:
            kept[place] = _merge_maps(kept[place], change, shape.element)
        else:
            places[identity] = len(kept)
            kept.append(_without_directives(change))
    return _arrange(kept, real, here, merge_key)


def _identity(one: Any, merge_key: str = "") -> Hashable:
    """Return what tells an element from others: its merge key's value, or itself."""
    if isinstance(one, dict) and merge_key:
        if merge_key not in one:
            raise Inapplicable(f"map: {one} does not contain declared merge key: {merge_key}")
        one = one[merge_key]
    if isinstance(one, dict | list):
        return _print(one)
    return type(one) is bool, one


def _arrange(merged: list[Any], order: list[Any], server_order: list[Any], merge_key: str) -> list[Any]:
    """Put the listed elements in the order of the list, and the others between them where the server had them.

    Each of the others goes before the first listed element that the server had behind it; a listed element that the server
    did not have goes before all others not yet placed.
    """
    wanted = {_identity(one, merge_key): place for place, one in reversed(list(enumerate(order)))}
    server = {_identity(one, merge_key): place for place, one in reversed(list(enumerate(server_order)))}
    named = [(_identity(one, merge_key), one) for one in merged]
    listed = sorted((pair for pair in named if pair[0] in wanted), key=lambda pair: wanted[pair[0]])
    others = sorted((pair for pair in named if pair[0] not in wanted), key=lambda pair: server.get(pair[0], -1))
    result, next_other = [], 0
    for identity, one in listed:
        place = server.get(identity)
        while place is not None and next_other < len(others):
            before = server.get(others[next_other][0])
            if before is None or before >= place:
                break
            result.append(others[next_other][1])
            next_other += 1
        result.append(one)
    return result + [one for _, one in others[next_other:]]
