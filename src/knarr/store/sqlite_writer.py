"""The one thread that writes: all writes that wait together become durable together, by one flush of the disk.

The event loop puts lists of writes and single jobs into a queue and never waits; each commit's outcome comes back by one call
into the loop. Compare-and-swap is decided here, against the durable state in memory and the writes before in the same commit.
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from knarr.store import sqlite_queries, sqlite_schema, stamp
from knarr.store.backend import UNDECIDED, Conflict, Entry, Event, Range, Revision, Ticket, revision_of
from knarr.store.errors import StoreError, Unavailable, Uncertain

logger = logging.getLogger(__name__)

COMMIT_WRITES = 1024
"""About the most writes in one commit."""
COMMIT_BYTES = 16 << 20
"""About the most bytes in one commit, so that nobody waits long for a crowd of large objects."""


class Write:
    """A write that waits for its outcome, an `Event` or a `Conflict`."""

    __slots__ = ("expected", "key", "outcome", "ticket", "value")

    def __init__(
        self,
        key: bytes,
        value: bytes | None,
        expected: Revision | Ticket,
        outcome: asyncio.Future[Event | Conflict],
        ticket: Ticket | None = None,
    ) -> None:
        self.key = key
        self.value = value
        self.expected = expected
        self.outcome = outcome
        self.ticket = ticket


class Job:
    """Something else to do with the connection between two commits."""

    __slots__ = ("outcome", "run")

    def __init__(self, run: Callable[[sqlite3.Connection], Any], outcome: asyncio.Future[Any]) -> None:
        self.run = run
        self.outcome = outcome


Outcome = tuple[asyncio.Future[Any], Any]
Settle = Callable[[Sequence[Event], Sequence[Outcome]], None]
"""Takes a commit's events and the outcomes of its writes, on the event loop. An outcome that is an exception is raised."""
Item = list[Write] | Job | None


