"""JSON Patch: a list of operations on places in a document.

Containers are copied the first time an operation changes something in them, so that the original stays as it is and a patch
of one field costs the containers on its path.

Upstream answers every operation that does not apply with the same words; the errors inside say more for whoever debugs us.

Source: RFC 6902, RFC 6901; the leniencies of evanphx/json-patch v4 (negative indices, "add" of a null) and
k8s.io/apiserver/pkg/endpoints/handlers/patch.go (v1.37) for limits and answers.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from knarr.api import errors
from knarr.api.patch.errors import Inapplicable

MAX_OPERATIONS = 10_000
MAX_COPY_BYTES = 3 * 1024 * 1024
_MISSING = object()


def json_patch(original: Any, patch: Any) -> Any:
    """Apply the operations of a patch in order, all or none.

    Args:
        original: The object; not changed.
        patch: The decoded patch: a list of operations.

    Returns:
        The patched document, sharing unchanged parts with `original`.

    Raises:
        BadRequest: `patch` is not a list of objects.
        RequestEntityTooLarge: There are more than MAX_OPERATIONS operations.
        Unprocessable: An operation is malformed, does not apply, or a test failed.
    """
    if not isinstance(patch, list):
        raise errors.BadRequest(f"json: cannot unmarshal {_describe(patch)} into Go value of type jsonpatch.Patch")
    for operation in patch:
        if not isinstance(operation, dict):
            raise errors.BadRequest(
                f"json: cannot unmarshal {_describe(operation)} into Go value of type jsonpatch.Operation"
            )
    if len(patch) > MAX_OPERATIONS:
        raise errors.RequestEntityTooLarge(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch)}"
        )
    document = _Document(original)
    try:
        for operation in patch:
            _apply(document, operation)
        if document.copied_bytes:
            msgspec.json.encode(document.root)  # copies of copies nest faster than any body could
    except (Inapplicable, RecursionError) as err:
        raise errors.Unprocessable() from err
    return document.root


def _describe(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "bool", type(None): "null"}
    return names.get(type(value), "number")


class _Document:
    """A document under patching: knows which containers are its own and may be changed."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.copied_bytes = 0
        self._owned: dict[int, Any] = {}

    def parent(self, pointer: str) -> tuple[Any, str]:
        """Return the container of a place, made ours, and the last token."""
        tokens = _tokens(pointer)
        self.root = here = self._own(self.root)
        for token in tokens[:-1]:
            key = _key(here, token)
            child = here.get(key) if isinstance(here, dict) else here[key]
            if not isinstance(child, dict | list):
                raise Inapplicable(f'doc is missing path: "{pointer}"')
            owned = self._own(child)
            here[key] = owned
            here = owned
        return here, tokens[-1]

    def get(self, pointer: str) -> Any:
        """Return the value at a place without copying anything."""
        here = self.root
        for token in _tokens(pointer) if pointer else ():
            if isinstance(here, dict):
                here = here.get(token, _MISSING)
            elif isinstance(here, list):
                here = here[_key(here, token)]
            else:
                here = _MISSING
            if here is _MISSING:
                raise Inapplicable(f"doc is missing key: {pointer}")
        return here

    def _own(self, container: Any) -> Any:
        if id(container) in self._owned:
            return container
        if not isinstance(container, dict | list):
            raise Inapplicable("doc is neither an object nor an array")
        copy: Any = container.copy()
        self._owned[id(copy)] = copy
        return copy

    def disown(self, value: Any) -> None:
        """Forget everything ours below a value that will now be reachable from two places."""
        if isinstance(value, dict | list):
            self._owned.pop(id(value), None)
            for child in value.values() if isinstance(value, dict) else value:
                self.disown(child)


def _tokens(pointer: str) -> list[str]:
    first, *rest = pointer.split("/")
    if first or not rest:
        raise Inapplicable(f'not a JSON pointer: "{pointer}"')
    return [token.replace("~1", "/").replace("~0", "~") for token in rest]


def _key(container: Any, token: str) -> Any:
    """Return the key or index that names an existing member."""
    if isinstance(container, dict):
        return token
    index = _index(token)
    if not -len(container) <= index < len(container):
        raise Inapplicable(f"Unable to access invalid index: {index}")
    return index if index >= 0 else index + len(container)


def _index(token: str) -> int:
    digits = token[1:] if token[:1] in ("-", "+") else token
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise Inapplicable(f'"{token}" is not an index')
    return int(token)


def _text(operation: dict[str, Any], field: str) -> str:
    value = operation.get(field)
    if not isinstance(value, str):
        raise Inapplicable(f"operation has no {field}")
    return value


def _put(document: _Document, pointer: str, value: Any) -> None:
    if not pointer:
        document.root = value
        return
    container, token = document.parent(pointer)
    if isinstance(container, dict):
        container[token] = value
    elif token == "-":
        container.append(value)
    else:
        index, size = _index(token), len(container) + 1
        if not -size <= index < size:
            raise Inapplicable(f"Unable to access invalid index: {index}")
        container.insert(index if index >= 0 else index + size, value)


def _drop(document: _Document, pointer: str) -> Any:
    container, token = document.parent(pointer)
    if isinstance(container, dict) and token not in container:
        raise Inapplicable(f"Unable to remove nonexistent key: {token}")
    return container.pop(_key(container, token))


def _add(document: _Document, operation: dict[str, Any]) -> None:
    pointer = _text(operation, "path")
    if not pointer:
        raise Inapplicable("add operation needs a path below the root")
    _put(document, pointer, operation.get("value"))


def _remove(document: _Document, operation: dict[str, Any]) -> None:
    _drop(document, _text(operation, "path"))


def _replace(document: _Document, operation: dict[str, Any]) -> None:
    pointer, value = _text(operation, "path"), operation.get("value")
    if not pointer:
        if not isinstance(value, dict | list):
            raise Inapplicable("replace operation value must be object or array")
        document.root = value
        return
    document.get(pointer)
    container, token = document.parent(pointer)
    container[_key(container, token)] = value


def _move(document: _Document, operation: dict[str, Any]) -> None:
    value = _drop(document, _text(operation, "from"))
    _put(document, _text(operation, "path"), value)


def _test(document: _Document, operation: dict[str, Any]) -> None:
    pointer, expected = _text(operation, "path"), operation.get("value")
    if not _is_equal(document.get(pointer), expected):
        raise Inapplicable(f"testing value {pointer} failed")


def _copy(document: _Document, operation: dict[str, Any]) -> None:
    value = document.get(_text(operation, "from"))
    document.copied_bytes += len(msgspec.json.encode(value))
    if document.copied_bytes > MAX_COPY_BYTES:
        raise Inapplicable(
            "Unable to complete the copy, the accumulated size increase of copy is "
            f"{document.copied_bytes}, exceeding the limit {MAX_COPY_BYTES}"
        )
    document.disown(value)
    _put(document, _text(operation, "path"), value)


def _is_equal(left: Any, right: Any) -> bool:
    """Compare as JSON does: true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_is_equal(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_equal, left, right))
    return bool(left == right)


_OPERATIONS: dict[str, Callable[[_Document, dict[str, Any]], None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "test": _test,
    "copy": _copy,
}


def _apply(document: _Document, operation: dict[str, Any]) -> None:
    kind = operation.get("op")
    function = _OPERATIONS.get(kind) if isinstance(kind, str) else None
    if function is None:
        raise Inapplicable(f"Unexpected kind: {kind}")
    function(document, operation)
