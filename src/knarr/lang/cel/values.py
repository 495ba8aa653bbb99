"""JSON values as CEL sees them: times and durations parsed, whole numbers of "number" fields as doubles, names escaped."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf import duration_pb2, timestamp_pb2

from knarr.lang.cel.declarations import Decl

Convert = Callable[[Any], Any]

_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_FRACTION = re.compile(r"\.(\d+)")


def converter(decl: Decl) -> Convert | None:
    """Return what turns JSON of a declared type into what CEL takes; None if nothing has to be done."""
    if decl.is_plain:
        return None
    if decl.kind == "double":
        return lambda value: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if decl.kind == "timestamp":
        return to_timestamp
    if decl.kind == "duration":
        return to_duration
    if decl.kind == "list":
        assert decl.element is not None
        return _of_list(converter(decl.element))
    if decl.kind == "map":
        assert decl.element is not None
        return _of_map(converter(decl.element))
    if decl.kind == "object":
        return _of_object(decl)
    return None


def _of_list(inner: Convert | None) -> Convert:
    def convert(value: Any) -> Any:
        if inner is None or not isinstance(value, list):
            return value
        return [None if item is None else inner(item) for item in value]

    return convert


def _of_map(inner: Convert | None) -> Convert:
    def convert(value: Any) -> Any:
        if inner is None or not isinstance(value, dict):
            return value
        return {key: None if item is None else inner(item) for key, item in value.items()}

    return convert


def _of_object(decl: Decl) -> Convert:
    known = {name: (escaped, converter(decl.fields[escaped])) for escaped, name in decl.names.items()}

    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        out = {}
        for name, item in value.items():
            found = known.get(name)
            if found is None:
                continue
            escaped, inner = found
            out[escaped] = item if inner is None or item is None else inner(item)
        return out

    return convert


def to_timestamp(value: Any) -> Any:
    """Return a date or time as a protobuf Timestamp; what is none stays as it is."""
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(lambda match: f".{match[1][:6].ljust(6, '0')}", value.upper()))
    except ValueError:
        return value
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return timestamp_pb2.Timestamp(seconds=since // timedelta(seconds=1), nanos=since.microseconds * 1000)


def to_variable(value: Any) -> Any:
    """Return the result of one expression as a variable of another: times and durations, too."""
    if isinstance(value, datetime):
        return to_timestamp(value.isoformat())
    if isinstance(value, timedelta):
        total_us = value // timedelta(microseconds=1)
        sign = -1 if total_us < 0 else 1
        seconds, rest_us = divmod(abs(total_us), 10**6)
        return duration_pb2.Duration(seconds=sign * seconds, nanos=sign * rest_us * 1000)
    if isinstance(value, dict):
        return {key: to_variable(item) for key, item in value.items()}
    return [to_variable(item) for item in value] if isinstance(value, list) else value


def to_duration(value: Any) -> Any:
    """Return a duration in Go's form as a protobuf Duration; what is none stays as it is."""
    if not isinstance(value, str):
        return value
    text = value.lstrip("+-")
    position, total_ns = 0, 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            return value if text != "0" else duration_pb2.Duration()
        total_ns += int(float(match[1]) * _UNITS_NS[match[2]])
        position = match.end()
    total_ns = -total_ns if value.startswith("-") else total_ns
    sign = -1 if total_ns < 0 else 1
    return duration_pb2.Duration(seconds=sign * (abs(total_ns) // 10**9), nanos=sign * (abs(total_ns) % 10**9))
