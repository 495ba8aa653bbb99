"""By what objects are selected: their labels, names and the selectable fields of their kind, read from the stored bytes.

For each kind a decoder is made that picks those few values out of the JSON and skips the rest.

Source: the ToSelectableFields functions of pkg/registry/*/strategy.go and AddFieldLabelConversionFunc in
pkg/apis/*/v1/conversion.go (v1.37).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
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


class _Fields(Mapping[str, str]):
    """The fields of one object: of a kind only the values are kept, their names once for all. None stands for what is not there."""

    __slots__ = ("_places", "_values")

    def __init__(self, places: Mapping[str, int], values: tuple[str | None, ...]) -> None:
        self._places = places
        self._values = values

    def __getitem__(self, name: str) -> str:
        found = self._values[self._places[name]]
        if found is None:
            raise KeyError(name)
        return found

    def get(self, name: str, default: Any = None) -> Any:
        place = self._places.get(name)
        found = None if place is None else self._values[place]
        return default if found is None else found

    def __iter__(self) -> Iterator[str]:
        return (name for name, place in self._places.items() if self._values[place] is not None)

    def __len__(self) -> int:
        return len(self._values) - self._values.count(None)


_NAME, _NAMESPACE = "metadata.name", "metadata.namespace"
_PLACES = {_NAME: 0, _NAMESPACE: 1}


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
    fields = _Fields(_PLACES, (metadata.name, intern(metadata.namespace) if metadata.namespace else None))
    return queries.Attributes(_shared(metadata.labels), fields)


def _reader(storage: str, names: Iterable[str]) -> Callable[[bytes], queries.Attributes]:
    names = list(dict.fromkeys(names))
    if not names:
        return _read_plain
    aliases = _ALIASES.get(storage, {})
    is_event = storage == "events"
    paths = [(name, tuple(aliases.get(name, name).split("."))) for name in names if name not in _PLACES]
    tree: dict[str, Any] = {}
    for _, path in paths:
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node.setdefault(path[-1], None)
    names = [_NAME, _NAMESPACE, *(name for name in names if name not in _PLACES)]
    places = {name: place for place, name in enumerate(names)}
    decoder = msgspec.json.Decoder(_struct("Selected", tree, [("metadata", _Metadata, _Metadata())]))

    def read(value: bytes) -> queries.Attributes:
        found: Any = decoder.decode(value)
        metadata: _Metadata = found.metadata
        values: list[str | None] = [metadata.name, intern(metadata.namespace) if metadata.namespace else None]
        for name, path in paths:
            node = found
            for part in path:
                node = getattr(node, part, None)
                if node is None:
                    break
            values.append(_ABSENT.get(name, "") if node is None else intern(_text(node)))
        if is_event and not values[places["source"]]:
            values[places["source"]] = values[places["reportingComponent"]]
        return queries.Attributes(_shared(metadata.labels), _Fields(places, tuple(values)))

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
