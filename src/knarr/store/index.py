"""Sorted keys, and on demand an index from a label's or field's value to the keys that have it.

An index comes to life when a list with its term would otherwise look at many keys; the least recently used one makes room. So
memory goes only to what is asked for, and inventing label names costs a caller no more than a scan.
"""

from collections.abc import Iterator
from itertools import islice

from sortedcontainers import SortedDict

from knarr.store.query import Attributes, Query, Term

SCAN_AT_MOST = 256
"""A range of this many keys is looked through rather than indexed."""
INDEXES = 32
"""Most indexes kept."""

_Index = dict[str, set[bytes]]


class Index:
    """Keys in order, with the attributes of each."""

    def __init__(self) -> None:
        self._attributes: SortedDict = SortedDict()  # key -> Attributes
        self._by_term: dict[tuple[str, str], _Index] = {}

    def __len__(self) -> int:
        return len(self._attributes)

    def get(self, key: bytes) -> Attributes | None:
        """Return the attributes of a key."""
        attributes: Attributes | None = self._attributes.get(key)
        return attributes

    def load(self, attributes: dict[bytes, Attributes]) -> None:
        """Take many keys at once, at start."""
        self._attributes.update(attributes)

    def put(self, key: bytes, attributes: Attributes) -> None:
        """Add a key or replace its attributes."""
        before = self._attributes.get(key)
        self._attributes[key] = attributes
        for (kind, name), index in self._by_term.items():
            old = _value(before, kind, name)
            new = _value(attributes, kind, name)
            if old != new:
                _discard(index, old, key)
                if new is not None:
                    index.setdefault(new, set()).add(key)

    def drop(self, key: bytes) -> None:
        """Remove a key."""
        before = self._attributes.pop(key)
        for (kind, name), index in self._by_term.items():
            _discard(index, _value(before, kind, name), key)

    def count(self, start: bytes, end: bytes) -> int:
        """Return how many keys lie in [start, end)."""
        first: int = self._attributes.bisect_left(start)
        last: int = self._attributes.bisect_left(end) if end else len(self._attributes)
        return last - first

    def range(self, start: bytes, end: bytes) -> Iterator[bytes]:
        """Iterate over the keys of [start, end)."""
        keys: Iterator[bytes] = self._attributes.irange(start, end or None, inclusive=(True, False))
        return keys

    def select(self, query: Query, start: bytes, end: bytes) -> Iterator[bytes]:
        """Iterate over the keys of [start, end) that match, ascending."""
        attributes = self._attributes
        for key in self._candidates(query.terms, start, end):
            if query.is_match(attributes[key]):
                yield key

    def _candidates(self, terms: tuple[Term, ...], start: bytes, end: bytes) -> Iterator[bytes]:
        size = self.count(start, end)
        if not terms or size <= SCAN_AT_MOST:
            return self.range(start, end)
        smallest = min((self._keys_with(term) for term in terms), key=len)
        if len(smallest) >= size:
            return self.range(start, end)
        return iter(sorted(key for key in smallest if start <= key and (not end or key < end)))

    def _keys_with(self, term: Term) -> set[bytes]:
        kind, name, value = term
        index = self._by_term.pop((kind, name), None)
        if index is None:
            index = self._build(kind, name)
        self._by_term[kind, name] = index  # last in the order of use
        for unused in list(islice(self._by_term, max(0, len(self._by_term) - INDEXES))):
            del self._by_term[unused]
        return index.get(value, set())

    def _build(self, kind: str, name: str) -> _Index:
        index: _Index = {}
        for key, attributes in self._attributes.items():
            value = _value(attributes, kind, name)
            if value is not None:
                index.setdefault(value, set()).add(key)
        return index


def _value(attributes: Attributes | None, kind: str, name: str) -> str | None:
    if attributes is None:
        return None
    return (attributes.labels if kind == "label" else attributes.fields).get(name)


def _discard(index: _Index, value: str | None, key: bytes) -> None:
    if value is None:
        return
    keys = index[value]
    keys.discard(key)
    if not keys:
        del index[value]
