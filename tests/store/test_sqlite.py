"""What only a file can do: survive, be locked, be damaged, be full."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from knarr.kit.clock import FakeClock
from knarr.store import sqlite_schema
from knarr.store.backend import ABSENT, Entry, Event, Revision
from knarr.store.errors import Corrupt, InUse, Unavailable
from knarr.store.query import Attributes
from knarr.store.sqlite import SqliteBackend
from knarr.store.store import open_store
from tests.store.objects import encode, key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


async def open_backend(path: Path) -> SqliteBackend:
    backend = SqliteBackend(path)
    await backend.open(lambda _events: None)
    return backend


async def put(backend: SqliteBackend, name: str, expected: int = ABSENT) -> Revision:
    result = await backend.write(key(name), encode(name), expected=Revision(expected))
    assert isinstance(result, Event), result
    return result.revision


async def test_everything_is_there_after_a_restart(path: Path) -> None:
    backend = await open_backend(path)
    first = await put(backend, "a")
    second = await put(backend, "a", first)
    gone = await put(backend, "b")
    await backend.write(key("b"), None, expected=gone)
    revision, entry = backend.revision, await backend.get(key("a"))
    await backend.aclose()

    backend = SqliteBackend(path)
    everything = await backend.open(lambda _events: None)
    assert (everything.entries, everything.revision) == ([entry], revision)
    assert len((await backend.list_range(b"/", b"0", revision=gone)).entries) == 2
    assert await put(backend, "a", second) == revision + 1
    await backend.aclose()


async def test_a_revision_never_comes_twice_even_if_its_write_is_forgotten(path: Path) -> None:
    backend = await open_backend(path)
    created = await put(backend, "a")
    await backend.write(key("a"), None, expected=created)
    revision = backend.revision
    await backend.compact(revision)
    await backend.aclose()
    backend = await open_backend(path)
    assert (backend.revision, backend.compacted) == (revision, revision)
    assert await put(backend, "a") == revision + 1
    await backend.aclose()


async def test_only_the_owner_may_read_the_files(path: Path) -> None:
    old = os.umask(0)
    try:
        backend = await open_backend(path)
        await put(backend, "a")
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert set(modes) >= {"state.db", "state.db-wal", "state.db.lock"}
    assert set(modes.values()) == {0o600}
    await backend.aclose()


async def test_a_second_server_is_refused(path: Path) -> None:
    backend = await open_backend(path)
    with pytest.raises(InUse, match="is in use by another process"):
        await SqliteBackend(path).open(lambda _events: None)
    await backend.aclose()
    await (await open_backend(path)).aclose()


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (x)")


def _newer(path: Path) -> None:
    asyncio.run(_make(path))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")


def _text(path: Path) -> None:
    path.write_text("this is no database, and long enough to be seen as none. " * 40)


def _damaged(path: Path) -> None:
    asyncio.run(_make(path))
    raw = bytearray(path.read_bytes())
    for start in range(len(raw) // 3, len(raw), 8192):
        raw[start : start + 512] = b"\xff" * 512
    path.write_bytes(raw)


async def _make(path: Path) -> None:
    backend = await open_backend(path)
    await asyncio.gather(*(put(backend, f"p{index}") for index in range(500)))
    await backend.aclose()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_foreign, "something else"),
        (_newer, "format 99"),
        (_text, "not a database"),
        (_damaged, "check found|malformed"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(path: Path, spoil: Callable[[Path], None], why: str) -> None:
    spoil(path)
    for _ in range(2):  # and the lock is let go
        with pytest.raises(Corrupt, match=why):
            asyncio.run(SqliteBackend(path).open(lambda _events: None))


async def test_a_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        await SqliteBackend(tmp_path / "nowhere" / "state.db").open(lambda _events: None)


WRITER = """
    import asyncio, sys
    from pathlib import Path
    from knarr.store.sqlite import SqliteBackend

    async def main():
        backend = SqliteBackend(Path(sys.argv[1]))
        await backend.open(lambda events: None)

        async def work(name):
            revision = 0
            while True:
                event = await backend.write(name, b'{"metadata":{"resourceVersion":""}}', expected=revision)
                revision = event.revision
                sys.stdout.write(f"{name.decode()} {revision}\\n")
                sys.stdout.flush()

        await asyncio.gather(*(work(b"/k%d" % n) for n in range(20)))

    asyncio.run(main())
