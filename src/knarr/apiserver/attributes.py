"""By what objects are selected: their labels, names and the selectable fields of their kind, read from the stored bytes.

For each kind a decoder is made that picks those few values out of the JSON and skips the rest.

Source: the ToSelectableFields functions of pkg/registry/*/strategy.go and AddFieldLabelConversionFunc in
pkg/apis/*/v1/conversion.go (v1.37).
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from sys import intern
from types import MappingProxyType
from typing import Any

import msgspec

from knarr.api.scheme import Scheme
from knarr.apiserver import keys
from knarr.store import query as queries

_ALIASES = {
    "events": {"source": "source.component", "reportingController": "reportingComponent"},
    "jobs": {"status.successful": "status.succeeded"},
    "pods": {"status.podIPs": "status.podIP"},
}
"""Where a selectable field stands under another name than its label says, by storage."""
_ABSENT = {
    "spec.hostNetwork": "false",
    "spec.unschedulable": "false",
    "status.replicas": "0",
    "status.successful": "0",
}
"""How absent values that are not strings read."""
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


class _Metadata(msgspec.Struct, gc=False, frozen=True):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None


class _Plain(msgspec.Struct, gc=False):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


_plain = msgspec.json.Decoder(_Plain)


class Extractor:
    """Reads attributes of stored objects; `follow` it when the scheme changes.

    Args:
        scheme: The served resources.
    """

    def __init__(self, scheme: Scheme) -> None:
        self._by_storage: dict[bytes, Callable[[bytes], queries.Attributes]] = {}
        self._selectable: dict[str, list[str]] = {}
        self.follow(scheme)

    def follow(self, scheme: Scheme, storage: str = "") -> bool:
        """Take the kinds and selectable fields from another scheme.

        Args:
            scheme: The scheme.
            storage: The custom kind that has changed; empty takes all.

        Returns:
            Whether objects may have other attributes than before.
        """
        selectable: dict[str, list[str]] = {}
        for resource in scheme:
            if storage and resource.storage != storage:
                continue
            if resource.is_stored and (resource.custom or resource.api_version == resource.storage_version):
                selectable[resource.storage] = [*selectable.get(resource.storage, ()), *resource.selectable_fields]
        before = self._selectable.get(storage, [])
        self._selectable.update(selectable)
        self._by_storage.update({key.encode(): _reader(key, names) for key, names in selectable.items()})
        return before != self._selectable.get(storage, [])

    def extract(self, key: bytes, value: bytes) -> queries.Attributes:
        """Return the attributes of what stands at a key."""
        first, _, rest = key[len(keys.ROOT) :].partition(b"/")
        read = self._by_storage.get(first)
        if read is None:
            # The storage names of a few built-in kinds and of all custom ones have two parts.
            read = self._by_storage.get(first + b"/" + rest.partition(b"/")[0], _read_plain)
        return read(value)


def _read_plain(value: bytes) -> queries.Attributes:
    metadata = _plain.decode(value).metadata
    fields = {"metadata.name": metadata.name}
    if metadata.namespace:
        fields["metadata.namespace"] = intern(metadata.namespace)
    return queries.Attributes(_shared(metadata.labels), fields)


def _reader(storage: str, names: Iterable[str]) -> Callable[[bytes], queries.Attributes]:
    names = list(dict.fromkeys(names))
    if not names:
        return _read_plain
    aliases = _ALIASES.get(storage, {})
    is_event = storage == "events"
    paths = [(name, tuple(aliases.get(name, name).split("."))) for name in names]
    tree: dict[str, Any] = {}
    for _, path in paths:
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node.setdefault(path[-1], None)
    decoder = msgspec.json.Decoder(_struct("Selected", tree, [("metadata", _Metadata, _Metadata())]))

    def read(value: bytes) -> queries.Attributes:
        found: Any = decoder.decode(value)
        metadata: _Metadata = found.metadata
        fields = {"metadata.name": metadata.name}
        if metadata.namespace:
            fields["metadata.namespace"] = intern(metadata.namespace)
        for name, path in paths:
            node = found
            for part in path:
                node = getattr(node, part, None)
                if node is None:
                    break
            fields[name] = _ABSENT.get(name, "") if node is None else intern(_text(node))
        if is_event and not fields["source"]:
            fields["source"] = fields["reportingComponent"]
        return queries.Attributes(_shared(metadata.labels), fields)

    return read


def _shared(labels: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return labels as one object for all that have the same: there are many more objects than templates."""
    return _labels(tuple(labels.items())) if labels else _NO_LABELS


@lru_cache(8192)
def _labels(items: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return dict(items)


def _struct(name: str, tree: dict[str, Any], more: Iterable[tuple[str, Any, Any]] = ()) -> type[msgspec.Struct]:
    fields: list[tuple[str, Any, Any]] = list(more)
    for part, below in tree.items():
        fields.append((part, _struct(part, below) | None if below else Any, None))
    return msgspec.defstruct(name, fields, gc=False)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
