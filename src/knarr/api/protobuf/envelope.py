"""Whole bodies: an object's message in an envelope that names its kind, and the frames of a watch.

Source: apimachinery/pkg/runtime/serializer/protobuf (v1.37);
https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding.
"""

from collections.abc import Mapping
from typing import Any

from knarr.api.protobuf import decoding, encoding, values, wire
from knarr.api.protobuf.errors import BadEnvelope, BadMessage, NotMarshalable, WireError
from knarr.api.schema import messages

Object = dict[str, Any]

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
WATCH_MEDIA_TYPE = f"{MEDIA_TYPE};stream=watch"
MAGIC = b"k8s\x00"
_NO_CONTENT_TYPE = b"\x1a\x00\x22\x00"
_FRAME_LENGTH_BYTES = 4


def is_known(api_version: str, kind: str) -> bool:
    """Return whether objects of a kind have a protobuf form."""
    return messages.message_of(api_version, kind) is not None


def encode(obj: Mapping[str, Any]) -> bytes:
    """Encode an object with its envelope.

    Args:
        obj: An object with apiVersion and kind; it may be a list or a Status.

    Raises:
        NotMarshalable: its kind is not known, or a field holds what its type does not allow.
    """
    api_version, kind = obj.get("apiVersion") or "", obj.get("kind") or ""
    message = messages.message_of(api_version, kind)
    if message is None:
        raise NotMarshalable(f"{api_version}, Kind={kind} has no protobuf form")
    try:
        body = encoding.writer(message).write(obj)
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise NotMarshalable(f"{api_version}, Kind={kind}: {error}") from error
    return wrap(api_version, kind, body)


def wrap(api_version: str, kind: str, body: bytes) -> bytes:
    """Put a message into its envelope."""
    type_meta = b"\n%b\x12%b" % (values.with_length(api_version.encode()), values.with_length(kind.encode()))
    return b"".join(
        (MAGIC, b"\n", values.with_length(type_meta), b"\x12", wire.varint(len(body)), body, _NO_CONTENT_TYPE)
    )


def decode(body: bytes, api_version: str = "", kind: str = "") -> Object:
    """Decode a body.

    Args:
        body: The envelope.
        api_version: What an envelope without one means.
        kind: What an envelope without one means.

    Returns:
        The object with apiVersion and kind, which are all there is if the kind is not known.

    Raises:
        BadEnvelope: the body is no envelope.
        BadMessage: the message in it is broken.
    """
    found_version, found_kind, start, end = _open(body)
    api_version, kind = found_version or api_version, found_kind or kind
    obj: Object = {"apiVersion": api_version, "kind": kind}
    message = messages.message_of(api_version, kind)
    if message is not None:
        try:
            decoding.reader(message).read(body, start, end, obj)
        except IndexError:
            raise BadMessage(kind, api_version, wire.UNEXPECTED_EOF) from None
        except RecursionError:
            raise BadMessage(kind, api_version, "exceeded max depth") from None
        except WireError as error:
            raise BadMessage(kind, api_version, str(error)) from None
    return obj


def frame(type_: str, obj: bytes) -> bytes:
    """Return an event of a watch as it goes over the wire.

    Args:
        type_: "ADDED" and so on.
        obj: The object in its envelope.
    """
    raw = b"\n" + values.with_length(obj)
    event = b"\n%b\x12%b" % (values.with_length(type_.encode()), values.with_length(raw))
    return len(event).to_bytes(_FRAME_LENGTH_BYTES, "big") + event


def _open(body: bytes) -> tuple[str, str, int, int]:
    """Return apiVersion and kind of an envelope, and where its message begins and ends."""
    if not body:
        raise BadEnvelope("empty data")
    if not body.startswith(MAGIC):
        shown = " ".join(str(byte) for byte in MAGIC)
        raise BadEnvelope(f"provided data does not appear to be a protobuf message, expected prefix [{shown}]")
    if len(body) == len(MAGIC):
        raise BadEnvelope("empty body")
    found: Object = {}
    start = end = 0
    position = len(MAGIC)
    try:
        while position < len(body):
            tag, position = wire.read_varint(body, position)
            if tag not in (0x0A, 0x12, 0x1A, 0x22):
                position = wire.skip(body, position, tag, "Unknown")
                continue
            length, position = wire.read_varint(body, position)
            stop = position + length
            if stop > len(body):
                raise WireError(wire.UNEXPECTED_EOF)
            if tag == 0x0A:
                decoding.reader(messages.TYPE_META).read(body, position, stop, found)
            elif tag == 0x12:
                start, end = position, stop
            position = stop
        if position != len(body):
            raise WireError(wire.UNEXPECTED_EOF)
    except IndexError:
        raise BadEnvelope(wire.UNEXPECTED_EOF) from None
    except WireError as error:
        raise BadEnvelope(str(error)) from None
    return found.get("apiVersion", ""), found.get("kind", ""), start, end
