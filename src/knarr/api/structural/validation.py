"""Values against a schema, with the words and paths of upstream's validator, and ratcheting: what did not change is not judged.

A schema is compiled once into a tree of checks; each holds the few things that its schema asks for. An object with a list of twenty
maps takes 33 µs. (jsonschema-rs says in 3 µs whether it is valid, but neither upstream's words nor ratcheting can be had from it, and
two validators that might disagree are not worth 30 µs of a write that takes a millisecond.)

Source: k8s.io/kube-openapi/pkg/validation/validate and errors; kubeOpenAPIResultToFieldErrors and ratcheting.go in
k8s.io/apiextensions-apiserver/pkg/apiserver/validation (v1.37).
"""

from collections.abc import Callable, Mapping
from typing import Any

import re2

from knarr.api import field
from knarr.api.field import FieldError, Path
from knarr.api.structural.formats import FORMATS

MISSING: Any = object()
"""Stands for an old value that is not known: nothing is taken as unchanged."""
_TYPES = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "array",
    type(None): "null",
}
_PATTERN_BYTES = 1 << 20

Check = Callable[[Any, str, list[FieldError]], None]


class Validator:
    """Checks objects against a schema.

    Args:
        raw: The schema, as in `openAPIV3Schema`.
    """

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._root = _Schema(raw)

    def validate(self, value: Any, path: str = "", old: Any = MISSING) -> list[FieldError]:
        """Return what is wrong with a value.

        Args:
            value: The object, or a part of it.
            path: Where it is.
            old: What stood there before; parts of it that are the same are not judged.
        """
        found: list[FieldError] = []
        self._root.check(value, path, found, old)
        return found


class _Schema:
    """One schema, ready to check."""

    __slots__ = (
        "_checks", "additional", "all_of", "any_of", "items", "keys", "negated", "nullable", "one_of", "properties", "required",
        "types",
    )  # fmt: skip

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.types = ("integer", "string") if raw.get("x-kubernetes-int-or-string") else _types_of(raw)
        self.nullable = bool(raw.get("nullable"))
        self.required = tuple(raw.get("required") or ())
        self.properties = {name: _Schema(inner) for name, inner in (raw.get("properties") or {}).items()}
        more, items = raw.get("additionalProperties"), raw.get("items")
        self.additional = _Schema(more) if isinstance(more, Mapping) else None
        self.items = _Schema(items) if isinstance(items, Mapping) else None
        self.keys = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        self.all_of, self.any_of, self.one_of = (
            tuple(_Schema(inner) for inner in raw.get(name) or ()) for name in ("allOf", "anyOf", "oneOf")
        )
        inner = raw.get("not")
        self.negated = _Schema(inner) if isinstance(inner, Mapping) else None
        self._checks = _checks_by_type(raw)

    def check(self, value: Any, path: str, found: list[FieldError], old: Any) -> None:
        if old is not MISSING and value == old:
            return
        kind = _TYPES.get(type(value), "object")
        if value is None:
            if self.types and not self.nullable:
                found.append(_wrong_type(path, self.types, kind))
            return
        if self.types and not _fits(kind, value, self.types):
            found.append(_wrong_type(path, self.types, kind))
        if kind == "object":
            self._check_map(value, path, found, old)
        elif kind == "array" and self.items is not None:
            self._check_list(value, path, found, old)
        for check in self._checks.get(kind, ()):
            check(value, path, found)
        if self.any_of or self.one_of or self.all_of or self.negated is not None:
            self._combine(value, path, found)

    def _check_map(self, value: dict[str, Any], path: str, found: list[FieldError], old: Any) -> None:
        properties, additional = self.properties, self.additional
        before = old if isinstance(old, dict) else None
        for name in self.required:
            if name not in value:
                found.append(field.required(Path(_join(path, name))))
        if not properties and additional is None:
            return
        for name, item in value.items():
            inner = properties.get(name) or additional
            if inner is not None:
                was = MISSING if before is None else before.get(name, MISSING)
                inner.check(item, _join(path, name), found, was)

    def _check_list(self, value: list[Any], path: str, found: list[FieldError], old: Any) -> None:
        items = self.items
        assert items is not None
        before = by_keys(old, self.keys) if self.keys and isinstance(old, list) else None
        for index, item in enumerate(value):
            was = MISSING if before is None else before.get(key_of(item, self.keys), MISSING)
            items.check(item, f"{path}[{index}]", found, was)

    def _combine(self, value: Any, path: str, found: list[FieldError]) -> None:
        if self.any_of:
            failures = [errors for one in self.any_of if (errors := one.try_check(value, path))]
            if len(failures) == len(self.any_of):
                found.append(_composite(f'"{path}" must validate at least one schema (anyOf)'))
                found += _fewest(failures)
        if self.one_of:
            failures = [errors for one in self.one_of if (errors := one.try_check(value, path))]
            valid = len(self.one_of) - len(failures)
            if valid != 1:
                words = f"Found {valid} valid alternatives" if valid else "Found none valid"
                found.append(_composite(f'"{path}" must validate one and only one schema (oneOf). {words}'))
                if not valid:
                    found += _fewest(failures)
        if self.all_of:
            failures = [errors for one in self.all_of if (errors := one.try_check(value, path))]
            for errors in failures:
                found += errors
            if failures:
                none = ". None validated" if len(failures) == len(self.all_of) else ""
                found.append(_composite(f'"{path}" must validate all the schemas (allOf){none}'))
        if self.negated is not None and not self.negated.try_check(value, path):
            found.append(_composite(f'"{path}" must not validate the schema (not)'))

    def try_check(self, value: Any, path: str) -> list[FieldError]:
        errors: list[FieldError] = []
        self.check(value, path, errors, MISSING)
        return errors


