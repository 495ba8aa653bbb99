"""A backend that keeps everything in this process: for tests, and the model of what the others do."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from sortedcontainers import SortedDict

from knarr.store import stamp
from knarr.store.backend import LATEST, Conflict, Deliver, Entry, Event, Range, Revision, Ticket, revision_of
from knarr.store.errors import Closed, Compacted, FutureRevision


class MemoryBackend:
    """Keys in a sorted dictionary and a log of events back to the last compaction."""

    def __init__(self) -> None:
        self._live: SortedDict = SortedDict()  # key -> Entry
        self._log: list[Event] = []
        self._revision = Revision(1)  # as a new etcd's, so that 0 never names a state
        self._compacted = Revision(1)
        self._deliver: Deliver | None = None

    @property
    def revision(self) -> Revision:
        """The newest revision."""
        return self._revision

    @property
    def compacted(self) -> Revision:
        """The oldest revision that can be read."""
        return self._compacted

    async def open(self, deliver: Deliver, *, on_gap: Callable[[], None] | None = None) -> Range:
        """Read everything and deliver what follows."""
        self._deliver = deliver
        return Range(list(self._live.values()), self._revision)

    async def get(self, key: bytes) -> Entry | None:
        """Read one key."""
        entry: Entry | None = self._live.get(key)
        return entry

    async def list_range(self, start: bytes, end: bytes, *, revision: Revision = LATEST, limit: int = 0) -> Range:
        """Read a range; a past one is today's with the events since then undone."""
        revision = revision or self._revision
        self._check(revision)
        entries: dict[bytes, Entry] = {
            key: self._live[key] for key in self._live.irange(start, end or None, inclusive=(True, False))
        }
        for event in reversed(self._log[bisect_right(self._log, revision, key=_revision_of) :]):
            if not _is_within(event.key, start, end):
                continue
            if event.previous is None:
                entries.pop(event.key, None)
            else:
                entries[event.key] = event.previous
        ordered = [entries[key] for key in sorted(entries)]
        more = 0 < limit < len(ordered)
        return Range(ordered[:limit] if more else ordered, revision, more)

    async def list_events(self, start: bytes, end: bytes, *, after: Revision, until: Revision) -> list[Event]:
        """Read a part of the log."""
        self._check(after)
        first = bisect_right(self._log, after, key=_revision_of)
        last = bisect_right(self._log, until, key=_revision_of)
        return [event for event in self._log[first:last] if _is_within(event.key, start, end)]

    @property
    def is_ordered(self) -> bool:
        """Writes are made at once."""
        return True

    async def write(
        self, key: bytes, value: bytes | None, *, expected: Revision | Ticket, ticket: Ticket | None = None
    ) -> Event | Conflict:
        """Put or delete one key if it stands at `expected`."""
        if self._deliver is None:
            raise Closed
        current: Entry | None = self._live.get(key)
        if (current.modified if current else 0) != revision_of(expected) or (value is None and current is None):
            return Conflict(current)
        self._revision = revision = Revision(self._revision + 1)
        entry = None
        if value is None:
            del self._live[key]
        else:
            entry = Entry(key, stamp.apply(value, revision), current.created if current else revision, revision)
            self._live[key] = entry
        if ticket is not None:
            ticket.revision = revision
        event = Event(revision, key, entry, current)
        self._log.append(event)
        self._deliver((event,))
        return event

    async def catch_up(self) -> None:
        """Do nothing: nobody else writes."""

    async def compact(self, revision: Revision) -> None:
        """Forget the log up to `revision`."""
        if revision <= self._compacted:
            return
        self._compacted = min(revision, self._revision)
        del self._log[: bisect_left(self._log, self._compacted + 1, key=_revision_of)]

    async def aclose(self) -> None:
        """Refuse further writes."""
        self._deliver = None

    def _check(self, revision: Revision) -> None:
        if revision < self._compacted:
            raise Compacted(revision, self._compacted)
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)


def _revision_of(event: Event) -> Revision:
    return event.revision


def _is_within(key: bytes, start: bytes, end: bytes) -> bool:
    return start <= key and (not end or key < end)
