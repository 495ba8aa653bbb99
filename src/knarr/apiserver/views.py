"""What a caller sees of stored objects: themselves, rows of a table, or their metadata alone.

Source: k8s.io/apiserver/pkg/endpoints/handlers/response.go (v1.37).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from knarr.api import errors
from knarr.api.scheme import Resource
from knarr.apiserver import negotiate, objects, options, tables
from knarr.apiserver.customresources import columns
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.strategies import table as strategies
from knarr.store import watch as watches

Object = dict[str, Any]


class View(Protocol):
    """A way to show stored objects, each given as bytes in the stored version."""

    def one(self, value: bytes) -> bytes:
        """Return one object as JSON."""

    def many(self, values: Iterable[bytes], metadata: Mapping[str, Any]) -> bytes:
        """Return a list as JSON, with the list's own metadata."""

    def event(self, event: watches.WatchEvent) -> bytes:
        """Return a line of a watch."""

    def bookmark(self, metadata: Mapping[str, Any]) -> bytes:
        """Return the line of a bookmark."""


def of(parts: Parts, call: Call, target: Target, form: negotiate.Form) -> View:
    """Return the view that was negotiated.

    Raises:
        BadRequest: options of a table make no sense.
    """
    if form.transform == negotiate.TABLE:
        include = options.text(call.values, "includeObject") or "Metadata"
        if include not in ("None", "Metadata", "Object"):
            raise errors.BadRequest(f'unrecognized includeObject value: "{include}"')
        return TableView(parts, target.resource, form.version, include)
    if form.transform:
        return PartialView(form.version)
    return PlainView(target.resource)


class PlainView:
    """The objects themselves: stored bytes as they are, as long as the version is the stored one.

    Args:
        resource: In the version asked for.
    """

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._head = objects.head(resource)
        self._is_built_in = strategies.is_built_in(resource)

    def one(self, value: bytes) -> bytes:
        """Return one object."""
        return objects.in_version(self._resource, value)

    def many(self, values: Iterable[bytes], metadata: Mapping[str, Any]) -> bytes:
        """Return a list; items of built-in kinds go without kind and apiVersion, as Go's typed lists do."""
        start = b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[' % (
            self._resource.list_kind.encode(),
            self._resource.api_version.encode(),
            msgspec.json.encode(metadata),
        )
        resource, head = self._resource, self._head
        skip = len(head) if self._is_built_in else 1
        # Views of the stored bytes: what a list copies, it copies once.
        items: list[bytes | memoryview] = [
            memoryview(value if value.startswith(head) else objects.in_version(resource, value))[skip:]
            for value in values
        ]
        if not items:
            return start + b"]}"
        items[0] = b"%b{%b" % (start, bytes(items[0]))
        items[-1] = bytes(items[-1]) + b"]}"
        return b",{".join(items)

    def event(self, event: watches.WatchEvent) -> bytes:
        """Return a line of a watch, the one that all watchers share if it can be."""
        if event.value.startswith(self._head):
            return event.line
        return line(event.type, objects.in_version(self._resource, event.value))

    def bookmark(self, metadata: Mapping[str, Any]) -> bytes:
        """Return the line of a bookmark: an object with nothing but a revision."""
        return line("BOOKMARK", b'%b"metadata":%b}' % (self._head, msgspec.json.encode(metadata)))


class PartialView:
    """Metadata alone.

    Args:
        version: The version of meta.k8s.io.
    """

    def __init__(self, version: str) -> None:
        self._version = version

    def one(self, value: bytes) -> bytes:
        """Return one object's metadata."""
        return objects.partial(value, negotiate.PARTIAL, self._version)

    def many(self, values: Iterable[bytes], metadata: Mapping[str, Any]) -> bytes:
        """Return the metadata of a list."""
        return b'{"kind":"%b","apiVersion":"meta.k8s.io/%b","metadata":%b,"items":[%b]}' % (
            negotiate.PARTIAL_LIST.encode(),
            self._version.encode(),
            msgspec.json.encode(metadata),
            b",".join([self.one(value) for value in values]),
        )

    def event(self, event: watches.WatchEvent) -> bytes:
        """Return a line of a watch."""
        return line(event.type, self.one(event.value))

    def bookmark(self, metadata: Mapping[str, Any]) -> bytes:
        """Return the line of a bookmark."""
        obj = {"kind": negotiate.PARTIAL, "apiVersion": f"meta.k8s.io/{self._version}", "metadata": metadata}
        return line("BOOKMARK", msgspec.json.encode(obj))


class TableView:
    """Rows of a table, as `kubectl get` shows them.

    Args:
        parts: The server's parts.
        resource: In the version asked for.
        version: The version of meta.k8s.io.
        include: What comes with each row: "None", "Metadata" or "Object".
    """

    def __init__(self, parts: Parts, resource: Resource, version: str, include: str) -> None:
        self._parts = parts
        self._resource = resource
        self._version = version
        self._include = include
        self._has_columns = False

    def one(self, value: bytes) -> bytes:
        """Return a table of one row."""
        return msgspec.json.encode(self._table([value], {}))

    def many(self, values: Iterable[bytes], metadata: Mapping[str, Any]) -> bytes:
        """Return a table of all rows."""
        return msgspec.json.encode(self._table(values, metadata))

    def event(self, event: watches.WatchEvent) -> bytes:
        """Return a line of a watch; only the first one names the columns."""
        table = self._table([event.value], {})
        if self._has_columns:
            table["columnDefinitions"] = []
        self._has_columns = True
        return line(event.type, msgspec.json.encode(table))

    def bookmark(self, metadata: Mapping[str, Any]) -> bytes:
        """Return the line of a bookmark: a table without rows."""
        return line("BOOKMARK", msgspec.json.encode(self._table([], metadata)))

    def _table(self, values: Iterable[bytes], metadata: Mapping[str, Any]) -> Object:
        decoded = [objects.decode_in_version(self._resource, value) for value in values]
        return tables.to_table(
            self._resource,
            decoded,
            metadata=metadata,
            version=self._version,
            include=self._include,
            now=self._parts.clock.now(),
            printer=columns.printer_of(self._parts.custom, self._resource),
        )


def line(type: str, obj: bytes) -> bytes:
    """Return an event as a line of a watch."""
    return b'{"type":"%b","object":%b}\n' % (type.encode(), obj)
