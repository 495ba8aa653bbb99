"""Everything current, and a window of past changes, in memory.

The entries are the backend's own values, so that the cache, the window and the backend share the bytes.

Counterpart: k8s.io/apiserver/pkg/storage/cacher/watch_cache.go (v1.37).
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

from knarr.store.backend import Entry, Event, Range, Revision
from knarr.store.index import Index
from knarr.store.query import Attributes, Extract, Page, Query
from knarr.store.watch import Change

WINDOW_EVENTS = 10_000
"""Most past changes held in memory; the backend holds older ones."""
WINDOW_BYTES = 16 << 20
"""Most bytes of values that the window keeps alive."""


class WatchCache:
    """The current entries with their index, and the window."""

    def __init__(self, extract: Extract) -> None:
        self._extract = extract
        self._entries: dict[bytes, Entry] = {}
        self._index = Index()
        self._window: list[Change] = []
        self._window_bytes = 0
        self._oldest = Revision(0)
        self.revision = Revision(0)

    @property
    def oldest(self) -> Revision:
        """The window holds every change after this revision."""
        return self._oldest

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, everything: Range) -> None:
        """Start from a state."""
        for entry in everything.entries:
            self._entries[entry.key] = entry
        self._index.load({entry.key: self._extract(entry.key, entry.value) for entry in everything.entries})
        self.revision = self._oldest = everything.revision

    def reindex(self, prefix: bytes) -> None:
        """Extract the attributes of the entries below `prefix` again."""
        start, end = Query(prefix).to_range()
        for key in list(self._index.range(start, end)):
            self._index.drop(key)
            self._index.put(key, self._extract(key, self._entries[key].value))

    def forget_window(self) -> None:
        """Hold no past changes: the next ones do not follow from what stands."""
        self._window.clear()
        self._window_bytes = 0
        self._oldest = Revision(max(self._oldest, self.revision))

    def get(self, key: bytes) -> Entry | None:
        """Return what stands at a key."""
        return self._entries.get(key)

    def list(self, query: Query, *, limit: int, after: bytes) -> Page:
        """Read a selection as it stands now."""
        start, end = query.to_range()
        start = max(start, after + b"\x00") if after else start
        keys = self._index.select(query, start, end) if query.is_selective else self._index.range(start, end)
        entries = self._entries
        found = [entries[key] for key in (islice(keys, limit + 1) if limit else keys)]
        if not 0 < limit < len(found):
            return Page(found, self.revision)
        found.pop()
        last = found[-1].key
        return Page(found, self.revision, last, None if query.is_selective else self.count_after(query, last))

    def count_after(self, query: Query, key: bytes) -> int:
        """Return how many keys of the selection's range follow `key`."""
        return self._index.count(key + b"\x00", query.to_range()[1])

    def apply(self, event: Event) -> Change:
        """Take over one change, the next in order."""
        key, entry = event.key, event.entry
        before = self._index.get(key)
        previous = self._entries.get(key)
        if previous is not event.previous:
            event = Event(event.revision, key, entry, previous)  # our own bytes instead of a second copy
        if entry is None:
            del self._entries[key]
            self._index.drop(key)
            change = Change(event, before, None)
        else:
            self._entries[key] = entry
            after = self._extract(key, entry.value)
            self._index.put(key, after)
            change = Change(event, before, after)
        self.revision = event.revision
        self._remember(change)
        return change

    def changes_after(self, revision: Revision) -> Iterator[Change]:
        """Iterate over the changes of the window after `revision`, which is at least `oldest`."""
        first = bisect_right(self._window, revision, key=_revision_of)
        return islice(self._window, first, None)

    def to_attributes(self, entry: Entry) -> Attributes:
        """Extract the attributes of an entry of the past."""
        return self._extract(entry.key, entry.value)

    def to_change(self, event: Event) -> Change:
        """Give an event of the past its attributes."""
        before = self.to_attributes(event.previous) if event.previous else None
        after = self.to_attributes(event.entry) if event.entry else None
        return Change(event, before, after)

    def _remember(self, change: Change) -> None:
        self._window.append(change)
        self._window_bytes += _size(change)
        if len(self._window) <= WINDOW_EVENTS and self._window_bytes <= WINDOW_BYTES:
            return
        # An eighth at once, so that the list is not moved for every event.
        dropped = self._window[: max(1, len(self._window) // 8)]
        del self._window[: len(dropped)]
        self._window_bytes -= sum(map(_size, dropped))
        self._oldest = dropped[-1].event.revision


def _revision_of(change: Change) -> Revision:
    return change.event.revision


def _size(change: Change) -> int:
    # What a change keeps alive by itself is what it replaced.
    return 200 + (len(change.event.previous.value) if change.event.previous else 0)
