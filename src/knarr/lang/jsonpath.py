"""JSONPath as kubectl and CustomResourceDefinitions write it: `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`.

`parse` makes a `Path` of one expression, without the braces around it; `find` walks decoded JSON and gives what lies there.

Source: k8s.io/client-go/util/jsonpath (v1.37); https://kubernetes.io/docs/reference/kubectl/jsonpath/
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_SLICE = re.compile(r"(-?\d*)(?::(-?\d*))?(?::(-?\d*))?", re.ASCII)
_OPERAND = re.compile(r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([@$][^\s=<>!)]*)|([^\s=<>!)]+))\s*""")
_OPERATOR = re.compile(r"==|!=|<=|>=|<|>")
MAX_STEPS = 64

Step = Callable[[list[Any]], Iterable[Any]]


class JsonPathError(ValueError):
    """Raised when an expression is no JSONPath."""


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed expression.

    Attributes:
        text: As it was written.
        steps: What is done one after the other.
    """

    text: str
    steps: tuple[Step, ...]

    def find(self, value: Any) -> list[Any]:
        """Return everything that lies at this path in decoded JSON, in order; missing keys are no error."""
        found = [value]
        for step in self.steps:
            found = list(step(found))
            if not found:
                break
        return found


def parse(text: str) -> Path:
    """Read an expression.

    Args:
        text: Such as ".spec.replicas", "$.spec" or "['a.b']".

    Raises:
        JsonPathError: it is malformed.
    """
    position, steps = 0, []
    if text[:1] in ("$", "@"):
        position = 1
    while position < len(text):
        step, position = _read_step(text, position)
        if step is not None:
            steps.append(step)
        if len(steps) > MAX_STEPS:
            raise JsonPathError("too many steps")
    return Path(text, tuple(steps))


def to_text(value: Any) -> str:
    """Print a value as templates do: scalars bare, the rest as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _read_step(text: str, position: int) -> tuple[Step | None, int]:
    char = text[position]
    if char == "[":
        return _read_brackets(text, position)
    if char == ".":
        if text[position : position + 2] == "..":
            return _read_descent(text, position + 2)
        position += 1
        if position == len(text):
            return None, position
        if text[position] == "[":
            return _read_brackets(text, position)
    return _read_name(text, position)


def _read_name(text: str, position: int) -> tuple[Step, int]:
    parts = []
    while position < len(text):
        if text[position] == "\\" and position + 1 < len(text):
            parts.append(text[position + 1])
            position += 2
            continue
        match = re.compile(r"[^.\[\]\s(){}?@'\"\\]+").match(text, position)
        if match is None:
            break
        parts.append(match[0])
        position = match.end()
    name = "".join(parts)
    if not name:
        raise JsonPathError(f"unrecognized character in action: U+{ord(text[position]):04X} '{text[position]}'")
    return (_every if name == "*" else _field(name)), position


def _read_descent(text: str, position: int) -> tuple[Step, int]:
    if position < len(text) and text[position] not in "[.":
        step, position = _read_name(text, position)
        return (lambda values: step([one for value in values for one in _descend(value)])), position
    return (lambda values: [one for value in values for one in _descend(value)]), position


def _read_brackets(text: str, position: int) -> tuple[Step, int]:
    end = _closing(text, position)
    inside = text[position + 1 : end].strip()
    if inside.startswith("?(") and inside.endswith(")"):
        return _filter(inside[2:-1]), end + 1
    if inside == "*":
        return _every, end + 1
    if inside[:1] in ("'", '"'):
        return _union(_quoted_names(inside)), end + 1
    if "," in inside:
        return _indices([_slice(part.strip()) for part in inside.split(",")]), end + 1
    return _indices([_slice(inside)]), end + 1


def _closing(text: str, start: int) -> int:
    depth, quote = 0, ""
    for position in range(start, len(text)):
        char = text[position]
        if quote:
            if char == quote and text[position - 1] != "\\":
                quote = ""
        elif char in "'\"":
            quote = char
        elif char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
            if depth == 0:
                return position
    raise JsonPathError("unterminated array")


def _quoted_names(inside: str) -> list[str]:
    names, position = [], 0
    pattern = re.compile(r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*(,|$)""")
    while position < len(inside):
        match = pattern.match(inside, position)
        if match is None:
            raise JsonPathError(f"invalid array index {inside}")
        names.append(re.sub(r"\\(.)", r"\1", match[1] if match[1] is not None else match[2]))
        position = match.end()
    return names


def _slice(text: str) -> slice | int:
    match = _SLICE.fullmatch(text)
    if match is None or not text:
        raise JsonPathError(f"invalid array index {text}")
    if ":" not in text:
        return int(text)
    first, last, step = (int(part) if part else None for part in match.groups())
    if step is not None and step <= 0:
        raise JsonPathError("step must be > 0")
    return slice(first, last, step)


def _field(name: str) -> Step:
    def step(values: list[Any]) -> Iterator[Any]:
        for value in values:
            if isinstance(value, dict) and name in value:
                yield value[name]

    return step


def _union(names: list[str]) -> Step:
    return lambda values: [
        value[name] for value in values if isinstance(value, dict) for name in names if name in value
    ]


def _indices(wanted: list[slice | int]) -> Step:
    def step(values: list[Any]) -> Iterator[Any]:
        for value in values:
            if not isinstance(value, list):
                continue
            for one in wanted:
                if isinstance(one, slice):
                    yield from value[one]
                elif -len(value) <= one < len(value):
                    yield value[one]

    return step


def _every(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, dict):
            yield from value.values()
        elif isinstance(value, list):
            yield from value


def _descend(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _descend(inner)


def _filter(text: str) -> Step:
    left, position = _operand(text, 0)
    match = _OPERATOR.match(text, position)
    if match is None:
        if text[position:].strip():
            raise JsonPathError(f"invalid filter {text}")
        return lambda values: [one for one in _elements(values) if left(one)]
    right, position = _operand(text, match.end())
    if text[position:].strip():
        raise JsonPathError(f"invalid filter {text}")
    compare = _COMPARISONS[match[0]]

    def step(values: list[Any]) -> Iterator[Any]:
        for one in _elements(values):
            here, there = left(one), right(one)
            if here and there and compare(here[0], there[0]):
                yield one

    return step


def _elements(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from value


def _operand(text: str, position: int) -> tuple[Callable[[Any], list[Any]], int]:
    match = _OPERAND.match(text, position)
    if match is None:
        raise JsonPathError(f"invalid filter {text}")
    single, double, path, word = match.groups()
    if path is not None:
        parsed = parse(path)
        return parsed.find, match.end()
    literal: Any
    if word is not None:
        try:
            literal = json.loads(word)
        except ValueError:
            raise JsonPathError(f"unrecognized identifier {word}") from None
    else:
        literal = re.sub(r"\\(.)", r"\1", single if single is not None else double)
    return (lambda _: [literal]), match.end()


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def checked(left: Any, right: Any) -> bool:
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (left, right))
        return (numbers or (isinstance(left, str) and isinstance(right, str))) and compare(left, right)

    return checked


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda left, right: bool(left == right) and isinstance(left, bool) is isinstance(right, bool),
    "!=": lambda left, right: bool(left != right),
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
}
