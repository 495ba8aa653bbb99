"""The SQLite file: one append log, two marks, and what makes sure that the file is ours, sound and used by us alone.

A row of the log is one write: the value it put, or null for a deletion, and the revision it superseded. So what compaction may
forget is found by walking the log once, and never by comparing the revisions of a key.
"""

import fcntl
import os
import sqlite3
from pathlib import Path

from knarr.store.errors import Corrupt, InUse, StoreError, Unavailable

APPLICATION_ID = 0x6B6E7272  # "knrr", shown by file(1)
USER_VERSION = 1
PAGE_BYTES = 8192
BUSY_TIMEOUT_S = 5.0
WAL_BYTES = 16 << 20
"""What is left of the file beside the database after a time in which it had to grow."""

_TABLES = """
CREATE TABLE log (
    revision INTEGER PRIMARY KEY,
    key      BLOB    NOT NULL,
    value    BLOB,             -- stamped with the revision; null for a deletion
    created  INTEGER NOT NULL, -- the revision that created the key
    previous INTEGER NOT NULL  -- the revision that this one superseded; 0 for a creation
);
CREATE INDEX log_key ON log (key); -- SQLite appends the row's number, which is the revision
CREATE TABLE mark (name TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO mark VALUES ('compacted', 1), ('swept', 1);
"""

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def lock(path: Path) -> int:
    """Take the lock beside the database, which ends with this process at the latest.

    Returns:
        The descriptor that holds the lock while it is open.

    Raises:
        InUse: Another process has it.
        Unavailable: The lock file cannot be made.
    """
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as err:
        raise Unavailable(str(path), err.strerror or str(err)) from err
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        os.close(descriptor)
        raise InUse(str(path)) from err
    return descriptor


def unlock(descriptor: int) -> None:
    """Give a lock back."""
    os.close(descriptor)


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the database to write, made or checked.

    Raises:
        Corrupt: It is damaged, not ours, or of a newer version.
        Unavailable: It cannot be opened or made.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)  # SQLite gives its files beside it the same mode
        sync_folder(path.parent)
    except OSError as err:
        raise Unavailable(str(path), err.strerror or str(err)) from err
    connection = _connect(path)
    try:
        _check(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")  # a restored file has another one
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        connection.execute("PRAGMA cache_size = -8192")
    except sqlite3.Error as err:
        connection.close()
        raise to_store_error(path, err) from err
    except StoreError:
        connection.close()
        raise
    return connection


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the database, which exists, to read; for one thread at a time."""
    connection = _connect(path)
    connection.execute("PRAGMA query_only = 1")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    is_new = not _pragma(connection, "application_id")
    if is_new and not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        _create(connection)
        return
    check_format(connection, path)
    findings = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
    if findings != ["ok"]:
        raise Corrupt(str(path), f"SQLite's check found {findings[0]}")


def check_format(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure that a file is a store, and of a format that is known.

    Raises:
        Corrupt: It is not.
    """
    application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    if application != APPLICATION_ID:
        raise Corrupt(str(path), "it is an SQLite database of something else")
    if version > USER_VERSION:
        raise Corrupt(str(path), f"it has format {version}, and this version of Knarr knows {USER_VERSION} at most")


def _create(connection: sqlite3.Connection) -> None:
    # These three take effect only before the first table.
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(
        f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {APPLICATION_ID}; "
        f"PRAGMA user_version = {USER_VERSION}; COMMIT;"
    )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def to_store_error(path: Path, err: sqlite3.Error) -> StoreError:
    """Translate an error of SQLite's at start."""
    code = getattr(err, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGE:
        return Corrupt(str(path), str(err))
    return Unavailable(str(path), str(err))