class Writer(threading.Thread):
    """Owns the writing connection; ends when a None comes out of the queue."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, settle: Settle) -> None:
        """Prepare the thread.

        Args:
            path: The database file.
            loop: Where outcomes go.
            settle: What takes them.
        """
        # A daemon: a process that ends in a hurry loses nothing, for what is not committed was not acknowledged.
        super().__init__(name="store writer", daemon=True)
        self.queue: SimpleQueue[Item] = SimpleQueue()
        self.live: dict[bytes, Entry] = {}
        """What stands, durably. Changed by this thread alone; anyone may look a key up."""
        self.opened: asyncio.Future[tuple[Range, Revision]] = loop.create_future()
        """Everything that lives, and the oldest readable revision."""
        self.ended: asyncio.Future[None] = loop.create_future()
        self._path = path
        self._loop = loop
        self._settle = settle
        self._revision = Revision(0)
        self._held: list[Item] = []
        self._current: list[asyncio.Future[Any]] = []
        self._is_failing = False

    def run(self) -> None:
        """Open the database, then commit until told to end."""
        try:
            connection = sqlite_schema.open_writer(self._path)
            try:
                self._load(connection)
                self._serve(connection)
            finally:
                connection.close()
        except StoreError as err:
            self._post([], [(self.opened, err)])
        except sqlite3.Error as err:
            self._post([], [(self.opened, sqlite_schema.to_store_error(self._path, err))])
        finally:
            self._end()

    def _end(self) -> None:
        # Not through _post: what a failure of ours has left undone is for `abandoned`.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle, [], [(self.ended, None)])

    def _load(self, connection: sqlite3.Connection) -> None:
        self._revision, compacted = sqlite_queries.read_marks(connection)
        everything = sqlite_queries.read_range(connection, b"", b"", self._revision, 0)
        self.live.update((entry.key, entry) for entry in everything.entries)
        self._post([], [(self.opened, (everything, compacted))])

    def _serve(self, connection: sqlite3.Connection) -> None:
        while (item := self._held.pop() if self._held else self.queue.get()) is not None:
            if isinstance(item, Job):
                self._run_job(connection, item)
            else:
                self._commit(connection, self._gather(item))

    def _gather(self, batch: list[Write]) -> list[Write]:
        # The writes that wait join, up to a limit or to something that is no write, which is next then.
        size = _size(batch)
        while len(batch) < COMMIT_WRITES and size < COMMIT_BYTES:
            try:
                item = self.queue.get_nowait()
            except Empty:
                break
            if not isinstance(item, list):
                self._held.append(item)
                break
            batch += item
            size += _size(item)
        return batch

    def abandoned(self) -> list[asyncio.Future[Any]]:
        """Take what waits for an outcome that will not come, once the thread has ended."""
        found, self._current = self._current, []
        items = self._held
        while not self.queue.empty():
            items.append(self.queue.get_nowait())
        for item in items:
            if isinstance(item, Job):
                found.append(item.outcome)
            else:
                found += [write.outcome for write in item or ()]
        items.clear()
        return found

    def _commit(self, connection: sqlite3.Connection, batch: list[Write]) -> None:
        self._current = [write.outcome for write in batch]
        events, outcomes = self._decide(batch)
        try:
            if events:
                sqlite_queries.append(connection, events)
        except (sqlite3.Error, OverflowError, MemoryError) as err:
            for write in batch:
                if write.ticket is not None:
                    write.ticket.revision = UNDECIDED
            self._fail(connection, err)
            return
        self._report_recovery(bool(events))
        for event in events:
            if event.entry is None:
                del self.live[event.key]
            else:
                self.live[event.key] = event.entry
        if events:
            self._revision = events[-1].revision
        self._post(events, outcomes)

    def _decide(self, batch: list[Write]) -> tuple[list[Event], list[Outcome]]:
        changed: dict[bytes, Entry | None] = {}
        events: list[Event] = []
        outcomes: list[Outcome] = []
        revision = self._revision
        for write in batch:
            key, value = write.key, write.value
            current = changed[key] if key in changed else self.live.get(key)
            if (current.modified if current else 0) != revision_of(write.expected) or (
                value is None and current is None
            ):
                outcomes.append((write.outcome, Conflict(current)))
                continue
            revision = Revision(revision + 1)
            entry = None
            if value is not None:
                entry = Entry(key, stamp.apply(value, revision), current.created if current else revision, revision)
            if write.ticket is not None:
                write.ticket.revision = revision
            changed[key] = entry
            event = Event(revision, key, entry, current)
            events.append(event)
            outcomes.append((write.outcome, event))
        return events, outcomes

    def _run_job(self, connection: sqlite3.Connection, job: Job) -> None:
        self._current = [job.outcome]
        try:
            result = job.run(connection)
        except sqlite3.Error as err:
            self._fail(connection, err)
            return
        self._post([], [(job.outcome, result)])

    def _fail(self, connection: sqlite3.Connection, err: Exception) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error as second:
            logger.warning("a failed commit could not be rolled back at once: %s", second)
        if not self._is_failing:
            self._is_failing = True
            logger.error("the store cannot write to %s: %s; reads go on", self._path, err)
        # The end of a commit that could not be flushed may be found after a crash, or may not.
        is_certain = getattr(err, "sqlite_errorcode", 0) != sqlite3.SQLITE_IOERR_FSYNC
        failure = Unavailable if is_certain else Uncertain
        self._post([], [(future, failure(str(self._path), str(err))) for future in self._current])

    def _report_recovery(self, has_written: bool) -> None:
        if self._is_failing and has_written:
            self._is_failing = False
            logger.warning("the store can write to %s again", self._path)

    def _post(self, events: Sequence[Event], outcomes: Sequence[Outcome]) -> None:
        self._current = []
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, events, outcomes)


def _size(batch: list[Write]) -> int:
    return sum(len(write.value or b"") for write in batch)
