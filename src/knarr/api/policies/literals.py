"""`Object{…}` and `JSONPatch{…}` in the expressions of mutations, written as maps.

The types of these literals are made of the names that expressions use, so there is nothing to declare: `Object.spec{replicas: 3}`
becomes `{"replicas": dyn(3)}`. That a literal stands in the field that its name says is checked here.

Source: k8s.io/apiserver/pkg/cel/mutation (v1.37).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from knarr.lang.cel import CompileError

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<string>(?:[rR][bB]?|[bB][rR]?)?(?:\"{3}.*?\"{3}|'{3}.*?'{3}))
  | (?P<raw>(?:[rR][bB]?|[bB][rR])(?:"[^"\n]*"|'[^'\n]*'))
  | (?P<plain>[bB]?(?:"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
  | (?P<word>[A-Za-z_]\w*)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ROOTS = ("Object", "JSONPatch")
_PATCH_FIELDS = ("op", "path", "from", "value")
_OPEN, _CLOSE = "([{", ")]}"


@dataclass(slots=True)
class _Frame:
    """An open bracket; of a literal, where we are in it."""

    name: str = ""
    at_key: bool = False
    key: str = ""
    is_wrapped: bool = False
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Rewritten:
    """An expression without literals.

    Attributes:
        text: The expression.
        mismatch: What literal stands in the wrong field; empty if none does.
    """

    text: str
    mismatch: str = ""


def rewrite(expression: str) -> Rewritten:
    """Write the literals of an expression as maps.

    Raises:
        CompileError: a JSONPatch has an unknown field.
    """
    tokens = [(match.lastgroup or "", match[0]) for match in _TOKEN.finditer(expression)]
    out: list[str] = []
    stack: list[_Frame] = []
    mismatch = ""
    position = 0
    previous = ""
    while position < len(tokens):
        kind, text = tokens[position]
        top = stack[-1] if stack else None
        if kind == "word" and text in _ROOTS and previous != ".":
            literal = _literal(tokens, position)
            if literal is not None:
                name, position = literal
                mismatch = mismatch or _compare(name, stack)
                stack.append(_Frame(name, at_key=True))
                out.append("{")
                previous = "{"
                continue
        if top is not None and top.name and top.at_key and kind in ("word", "plain"):
            top.key = text.strip("\"'")
            _check_field(top)
            out.append(f'"{top.key}"')
        elif top is not None and top.name and top.at_key and text == "?":
            top.is_optional = True
            out.append(text)
        elif top is not None and top.name and top.at_key and text == ":":
            top.at_key, top.is_wrapped = False, not top.is_optional
            out.append(": dyn(" if top.is_wrapped else ":")
        elif top is not None and top.name and not top.at_key and text == ",":
            out.append(f"{_unwrap(top)},")
            top.at_key, top.is_optional = True, False
        else:
            if text in _OPEN:
                stack.append(_Frame())
            elif text in _CLOSE and stack:
                out.append(_unwrap(stack.pop()))
            out.append(text)
        if kind != "space":
            previous = text
        position += 1
    return Rewritten("".join(out), mismatch)


def _literal(tokens: list[tuple[str, str]], position: int) -> tuple[str, int] | None:
    """Return the name of the literal that begins here and where its fields begin; None if none does."""
    words = []
    expects_word = True
    for index, kind, text in _solid(tokens, position):
        if expects_word and kind == "word":
            words.append(text)
        elif not expects_word and text == "{":
            return ".".join(words), index + 1
        elif expects_word or text != ".":
            return None
        expects_word = not expects_word
    return None


def _solid(tokens: list[tuple[str, str]], position: int) -> Iterator[tuple[int, str, str]]:
    for index in range(position, len(tokens)):
        kind, text = tokens[index]
        if kind != "space":
            yield index, kind, text


def _unwrap(frame: _Frame) -> str:
    if frame.name and frame.is_wrapped:
        frame.is_wrapped = False
        return ")"
    return ""


def _check_field(frame: _Frame) -> None:
    if frame.name == "JSONPatch" and frame.key not in _PATCH_FIELDS:
        raise CompileError(f"ERROR: <input>:1:1: undefined field '{frame.key}'")


def _compare(name: str, stack: list[_Frame]) -> str:
    """Return what is wrong with a literal of that name at this place."""
    for frame in reversed(stack):
        if frame.name == "JSONPatch":
            return ""
        if frame.name:
            expected = f"{frame.name}.{frame.key}"
            if name == expected:
                return ""
            return (
                f'type mismatch: unexpected type name "{name}", expected "{expected}", '
                "which matches field name path from root Object type"
            )
    return ""
