"""Stored bytes of custom objects as they are shown: in the version asked for, pruned and defaulted by its schema as it is now.

Bytes that are in that version, and were written since the schema stands, go out untouched.

Source: the codec of customresource_handler.go (unstructuredDefaulter, schemaCoercingDecoder) and pkg/apiserver/conversion in
k8s.io/apiextensions-apiserver (v1.37).
"""

import re
from collections.abc import Sequence
from typing import Any

from knarr.api import codec, errors, structural
from knarr.api.scheme import Resource
from knarr.apiserver import objects
from knarr.apiserver.customresources import conversion
from knarr.apiserver.customresources.definitions import Version
from knarr.apiserver.parts import Parts
from knarr.store import watch as watches

Object = dict[str, Any]

_STAMP = re.compile(rb'"resourceVersion":"(\d+)"')


async def show(parts: Parts, resource: Resource, values: list[bytes]) -> list[bytes]:
    """Return stored bytes as objects of `resource`; those of built-in kinds as they are.

    Raises:
        NotFound: the kind has gone meanwhile.
        InternalError: the conversion webhook fails.
    """
    if not resource.custom:
        return values
    version = _version(parts, resource)
    head = objects.head(resource)
    stale = [index for index, value in enumerate(values) if not _is_current(version, head, value)]
    if not stale:
        return values
    decoded = [objects.decode(values[index]) for index in stale]
    shown = list(values)
    for index, obj in zip(stale, await _convert(parts, version, decoded), strict=True):
        shown[index] = codec.encode_response(obj)
    return shown


async def show_one(parts: Parts, resource: Resource, value: bytes) -> bytes:
    """Return the stored bytes of one object as an object of `resource`."""
    return (await show(parts, resource, [value]))[0] if resource.custom else value


async def show_events(
    parts: Parts, resource: Resource, events: Sequence[watches.WatchEvent]
) -> Sequence[watches.WatchEvent]:
    """Return the events of a watch with their objects in the version of `resource`."""
    if not resource.custom:
        return events
    values = [event.value for event in events]
    shown = await show(parts, resource, values)
    if shown is values:
        return events
    return [
        event if value is event.value else watches.WatchEvent(event.type, event.key, value, event.revision)
        for event, value in zip(events, shown, strict=True)
    ]


async def decode(parts: Parts, resource: Resource, value: bytes) -> Object:
    """Decode stored bytes: a custom object in the version of `resource`, a built-in one as it is stored."""
    return objects.decode(await show_one(parts, resource, value))


async def encode(parts: Parts, resource: Resource, obj: Object) -> bytes:
    """Encode an object of `resource` for the store: a custom one in the version that is stored.

    Raises:
        InternalError: the conversion webhook fails.
    """
    if not resource.custom or resource.api_version == resource.storage_version:
        return codec.encode(obj)
    version = _version(parts, resource)
    stored = version.definition.versions[version.definition.storage]
    return codec.encode((await _convert(parts, stored, [obj]))[0])


def is_migrated(resource: Resource, value: bytes) -> bool:
    """Return whether stored bytes are in the version in which objects are stored now."""
    return not resource.custom or b'"apiVersion":"%b"' % resource.storage_version.encode() in value[:512]


def _version(parts: Parts, resource: Resource) -> Version:
    version = parts.custom.of(resource)
    if version is None:
        raise errors.PathNotFound
    return version


def _is_current(version: Version, head: bytes, value: bytes) -> bool:
    if not value.startswith(head):
        return False
    stamp = _STAMP.search(value, len(head), len(head) + 80)
    return stamp is None or int(stamp[1]) > version.definition.revision


async def _convert(parts: Parts, version: Version, decoded: list[Object]) -> list[Object]:
    converted = await conversion.convert(parts, version, decoded)
    for obj in converted:
        structural.prune(obj, version.node)
        structural.set_defaults(obj, version.node)
    return converted
