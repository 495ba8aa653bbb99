"""Snapshots and moves between stores: the same over SQLite and a real etcd."""

import asyncio
import sqlite3
import stat
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from knarr.store import snapshots, transfer
from knarr.store.backend import ABSENT, Backend, Conflict, Entry, Event, Revision
from knarr.store.errors import BadAddress, Compacted, Corrupt, InUse, NotEmpty, Unavailable
from knarr.store.etcd import endpoints
from knarr.store.etcd.backend import EtcdBackend
from knarr.store.sqlite import SqliteBackend
from tests.store import etcd
from tests.store.objects import encode, key, version

MakePlace = Callable[[], transfer.Place]


@pytest.fixture(params=["sqlite", "etcd"])
def make_place(request: pytest.FixtureRequest, tmp_path: Path) -> MakePlace:
    if request.param == "sqlite":
        return lambda: transfer.Place(f"sqlite:{tmp_path / uuid.uuid4().hex}.db", tmp_path / "unused.db")
    return request.getfixturevalue("make_etcd_place")  # type: ignore[no-any-return]


@pytest.fixture
def make_etcd_place(etcd_member: etcd.Member, tmp_path: Path) -> MakePlace:
    return lambda: transfer.Place(f"etcd://{etcd_member.address}/test-{uuid.uuid4().hex}", tmp_path / "unused.db")


def backend_of(place: transfer.Place) -> Backend:
    return SqliteBackend(place.file) if place.file else EtcdBackend(endpoints.parse(place.text))


async def fill(place: transfer.Place, count: int = 20) -> dict[bytes, bytes]:
    """Write objects, some changed and some deleted; returns what stands."""
    backend = backend_of(place)
    await backend.open(lambda _events: None)
    for index in range(count):
        event = await backend.write(key(f"p{index}"), encode(f"p{index}"), expected=ABSENT)
        assert isinstance(event, Event)
        if index % 3 == 0:
            await backend.write(key(f"p{index}"), encode(f"p{index}", {"new": "yes"}), expected=event.revision)
        if index % 5 == 1:
            await backend.write(key(f"p{index}"), None, expected=event.revision)
    standing = (await backend.list_range(b"", b"")).entries
    await backend.aclose()
    return {entry.key: unversioned(entry) for entry in standing}


def unversioned(entry: Entry) -> bytes:
    assert version(entry.value) == entry.modified
    return entry.value.replace(b'"%d"' % entry.modified, b'""')


async def standing(place: transfer.Place) -> tuple[dict[bytes, bytes], Revision, Revision]:
    backend = backend_of(place)
    found = await backend.open(lambda _events: None)
    compacted = backend.compacted
    await backend.aclose()
    return {entry.key: unversioned(entry) for entry in found.entries}, found.revision, compacted


async def test_a_snapshot_is_restored_and_old_revisions_are_gone(make_place: MakePlace, tmp_path: Path) -> None:
    place = make_place()
    wanted = await fill(place)
    made = await transfer.save(place, tmp_path / "one.db")
    assert (made.objects, made.path) == (len(wanted), tmp_path / "one.db")
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert snapshots.check(made.path) == made
    before = backend_of(place)
    await before.open(lambda _events: None)
    later = await before.write(key("later"), encode("later"), expected=ABSENT)
    await before.aclose()
    assert isinstance(later, Event)

    await transfer.restore(made.path, place)

    backend = backend_of(place)
    found = await backend.open(lambda _events: None)
    assert {entry.key: unversioned(entry) for entry in found.entries} == wanted
    assert found.revision > later.revision + snapshots.BUMP - 100
    for remembered in (made.revision, later.revision, Revision(later.revision + 1000)):
        with pytest.raises(Compacted):
            await backend.list_events(b"", b"", after=remembered, until=backend.revision)
    event = await backend.write(key("next"), encode("next"), expected=ABSENT)
    assert isinstance(event, Event)
    assert event.revision > found.revision
    entry = found.entries[0]
    for stale in (1, 5):  # a revision from before, or one that never was, is not "absent"
        assert await backend.write(key("another"), encode("another"), expected=Revision(stale)) == Conflict(None)
    changed = await backend.write(entry.key, encode("changed"), expected=entry.modified)
    assert isinstance(changed, Event)
    assert changed.previous == entry
    events = await backend.list_events(b"", b"", after=found.revision, until=backend.revision)
    assert events == [event, changed]
    await backend.aclose()


