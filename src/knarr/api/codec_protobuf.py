"""Bodies in Kubernetes' protobuf encoding, which kubectl's own commands and most Go programs send.

`codec_wire.json` has the field numbers of every message (made by scripts/wirefields); what comes out is the object as JSON
would have it. Fields that the table does not know are skipped, as Go skips them.

Source: k8s.io/apimachinery/pkg/runtime/serializer/protobuf (envelope); generated.proto of each API group (v1.34);
https://protobuf.dev/programming-guides/encoding/
"""

import base64
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from knarr.api.scheme import BUILT_IN

PROTOBUF = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_MAX_DEPTH = 100
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OTHER_KINDS: Mapping[tuple[str, str], str] = {
    ("autoscaling/v1", "Scale"): "io.k8s.api.autoscaling.v1.Scale",
    ("policy/v1", "Eviction"): "io.k8s.api.policy.v1.Eviction",
    ("authentication.k8s.io/v1", "TokenRequest"): "io.k8s.api.authentication.v1.TokenRequest",
}

Object = dict[str, Any]


class ProtobufError(ValueError):
    """Raised when a body is no protobuf, or of a kind that has no encoding here."""


class _Field(NamedTuple):
    name: str
    code: str
    reference: str
    shape: str  # "" one value, "[" repeated, "{" a map, "<" a message whose fields belong to the parent


def decode(body: bytes) -> Object:
    """Read the object in an envelope.

    Raises:
        ProtobufError: it cannot be read.
    """
    if not body.startswith(_MAGIC):
        shown = "[107 56 115 0]"
        raise ProtobufError(f"provided data does not appear to be a protobuf message, expected prefix {shown}")
    envelope: dict[int, Any] = {}
    for number, value in _fields(body, len(_MAGIC), len(body)):
        envelope[number] = value
    api_version, kind = _type_meta(body, envelope.get(1))
    raw = envelope.get(2)
    obj: Object = {"kind": kind, "apiVersion": api_version}
    if not kind or not isinstance(raw, slice):
        return obj
    obj.update(_message(body, raw.start, raw.stop, _definition(api_version, kind), 0))
    return obj


def _type_meta(body: bytes, place: Any) -> tuple[str, str]:
    found: dict[int, str] = {}
    if isinstance(place, slice):
        for number, value in _fields(body, place.start, place.stop):
            if isinstance(value, slice):
                found[number] = body[value].decode(errors="replace")
    return found.get(1, ""), found.get(2, "")


def _definition(api_version: str, kind: str) -> str:
    if kind == "DeleteOptions":
        return f"{_META}.DeleteOptions"
    resource = BUILT_IN.find_kind(api_version, kind)
    name = resource.definition if resource is not None else _OTHER_KINDS.get((api_version, kind), "")
    if name not in _table():
        raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}" in protobuf')
    return name


@cache
def _table() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = msgspec.json.decode((Path(__file__).parent / "codec_wire.json").read_bytes())
    return found


@cache
def _fields_of(name: str) -> dict[int, _Field]:
    found = {}
    for number, text in _table()[name].items():
        code, _, label = text.partition(" ")
        shape, code = (code[0], code[1:]) if code[0] in "[{<" else ("", code)
        found[int(number)] = _Field(label, code[0], code[1:], shape)
    return found


