"""Label selectors: parsed from text or from a LabelSelector object, matched, and split for the store.

A selector is a tuple of requirements that must all hold. `terms` are the equalities that an index serves, `rest` what must
be looked at one by one.

Source: k8s.io/apimachinery/pkg/labels selector.go; LabelSelectorAsSelector in meta/v1 helpers.go (v1.37).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from knarr.api import field, names

IN, NOT_IN, EXISTS, DOES_NOT_EXIST = "in", "notin", "exists", "!"
EQUALS, DOUBLE_EQUALS, NOT_EQUALS, GREATER, LESS = "=", "==", "!=", "gt", "lt"

_BINARY = (IN, NOT_IN, EQUALS, DOUBLE_EQUALS, NOT_EQUALS, GREATER, LESS)
_TOKEN = re.compile(r"\s*([=!(),<>]+|[^\s=!(),<>]+)")
_SYMBOLS = ("==", "!=", "=", "!", "(", ")", ",", ">", "<")
_OBJECT_OPERATORS = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": DOES_NOT_EXIST}
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


class SelectorError(ValueError):
    """Raised when a selector makes no sense; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label.

    Attributes:
        key: The label's name.
        operator: One of the module's constants.
        values: What it is compared with; sorted.
    """

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether an object with these labels fulfils it."""
        operator, value = self.operator, labels.get(self.key)
        if operator in (IN, EQUALS, DOUBLE_EQUALS):
            return value is not None and value in self.values
        if operator in (NOT_IN, NOT_EQUALS):
            return value is None or value not in self.values
        if operator == EXISTS:
            return value is not None
        if operator == DOES_NOT_EXIST:
            return value is None
        if value is None or not _INTEGER.fullmatch(value):
            return False
        number, limit = int(value), int(self.values[0])
        return number > limit if operator == GREATER else number < limit

    def __str__(self) -> str:
        if self.operator == DOES_NOT_EXIST:
            return f"!{self.key}"
        if self.operator == EXISTS:
            return self.key
        if self.operator in (IN, NOT_IN):
            return f"{self.key} {self.operator} ({','.join(self.values)})"
        symbol = {GREATER: ">", LESS: "<"}.get(self.operator, self.operator)
        return f"{self.key}{symbol}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that must all hold; none of them select everything.

    Attributes:
        requirements: Sorted by key.
        nothing: Whether no object is selected, whatever the requirements say.
    """

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether everything is selected."""
        return not self.nothing and not self.requirements

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Return whether an object with these labels is selected."""
        if self.nothing:
            return False
        labels = labels or {}
        return all(requirement.matches(labels) for requirement in self.requirements)

    @property
    def terms(self) -> tuple[tuple[str, str, str], ...]:
        """The equality requirements, as `store.query.Query` takes them: ("label", key, value)."""
        return tuple(("label", found.key, found.values[0]) for found in self.requirements if _is_equality(found))

    @property
    def rest(self) -> "Selector":
        """The requirements that are not in `terms`."""
        return Selector(tuple(found for found in self.requirements if not _is_equality(found)), self.nothing)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


def _is_equality(requirement: Requirement) -> bool:
    return requirement.operator in (EQUALS, DOUBLE_EQUALS, IN) and len(requirement.values) == 1


def requirement(key: str, operator: str, values: tuple[str, ...] = ()) -> Requirement:
    """Make a requirement.

    Raises:
        SelectorError: key, operator and values do not go together.
    """
    errors: list[field.FieldError] = []
    path, values_path = field.Path("key"), field.Path("values")
    errors += [field.invalid(path, key, words) for words in names.qualified_name(key)]
    shown = list(values)
    if operator in (IN, NOT_IN):
        if not values:
            errors.append(field.invalid(values_path, shown, "for 'in', 'notin' operators, values set can't be empty"))
    elif operator in (EQUALS, DOUBLE_EQUALS, NOT_EQUALS):
        if len(values) != 1:
            errors.append(field.invalid(values_path, shown, "exact-match compatibility requires one single value"))
    elif operator in (EXISTS, DOES_NOT_EXIST):
        if values:
            errors.append(field.invalid(values_path, shown, "values set must be empty for exists and does not exist"))
    elif len(values) != 1:
        errors.append(field.invalid(values_path, shown, "for 'Gt', 'Lt' operators, exactly one value is required"))
    elif not _INTEGER.fullmatch(values[0]):
        words = "for 'Gt', 'Lt' operators, the value must be an integer"
        errors.append(field.invalid(values_path.index(0), values[0], words))
    for index, value in enumerate(values):
        where = values_path.index(index).key(key)
        errors += [field.invalid(where, value, words) for words in names.label_value(value)]
    if errors:
        raise SelectorError(field.format_errors(errors))
    return Requirement(key, operator, tuple(sorted(set(values))))


def parse(text: str) -> Selector:
    """Read a selector such as "app=web,tier in (a,b),!old".

    Raises:
        SelectorError: it makes no sense.
    """
    if not text:
        return EVERYTHING
    found = _Parser(text).requirements()
    return Selector(tuple(sorted(found, key=lambda requirement: requirement.key)))


def from_object(selector: Mapping[str, Any] | None) -> Selector:
    """Make a selector of a LabelSelector object; None selects nothing, an empty one everything.

    Raises:
        SelectorError: it makes no sense.
    """
    if selector is None:
        return NOTHING
    found = [requirement(key, EQUALS, (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        operator = _OBJECT_OPERATORS.get(expression.get("operator") or "")
        if operator is None:
            raise SelectorError(f'"{expression.get("operator") or ""}" is not a valid label selector operator')
        found.append(requirement(expression.get("key") or "", operator, tuple(expression.get("values") or ())))
    return Selector(tuple(sorted(found, key=lambda one: one.key)))


def from_map(labels: Mapping[str, str] | None) -> Selector:
    """Make a selector that demands exactly these labels, as Service.spec.selector does."""
    pairs = sorted((labels or {}).items())
    return Selector(tuple(Requirement(key, EQUALS, (value,)) for key, value in pairs))


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while match := _TOKEN.match(text, position):
        token = match[1]
        if token[0] in "=!(),<>":
            token = next(symbol for symbol in _SYMBOLS if token.startswith(symbol))
        yield token
        position = match.start(1) + len(token)
    yield ""


class _Parser:
    """A parser over tokens; "" is the end of the text."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._position = 0

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        token = self._peek()
        if token and not _is_identifier(token) and token != "!":
            raise SelectorError(f"found '{token}', expected: !, identifier, or 'end of string'")
        while self._peek():
            try:
                found.append(self._requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            token = self._take()
            if token not in ("", ","):
                raise SelectorError(f"found '{token}', expected: ',' or 'end of string'")
            after = self._peek()
            if token and not _is_identifier(after) and after != "!":
                raise SelectorError(f"found '{after}', expected: identifier after ','")
        return found

    def _requirement(self) -> Requirement:
        operator = ""
        key = self._take()
        if key == "!":
            operator, key = DOES_NOT_EXIST, self._take()
        if not _is_identifier(key):
            raise SelectorError(f"found '{key}', expected: identifier")
        _check_key(key)
        if self._peek() in ("", ","):
            return requirement(key, operator or EXISTS)
        operator = self._operator()
        if operator in (IN, NOT_IN):
            return requirement(key, operator, self._values())
        return requirement(key, operator, (self._exact_value(),))

    def _operator(self) -> str:
        token = self._take()
        operator = {">": GREATER, "<": LESS}.get(token, token)
        if operator not in _BINARY or token in (GREATER, LESS):
            raise SelectorError(f"found '{token}', expected: {', '.join(_BINARY)}")
        return operator

    def _exact_value(self) -> str:
        if self._peek() in ("", ","):
            return ""
        token = self._take()
        if not _is_identifier(token):
            raise SelectorError(f"found '{token}', expected: identifier")
        return token

    def _values(self) -> tuple[str, ...]:
        token = self._take()
        if token != "(":
            raise SelectorError(f"found '{token}' expected: '('")
        token = self._peek()
        if token == ")":
            self._take()
            return ()
        if not _is_identifier(token) and token != ",":
            raise SelectorError(f"found '{token}', expected: ',', ')' or identifier")
        values = self._identifiers()
        token = self._take()
        if token != ")":
            raise SelectorError(f"found '{token}', expected: ')'")
        return values

    def _identifiers(self) -> tuple[str, ...]:
        found: dict[str, None] = {}
        while True:
            token = self._take()
            if _is_identifier(token):
                found[token] = None
                after = self._peek()
                if after == ")":
                    return tuple(found)
                if after != ",":
                    raise SelectorError(f"found '{after}', expected: ',' or ')'")
            elif token == ",":
                if not found:
                    found[""] = None
                after = self._peek()
                if after == ")":
                    found[""] = None
                    return tuple(found)
                if after == ",":
                    self._take()
                    found[""] = None
            else:
                raise SelectorError(f"found '{token}', expected: ',', or identifier")

    def _peek(self) -> str:
        return self._tokens[self._position]

    def _take(self) -> str:
        token = self._tokens[self._position]
        self._position = min(self._position + 1, len(self._tokens) - 1)
        return token


def _is_identifier(token: str) -> bool:
    return bool(token) and token[0] not in "=!(),<>"


def _check_key(key: str) -> None:
    errors = [field.invalid(field.Path("key"), key, words) for words in names.qualified_name(key)]
    if errors:
        raise SelectorError(field.format_errors(errors))
