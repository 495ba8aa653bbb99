"""Messages to JSON objects: what a Go program would have written as JSON, had it written JSON.

One loop reads every message, driven by a table of its tags that is made when the first message of its type arrives. An empty
value that is no pointer in Go disappears unless JSON has it anyway; a message that comes in pieces is put together; fields
that are not known are stepped over. Nothing is copied on the way down, so that time grows with the bytes and not with depth.

Source: what gogo/protobuf generates for k8s.io/api (v1.37).
"""

import binascii
import struct
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from knarr.api.protobuf import values, wire
from knarr.api.protobuf.errors import WireError
from knarr.api.schema import messages

Object = dict[str, Any]

# How a field is read; those up to _LAST_WITH_LENGTH have a length before them.
_STRING, _MESSAGE, _INLINE, _SPECIAL, _BYTES, _STRINGS, _MESSAGES, _VALUES, _MAP, _PACKED = range(10)
_LAST_WITH_LENGTH = _PACKED
_NUMBER, _NUMBERS, _DOUBLE, _DOUBLES = range(10, 14)

_SPECIALS: dict[str, Callable[[bytes], Any]] = {
    "Time": values.to_time,
    "MicroTime": values.to_micro_time,
    "Quantity": values.to_quantity,
    "IntOrString": values.to_intstr,
    "Duration": values.to_duration,
    "Raw": values.to_raw,
}
_NUMBERS_OF: dict[str, Callable[[int], Any]] = {"int32": wire.to_int32, "int64": wire.to_int64, "bool": bool}
_MISSING: Any = object()
_SCHEMA = "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"


class _Entry(NamedTuple):
    """What to do with a field.

    Attributes:
        code: How it is read.
        name: Its JSON name.
        arg: The reader of its message, or the function that makes its value.
        keeps_empty: Whether an empty value stays.
    """

    code: int
    name: str
    arg: Any
    keeps_empty: bool


class Reader:
    """Reads the messages of one type.

    Args:
        message: Name of the message.
    """

    __slots__ = ("_entries", "message")

    def __init__(self, message: str) -> None:
        self.message: Final = message
        self._entries: dict[int, _Entry] | None = None

    def read(self, data: bytes, position: int, end: int, out: Object) -> None:
        """Read a message into an object.

        Args:
            data: The bytes that the message is in.
            position: Where it begins.
            end: Where it ends.
            out: The object; what it has already is kept or replaced, as the protobuf rules have it.

        Raises:
            WireError: it is no such message.
            IndexError: the bytes end within it.
        """
        entries = self._entries
        if entries is None:
            entries = self._entries = _entries(self.message)
        find = entries.get
        while position < end:
            tag = data[position]
            position += 1
            if tag > 127:
                tag, position = wire.read_varint(data, position - 1)
            entry = find(tag)
            if entry is None:
                position = self._skip(data, position, tag)
                continue
            code, name, arg, keeps_empty = entry
            if code <= _LAST_WITH_LENGTH:
                length = data[position]
                position += 1
                if length > 127:
                    length, position = wire.read_varint(data, position - 1)
                stop = position + length
                if stop > end:
                    raise WireError(wire.UNEXPECTED_EOF)
                if code == _STRING:
                    if length or keeps_empty:
                        out[name] = data[position:stop].decode("utf-8", "replace")
                    else:
                        out.pop(name, None)
                elif code == _MESSAGE:
                    inner = out.get(name)
                    if inner is None:
                        inner = out[name] = {}
                    arg.read(data, position, stop, inner)
                elif code == _MESSAGES:
                    inner = {}
                    arg.read(data, position, stop, inner)
                    if name in out:
                        out[name].append(inner)
                    else:
                        out[name] = [inner]
                elif code == _INLINE:
                    arg.read(data, position, stop, out)
                elif code == _STRINGS:
                    out.setdefault(name, []).append(data[position:stop].decode("utf-8", "replace"))
                elif code == _MAP:
                    key, value = arg(data, position, stop)
                    out.setdefault(name, {})[key] = value
                elif code == _BYTES:
                    if length or keeps_empty:
                        out[name] = _to_base64(data[position:stop])
                    else:
                        out.pop(name, None)
                elif code == _PACKED:
                    items = out.setdefault(name, [])
                    while position < stop:
                        value, position = wire.read_varint(data, position)
                        items.append(arg(value))
                    if position != stop:
                        raise WireError(wire.UNEXPECTED_EOF)
                elif code == _VALUES:
                    out.setdefault(name, []).append(arg(data[position:stop]))
                else:
                    value = arg(data[position:stop])
                    if value is None:
                        out.pop(name, None)
                    else:
                        out[name] = value
                position = stop
            elif code <= _NUMBERS:
                number = data[position]
                position += 1
                if number > 127:
                    number, position = wire.read_varint(data, position - 1)
                value = arg(number)
                if code == _NUMBERS:
                    out.setdefault(name, []).append(value)
                elif number or keeps_empty:
                    out[name] = value
                else:
                    out.pop(name, None)
            else:
                value = arg(data, position)
                position += 8
                if code == _DOUBLES:
                    out.setdefault(name, []).append(value)
                elif value or keeps_empty:
                    out[name] = value
                else:
                    out.pop(name, None)
        if position != end:
            raise WireError(wire.UNEXPECTED_EOF)

    def _skip(self, data: bytes, position: int, tag: int) -> int:
        owner = self.message.rpartition(".")[2]
        if self._entries is not None:
            for known, entry in self._entries.items():
                if known >> 3 == tag >> 3:
                    raise WireError(f"proto: wrong wireType = {tag & 7} for field {entry.name}")
        return wire.skip(data, position, tag, owner)


