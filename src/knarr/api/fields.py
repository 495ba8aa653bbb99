"""Field selectors: parsed, checked against what a kind allows, matched against the few values kept beside an object.

`extract` gives these values; `parse` and `bind` the selector; its `terms` and `rest` go to the store.

Source: k8s.io/apimachinery/pkg/fields selector.go; AddFieldLabelConversionFunc and GetAttrs in pkg/apis, pkg/registry (v1.37).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from knarr.api.scheme import Resource

_OPERATORS = re.compile(r"!=|==|=")
_ALWAYS = ("metadata.name", "metadata.namespace")
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)


class FieldSelectorError(ValueError):
    """Raised when a field selector makes no sense or names a field that its kind does not select by; upstream's words."""


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison.

    Attributes:
        field: The path, such as "spec.nodeName".
        value: What it is compared with.
        is_equal: Whether it must be equal, or must not.
    """

    field: str
    value: str
    is_equal: bool = True

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Return whether an object with these values fulfils it."""
        return (fields.get(self.field, "") == self.value) is self.is_equal

    def __str__(self) -> str:
        return f"{self.field}{'=' if self.is_equal else '!='}{_escape(self.value)}"


@dataclass(frozen=True, slots=True)
class Selector:
    """Comparisons that must all hold; none of them select everything."""

    requirements: tuple[Term, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether everything is selected."""
        return not self.requirements

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Return whether an object with these values is selected."""
        return all(term.matches(fields) for term in self.requirements)

    @property
    def terms(self) -> tuple[tuple[str, str, str], ...]:
        """The equality requirements, as `store.query.Query` takes them: ("field", path, value)."""
        return tuple(("field", term.field, term.value) for term in self.requirements if term.is_equal)

    @property
    def rest(self) -> "Selector":
        """The requirements that are not in `terms`."""
        return Selector(tuple(term for term in self.requirements if not term.is_equal))

    def exact(self, path: str) -> str | None:
        """Return the value that a field must have, None if the selector does not fix it."""
        for term in self.requirements:
            if term.is_equal and term.field == path:
                return term.value
        return None

    def __str__(self) -> str:
        return ",".join(str(term) for term in self.requirements)


EVERYTHING = Selector()


def parse(text: str) -> Selector:
    """Read a selector such as "spec.nodeName=n1,status.phase!=Failed".

    Raises:
        FieldSelectorError: it makes no sense.
    """
    found = []
    for part in _split(text):
        if not part:
            continue
        operator = _find_operator(part)
        if operator is None:
            raise FieldSelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        value = _unescape(part[operator.end() :])
        found.append(Term(part[: operator.start()], value, operator[0] != "!="))
    return Selector(tuple(found))


def bind(selector: Selector, resource: Resource) -> Selector:
    """Check that a kind allows a selector, and return it in terms of the stored object.

    Raises:
        FieldSelectorError: it names a field that the kind does not select by.
    """
    allowed = resource.selectable_fields
    for term in selector.requirements:
        if term.field in _ALWAYS or term.field in allowed:
            continue
        if allowed or resource.kind in _OWN_WORDS:
            raise FieldSelectorError(f"field label not supported: {term.field}")
        raise FieldSelectorError(
            f'"{term.field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
        )
    if resource.group != "events.k8s.io":
        return selector
    return Selector(tuple(Term(_in_storage(term.field), term.value, term.is_equal) for term in selector.requirements))


def extract(resource: Resource, obj: Mapping[str, Any]) -> dict[str, str]:
    """Return what an object is selected by, from its stored form.

    Args:
        resource: Its resource, in the version that is stored.
        obj: The decoded object.
    """
    metadata = obj.get("metadata") or {}
    found = {"metadata.name": metadata.get("name") or "", "metadata.namespace": metadata.get("namespace") or ""}
    for path in resource.selectable_fields:
        name = _in_storage(path) if resource.group == "events.k8s.io" else path
        special = _SPECIAL.get((resource.kind, name))
        found[name] = special(obj) if special is not None else _to_text(_walk(obj, name))
    return found


# Kinds with a conversion of their own that adds no field.
_OWN_WORDS = frozenset({"StatefulSet", "CustomResourceDefinition"})


def _event_source(event: Mapping[str, Any]) -> str:
    component = (event.get("source") or {}).get("component") or event.get("reportingComponent")
    return str(component or "")


def _or(path: str, absent: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda obj: _to_text(_walk(obj, path)) or absent


_SPECIAL: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], str]] = {
    ("Event", "source"): _event_source,
    ("Job", "status.successful"): _or("status.succeeded", "0"),
    ("Node", "spec.unschedulable"): _or("spec.unschedulable", "false"),
    ("Pod", "spec.hostNetwork"): _or("spec.hostNetwork", "false"),
    ("Pod", "status.podIPs"): _or("status.podIP", ""),
    ("ReplicaSet", "status.replicas"): _or("status.replicas", "0"),
    ("ReplicationController", "status.replicas"): _or("status.replicas", "0"),
}


def _in_storage(path: str) -> str:
    """Return what a field of an events.k8s.io Event is called in the core Event that is stored."""
    if path == "reportingController":
        return "reportingComponent"
    return f"involvedObject.{path[10:]}" if path.startswith("regarding.") else path


def _walk(obj: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(obj, Mapping):
            return None
        obj = obj.get(name)
    return obj


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _split(text: str) -> list[str]:
    """Split at commas that are not escaped."""
    parts, start, escaped = [], 0, False
    for index, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]


def _find_operator(part: str) -> re.Match[str] | None:
    for match in _OPERATORS.finditer(part):
        before = part[: match.start()]
        if (len(before) - len(before.rstrip("\\"))) % 2 == 0:
            return match
    return None


def _unescape(value: str) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[1] not in ("\\", ",", "=") or not match[1]:
            raise FieldSelectorError(f"invalid field selector: invalid escape sequence: {match[0]}")
        return match[1]

    stray = _ESCAPE.sub("", value)
    for character in stray:
        if character in ",=":
            raise FieldSelectorError(f"invalid field selector: unescaped character in value: {ord(character)}")
    return _ESCAPE.sub(replace, value)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
