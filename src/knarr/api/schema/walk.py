"""From a decoded body to what Go would have read and written again, in one pass.

Nulls and empty optional fields go, structs that are no pointers come, quantities become canonical, times lose what does not
fit. The first value of a wrong type ends it, in upstream's words; unknown fields are left out and reported. Paths are only
made when there is something to say: a mismatch collects its path while it unwinds, and unknown fields are looked up again.

Source: sigs.k8s.io/json (decoding, error texts), encoding/json (omitempty), meta/v1 Time and MicroTime (v1.37).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from knarr.api import quantity
from knarr.api.schema import scalars
from knarr.api.schema.scalars import DecodeError, Mismatch
from knarr.api.schema.types import Type

MAX_STRICT_ERRORS = 100

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Converted:
    """What came of a body.

    Attributes:
        object: A new dict; the one given is unchanged, though both may share values.
        unknown: What strict validation complains about, such as 'unknown field "spec.replica"'.
    """

    object: Object
    unknown: tuple[str, ...] = ()


def convert(obj: Object, type_: Type) -> Converted:
    """Convert a decoded object to its type.

    Args:
        obj: As decoded from JSON or YAML.
        type_: The type of the kind, from `Definitions.get`.

    Raises:
        DecodeError: a value has the wrong type or form.
    """
    walk = _Walk()
    try:
        converted = walk.object(obj, type_)
    except Mismatch as mismatch:
        raise mismatch.to_error() from None
    except RecursionError:
        raise DecodeError("exceeded max depth") from None
    return Converted(converted, _unknown(obj, type_) if walk.met_unknown else ())


def check(obj: Object, type_: Type) -> tuple[str, ...]:
    """Return what strict validation complains about.

    Raises:
        DecodeError: a value has the wrong type or form.
    """
    return convert(obj, type_).unknown


def normalize(obj: Object, type_: Type) -> Object:
    """Return what Go would have decoded and encoded again; unknown fields are dropped.

    Raises:
        DecodeError: a value has the wrong type or form.
    """
    return convert(obj, type_).object


class _Walk:
    """One pass over one object."""

    __slots__ = ("met_unknown",)

    def __init__(self) -> None:
        self.met_unknown = False

    def object(self, value: Any, type_: Type) -> Object:
        if type(value) is not dict:
            raise Mismatch(value, type_)
        fields = type_.fields
        out: Object = {}
        for key, item in value.items():
            field = fields.get(key)
            if field is None:
                if type_.preserve_unknown:
                    out[key] = item
                else:
                    self.met_unknown = True
                continue
            if item is None:
                continue
            try:
                new = self.value(item, field)
            except Mismatch as mismatch:
                mismatch.add(type_.short_name, key)
                raise
            if not new and new is not None and not field.pointer and not field.required:
                continue
            out[key] = new
        for key, field in type_.always:
            if key not in out:
                self._set_zero(out, key, field)
        return out

    def value(self, item: Any, type_: Type) -> Any:
        kind = type_.kind
        if kind == "scalar":
            if type_.scalar == "string" and type(item) is str:
                return item
            return scalars.convert(item, type_)
        if kind == "object":
            return self.object(item, type_)
        if kind == "list":
            return self._list(item, type_)
        if kind == "map":
            return self._map(item, type_)
        if kind == "any":
            return item
        if kind == "quantity":
            return scalars.to_quantity(item)
        if kind == "time":
            return scalars.to_time(item, type_)
        return scalars.to_intstr(item, type_)

    def _list(self, items: Any, type_: Type) -> list[Any]:
        if type(items) is not list:
            raise Mismatch(items, type_)
        element = type_.element
        assert element is not None
        if element.kind == "object":
            return [self.object(item if item is not None else {}, element) for item in items]
        return [self.value(item, element) if item is not None else self._zero(element) for item in items]

    def _map(self, items: Any, type_: Type) -> Object:
        if type(items) is not dict:
            raise Mismatch(items, type_)
        element = type_.element
        assert element is not None
        return {
            key: self.value(item, element) if item is not None else self._zero(element) for key, item in items.items()
        }

    def _set_zero(self, out: Object, key: str, field: Type) -> None:
        kind = field.kind
        if kind == "object":
            out[key] = self.object({}, field)
        elif kind == "time":
            out[key] = None
        elif kind == "scalar" and not field.pointer and field.scalar != "[]uint8":
            out[key] = scalars.ZEROS[field.scalar]
        elif kind == "intstr":
            out[key] = 0
        elif kind == "quantity":
            out[key] = "0"
        # Go writes null for lists and maps here; absent says the same and typed readers take it.

    def _zero(self, element: Type) -> Any:
        kind = element.kind
        if kind == "object":
            return self.object({}, element)
        if kind == "scalar":
            return scalars.ZEROS.get(element.scalar)
        if kind == "quantity":
            return quantity.canonical("0")
        return None


def _unknown(obj: Object, type_: Type) -> tuple[str, ...]:
    found: list[str] = []
    for path in _unknown_paths(obj, type_, ""):
        found.append(f'unknown field "{path}"')
        if len(found) == MAX_STRICT_ERRORS:
            break
    return tuple(found)


def _unknown_paths(value: Any, type_: Type, path: str) -> Iterator[str]:
    if type_.kind == "object" and isinstance(value, dict):
        fields = type_.fields
        for key, item in value.items():
            here = f"{path}.{key}" if path else key
            field = fields.get(key)
            if field is not None:
                yield from _unknown_paths(item, field, here)
            elif not type_.preserve_unknown:
                yield here
    elif type_.kind == "list" and type_.element is not None and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_paths(item, type_.element, f"{path}[{index}]")
    elif type_.kind == "map" and type_.element is not None and isinstance(value, dict):
        for key, item in value.items():
            yield from _unknown_paths(item, type_.element, f"{path}.{key}")
