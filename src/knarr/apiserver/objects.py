"""Stored bytes as objects of a version, and objects as bytes to store or send."""

from functools import lru_cache
from typing import Any

import msgspec

from knarr.api import codec, conversion
from knarr.api.scheme import Resource

Object = dict[str, Any]

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class _Partial(msgspec.Struct, gc=False):
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


_partial = msgspec.json.Decoder(_Partial)


@lru_cache(4096)
def _head(api_version: str, kind: str) -> bytes:
    return b'{"kind":"%b","apiVersion":"%b",' % (kind.encode(), api_version.encode())


def head(resource: Resource) -> bytes:
    """Return what the bytes of an object of this version begin with."""
    return _head(resource.api_version, resource.kind)


def decode(value: bytes) -> Object:
    """Decode stored bytes; the dict is the caller's own."""
    return _decode(value)


def in_version(resource: Resource, value: bytes) -> bytes:
    """Return stored bytes as an object of the version asked for, untouched if they are one."""
    if value.startswith(head(resource)):
        return value
    converted = conversion.convert(_decode(value), resource)
    # The head goes first, as in stored bytes: lists cut it off.
    first: Object = {"kind": resource.kind, "apiVersion": resource.api_version}
    return codec.encode_response(first | converted)


def decode_in_version(resource: Resource, value: bytes) -> Object:
    """Decode stored bytes into the version asked for."""
    obj = _decode(value)
    return obj if value.startswith(head(resource)) else conversion.convert(obj, resource)


def to_version(resource: Resource, obj: Object) -> Object:
    """Return an object in another served version of its kind; the same dict if it is in that version."""
    if obj.get("apiVersion") == resource.api_version and obj.get("kind") == resource.kind:
        return obj
    return conversion.convert(obj, resource)


def partial(value: bytes, kind: str, version: str) -> bytes:
    """Return the metadata alone of an encoded object, as a PartialObjectMetadata."""
    metadata = _partial.decode(value).metadata
    return b'{"kind":"%b","apiVersion":"meta.k8s.io/%b","metadata":%b}' % (
        kind.encode(),
        version.encode(),
        bytes(metadata),
    )


def metadata_of(obj: Object) -> Object:
    """Return an object's metadata, made if it is missing."""
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    found: Object = metadata
    return found
