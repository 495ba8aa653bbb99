"""The durable backend of one server: an append log in an SQLite file, written by one thread with group commit.

Writes that are made in one turn of the event loop, or while a commit is under way, share one transaction and one flush to disk
(WAL, synchronous=FULL). What stands is also in memory, so that a write is decided without reading; the past is read on a
connection of its own and never holds up a writer. A disk that is full or read-only fails writes alone, until it no longer is.

Counterpart: etcd's mvcc store, and kine.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from knarr.store import sqlite_queries, sqlite_schema
from knarr.store.backend import LATEST, Conflict, Deliver, Entry, Event, Range, Revision, Ticket
from knarr.store.errors import Closed, Compacted, FutureRevision, Unavailable
from knarr.store.sqlite_writer import Job, Outcome, Write, Writer

_T = TypeVar("_T")


class SqliteBackend:
    """A `Backend` in a file."""

    def __init__(self, path: Path) -> None:
        """Prepare a backend; `open` makes or checks the file.

        Args:
            path: The database; files of the same name with -wal, -shm and .lock appear beside it.
        """
        self._path = path
        self._revision = Revision(0)
        self._compacted = Revision(0)
        self._deliver: Deliver | None = None
        self._lock = -1
        self._outbox: list[Write] = []

    @property
    def revision(self) -> Revision:
        """The newest durable and delivered revision."""
        return self._revision

    @property
    def compacted(self) -> Revision:
        """The oldest revision that can be read."""
        return self._compacted

    async def open(self, deliver: Deliver, *, on_gap: Callable[[], None] | None = None) -> Range:
        """Lock, check and read the file, and start the writer.

        Raises:
            Corrupt: It is damaged, not ours, or of a newer version.
            InUse: Another process has it.
            Unavailable: It cannot be opened.
        """
        self._loop = asyncio.get_running_loop()
        self._lock = sqlite_schema.lock(self._path)
        self._writer = Writer(self._path, self._loop, self._settle)
        self._writer.ended.add_done_callback(self._abandon)
        self._writer.start()
        try:
            everything, self._compacted = await self._writer.opened
            self._reader = sqlite_schema.open_reader(self._path)
        except BaseException:
            self._writer.queue.put(None)
            os.close(self._lock)
            raise
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="store reader")
        self._revision = everything.revision
        self._deliver = deliver
        return everything

    async def get(self, key: bytes) -> Entry | None:
        """Read one key, from memory."""
        return self._writer.live.get(key)

    async def list_range(self, start: bytes, end: bytes, *, revision: Revision = LATEST, limit: int = 0) -> Range:
        """Read the live keys of [start, end) as they stood at one revision, from the file.

        Raises:
            Compacted: `revision` is older than the last compaction.
            FutureRevision: `revision` has not happened yet.
        """
        revision = revision or self._revision
        self._check(revision)
        result = await self._read(partial(sqlite_queries.read_range, self._reader, start, end, revision, limit))
        self._check(revision)  # what was read may have been half forgotten meanwhile
        return result

    async def list_events(self, start: bytes, end: bytes, *, after: Revision, until: Revision) -> list[Event]:
        """Read the changes of [start, end) with after < revision <= until, from the file.

        Raises:
            Compacted: `after` is older than the last compaction.
        """
        self._check(after)
        until = min(until, self._revision)
        events = await self._read(partial(sqlite_queries.read_events, self._reader, start, end, after, until))
        self._check(after)
        return events

    @property
    def is_ordered(self) -> bool:
        """One thread decides all writes, in their order."""
        return True

    async def write(
        self, key: bytes, value: bytes | None, *, expected: Revision | Ticket, ticket: Ticket | None = None
    ) -> Event | Conflict:
        """Put or delete one key if it stands at `expected`; see `Backend.write`.

        Raises:
            Closed: The backend is closing.
            Unavailable: Nothing was written.
        """
        if self._deliver is None:
            raise Closed
        outcome: asyncio.Future[Event | Conflict] = self._loop.create_future()
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(Write(key, value, expected, outcome, ticket))
        return await outcome

    async def catch_up(self) -> None:
        """Do nothing: nobody else writes."""

    async def compact(self, revision: Revision) -> None:
        """Forget what was superseded at or before `revision`, a part at a time, with writes in between.

        Raises:
            Unavailable: It could not be written down; the next compaction goes on from there.
        """
        revision = min(revision, self._revision)
        if revision <= self._compacted:
            return
        await self._call(partial(sqlite_queries.mark_compacted, revision))
        self._compacted = revision
        while not await self._call(sqlite_queries.sweep):
            pass
        while not await self._call(sqlite_queries.vacuum):
            pass

    async def aclose(self) -> None:
        """Finish the writes under way and let go of the file."""
        if self._deliver is None:
            return
        self._flush()
        self._writer.queue.put(None)
        await self._writer.ended
        self._deliver = None
        self._readers.shutdown()
        self._reader.close()
        os.close(self._lock)

    def _check(self, revision: Revision) -> None:
        if revision < self._compacted:
            raise Compacted(revision, self._compacted)
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)

    async def _read(self, function: Callable[[], _T]) -> _T:
        if self._deliver is None:
            raise Closed
        try:
            return await self._loop.run_in_executor(self._readers, function)
        except sqlite3.Error as err:
            raise Unavailable(str(self._path), str(err)) from err

    async def _call(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._deliver is None:
            raise Closed
        outcome: asyncio.Future[_T] = self._loop.create_future()
        self._put(Job(function, outcome))
        return await outcome

    def _flush(self) -> None:
        if self._outbox:
            self._put(self._outbox)
            self._outbox = []

    def _put(self, item: list[Write] | Job) -> None:
        self._writer.queue.put(item)
        if self._writer.ended.done():
            self._abandon(self._writer.ended)

    def _abandon(self, _ended: asyncio.Future[None]) -> None:
        # Only if the writer fails by a defect: nobody is to wait for ever.
        error = Unavailable(str(self._path), "its writer has ended; restart the server")
        self._settle([], [(future, error) for future in self._writer.abandoned()])

    def _settle(self, events: Sequence[Event], outcomes: Sequence[Outcome]) -> None:
        if events:
            self._revision = events[-1].revision
            assert self._deliver is not None
            self._deliver(events)
        for future, result in outcomes:
            if future.done():  # the one who asked has gone
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
