"""A snapshot is a file of the SQLite store that nobody writes to: what stands at one revision, whichever backend it came from.

So the same file is a backup of a server with SQLite, of several on etcd, and the way from the one to the other. A file appears under
its name only when it is complete, flushed and checked, and only its owner may read it.
"""

import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from knarr.store import sqlite_queries, sqlite_schema, stamp
from knarr.store.backend import Entry, Range, Revision
from knarr.store.errors import Corrupt, StoreError, Unavailable

BUMP = 1_000_000_000
"""How far a restored store's revisions are ahead of all that a client may remember: etcdutl's --bump-revision, as its guide has it."""


class Info(msgspec.Struct, frozen=True):
    """What a snapshot holds.

    Attributes:
        path: The file.
        revision: At which it stands.
        objects: How many live.
        size: Of the file, in bytes.
        time_s: When it was made, in seconds since 1970.
    """

    path: Path
    revision: Revision
    objects: int
    size: int
    time_s: float


def copy(database: Path, target: Path) -> Info:
    """Copy the file of a store, which may be in use, as it stands at one moment.

    Args:
        database: The store's file.
        target: The snapshot; must not exist.

    Raises:
        Unavailable: A file cannot be read or written.
        Corrupt: The copy did not pass its check.
    """
    if not database.exists():
        raise Unavailable(str(database), "there is no such file")
    part = _begin(target)
    try:
        with closing(sqlite_schema.open_reader(database)) as source, closing(sqlite3.connect(part)) as copied:
            source.backup(copied)  # in one step: writers go on, and the copy stands at one revision
            copied.execute("PRAGMA journal_mode = DELETE")
        return _finish(part, target)
    except (sqlite3.Error, OSError) as err:
        raise Unavailable(str(target), str(err)) from err
    finally:
        _clean(part)


def write(state: Range, target: Path, *, least: int = 0) -> Info:
    """Make a snapshot of entries.

    Args:
        state: What stands, and at which revision.
        target: The file; must not exist.
        least: What the revision of the file is to be at least.

    Raises:
        Unavailable: The file cannot be written.
        Corrupt: It did not pass its check.
    """
    part = _begin(target)
    entries, revision = _numbered(state)
    revision = Revision(max(revision, least))
    try:
        with closing(sqlite_schema.open_writer(part)) as connection:
            sqlite_queries.fill(connection, entries, revision)
            connection.execute("PRAGMA journal_mode = DELETE")
        return _finish(part, target)
    except (sqlite3.Error, OSError) as err:
        raise Unavailable(str(target), str(err)) from err
    finally:
        _clean(part)


def check(path: Path) -> Info:
    """Look through a whole snapshot.

    Raises:
        Corrupt: It is damaged, not ours, or of a newer version.
        Unavailable: It cannot be read.
    """
    with closing(_open(path)) as connection:
        try:
            sqlite_schema.check_format(connection, path)
            findings = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
            if findings != ["ok"]:
                raise Corrupt(str(path), f"SQLite's check found {findings[0]}")
            revision, _ = sqlite_queries.read_marks(connection)
            return Info(path, revision, sqlite_queries.count_live(connection), *_size_and_time(path))
        except sqlite3.Error as err:
            raise sqlite_schema.to_store_error(path, err) from err


def read(path: Path) -> Range:
    """Read what stands in a snapshot, or in the file of a store that nobody uses.

    Raises:
        Corrupt, Unavailable: As `check`.
    """
    check(path)
    with closing(_open(path)) as connection:
        revision, _ = sqlite_queries.read_marks(connection)
        return sqlite_queries.read_range(connection, b"", b"", revision, 0)


def restore(state: Range, database: Path) -> Path | None:
    """Put a state in the place of a store, whose server is stopped; revisions go on well ahead of all before.

    Args:
        state: What is to stand.
        database: The store's file, which is kept under another name.

    Returns:
        Where the former file went; None if there was none.

    Raises:
        InUse: A server runs on it.
        Unavailable: It cannot be written.
    """
    lock = sqlite_schema.lock(database)
    try:
        least = state.revision
        with suppress(StoreError):  # a damaged one is what a restore is for
            least = max(least, check(database).revision)
        fresh = database.with_name(f"{database.name}.restored")
        fresh.unlink(missing_ok=True)
        write(state, fresh, least=least + BUMP)
        kept = _put_aside(database)
        os.replace(fresh, database)
        sqlite_schema.sync_folder(database.parent)
        return kept
    except OSError as err:
        raise Unavailable(str(database), str(err)) from err
    finally:
        os.close(lock)


def _put_aside(database: Path) -> Path | None:
    if not database.exists():
        return None
    kept = database.with_name(f"{database.name}.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    for suffix in ("", "-wal", "-shm"):
        if Path(f"{database}{suffix}").exists():
            os.replace(f"{database}{suffix}", f"{kept}{suffix}")
    return kept


def _numbered(state: Range) -> tuple[Sequence[Entry], Revision]:
    """Give each entry a revision of its own: a transaction in etcd may have written several keys at one."""
    if len({entry.modified for entry in state.entries}) == len(state.entries):
        return state.entries, state.revision
    first = state.revision + 1
    return list(_renumbered(state.entries, first)), Revision(state.revision + len(state.entries))


def _renumbered(entries: Iterable[Entry], first: int) -> Iterable[Entry]:
    for revision, entry in enumerate(sorted(entries, key=lambda entry: entry.modified), first):
        value = stamp.move(entry.value, entry.modified, Revision(revision))
        yield Entry(entry.key, value, entry.created, Revision(revision))


def _begin(target: Path) -> Path:
    if target.exists():
        raise Unavailable(str(target), "there is a file of that name already")
    part = target.with_name(f"{target.name}.part")
    _clean(part)
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as err:
        raise Unavailable(str(target), err.strerror or str(err)) from err
    return part


def _finish(part: Path, target: Path) -> Info:
    found = check(part)
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.link(part, target)  # unlike a rename, it never replaces what somebody else made meanwhile
    sqlite_schema.sync_folder(target.parent)
    return msgspec.structs.replace(found, path=target)


def _clean(part: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(OSError):
            Path(f"{part}{suffix}").unlink(missing_ok=True)


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise Unavailable(str(path), "there is no such file")
    try:
        return sqlite_schema.open_reader(path)
    except sqlite3.Error as err:
        raise sqlite_schema.to_store_error(path, err) from err


def _size_and_time(path: Path) -> tuple[int, float]:
    found = path.stat()
    return found.st_size, found.st_mtime