"""


def test_no_acknowledged_write_is_lost_by_kill_9(path: Path) -> None:
    acknowledged: dict[str, int] = {}
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(WRITER), str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for count, line in enumerate(child.stdout):
            name, revision = line.split()
            acknowledged[name.decode()] = int(revision)
            if count == 2000:
                os.kill(child.pid, signal.SIGKILL)
                break
        for line in child.stdout:
            if line.endswith(b"\n"):
                name, revision = line.split()
                acknowledged[name.decode()] = int(revision)

    async def check() -> None:
        backend = SqliteBackend(path)
        everything = await backend.open(lambda _events: None)
        found = {entry.key.decode(): entry.modified for entry in everything.entries}
        assert len(acknowledged) == 20
        assert all(found[name] >= revision for name, revision in acknowledged.items())
        events = await backend.list_events(b"/", b"0", after=Revision(1), until=backend.revision)
        assert [event.revision for event in events] == list(range(2, backend.revision + 1))
        await backend.aclose()

    asyncio.run(check())


FULL = """
    import asyncio, resource, sys
    from pathlib import Path
    from knarr.store.errors import Unavailable
    from knarr.store.sqlite import SqliteBackend

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    async def main():
        path = Path(sys.argv[1])
        backend = SqliteBackend(path)
        delivered = []
        await backend.open(delivered.extend)
        value = b"x" * 20000
        await backend.write(b"/first", value, expected=0)
        limit(path.with_name("state.db-wal").stat().st_size + 50000)
        failed = 0
        for n in range(10):
            results = await asyncio.gather(
                *(backend.write(b"/k%d-%d" % (n, m), value, expected=0) for m in range(5)), return_exceptions=True
            )
            failed += sum(isinstance(result, Unavailable) for result in results)
        before = backend.revision
        assert failed >= 40, failed
        assert len(delivered) == before - 1
        assert len((await backend.list_range(b"/", b"0")).entries) == len(delivered)
        try:
            await backend.compact(before)
        except Unavailable as err:
            print("compact:", err)
        limit(resource.RLIM_INFINITY)
        event = await backend.write(b"/last", value, expected=0)
        assert event.revision == before + 1
        await backend.compact(event.revision)
        await backend.aclose()
        backend = SqliteBackend(path)
        everything = await backend.open(delivered.extend)
        assert len(everything.entries) == before, len(everything.entries)
        await backend.aclose()
        print("recovered")

    asyncio.run(main())
"""


def test_a_full_disk_fails_writes_alone_until_there_is_space(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL), str(path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.endswith("recovered\n"), done.stdout + done.stderr
    assert done.stderr.count("the store cannot write to") == 1  # once, not for every write
    assert "can write to" in done.stderr


async def test_a_defect_in_the_writer_leaves_nobody_waiting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = await open_backend(path)
    await put(backend, "a")
    monkeypatch.setattr("knarr.store.sqlite_queries.append", None)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    async with asyncio.timeout(5):
        for _ in range(2):
            results = await asyncio.gather(*(put(backend, f"p{index}") for index in range(3)), return_exceptions=True)
            assert [type(result) for result in results] == [Unavailable] * 3
        with pytest.raises(Unavailable, match="restart the server"):
            await backend.compact(backend.revision)
        await backend.aclose()


async def test_free_pages_go_back_to_the_file_system(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knarr.store.sqlite_queries.FREE_PAGES", 16)
    backend = await open_backend(path)
    revision = 0
    for _ in range(100):
        result = await backend.write(key("a"), b"x" * 50_000, expected=Revision(revision))
        assert isinstance(result, Event)
        revision = result.revision
    with sqlite3.connect(path) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        await backend.compact(Revision(revision))
        assert connection.execute("PRAGMA page_count").fetchone()[0] < pages / 5
    connection.close()
    await backend.aclose()


async def test_the_files_stay_small_under_churn(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knarr.store.sqlite_queries.FREE_PAGES", 16)
    clock = FakeClock()
    sizes = []
    async with open_store(SqliteBackend(path), extract=lambda _key, _value: Attributes(), clock=clock) as store:
        for _ in range(90):  # 22 minutes: four times what history keeps
            made = await asyncio.gather(*(store.create(key(f"p{index}"), b"x" * 20_000) for index in range(10)))
            entries = [one for one in made if isinstance(one, Entry)]
            await asyncio.gather(*(store.delete(one.key, expected=one.modified) for one in entries))
            await clock.advance(15)
            await asyncio.sleep(0.005)  # the compaction runs on the writer's thread
            sizes.append(path.stat().st_size)
        beside = path.with_name("state.db-wal").stat().st_size
    assert max(sizes[45:]) <= 1.3 * max(sizes[22:45])
    assert max(sizes) < 90 * 10 * 20_000 / 2  # of what was written
    assert beside <= sqlite_schema.WAL_BYTES