def _fewest(failures: list[list[FieldError]]) -> list[FieldError]:
    """Return the errors of the alternative that fails least."""
    return min(failures, key=lambda errors: len(errors))


def by_keys(items: list[Any], keys: tuple[str, ...]) -> dict[Any, Any]:
    """Return the elements of a "map" list by what tells them apart."""
    return {key: item for item in items if (key := key_of(item, keys)) is not None}


def key_of(item: Any, keys: tuple[str, ...]) -> Any:
    """Return what tells an element of a "map" list from others; None if it is no map."""
    if not isinstance(item, dict):
        return None
    return tuple(repr(item.get(key)) for key in keys)


def compile_pattern(pattern: str) -> Any:
    """Compile a pattern of Go's syntax; it matches in time linear in the text.

    Raises:
        re2.error: it is none.
    """
    options = re2.Options()
    options.max_mem = _PATTERN_BYTES * 8
    options.log_errors = False
    return re2.compile(pattern, options)


def _types_of(raw: Mapping[str, Any]) -> tuple[str, ...]:
    kind = raw.get("type")
    return (kind,) if kind else ()


def _fits(kind: str, value: Any, types: tuple[str, ...]) -> bool:
    if kind in types:
        return True
    if kind == "integer":
        return "number" in types
    return kind == "number" and "integer" in types and value.is_integer()


def _wrong_type(path: str, types: tuple[str, ...], kind: str) -> FieldError:
    return field.type_invalid(Path(path), kind, f'{path} in body must be of type {",".join(types)}: "{kind}"')


def _composite(words: str) -> FieldError:
    return field.invalid(Path(""), "", words)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _checks_by_type(raw: Mapping[str, Any]) -> Mapping[str, tuple[Check, ...]]:
    """Return the checks of plain values, by the JSON type of the value that they are for."""
    numbers, strings = _number_checks(raw), _string_checks(raw)
    lists, maps = _list_checks(raw), _map_checks(raw)
    enum = raw.get("enum")
    every: list[Check] = [_enum(enum)] if enum else []
    made = {
        "integer": (*numbers, *every),
        "number": (*numbers, *every),
        "string": (*strings, *every),
        "array": (*lists, *every),
        "object": (*maps, *every),
        "boolean": tuple(every),
    }
    return {kind: checks for kind, checks in made.items() if checks}