async def test_a_snapshot_is_taken_while_others_write(make_place: MakePlace, tmp_path: Path) -> None:
    place = make_place()
    backend = backend_of(place)
    await backend.open(lambda _events: None)
    first = await backend.write(key("0"), encode("0"), expected=ABSENT)
    is_ending = False

    async def write() -> None:
        # A chain: each object is written after the one before, so that a torn copy would miss one in the middle.
        number = 1
        while not is_ending:
            await backend.write(key(f"{number}"), encode(f"{number}"), expected=ABSENT)
            number += 1

    writer = asyncio.create_task(write())
    made = [await transfer.save(place, tmp_path / f"{index}.db") for index in range(3)]
    is_ending = True
    await writer
    await backend.aclose()
    assert isinstance(first, Event)
    for one in made:
        names = {int(entry.key.rpartition(b"/")[2]) for entry in snapshots.read(one.path).entries}
        assert names == set(range(len(names)))
    assert made[0].objects <= made[1].objects <= made[2].objects


async def test_moving_there_and_back_keeps_every_object(make_etcd_place: MakePlace, tmp_path: Path) -> None:
    origin = transfer.Place(f"sqlite:{tmp_path / 'a.db'}", tmp_path / "unused.db")
    wanted = await fill(origin, 250)  # more than a batch
    _, first, _ = await standing(origin)
    there, back = make_etcd_place(), transfer.Place(f"sqlite:{tmp_path / 'b.db'}", tmp_path / "unused.db")
    await transfer.migrate(origin, there)
    objects, second, compacted = await standing(there)
    assert objects == wanted
    assert first < compacted <= second
    await transfer.migrate(there, back)
    objects, third, compacted = await standing(back)
    assert objects == wanted
    assert second <= compacted <= third
    with pytest.raises(NotEmpty):
        await transfer.migrate(origin, there)
    await transfer.migrate(origin, there, replace=True)
    objects, fourth, _ = await standing(there)
    assert objects == wanted
    assert fourth > second  # not back to where it was


async def test_a_store_in_use_is_not_moved_or_replaced(tmp_path: Path) -> None:
    place = transfer.Place(f"sqlite:{tmp_path / 'a.db'}", tmp_path / "unused.db")
    await fill(place)
    made = await transfer.save(place, tmp_path / "one.db")
    backend = backend_of(place)
    await backend.open(lambda _events: None)
    with pytest.raises(InUse):
        await transfer.migrate(place, transfer.Place("etcd://127.0.0.1:1", tmp_path / "unused.db"))
    with pytest.raises(InUse):
        await transfer.restore(made.path, place)
    await backend.aclose()


async def test_the_file_that_was_there_is_kept(tmp_path: Path) -> None:
    place = transfer.Place(f"sqlite:{tmp_path / 'a.db'}", tmp_path / "unused.db")
    await fill(place)
    made = await transfer.save(place, tmp_path / "one.db")
    wanted, _, _ = await standing(place)
    kept = await transfer.restore(made.path, place)
    assert kept is not None
    assert {entry.key: unversioned(entry) for entry in snapshots.read(kept).entries} == wanted
    assert sorted(path.name for path in tmp_path.glob("*.part*")) == []


async def test_a_move_that_did_not_end_is_not_served(
    make_etcd_place: MakePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from knarr.store.etcd import importing

    origin = transfer.Place(f"sqlite:{tmp_path / 'a.db'}", tmp_path / "unused.db")
    wanted = await fill(origin, 250)
    there = make_etcd_place()

    def break_off(entries: list[Entry]) -> object:
        yield from list(batches(entries))[:1]
        raise Unavailable("there", "the power went")

    batches = importing._batches
    with monkeypatch.context() as broken:
        broken.setattr(importing, "_batches", break_off)
        with pytest.raises(Unavailable):
            await transfer.migrate(origin, there)
    with pytest.raises(Corrupt, match="run it again"):
        await standing(there)
    await transfer.migrate(origin, there)
    assert (await standing(there))[0] == wanted


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "missing"])
async def test_a_damaged_snapshot_is_refused(tmp_path: Path, damage: str) -> None:
    place = transfer.Place(f"sqlite:{tmp_path / 'a.db'}", tmp_path / "unused.db")
    await fill(place, 200)
    path = (await transfer.save(place, tmp_path / "one.db")).path
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        for index in range(8192, len(content), 8192):
            content[index] ^= 0xFF
        path.write_bytes(content)
    elif damage == "other":
        path.unlink()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE other (name TEXT)")
        connection.close()
    else:
        path.unlink()
    before = await standing(place)
    with pytest.raises((Corrupt, Unavailable)):
        await transfer.restore(path, place)
    assert await standing(place) == before


async def test_a_snapshot_never_replaces_a_file(tmp_path: Path) -> None:
    place = transfer.Place(f"sqlite:{tmp_path / 'a.db'}", tmp_path / "unused.db")
    await fill(place)
    (tmp_path / "mine.db").write_text("precious")
    with pytest.raises(Unavailable, match="already"):
        await transfer.save(place, tmp_path / "mine.db")
    assert (tmp_path / "mine.db").read_text() == "precious"


def test_a_store_in_memory_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(BadAddress):
        asyncio.run(transfer.save(transfer.Place("memory", tmp_path / "unused.db"), tmp_path / "one.db"))
