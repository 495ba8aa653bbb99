"""What is asked of the SQLite file, as functions of a connection: reads at a revision, and the steps of forgetting."""

import sqlite3
from collections.abc import Iterable, Sequence

from knarr.store.backend import Entry, Event, Range, Revision

SWEEP_REVISIONS = 256
"""How much of the log one step of compaction walks."""
VACUUM_PAGES = 128
"""How many free pages one step gives back to the file system."""
FREE_PAGES = 1024
"""Free pages that are kept for coming writes, with an eighth of the file."""

_RANGE = """
SELECT log.key, log.value, log.created, log.revision
FROM (SELECT key, max(revision) AS revision FROM log WHERE {where} revision <= :revision GROUP BY key) AS newest
CROSS JOIN log ON log.revision = newest.revision
WHERE log.value IS NOT NULL
ORDER BY newest.key
LIMIT :limit
"""
_COUNT = """
SELECT count(*) FROM (SELECT max(revision) AS revision FROM log GROUP BY key) AS newest
CROSS JOIN log ON log.revision = newest.revision
WHERE log.value IS NOT NULL
"""
_EVENTS = """
SELECT log.revision, log.key, log.value, log.created, old.revision, old.value, old.created
FROM log LEFT JOIN log AS old ON old.revision = log.previous
WHERE log.revision > :after AND log.revision <= :until AND +log.key >= :start AND (:end = x'' OR +log.key < :end)
ORDER BY log.revision
"""
_FORGET_SUPERSEDED = """
DELETE FROM log WHERE revision IN (SELECT previous FROM log WHERE revision > ? AND revision <= ? AND previous > 0)
"""
_FORGET_DELETIONS = "DELETE FROM log WHERE revision > ? AND revision <= ? AND value IS NULL"
_INSERT = "INSERT INTO log (revision, key, value, created, previous) VALUES (?, ?, ?, ?, ?)"


def read_marks(connection: sqlite3.Connection) -> tuple[Revision, Revision]:
    """Return the newest revision and the oldest readable one."""
    compacted = _mark(connection, "compacted")
    newest: int = connection.execute("SELECT coalesce(max(revision), 0) FROM log").fetchone()[0]
    # The newest write may have been a deletion that is forgotten; its revision must not come again.
    return Revision(max(newest, compacted)), compacted


def read_range(connection: sqlite3.Connection, start: bytes, end: bytes, revision: Revision, limit: int) -> Range:
    """Read the live keys of [start, end) at one revision; an empty `end` means to the very end, a limit of 0 all."""
    where = "key >= :start AND key < :end AND" if end else "key >= :start AND"
    values = {"start": start, "end": end, "revision": revision, "limit": limit + 1 if limit else -1}
    entries = [Entry(*row) for row in connection.execute(_RANGE.format(where=where), values)]
    more = 0 < limit < len(entries)
    return Range(entries[:limit] if more else entries, revision, more)


def read_events(
    connection: sqlite3.Connection, start: bytes, end: bytes, after: Revision, until: Revision
) -> list[Event]:
    """Read the changes of [start, end) with after < revision <= until."""
    values = {"start": start, "end": end, "after": after, "until": until}
    found = []
    for revision, key, value, created, old_revision, old_value, old_created in connection.execute(_EVENTS, values):
        entry = None if value is None else Entry(key, value, created, revision)
        previous = None if old_revision is None else Entry(key, old_value, old_created, old_revision)
        found.append(Event(revision, key, entry, previous))
    return found


def append(connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    """Write events as one durable transaction."""
    rows = []
    for event in events:
        value = event.entry.value if event.entry else None
        previous = event.previous.modified if event.previous else 0
        rows.append((event.revision, event.key, value, _created(event), previous))
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_INSERT, rows)
    connection.execute("COMMIT")


def fill(connection: sqlite3.Connection, entries: Iterable[Entry], revision: Revision) -> None:
    """Put a state into an empty file, with nothing to be read from before `revision`."""
    rows = ((entry.modified, entry.key, entry.value, entry.created, 0) for entry in entries)
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_INSERT, rows)
    connection.execute("UPDATE mark SET revision = ? WHERE name IN ('compacted', 'swept')", (revision,))
    connection.execute("COMMIT")


def count_live(connection: sqlite3.Connection) -> int:
    """Return how many keys live."""
    found: int = connection.execute(_COUNT).fetchone()[0]
    return found


def _created(event: Event) -> Revision:
    entry = event.entry or event.previous
    assert entry is not None
    return entry.created


def mark_compacted(revision: Revision, connection: sqlite3.Connection) -> None:
    """Say that nothing before `revision` is to be read any more; the steps of `sweep` follow."""
    connection.execute("UPDATE mark SET revision = ? WHERE name = 'compacted'", (revision,))


def sweep(connection: sqlite3.Connection) -> bool:
    """Forget a part of what was superseded at or before the compacted revision.

    Returns:
        Whether that was the last part.
    """
    compacted, swept = _mark(connection, "compacted"), _mark(connection, "swept")
    if swept >= compacted:
        return True
    until = min(swept + SWEEP_REVISIONS, compacted)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_FORGET_SUPERSEDED, (swept, until))
    connection.execute(_FORGET_DELETIONS, (swept, until))
    connection.execute("UPDATE mark SET revision = ? WHERE name = 'swept'", (until,))
    connection.execute("COMMIT")
    return until >= compacted


def vacuum(connection: sqlite3.Connection) -> bool:
    """Give a few free pages back to the file system.

    Returns:
        Whether few enough remain.
    """
    free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    total: int = connection.execute("PRAGMA page_count").fetchone()[0]
    if free <= FREE_PAGES + total // 8:
        return True
    connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
    return False


def _mark(connection: sqlite3.Connection, name: str) -> Revision:
    return Revision(connection.execute("SELECT revision FROM mark WHERE name = ?", (name,)).fetchone()[0])