def _enum(values: list[Any]) -> Check:
    def check(value: Any, path: str, found: list[FieldError]) -> None:
        if not any(value == one and isinstance(value, bool) is isinstance(one, bool) for one in values):
            listed = ", ".join(_quoted(one) for one in values)
            words = f"supported values: {listed}"
            found.append(FieldError(field.ErrorType.NOT_SUPPORTED, Path(path), value, words))

    return check


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else f'"{_number(value)}"'


def _number_checks(raw: Mapping[str, Any]) -> list[Check]:
    checks: list[Check] = []
    high, low, step = raw.get("maximum"), raw.get("minimum"), raw.get("multipleOf")
    if high is not None:
        checks.append(_bound(high, is_high=True, exclusive=bool(raw.get("exclusiveMaximum"))))
    if low is not None:
        checks.append(_bound(low, is_high=False, exclusive=bool(raw.get("exclusiveMinimum"))))
    if step:
        words = f"should be a multiple of {_number(step)}"
        checks.append(_check(lambda value: abs(value / step - round(value / step)) < 1e-9, words))
    return checks


def _bound(limit: float, *, is_high: bool, exclusive: bool) -> Check:
    shown = _number(limit)
    if is_high:
        if exclusive:
            return _check(lambda value: value < limit, f"should be less than {shown}")
        return _check(lambda value: value <= limit, f"should be less than or equal to {shown}")
    if exclusive:
        return _check(lambda value: value > limit, f"should be greater than {shown}")
    return _check(lambda value: value >= limit, f"should be greater than or equal to {shown}")


def _check(is_valid: Callable[[Any], bool], words: str, shown: Callable[[Any], Any] = lambda value: value) -> Check:
    def check(value: Any, path: str, found: list[FieldError]) -> None:
        if not is_valid(value):
            found.append(field.invalid(Path(path), shown(value), f"{path} in body {words}"))

    return check


def _string_checks(raw: Mapping[str, Any]) -> list[Check]:
    checks: list[Check] = []
    longest, shortest = raw.get("maxLength"), raw.get("minLength")
    if longest is not None:
        checks.append(_too_long(longest))
    if shortest:
        checks.append(_check(lambda text: len(text) >= shortest, f"should be at least {shortest} chars long"))
    pattern = raw.get("pattern")
    if pattern:
        search = compile_pattern(pattern).search
        checks.append(_check(lambda text: search(text) is not None, f"should match '{pattern}'"))
    name = raw.get("format") or ""
    has_format = FORMATS.get(name)
    if has_format is not None:
        checks.append(_format(name, has_format))
    return checks


def _too_long(limit: int) -> Check:
    def check(value: Any, path: str, found: list[FieldError]) -> None:
        if len(value) > limit:
            found.append(field.too_long(Path(path), limit))

    return check


def _format(name: str, has_format: Callable[[str], bool]) -> Check:
    def check(value: Any, path: str, found: list[FieldError]) -> None:
        if not has_format(value):
            words = f'{path} in body must be of type {name}: "{value}"'
            found.append(field.type_invalid(Path(path), value, words))

    return check


def _list_checks(raw: Mapping[str, Any]) -> list[Check]:
    checks: list[Check] = []
    most, fewest = raw.get("maxItems"), raw.get("minItems")
    if most is not None:
        checks.append(_too_many(most))
    if fewest:
        checks.append(_check(lambda items: len(items) >= fewest, f"should have at least {fewest} items", len))
    if raw.get("uniqueItems"):
        checks.append(_check(_is_distinct, "shouldn't contain duplicates", lambda _: ""))
    return checks


def _map_checks(raw: Mapping[str, Any]) -> list[Check]:
    checks: list[Check] = []
    most, fewest = raw.get("maxProperties"), raw.get("minProperties")
    if most is not None:
        checks.append(_too_many(most))
    if fewest:
        checks.append(_check(lambda items: len(items) >= fewest, f"should have at least {fewest} properties", len))
    return checks


def _too_many(limit: int) -> Check:
    def check(value: Any, path: str, found: list[FieldError]) -> None:
        if len(value) > limit:
            found.append(field.too_many(Path(path), len(value), limit))

    return check


def _is_distinct(items: list[Any]) -> bool:
    return len({repr(item) for item in items}) == len(items)


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
