"""Values without parts: numbers, booleans, base64 text, times, quantities, and what is said when they do not fit.

Source: UnmarshalTypeError in encoding/json; meta/v1 time.go and micro_time.go; util/intstr; api/resource (v1.37).
"""

import binascii
import re
from datetime import UTC, datetime
from typing import Any

from knarr.api import quantity
from knarr.api.schema.types import Type

ZEROS: dict[str, Any] = {"string": "", "int32": 0, "int64": 0, "float64": 0, "bool": False}
_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_RFC3339 = "2006-01-02T15:04:05Z07:00"
_RFC3339_MICRO = "2006-01-02T15:04:05.000000Z07:00"
_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,64}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_PLAIN_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
# What Go's time.Parse expects one after the other, as it names it in errors.
_STEPS = (
    (r"\d{4}", "2006"), ("-", "-"), (r"\d\d", "01"), ("-", "-"), (r"\d\d", "02"), ("T", "T"), (r"\d\d", "15"),
    (":", ":"), (r"\d\d", "04"), (":", ":"), (r"\d\d", "05"),
)  # fmt: skip


class DecodeError(ValueError):
    """Raised when a body does not fit its type; the message is upstream's, without the words on kind and version."""


class Mismatch(Exception):
    """A value of the wrong JSON type; collects the path to it on its way up.

    Args:
        value: What was found.
        type_: What was expected.
        go_type: The expected Go type, where it is not the type's own.
    """

    def __init__(self, value: Any, type_: Type | None, go_type: str = "") -> None:
        super().__init__()
        self._value = value
        self._go_type = go_type or (type_.go_type() if type_ is not None else "")
        self._struct = ""
        self._path: list[str] = []

    def add(self, struct: str, field: str) -> None:
        """Note that the value was met in a field of a struct; the innermost comes first."""
        if not self._path:
            self._struct = struct
        self._path.append(field)

    def to_error(self) -> DecodeError:
        """Return the error with the whole path."""
        found = _describe(self._value, self._go_type)
        if not self._path:
            return DecodeError(f"json: cannot unmarshal {found} into Go value of type {self._go_type}")
        path = ".".join(reversed(self._path))
        return DecodeError(
            f"json: cannot unmarshal {found} into Go struct field {self._struct}.{path} of type {self._go_type}"
        )


def _describe(value: Any, go_type: str) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return f"number {value!r}" if go_type in _RANGES else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def convert(item: Any, type_: Type) -> Any:
    """Return a scalar as it is, or raise Mismatch; base64 text is checked and put into one line."""
    scalar, found = type_.scalar, type(item)
    if scalar in _RANGES:
        low, high = _RANGES[scalar]
        if found is int and low <= item <= high:
            return item
    elif scalar == "bool":
        if found is bool:
            return item
    elif scalar == "float64":
        if found is int or found is float:
            return item
    elif scalar == "[]uint8":
        if found is str:
            return _to_base64(item)
    elif found is str:
        return item
    raise Mismatch(item, type_)


def _to_base64(text: str) -> str:
    if "\n" in text or "\r" in text:
        text = text.replace("\n", "").replace("\r", "")
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise DecodeError(f"illegal base64 data at input byte {_base64_error_at(text)}") from None
    return text


def _base64_error_at(text: str) -> int:
    stray = re.search(r"[^A-Za-z0-9+/]", text)
    if stray is None:
        return len(text) - len(text) % 4
    at = stray.start()
    if text[at] == "=" and at % 4 >= 2:
        padding = 4 - at % 4
        return at + padding if text[at : at + padding] == "=" * padding else at + 1
    return at


def to_quantity(item: Any) -> str:
    """Return a quantity in canonical form.

    Raises:
        DecodeError: it is none.
    """
    if type(item) is not str:
        if type(item) is not int and type(item) is not float:
            raise DecodeError(quantity.FORMAT_WRONG)
        item = repr(item)
    try:
        return quantity.canonical(item)
    except quantity.QuantityError as error:
        raise DecodeError(str(error)) from None


def to_intstr(item: Any, type_: Type) -> int | str:
    """Return a number or a text as it is, or raise Mismatch."""
    if type(item) is str or (type(item) is int and -(2**31) <= item < 2**31):
        return item
    raise Mismatch(item, type_, "int32")


def to_time(item: Any, type_: Type) -> str:
    """Return a time in UTC, to the second or the microsecond.

    Raises:
        DecodeError: it is none.
    """
    if type(item) is not str:
        raise Mismatch(item, type_, "string")
    is_micro = type_.scalar == "MicroTime"
    if not is_micro and _PLAIN_STAMP.fullmatch(item):
        try:
            datetime.fromisoformat(item)
        except ValueError:
            raise DecodeError(_time_error(item, _RFC3339)) from None
        return item
    layout = _RFC3339_MICRO if is_micro else _RFC3339
    match = _STAMP.fullmatch(item)
    if match is None or (is_micro and len(match[7] or "") != 6):
        raise DecodeError(_time_error(item, layout))
    zone = "+00:00" if match[8] == "Z" else match[8]
    try:
        moment = datetime.fromisoformat(f"{item[:19]}.{(match[7] or '0')[:6].ljust(6, '0')}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise DecodeError(_time_error(item, layout)) from None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if is_micro else "%Y-%m-%dT%H:%M:%SZ").rjust(
        27 if is_micro else 20, "0"
    )


def _time_error(text: str, layout: str) -> str:
    shown = f'parsing time "{text}" as "{layout}"'
    rest = text
    for pattern, name in _STEPS:
        match = re.match(pattern, rest, re.ASCII)
        if match is None:
            return f'{shown}: cannot parse "{rest}" as "{name}"'
        rest = rest[match.end() :]
    if layout == _RFC3339_MICRO and re.match(r"[.,]\d{6}", rest) is None:
        return f'{shown}: cannot parse "{rest}" as ".000000"'
    rest = re.sub(r"^[.,]\d+", "", rest)
    zone = re.match(r"Z|[+-]\d\d:\d\d", rest, re.ASCII)
    if zone is None:
        return f'{shown}: cannot parse "{rest}" as "Z07:00"'
    if rest[zone.end() :]:
        return f'parsing time "{text}": extra text: "{rest[zone.end() :]}"'
    return f'parsing time "{text}": {_out_of_range(text)} out of range'


def _out_of_range(text: str) -> str:
    if not 1 <= int(text[5:7]) <= 12:
        return "month"
    if int(text[11:13]) > 23:
        return "hour"
    if int(text[14:16]) > 59:
        return "minute"
    if int(text[17:19]) > 59:
        return "second"
    return "day"