@cache
def reader(message: str) -> Reader:
    """Return the reader of a message.

    Raises:
        KeyError: there is no such message.
    """
    if message not in messages.lines():
        raise KeyError(message)
    return Reader(message)


def _entries(message: str) -> dict[int, _Entry]:
    found: dict[int, _Entry] = {}
    for field in messages.fields(message):
        for wire_type, entry in _field_entries(field):
            found[field.number << 3 | wire_type] = entry
    return found


def _field_entries(field: messages.Field) -> list[tuple[int, _Entry]]:
    name, type_ = field.name, field.type
    keeps_empty = field.is_pointer or field.is_always
    is_list = field.label == "[]"
    if field.label == "{}":
        return [(wire.LENGTH, _Entry(_MAP, name, _map_reader(type_), keeps_empty))]
    to_number = _NUMBERS_OF.get(type_)
    if to_number is not None:
        entries = [(wire.VARINT, _Entry(_NUMBERS if is_list else _NUMBER, name, to_number, keeps_empty))]
        if is_list:
            entries.append((wire.LENGTH, _Entry(_PACKED, name, to_number, keeps_empty)))
        return entries
    if type_ == "double":
        return [(wire.FIXED64, _Entry(_DOUBLES if is_list else _DOUBLE, name, _read_double, keeps_empty))]
    if type_ == "string":
        return [(wire.LENGTH, _Entry(_STRINGS if is_list else _STRING, name, None, keeps_empty))]
    if type_ == "bytes" and not is_list:
        return [(wire.LENGTH, _Entry(_BYTES, name, None, keeps_empty))]
    convert = _converter(type_)
    if convert is not None:
        return [(wire.LENGTH, _Entry(_VALUES if is_list else _SPECIAL, name, convert, keeps_empty))]
    code = _MESSAGES if is_list else _MESSAGE if name else _INLINE
    return [(wire.LENGTH, _Entry(code, name, reader(type_), keeps_empty))]


