"""JSON objects to messages, byte for byte as Go writes them: fields ascending by number, maps sorted, plain values even if empty.

A message is written by filling in a template. The template has a piece of bytes for each field: what Go writes when the field
is empty, which is nothing for pointers, lists and maps, a zero for scalars, and a whole empty message for structs. Only the
fields that an object has cost time.

Source: what gogo/protobuf generates for k8s.io/api (v1.37).
"""

import binascii
import struct
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from knarr.api.protobuf import values, wire
from knarr.api.schema import messages

Object = Mapping[str, Any]
Write = Callable[[Any], bytes]

_SPECIALS: dict[str, tuple[Write, bytes]] = {
    "Time": (values.from_time, b""),
    "MicroTime": (values.from_micro_time, b""),
    "Quantity": (values.from_quantity, values.NO_QUANTITY),
    "IntOrString": (values.from_intstr, values.NO_INTSTR),
    "Duration": (values.from_duration, b"\x08\x00"),
    "Raw": (values.from_raw, b""),
}
_SCHEMA = "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"


class Writer:
    """Writes the messages of one type.

    Args:
        message: Name of the message.
    """

    __slots__ = ("_empty", "_inlined", "_places", "_template", "message")

    def __init__(self, message: str) -> None:
        self.message: Final = message
        self._template: list[bytes] | None = None
        self._places: dict[str, tuple[int, Write]] = {}
        self._inlined: list[tuple[int, bytes, Writer]] = []
        self._empty = b""

    def write(self, obj: Object) -> bytes:
        """Return an object as a message; what the message has no field for is left out.

        Raises:
            AttributeError, TypeError, ValueError: a field holds what its type does not allow.
        """
        template = self._template
        if template is None:
            template = self._compile()
        pieces = template.copy()
        find = self._places.get
        for name, value in obj.items():
            if value is not None:
                place = find(name)
                if place is not None:
                    pieces[place[0]] = place[1](value)
        for index, tag, writer in self._inlined:
            data = writer.write(obj)
            pieces[index] = tag + wire.varint(len(data)) + data
        return b"".join(pieces)

    @property
    def empty(self) -> bytes:
        """The message of an empty object."""
        if self._template is None:
            self._compile()
        return self._empty

    def _compile(self) -> list[bytes]:
        template: list[bytes] = []
        for index, field in enumerate(messages.fields(self.message)):
            tag = _tag(field)
            if not field.name:
                inner = writer(field.type)
                self._inlined.append((index, tag, inner))
                template.append(tag + values.with_length(inner.empty))
                continue
            write, empty = _field_writer(field, tag)
            self._places[field.name] = index, write
            template.append(empty)
        self._empty = b"".join(template)
        self._template = template
        return template


@cache
def writer(message: str) -> Writer:
    """Return the writer of a message.

    Raises:
        KeyError: there is no such message.
    """
    if message not in messages.lines():
        raise KeyError(message)
    return Writer(message)


def _tag(field: messages.Field) -> bytes:
    wire_type = wire.LENGTH
    if field.label != "{}":
        if field.type in ("int32", "int64", "bool"):
            wire_type = wire.VARINT
        elif field.type == "double":
            wire_type = wire.FIXED64
    return wire.varint(field.number << 3 | wire_type)


def _field_writer(field: messages.Field, tag: bytes) -> tuple[Write, bytes]:
    """Return the function that writes a field with its tag, and the bytes of the field when it is absent."""
    if field.label == "{}":
        return _map_writer(field.type, tag), b""
    write = _element_writer(field.type, tag)
    if field.label == "[]":
        return (lambda items: b"".join([write(item) for item in items])), b""
    return write, b"" if field.is_pointer else _empty_field(field.type, tag)


def _empty_field(type_: str, tag: bytes) -> bytes:
    """Return what Go writes for an empty field that is no pointer."""
    if type_ == "double":
        return tag + bytes(8)
    if type_ in ("string", "bool", "int32", "int64"):
        return tag + b"\x00"
    if type_ in _SPECIALS:
        return tag + values.with_length(_SPECIALS[type_][1])
    if type_ == "bytes" or type_ in _SCHEMAS or messages.fields(type_) is messages.STRINGS:
        return b""
    return tag + values.with_length(writer(type_).empty)


def _element_writer(type_: str, tag: bytes) -> Write:
    """Return the function that writes one value with its tag."""
    match type_:
        case "string":
            return _string_writer(tag)
        case "bool":
            yes, no = tag + b"\x01", tag + b"\x00"
            return lambda value: yes if value else no
        case "int32" | "int64":
            return lambda value: tag + wire.varint(value)
        case "double":
            pack = struct.Struct("<d").pack
            return lambda value: tag + pack(value)
        case "bytes":
            return _framed(tag, binascii.a2b_base64)
    if type_ in _SPECIALS:
        return _framed(tag, _SPECIALS[type_][0])
    if type_ in _SCHEMAS:
        return _framed(tag, _SCHEMAS[type_])
    if messages.fields(type_) is messages.STRINGS:
        return _framed(tag, values.from_strings)
    return _framed(tag, writer(type_).write)


def _string_writer(tag: bytes) -> Write:
    short = [tag + wire.varint(length) for length in range(128)]

    def write(value: str) -> bytes:
        data = value.encode()
        length = len(data)
        return (short[length] if length < 128 else tag + wire.varint(length)) + data

    return write


def _framed(tag: bytes, inner: Write) -> Write:
    def write(value: Any) -> bytes:
        data = inner(value)
        return b"%b%b%b" % (tag, wire.varint(len(data)), data)

    return write


def _map_writer(type_: str, tag: bytes) -> Write:
    write_key = _element_writer("string", b"\n")
    write_value = _element_writer(type_, b"\x10" if type_ in ("int32", "int64", "bool") else b"\x12")

    def write(items: Mapping[str, Any]) -> bytes:
        pieces = []
        for key in sorted(items):
            entry = write_key(key) + write_value(items[key])
            pieces.append(b"%b%b%b" % (tag, wire.varint(len(entry)), entry))
        return b"".join(pieces)

    return write


def _from_schema_or_array(value: Any) -> bytes:
    schema = writer(_SCHEMA)
    if isinstance(value, list):
        return b"".join([b"\x12" + values.with_length(schema.write(item)) for item in value])
    return b"\n" + values.with_length(schema.write(value))


def _from_schema_or_bool(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"\x08\x01" if value else b"\x08\x00"
    return b"\x08\x01\x12" + values.with_length(writer(_SCHEMA).write(value))


def _from_schema_or_strings(value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join([b"\x12" + values.with_length(item.encode()) for item in value])
    return b"\n" + values.with_length(writer(_SCHEMA).write(value))


_SCHEMAS: Mapping[str, Write] = {
    "SchemaOrArray": _from_schema_or_array,
    "SchemaOrBool": _from_schema_or_bool,
    "SchemaOrStrings": _from_schema_or_strings,
}
