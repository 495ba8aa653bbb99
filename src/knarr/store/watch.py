"""Watches: who wants to know of a change, and what each is shown of it.

A change is dispatched by its key's folders and by the equality terms of the watches, so that a watch on one node's pods costs
nothing when another node's pod changes. What watches are shown is made once per change and kind of transition and shared by all.

Counterpart: k8s.io/apiserver/pkg/storage/cacher (v1.37).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Self

from knarr.store import stamp
from knarr.store.backend import Entry, Event, Revision
from knarr.store.query import Attributes, Query

ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"

PENDING_AT_MOST = 4096
"""Events that may wait for a slow reader before its watch is closed."""


class WatchEvent:
    """One event as a client sees it, shared by all watches that show it.

    Attributes:
        type: ADDED, MODIFIED or DELETED.
        key: The object's key.
        value: The object, stamped with the event's revision.
        revision: When.
    """

    __slots__ = ("_line", "key", "revision", "type", "value")

    def __init__(self, type: str, key: bytes, value: bytes, revision: Revision) -> None:
        self.type = type
        self.key = key
        self.value = value
        self.revision = revision
        self._line = b""

    @property
    def line(self) -> bytes:
        """The event as a line of a JSON watch stream, encoded once."""
        if not self._line:
            self._line = b'{"type":"%b","object":%b}\n' % (self.type.encode(), self.value)
        return self._line

    def __repr__(self) -> str:
        return f"WatchEvent({self.type}, {self.key!r}, {self.revision})"


class Change:
    """An event with the attributes on both sides of it.

    Attributes:
        event: What happened.
        before: The attributes of what stood there before; None at a creation.
        after: The attributes of what stands there now; None after a deletion.
    """

    __slots__ = ("_views", "after", "before", "event")

    def __init__(self, event: Event, before: Attributes | None, after: Attributes | None) -> None:
        self.event = event
        self.before = before
        self.after = after
        self._views: dict[str, WatchEvent] = {}

    def view(self, query: Query) -> WatchEvent | None:
        """Return what a watch with `query` shows: coming into its selection is ADDED, leaving it is DELETED."""
        before = self.before is not None and query.is_match(self.before)
        after = self.after is not None and query.is_match(self.after)
        if after:
            return self._view(MODIFIED if before else ADDED, self.event.entry)
        return self._view(DELETED, self.event.previous) if before else None

    def forget_views(self) -> None:
        """Let go of the encoded lines once everyone who watches has been told."""
        self._views = {}

    def _view(self, type: str, entry: Entry | None) -> WatchEvent:
        view = self._views.get(type)
        if view is None:
            assert entry is not None
            revision = self.event.revision
            value = stamp.move(entry.value, entry.modified, revision) if type == DELETED else entry.value
            view = self._views[type] = WatchEvent(type, self.event.key, value, revision)
        return view


class Watch:
    """An asynchronous iterator of batches of events, empty only when nudged.

    It ends when closed or when its reader has fallen too far behind.
    """

    def __init__(self, query: Query, close: Callable[["Watch"], None]) -> None:
        self.query = query
        self._pending: list[WatchEvent] = []
        self._waiting: asyncio.Future[None] | None = None
        self._catch_up: Callable[[], Awaitable[list[WatchEvent]]] | None = None
        self._close = close
        self._closed = False
        self._nudged = False

    @property
    def pending(self) -> int:
        """How many events wait for the reader."""
        return len(self._pending)

    @property
    def is_closed(self) -> bool:
        """Whether no further events will come."""
        return self._closed

    def is_caught_up(self) -> bool:
        """Return whether every event so far has been given to the reader: the time to send a bookmark."""
        return not self._pending and self._catch_up is None and not self._closed

    def push(self, view: WatchEvent) -> None:
        """Add an event; the watch closes if too many wait already."""
        if len(self._pending) >= PENDING_AT_MOST:
            self.close()
            return
        self._pending.append(view)
        self._wake()

    def nudge(self) -> None:
        """Let the reader have a batch without events if it waits, or when it next does: it has something to do by the clock."""
        self._nudged = True
        self._wake()

    def preload(self, views: list[WatchEvent], catch_up: Callable[[], Awaitable[list[WatchEvent]]] | None) -> None:
        """Put events of the past in front: `views`, and before them what `catch_up` will read."""
        self._pending.extend(views)
        self._catch_up = catch_up

    def close(self) -> None:
        """End the iteration after what already waits."""
        if not self._closed:
            self._closed = True
            self._close(self)
            self._wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[WatchEvent]:
        if self._catch_up is not None:
            past = await self._catch_up()
            self._catch_up = None
            if past:
                return past
        while not self._pending:
            if self._closed:
                raise StopAsyncIteration
            if self._nudged:
                self._nudged = False
                return []
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        batch, self._pending = self._pending, []
        return batch

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class _Bucket:
    """The watches of one prefix: by one of their terms where they have any."""

    __slots__ = ("by_term", "callbacks", "plain")

    def __init__(self) -> None:
        self.plain: dict[Watch, None] = {}
        self.by_term: dict[tuple[str, str], dict[str, dict[Watch, None]]] = {}
        self.callbacks: list[Callable[[Event], None]] = []

    def is_empty(self) -> bool:
        return not (self.plain or self.by_term or self.callbacks)

    def add(self, watch: Watch) -> None:
        if not watch.query.terms:
            self.plain[watch] = None
            return
        kind, name, value = _sharpest(watch.query)
        self.by_term.setdefault((kind, name), {}).setdefault(value, {})[watch] = None

    def remove(self, watch: Watch) -> None:
        if not watch.query.terms:
            self.plain.pop(watch, None)
            return
        kind, name, value = _sharpest(watch.query)
        values = self.by_term[kind, name]
        values[value].pop(watch, None)
        if not values[value]:
            del values[value]
        if not values:
            del self.by_term[kind, name]

    def interested(self, change: Change) -> Iterator[Watch]:
        # Copies, because a push may close a watch and so change the table under the loop.
        yield from list(self.plain)
        for (kind, name), values in list(self.by_term.items()):
            now = _value(change.after, kind, name)
            then = _value(change.before, kind, name)
            if now is not None:
                yield from list(values.get(now, ()))
            if then is not None and then != now:
                yield from list(values.get(then, ()))


class Dispatcher:
    """Everyone who wants to know, by prefix."""

    def __init__(self) -> None:
        self._buckets: dict[bytes, _Bucket] = {}
        self._watches = 0

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return self._watches

    def add(self, watch: Watch) -> None:
        """Show `watch` every change from now on."""
        self._bucket(watch.query.prefix).add(watch)
        self._watches += 1

    def remove(self, watch: Watch) -> None:
        """Show `watch` no more."""
        prefix = watch.query.prefix
        bucket = self._buckets[prefix]
        bucket.remove(watch)
        self._watches -= 1
        self._tidy(prefix)

    def subscribe(self, prefix: bytes, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call `callback` for every change below `prefix`; returns what ends it."""
        self._bucket(prefix).callbacks.append(callback)

        def unsubscribe() -> None:
            self._buckets[prefix].callbacks.remove(callback)
            self._tidy(prefix)

        return unsubscribe

    def publish(self, change: Change) -> None:
        """Tell everyone whom the change concerns."""
        interested = [bucket for prefix in _prefixes(change.event.key) if (bucket := self._buckets.get(prefix))]
        for bucket in interested:
            for callback in list(bucket.callbacks):
                callback(change.event)
        for bucket in interested:
            for watch in bucket.interested(change):
                view = change.view(watch.query)
                if view is not None:
                    watch.push(view)
        change.forget_views()

    def close(self) -> None:
        """End every watch."""
        for bucket in list(self._buckets.values()):
            for watch in [
                *bucket.plain,
                *(w for values in bucket.by_term.values() for ws in values.values() for w in ws),
            ]:
                watch.close()

    def _bucket(self, prefix: bytes) -> _Bucket:
        return self._buckets.setdefault(prefix, _Bucket())

    def _tidy(self, prefix: bytes) -> None:
        if self._buckets[prefix].is_empty():
            del self._buckets[prefix]


def _sharpest(query: Query) -> tuple[str, str, str]:
    # Field values (a node, a name) select fewer objects than labels do.
    return next((term for term in query.terms if term[0] == "field"), query.terms[0])


def _value(attributes: Attributes | None, kind: str, name: str) -> str | None:
    if attributes is None:
        return None
    return (attributes.labels if kind == "label" else attributes.fields).get(name)


def _prefixes(key: bytes) -> Iterator[bytes]:
    yield key
    end = key.rfind(b"/")
    while end >= 0:
        yield key[: end + 1]
        end = key.rfind(b"/", 0, end)
