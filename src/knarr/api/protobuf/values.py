"""Values that are messages on the wire but plain JSON: times, quantities, numbers or strings, free-form JSON, lists of strings.

Each has a function from JSON to the bytes of the message and one back. What repeats a lot (times, quantities) is remembered.

Source: meta/v1 time_proto.go, micro_time_proto.go; api/resource quantity_proto.go; util/intstr; runtime types (v1.37).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache, wraps
from typing import Any, TypeVar

import msgspec

from knarr.api.protobuf import wire
from knarr.api.protobuf.errors import NotMarshalable, WireError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_MICROSECOND_NS = 1000
_CACHED = 4096
_CACHED_BYTES = 64
"""Longer ones than this are not worth remembering, and come from no honest client."""
_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
NO_QUANTITY = b"\n\x010"
NO_INTSTR = b"\x08\x00\x10\x00\x1a\x00"

_In = TypeVar("_In", str, bytes)
_Out = TypeVar("_Out")

_to_json = msgspec.json.Encoder().encode
_from_json = msgspec.json.Decoder().decode


def with_length(data: bytes) -> bytes:
    """Return bytes behind their length."""
    return wire.varint(len(data)) + data


def _remember(convert: Callable[[_In], _Out]) -> Callable[[_In], _Out]:
    """Make a function remember its last results for short arguments."""
    cached = lru_cache(_CACHED)(convert)

    @wraps(convert)
    def remembering(value: _In) -> _Out:
        return cached(value) if value and len(value) <= _CACHED_BYTES else convert(value)

    return remembering


@_remember
def from_time(text: str) -> bytes:
    """Encode a time, to the second; an empty one is the zero time."""
    if not text:
        return b""
    return b"\x08%b\x10\x00" % wire.varint((_parse(text) - _EPOCH) // _SECOND)


@_remember
def from_micro_time(text: str) -> bytes:
    """Encode a time, to the microsecond."""
    if not text:
        return b""
    moment = _parse(text)
    nanos = moment.microsecond * _MICROSECOND_NS
    return b"\x08%b\x10%b" % (wire.varint((moment - _EPOCH) // _SECOND), wire.varint(nanos))


def _parse(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@_remember
def to_time(data: bytes) -> str | None:
    """Decode a time; None for the zero time."""
    found = _read_numbers(data, "Timestamp")
    if not data:
        return None
    return _format(found[1], 0)[:19].rjust(19, "0") + "Z"


@_remember
def to_micro_time(data: bytes) -> str | None:
    """Decode a time to the microsecond; None for the zero time."""
    found = _read_numbers(data, "Timestamp")
    if not data:
        return None
    return _format(found[1], wire.to_int32(found[2])) + "Z"


def _format(seconds: int, nanos: int) -> str:
    try:
        moment = _EPOCH + timedelta(seconds=wire.to_int64(seconds), microseconds=nanos // _MICROSECOND_NS)
    except OverflowError:
        raise WireError("Time.MarshalJSON: year outside of range [0,9999]") from None
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds")


@_remember
def from_quantity(text: str) -> bytes:
    """Encode a quantity in canonical form."""
    return b"\n" + with_length(text.encode())


@_remember
def to_quantity(data: bytes) -> str:
    """Decode a quantity; whether it is one, and its canonical form, is the schema's business."""
    text = "0"
    position = 0
    while position < len(data):
        tag, position = wire.read_varint(data, position)
        if tag == 0x0A:
            length, position = wire.read_varint(data, position)
            text = data[position : position + length].decode(errors="replace")
            position += length
        else:
            position = wire.skip(data, position, tag, "Quantity")
    if position != len(data):
        raise WireError(wire.UNEXPECTED_EOF)
    return text


def from_intstr(value: Any) -> bytes:
    """Encode a number or a string."""
    if isinstance(value, str):
        return b"\x08\x01\x10\x00\x1a" + with_length(value.encode())
    return b"\x08\x00\x10%b\x1a\x00" % wire.varint(value)


def to_intstr(data: bytes) -> int | str:
    """Decode a number or a string."""
    found = _read_numbers(data, "IntOrString", text := [""])
    kind = found[1]
    if kind == 0:
        return wire.to_int32(found[2])
    if kind == 1:
        return text[0]
    raise WireError("impossible IntOrString.Type")


def from_raw(value: Any) -> bytes:
    """Encode free-form JSON."""
    if value is None:
        return b""
    return b"\n" + with_length(_to_json(value))


def to_raw(data: bytes) -> Any:
    """Decode free-form JSON; None if there is none."""
    raw = b""
    position = 0
    while position < len(data):
        tag, position = wire.read_varint(data, position)
        if tag == 0x0A:
            length, position = wire.read_varint(data, position)
            raw = data[position : position + length]
            position += length
        else:
            position = wire.skip(data, position, tag, "RawExtension")
    if position != len(data):
        raise WireError(wire.UNEXPECTED_EOF)
    if not raw:
        return None
    try:
        return _from_json(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(f"raw value is no JSON: {error}") from None


def from_duration(text: str) -> bytes:
    """Encode a duration such as "1h2m0.5s"."""
    rest, total = text.lstrip("+-"), 0.0
    while rest and rest != "0":
        digits = len(rest) - len(rest.lstrip("0123456789."))
        unit = len(rest) - digits - len(rest[digits:].lstrip("nusmhµμ"))
        scale = _NS.get(rest[digits : digits + unit].replace("µ", "u").replace("μ", "u"))
        if not digits or scale is None:
            raise NotMarshalable(f"time: invalid duration {text!r}")
        total += float(rest[:digits]) * scale
        rest = rest[digits + unit :]
    return b"\x08" + wire.varint(round(-total if text.startswith("-") else total))


def to_duration(data: bytes) -> str:
    """Decode a duration, written as Go does."""
    total = wire.to_int64(_read_numbers(data, "Duration")[1])
    sign, total = ("-" if total < 0 else ""), abs(total)
    if total == 0:
        return "0s"
    for unit in ("ns", "us", "ms"):
        if total < _NS[unit] * 1000:
            return f"{sign}{_decimal(total, _NS[unit])}{'µs' if unit == 'us' else unit}"
    minutes, rest = divmod(total, _NS["m"])
    hours, minutes = divmod(minutes, 60)
    lead = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{lead}{_decimal(rest, _NS['s'])}s"


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    return f"{whole}.{str(rest).zfill(len(str(unit)) - 1).rstrip('0')}" if rest else str(whole)


def from_strings(values: Any) -> bytes:
    """Encode a list of strings that is a message of its own."""
    return b"".join([b"\n" + with_length(value.encode()) for value in values])


def _read_numbers(data: bytes, owner: str, text: list[str] | None = None) -> list[int]:
    """Read a message of up to two numbers and a string as its third field; the numbers are at 1 and 2."""
    found = [0, 0, 0]
    position = 0
    while position < len(data):
        tag, position = wire.read_varint(data, position)
        if tag in (0x08, 0x10):
            found[tag >> 3], position = wire.read_varint(data, position)
        elif tag == 0x1A and text is not None:
            length, position = wire.read_varint(data, position)
            text[0] = data[position : position + length].decode(errors="replace")
            position += length
        else:
            position = wire.skip(data, position, tag, owner)
    if position != len(data):
        raise WireError(wire.UNEXPECTED_EOF)
    return found