def _message(body: bytes, start: int, end: int, name: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ProtobufError("exceeded max depth")
    special = _SPECIAL.get(name)
    if special is not None:
        return special(dict(_scalars(body, start, end, name)))
    fields = _fields_of(name)
    out: Object = {}
    for number, value in _fields(body, start, end):
        field = fields.get(number)
        if field is None:
            continue
        if field.shape == "[":
            out.setdefault(field.name, []).extend(_repeated(body, value, field, depth))
        elif field.shape == "{":
            key, item = _entry(body, value, field, depth)
            out.setdefault(field.name, {})[key] = item
        elif field.shape == "<":
            out.update(_value(body, value, field, depth))
        else:
            out[field.name] = _value(body, value, field, depth)
    return out


def _repeated(body: bytes, value: Any, field: _Field, depth: int) -> list[Any]:
    if field.code in "ib" and isinstance(value, slice):  # packed
        found, position = [], value.start
        while position < value.stop:
            number, position = _varint(body, position, value.stop)
            found.append(bool(number) if field.code == "b" else _signed(number))
        return found
    return [_value(body, value, field, depth)]


def _entry(body: bytes, value: Any, field: _Field, depth: int) -> tuple[str, Any]:
    if not isinstance(value, slice):
        raise ProtobufError("proto: wrong wireType")
    key: str = ""
    item: Any = _message(body, 0, 0, field.reference, depth + 1) if field.code == "M" else _EMPTY[field.code]()
    for number, part in _fields(body, value.start, value.stop):
        if number == 1 and isinstance(part, slice):
            key = body[part].decode(errors="replace")
        elif number == 2:
            item = _value(body, part, field, depth)
    return key, item


_EMPTY: Mapping[str, Callable[[], Any]] = {"s": str, "y": str, "i": int, "b": bool, "d": float}


def _value(body: bytes, value: Any, field: _Field, depth: int) -> Any:
    code = field.code
    if code in "syM":
        if not isinstance(value, slice):
            raise ProtobufError(f"proto: wrong wireType for field {field.name}")
        if code == "s":
            return body[value].decode(errors="replace")
        if code == "y":
            return base64.b64encode(body[value]).decode()
        return _message(body, value.start, value.stop, field.reference, depth + 1)
    if isinstance(value, slice):
        raise ProtobufError(f"proto: wrong wireType for field {field.name}")
    if code == "d":
        return struct.unpack("<d", struct.pack("<Q", value))[0]
    return bool(value) if code == "b" else _signed(value)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _scalars(body: bytes, start: int, end: int, name: str) -> Iterator[tuple[str, Any]]:
    fields = _fields_of(name)
    texts: list[str] = []
    for number, value in _fields(body, start, end):
        field = fields.get(number)
        if field is None:
            continue
        if isinstance(value, slice):
            texts.append(body[value].decode(errors="replace"))
            yield field.name, texts if field.shape == "[" else texts[-1]
        else:
            yield field.name, _signed(value)


def _time(facts: Mapping[str, Any]) -> str | None:
    seconds = facts.get("seconds")
    if seconds is None:
        return None
    try:
        return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        raise ProtobufError("proto: time out of range") from None


def _micro_time(facts: Mapping[str, Any]) -> str | None:
    moment = _time(facts)
    return None if moment is None else f"{moment[:-1]}.{facts.get('nanos', 0) // 1000 % 1_000_000:06}Z"


def _json(field: str) -> Callable[[Mapping[str, Any]], Any]:
    def read(facts: Mapping[str, Any]) -> Any:
        text = facts.get(field)
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError) as error:
            raise ProtobufError(str(error)) from None

    return read


def _int_or_string(facts: Mapping[str, Any]) -> int | str:
    found: int | str = facts.get("strVal", "") if facts.get("type") else facts.get("intVal", 0)
    return found


def _items(facts: Mapping[str, Any]) -> list[str]:
    found: list[str] = facts.get("items", [])
    return found


_SPECIAL: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": lambda facts: facts.get("string", "0"),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    f"{_META}.Time": _time,
    f"{_META}.MicroTime": _micro_time,
    f"{_META}.FieldsV1": _json("Raw"),
    "io.k8s.apimachinery.pkg.runtime.RawExtension": _json("raw"),
    "io.k8s.api.authentication.v1.ExtraValue": _items,
    "io.k8s.api.authorization.v1.ExtraValue": _items,
    "io.k8s.api.certificates.v1.ExtraValue": _items,
}


def _fields(body: bytes, position: int, end: int) -> Iterator[tuple[int, Any]]:
    """Yield field numbers with numbers, or with the places of what is longer."""
    while position < end:
        tag, position = _varint(body, position, end)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(body, position, end)
            yield number, value
        elif wire == _BYTES:
            length, position = _varint(body, position, end)
            if position + length > end:
                raise ProtobufError("unexpected EOF")
            yield number, slice(position, position + length)
            position += length
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
            if position + size > end:
                raise ProtobufError("unexpected EOF")
            yield number, int.from_bytes(body[position : position + size], "little")
            position += size
        else:
            raise ProtobufError(f"proto: illegal wireType {wire}")


def _varint(body: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= end:
            raise ProtobufError("unexpected EOF")
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift >= 70:
            raise ProtobufError("proto: integer overflow")
