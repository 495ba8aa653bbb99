"""Bytes to objects and back: JSON and YAML bodies, stored values, responses, and what is said of broken bodies.

A body that cannot be read raises `BadBody` with upstream's words. Duplicate fields are looked for only if the caller asks, as
strict validation does, and then only if the body is longer than what came of it.

Source: apimachinery/pkg/runtime/serializer/json; transformDecodeError in apiserver/pkg/endpoints/handlers/rest.go (v1.37).
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from knarr.api import codec_syntax, codec_yaml, errors
from knarr.api.codec_yaml import YamlError

JSON = "application/json"
YAML = "application/yaml"
_YAML_TYPES = frozenset({YAML, "application/x-yaml", "text/yaml", "text/x-yaml", "application/apply-patch+yaml"})
_SUMMARY_LENGTH = 30
_META = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'

Object = dict[str, Any]

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


class BadBody(ValueError):
    """Raised when a body cannot be read as an object; the message is upstream's."""


def media_type(content_type: str) -> str:
    """Return the media type of a Content-Type without its parameters; JSON if there is none."""
    return content_type.partition(";")[0].strip().lower() or JSON


def is_yaml(content_type: str) -> bool:
    """Return whether a body of this Content-Type is YAML."""
    return media_type(content_type) in _YAML_TYPES


def decode_value(body: bytes, content_type: str = JSON) -> Any:
    """Read whatever a body holds, such as a JSON patch.

    Raises:
        BadBody: it is no JSON or YAML; the message is the parser's alone.
    """
    if is_yaml(content_type):
        return _decode_yaml(body)[0]
    return _decode_json(body)


def decode(body: bytes, content_type: str = JSON) -> Object:
    """Read the object in a body.

    Args:
        body: The body, at most as long as the server takes.
        content_type: Its Content-Type; anything but YAML is read as JSON.

    Raises:
        BadBody: it is no JSON or YAML, or no object.
    """
    prefix = "couldn't get version/kind; json parse error: "
    try:
        value = decode_value(body, content_type)
    except BadBody as error:
        raise BadBody(f"{error}" if is_yaml(content_type) else f"{prefix}{error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadBody(f"{prefix}json: cannot unmarshal {_describe(value)} into Go value of type {_META}")
    for key in ("apiVersion", "kind"):
        if key in value and not isinstance(value[key], str) and value[key] is not None:
            found = _describe(value[key])
            raise BadBody(f"{prefix}json: cannot unmarshal {found} into Go struct field .{key} of type string")
    return value


def find_duplicates(body: bytes, content_type: str, obj: Object) -> tuple[str, ...]:
    """Return the fields that a body gives twice, as strict validation names them: 'duplicate field "spec.replicas"'.

    Args:
        body: The body.
        content_type: Its Content-Type.
        obj: What `decode` made of it.
    """
    if is_yaml(content_type):
        try:
            return tuple(_decode_yaml(body)[1])
        except BadBody:
            return ()
    # A duplicate makes the body longer than its outcome, white space aside; this passes nearly every body of a program.
    outcome = len(_encoder.encode(obj))
    if outcome >= len(body.strip()) or outcome >= len(msgspec.json.format(body, indent=-1)):
        return ()
    return tuple(f'duplicate field "{path}"' for path in _duplicate_paths(body))


def encode(obj: Mapping[str, Any]) -> bytes:
    """Encode an object for the store: kind, apiVersion, then metadata, which begins with an empty resourceVersion."""
    metadata = {"resourceVersion": ""}
    for key, value in (obj.get("metadata") or {}).items():
        if key != "resourceVersion":
            metadata[key] = value
    ordered: Object = {"kind": obj.get("kind", ""), "apiVersion": obj.get("apiVersion", ""), "metadata": metadata}
    for key, value in obj.items():
        if key not in ordered:
            ordered[key] = value
    return _encoder.encode(ordered)


def decode_stored(value: bytes) -> Object:
    """Read an object that `encode` wrote."""
    obj: Object = _decoder.decode(value)
    return obj


def encode_response(obj: Any, content_type: str = JSON) -> bytes:
    """Encode an answer."""
    return codec_yaml.encode(obj) if is_yaml(content_type) else _encoder.encode(obj)


def unrecognized(kind: str, body: bytes, error: object) -> errors.BadRequest:
    """Make the error for a body whose kind cannot even be read.

    Args:
        kind: What was expected.
        body: The body, quoted in part.
        error: What is wrong.
    """
    return errors.BadRequest(
        f"the object provided is unrecognized (must be of type {kind}): {error} ({_summarize(body)})"
    )


def cannot_handle(found_kind: str, version: str, kind: str, error: object) -> errors.BadRequest:
    """Make the error for an object that does not fit its type.

    Args:
        found_kind: The kind that the object says it is.
        version: The version, without the group, that it says it is.
        kind: What was expected.
        error: What is wrong: a `schema.DecodeError`, or the text of `strict_error`.
    """
    return errors.BadRequest(f'{found_kind} in version "{version}" cannot be handled as a {kind}: {error}')


def strict_error(complaints: Iterable[str]) -> str:
    """Join the complaints of strict validation."""
    return f"strict decoding error: {', '.join(complaints)}"


def _describe(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _summarize(body: bytes) -> str:
    if not body:
        return "<empty>"
    start = body[:_SUMMARY_LENGTH]
    text = start.decode(errors="replace") if body[:1] == b"{" else start.hex()
    return f"{text} ..." if len(body) > _SUMMARY_LENGTH else text


def _decode_json(body: bytes) -> Any:
    try:
        return _decoder.decode(body)
    except RecursionError:
        raise BadBody("exceeded max depth") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    text = body.decode(errors="replace")  # as Go, which puts U+FFFD in place of what is no UTF-8
    wrong = codec_syntax.find_error(text.encode())
    if wrong is not None:
        raise BadBody(wrong)
    try:
        value = json.loads(text, parse_float=_parse_float)
        lone_surrogates = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass")
        return _decoder.decode(lone_surrogates.decode("utf-16", "replace").encode())
    except RecursionError:
        raise BadBody("exceeded max depth") from None
    except (ValueError, msgspec.DecodeError) as error:
        raise BadBody(str(error)) from None


def _parse_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise BadBody(f"json: cannot unmarshal number {text} into Go value of type float64")
    return number


def _decode_yaml(body: bytes) -> tuple[Any, list[str]]:
    try:
        return codec_yaml.decode(body)
    except YamlError as error:
        raise BadBody(f"error converting YAML to JSON: {error}") from None


class _Pairs(dict[str, Any]):
    """An object that remembers which of its keys came more than once."""

    twice: tuple[str, ...] = ()


def _collect(pairs: list[tuple[str, Any]]) -> _Pairs:
    found = _Pairs(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        repeated: dict[str, None] = {}
        for key, _ in pairs:
            if key in seen:
                repeated[key] = None
            seen.add(key)
        found.twice = tuple(repeated)
    return found


def _duplicate_paths(body: bytes) -> Iterator[str]:
    try:
        root = json.loads(body.decode(errors="replace"), object_pairs_hook=_collect)
    except (ValueError, RecursionError):
        return
    yield from _walk_duplicates(root, "")


def _walk_duplicates(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        for key, item in value.items():
            here = f"{path}.{key}" if path else key
            if key in value.twice:
                yield here
            yield from _walk_duplicates(item, here)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk_duplicates(item, f"{path}[{index}]")
