"""The store: everything current in memory over a durable backend.

Reads of the present are synchronous and never touch the backend; writes return once they are durable and visible here; watches
start at any revision that history still holds. The revision is the objects' resourceVersion, the same for every kind.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from knarr.kit import clock as clocks
from knarr.store import compaction, stamp
from knarr.store.backend import ABSENT, Backend, Conflict, Entry, Event, Revision, Ticket
from knarr.store.errors import Closed, Compacted, FutureRevision, TooLarge
from knarr.store.query import Extract, Page, Query
from knarr.store.watch import Dispatcher, Watch, WatchEvent
from knarr.store.watchcache import WatchCache

VALUE_BYTES = 3 << 19
"""Largest value: etcd's 1.5 MiB, so that no object grows without end by patches."""


class Head:
    """A value on its way to a key: what the key will hold once the writes under way are durable.

    Attributes:
        value: Unstamped.
        ticket: The write's.
        outcome: The entry that it became; None if it did not.
    """

    __slots__ = ("outcome", "ticket", "value")

    def __init__(self, value: bytes, outcome: asyncio.Future[Entry | None]) -> None:
        self.value = value
        self.ticket = Ticket()
        self.outcome = outcome


class Store:
    """What the API server reads, writes and watches."""

    def __init__(self, backend: Backend, *, extract: Extract) -> None:
        """Prepare a store; `open_store` starts it.

        Args:
            backend: Where writes become durable; not yet open.
            extract: Gives the attributes by which (key, value) is selected.
        """
        self._backend = backend
        self._cache = WatchCache(extract)
        self._dispatcher = Dispatcher()
        self._waiting: list[tuple[Revision, asyncio.Future[None]]] = []
        self._heads: dict[bytes, Head] = {}
        self._closed = False

    @property
    def revision(self) -> Revision:
        """The newest revision."""
        return self._cache.revision

    @property
    def compacted(self) -> Revision:
        """The oldest revision that can be listed or watched from."""
        return self._backend.compacted

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return self._dispatcher.watches

    def __len__(self) -> int:
        return len(self._cache)

    async def open(self) -> None:
        """Read everything; the backend's errors at start come out of here."""
        self._cache.load(await self._backend.open(self._apply, on_gap=self._begin_anew))

    async def aclose(self) -> None:
        """Finish the writes under way and end every watch."""
        self._closed = True
        await self._backend.aclose()
        self._dispatcher.close()

    def get(self, key: bytes) -> Entry | None:
        """Return what stands at a key now."""
        return self._cache.get(key)

    def head(self, key: bytes) -> Head | None:
        """Return what an update under way is making of a key, if one is: an update may build on it without waiting.

        So many writers of one key share a flush of the disk, instead of each losing to all before it.
        """
        return self._heads.get(key)

    def list(self, query: Query, *, limit: int = 0, after: bytes = b"") -> Page:
        """Read a selection as it stands now.

        Args:
            query: What to select.
            limit: Most entries returned; 0 means all.
            after: A `Page.next`: only keys after it.
        """
        return self._cache.list(query, limit=limit, after=after)

    async def list_at(self, query: Query, revision: Revision, *, limit: int = 0, after: bytes = b"") -> Page:
        """Read a selection as it stood at one revision: the later pages of a list, and exact matches.

        Args:
            query: What to select.
            revision: Between `compacted` and `revision`.
            limit: Most entries returned; 0 means all.
            after: A `Page.next`: only keys after it.

        Raises:
            Compacted: `revision` has left the window of history.
            FutureRevision: `revision` has not happened yet.
        """
        if revision == self.revision:
            return self._cache.list(query, limit=limit, after=after)
        start, end = query.to_range()
        start = max(start, after + b"\x00") if after else start
        found: list[Entry] = []
        step = limit + 1 if limit else 0
        while True:
            part = await self._backend.list_range(start, end, revision=revision, limit=step)
            found += [entry for entry in part.entries if self._is_selected(query, entry)]
            if not part.more or len(found) > limit:
                break
            start = part.entries[-1].key + b"\x00"
        if not 0 < limit < len(found):
            return Page(found, revision)
        last = found[limit - 1].key
        remaining = None if query.is_selective else max(1, self._cache.count_after(query, last))
        return Page(found[:limit], revision, last, remaining)

    async def create(self, key: bytes, value: bytes) -> Entry | Conflict:
        """Put a key that must not exist.

        Returns:
            The new entry, durable; or Conflict with what stands there.

        Raises:
            Unavailable: The write could not be made durable, and was not made.
        """
        result = await self._write(key, value, ABSENT)
        return result if isinstance(result, Conflict) else _entry_of(result)

    async def update(self, key: bytes, value: bytes, *, expected: Revision | Head) -> Entry | Conflict:
        """Replace the value of a key that must stand at revision `expected`, or hold what the update behind a head makes of it.

        Returns:
            The new entry, durable; or Conflict with what stands there (nothing, if it was deleted).

        Raises:
            Unavailable: The write could not be made durable, and was not made.
        """
        before = self._heads.get(key)
        if isinstance(expected, Head):
            depends: Revision | Ticket = expected.ticket
            leads = before is expected or before is None
        else:
            lost = self._lost(key, expected)
            if lost is not None:
                return lost
            depends, leads = expected, before is None
        if not leads or not self._backend.is_ordered:
            result = await self._write(key, value, depends)
            return result if isinstance(result, Conflict) else _entry_of(result)
        head = self._heads[key] = Head(value, asyncio.get_running_loop().create_future())
        made: Entry | None = None
        try:
            result = await self._write(key, value, depends, head.ticket)
            if isinstance(result, Event):
                made = _entry_of(result)
                return made
            return result
        finally:
            if not head.outcome.done():
                head.outcome.set_result(made)
            if self._heads.get(key) is head:
                del self._heads[key]

    async def delete(self, key: bytes, *, expected: Revision) -> Entry | Conflict:
        """Delete a key that must stand at revision `expected`.

        Returns:
            The last value, stamped with the revision of the deletion; or Conflict with what stands there.

        Raises:
            Unavailable: The write could not be made durable, and was not made.
        """
        lost = self._lost(key, expected)
        if lost is not None:
            return lost
        result = await self._write(key, None, expected)
        if isinstance(result, Conflict):
            return result
        last = result.previous
        assert last is not None
        value = stamp.move(last.value, last.modified, result.revision)
        return Entry(key, value, last.created, result.revision)

    def watch(self, query: Query, *, after: Revision) -> Watch:
        """Watch a selection for every change after a revision. Close the watch when done (`with` does).

        Args:
            query: What to select; an object that comes into the selection is ADDED, one that leaves it DELETED.
            after: A revision between `compacted` and `revision`.

        Raises:
            Compacted: `after` has left the window of history; the iteration raises it too if that happens before it begins.
            FutureRevision: `after` has not happened yet.
        """
        if self._closed:
            raise Closed
        if after < self._backend.compacted:
            raise Compacted(after, self._backend.compacted)
        if after > self.revision:
            raise FutureRevision(after, self.revision)
        watch = Watch(query, self._dispatcher.remove)
        oldest = self._cache.oldest
        start, end = query.to_range()
        changes = (change for change in self._cache.changes_after(after) if start <= change.event.key < end)
        views = [view for change in changes if (view := change.view(query)) is not None]

        async def read_past() -> list[WatchEvent]:
            events = await self._backend.list_events(start, end, after=after, until=oldest)
            past = (self._cache.to_change(event).view(query) for event in events)
            return [view for view in past if view is not None]

        watch.preload(views, read_past if after < oldest else None)
        self._dispatcher.add(watch)
        return watch

    def subscribe(self, prefix: bytes, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call `callback` for every later change below `prefix`, synchronously and in the order of commits.

        Args:
            prefix: Ending with "/", or one key.
            callback: Must neither block nor raise; runs before the writer gets its answer.

        Returns:
            What ends the subscription.
        """
        return self._dispatcher.subscribe(prefix, callback)

    def reindex(self, prefix: bytes) -> None:
        """Extract the attributes of everything below `prefix` again, since `extract` reads other ones now."""
        self._cache.reindex(prefix)

    async def compact(self, revision: Revision) -> None:
        """Forget history up to `revision`; `open_store` does it by time."""
        await self._backend.compact(revision)

    async def catch_up(self) -> None:
        """Wait until what any server acknowledged before this call can be read here; at once if no other server writes.

        Raises:
            Unavailable: The backend, which servers share, does not answer.
        """
        await self._backend.catch_up()

    async def wait_revision(self, revision: Revision) -> None:
        """Wait until `revision` can be read here."""
        if revision > self.revision:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((revision, future))
            await future

    def _is_selected(self, query: Query, entry: Entry) -> bool:
        return not query.is_selective or query.is_match(self._cache.to_attributes(entry))

    def _lost(self, key: bytes, expected: Revision) -> Conflict | None:
        # Revisions only grow: what is overtaken here is overtaken for good, and needs no disk to say so.
        current = self._cache.get(key)
        return Conflict(current) if current is not None and current.modified > expected else None

    async def _write(
        self, key: bytes, value: bytes | None, expected: Revision | Ticket, ticket: Ticket | None = None
    ) -> Event | Conflict:
        if self._closed:
            raise Closed
        if value is not None and len(value) > VALUE_BYTES:
            raise TooLarge(len(value), VALUE_BYTES)
        result = await self._backend.write(key, value, expected=expected, ticket=ticket)
        if isinstance(result, Event):
            await self.wait_revision(result.revision)
        return result

    def _begin_anew(self) -> None:
        self._dispatcher.close()
        self._cache.forget_window()

    def _apply(self, events: Sequence[Event]) -> None:
        for event in events:
            self._dispatcher.publish(self._cache.apply(event))
        if self._waiting:
            for _, future in [waiter for waiter in self._waiting if waiter[0] <= self.revision]:
                if not future.done():
                    future.set_result(None)
            self._waiting = [waiter for waiter in self._waiting if waiter[0] > self.revision]


@asynccontextmanager
async def open_store(
    backend: Backend, *, extract: Extract, clock: clocks.Clock, history: compaction.History = compaction.DEFAULT
) -> AsyncIterator[Store]:
    """Open a store that compacts itself.

    Args:
        backend: Not yet open.
        extract: Gives the attributes by which (key, value) is selected.
        clock: Times the window of history.
        history: How much of the past to keep.

    Raises:
        Corrupt, InUse, Unavailable: As the backend's `open`.
    """
    store = Store(backend, extract=extract)
    await store.open()
    compactor = asyncio.create_task(compaction.run(store, clock, history), name="store compaction")
    try:
        yield store
    finally:
        compactor.cancel()
        await asyncio.wait([compactor])
        await store.aclose()


def _entry_of(event: Event) -> Entry:
    assert event.entry is not None
    return event.entry