def _converter(type_: str) -> Callable[[bytes], Any] | None:
    """Return the function from bytes to JSON of what is no object in JSON, None for ordinary messages."""
    if type_ in _SPECIALS:
        return _SPECIALS[type_]
    match type_:
        case "string":
            return lambda data: data.decode("utf-8", "replace")
        case "bytes":
            return _to_base64
        case "SchemaOrArray":
            return _to_schema_or_array
        case "SchemaOrBool":
            return _to_schema_or_bool
        case "SchemaOrStrings":
            return _to_schema_or_strings
    if messages.fields(type_) is messages.STRINGS:
        strings = reader(type_)
        return lambda data: _read(strings, data).get("items", [])
    return None


def _map_reader(type_: str) -> Callable[[bytes, int, int], tuple[str, Any]]:
    """Return the function that reads an entry of a map: the key is field 1, the value field 2."""
    to_number = _NUMBERS_OF.get(type_)
    convert = _converter(type_) if to_number is None else None
    message = reader(type_) if to_number is None and convert is None else None

    def read_entry(data: bytes, position: int, end: int) -> tuple[str, Any]:
        key: str = ""
        value = _MISSING
        while position < end:
            tag, position = wire.read_varint(data, position)
            if tag == 0x10 and to_number is not None:
                number, position = wire.read_varint(data, position)
                value = to_number(number)
                continue
            if tag not in (0x0A, 0x12):
                position = wire.skip(data, position, tag, "entry")
                continue
            length, position = wire.read_varint(data, position)
            stop = position + length
            if stop > end:
                raise WireError(wire.UNEXPECTED_EOF)
            if tag == 0x0A:
                key = data[position:stop].decode("utf-8", "replace")
            elif convert is not None:
                value = convert(data[position:stop])
            elif message is not None:
                value = {}
                message.read(data, position, stop, value)
            position = stop
        if position != end:
            raise WireError(wire.UNEXPECTED_EOF)
        if value is _MISSING:
            value = convert(b"") if convert is not None else {} if to_number is None else to_number(0)
        return key, value

    return read_entry


def _read(message: Reader, data: bytes) -> Object:
    out: Object = {}
    message.read(data, 0, len(data), out)
    return out


_unpack_double = struct.Struct("<d").unpack_from


def _read_double(data: bytes, position: int) -> float:
    if position + 8 > len(data):
        raise WireError(wire.UNEXPECTED_EOF)
    value: float = _unpack_double(data, position)[0]
    return int(value) if value.is_integer() else value


def _to_base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _parts(data: bytes, type_: dict[int, str]) -> Object:
    """Read a message of fields 1 and 2, each a schema, a list of schemas, strings or a number."""
    found: Object = {}
    position = 0
    while position < len(data):
        tag, position = wire.read_varint(data, position)
        role = type_.get(tag)
        if role is None:
            position = wire.skip(data, position, tag, "JSONSchemaProps")
            continue
        length, position = wire.read_varint(data, position)
        if role == "number":
            found[role] = length
            continue
        stop = position + length
        if stop > len(data):
            raise WireError(wire.UNEXPECTED_EOF)
        if role == "string":
            found.setdefault(role, []).append(data[position:stop].decode("utf-8", "replace"))
        else:
            schema = _read(reader(_SCHEMA), data[position:stop])
            if role == "schemas":
                found.setdefault(role, []).append(schema)
            else:
                found[role] = schema
        position = stop
    return found


def _to_schema_or_array(data: bytes) -> Any:
    found = _parts(data, {0x0A: "schema", 0x12: "schemas"})
    return found.get("schemas") or found.get("schema")


def _to_schema_or_bool(data: bytes) -> Any:
    found = _parts(data, {0x08: "number", 0x12: "schema"})
    return found["schema"] if "schema" in found else bool(found.get("number"))


def _to_schema_or_strings(data: bytes) -> Any:
    found = _parts(data, {0x0A: "schema", 0x12: "string"})
    return found.get("string") or found.get("schema")
