"""The checked syntax tree of an expression, read from the library's serialized form.

Source: google/cel-spec proto/cel/expr/{checked,syntax}.proto.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Fields = list[tuple[int, Any]]


@dataclass(frozen=True, slots=True)
class Expr:
    """A node.

    Attributes:
        id: Its number.
        kind: "const", "ident", "select", "call", "list", "struct" or "comprehension".
        name: The variable, field, function, or message; for a comprehension its loop variable.
        operands: Target and arguments, elements, or the range, start, condition, step and result of a comprehension.
        value: Of a constant.
        is_test: Whether a select is a `has`.
        has_target: Whether a call's first operand is its receiver.
        second: The second loop variable of a comprehension.
        accumulator: The variable in which a comprehension collects.
    """

    id: int
    kind: str
    name: str = ""
    operands: tuple["Expr", ...] = ()
    value: Any = None
    is_test: bool = False
    has_target: bool = False
    second: str = ""
    accumulator: str = ""

    def walk(self) -> Iterator["Expr"]:
        """Yield this node and all below it."""
        yield self
        for one in self.operands:
            yield from one.walk()


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked expression.

    Attributes:
        root: Its root.
        overloads: The overload that the checker chose, by the node's number.
        names: The variables that it uses, loop variables left out.
    """

    root: Expr
    overloads: dict[int, tuple[str, ...]]
    names: set[str]


def decode(encoded: bytes) -> Checked:
    """Read a serialized expression: an Any that holds a CheckedExpr."""
    body = _one(_fields(encoded), 2, b"")
    root = Expr(0, "const")
    overloads: dict[int, tuple[str, ...]] = {}
    for number, value in _fields(body):
        if number == 4:
            root = _expr(value)
        elif number == 2:
            entry = _fields(value)
            reference = _fields(_one(entry, 2, b""))
            listed = tuple(text.decode() for field, text in reference if field == 3)
            overloads[_one(entry, 1, 0)] = listed
    bound = {
        name
        for node in root.walk()
        if node.kind == "comprehension"
        for name in (node.name, node.second, node.accumulator)
    }
    used = {node.name for node in root.walk() if node.kind == "ident"}
    return Checked(root, overloads, used - bound)


def _expr(data: bytes) -> Expr:
    id = 0
    kind, body = "const", b""
    for number, value in _fields(data):
        if number == 2:
            id = value
        elif number in _KINDS:
            kind, body = _KINDS[number], value
    fields = _fields(body)
    if kind == "const":
        return Expr(id, kind, value=_constant(fields))
    if kind == "ident":
        return Expr(id, kind, _text(fields, 1))
    if kind == "select":
        return Expr(id, kind, _text(fields, 2), (_expr(_one(fields, 1, b"")),), is_test=bool(_one(fields, 3, 0)))
    if kind == "call":
        target = [_expr(value) for number, value in fields if number == 1]
        arguments = [_expr(value) for number, value in fields if number == 3]
        return Expr(id, kind, _text(fields, 2), (*target, *arguments), has_target=bool(target))
    if kind == "list":
        return Expr(id, kind, operands=tuple(_expr(value) for number, value in fields if number == 1))
    if kind == "struct":
        return Expr(id, kind, _text(fields, 1), tuple(_entries(fields)))
    parts = tuple(_expr(_one(fields, number, b"")) for number in (2, 4, 5, 6, 7))
    return Expr(id, kind, _text(fields, 1), parts, second=_text(fields, 8), accumulator=_text(fields, 3))


_KINDS = {3: "const", 4: "ident", 5: "select", 6: "call", 7: "list", 8: "struct", 9: "comprehension"}


def _entries(fields: Fields) -> Iterator[Expr]:
    for number, entry in fields:
        if number == 2:
            for inner, value in _fields(entry):
                if inner in (3, 4):
                    yield _expr(value)


def _constant(fields: Fields) -> Any:
    for number, value in fields:
        if number == 6:
            return value.decode(errors="replace")
        if number == 3:
            return value - 2**64 if value >= 2**63 else value
        if number == 5:
            return struct.unpack("<d", value)[0]
        if number == 2:
            return bool(value)
        if number == 1:
            return None
        return value
    return ""


def _one(fields: Fields, number: int, absent: Any) -> Any:
    return next((value for found, value in fields if found == number), absent)


def _text(fields: Fields, number: int) -> str:
    found: str = _one(fields, number, b"").decode()
    return found


def _fields(data: bytes) -> Fields:
    """Split a message into its fields: numbers for varints, bytes for the rest."""
    found: Fields = []
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(data, position)
            found.append((number, value))
            continue
        if wire == 2:
            size, position = _varint(data, position)
        else:
            size = 8 if wire == 1 else 4
        found.append((number, data[position : position + size]))
        position += size
    return found


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
