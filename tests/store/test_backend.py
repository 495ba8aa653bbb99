"""The contract of `Backend`, over every backend."""

import asyncio

import pytest

from knarr.store.backend import ABSENT, Backend, Conflict, Entry, Event, Revision, Ticket, range_end
from knarr.store.errors import Closed, Compacted, FutureRevision
from tests.store.conftest import Feed
from tests.store.objects import encode, key, version


async def put(backend: Backend, name: str, expected: int = ABSENT, **fields: str) -> Entry:
    result = await backend.write(key(name), encode(name, {}, **fields), expected=Revision(expected))
    assert isinstance(result, Event), result
    assert result.entry is not None
    return result.entry


async def drop(backend: Backend, name: str, expected: int) -> Event:
    result = await backend.write(key(name), None, expected=Revision(expected))
    assert isinstance(result, Event), result
    return result


async def keys_at(backend: Backend, revision: int) -> dict[bytes, int]:
    found = await backend.list_range(b"/", range_end(b"/"), revision=Revision(revision))
    return {entry.key: entry.modified for entry in found.entries}


async def test_an_empty_store_has_a_revision_above_zero(backend: Backend) -> None:
    found = await backend.list_range(b"/", b"0")
    assert (found.entries, found.more) == ([], False)
    assert found.revision == backend.revision > 0


async def test_each_write_takes_the_next_revision_and_is_stamped_with_it(backend: Backend, feed: Feed) -> None:
    start = backend.revision
    first = await put(backend, "a")
    second = await put(backend, "a", first.modified)
    assert (first.created, first.modified) == (start + 1, start + 1)
    assert (second.created, second.modified) == (start + 1, start + 2)
    assert [version(one.value) for one in (first, second)] == [start + 1, start + 2]
    assert await backend.get(key("a")) == second
    assert [(event.revision, event.previous) for event in feed] == [(start + 1, None), (start + 2, first)]


@pytest.mark.parametrize(
    ("exists", "expected", "deletes"),
    [(True, 0, False), (True, 1, False), (True, 99, True), (False, 7, False), (False, 7, True), (False, 0, True)],
)
async def test_a_write_that_expects_something_else_changes_nothing(
    backend: Backend, feed: Feed, exists: bool, expected: int, deletes: bool
) -> None:
    current = await put(backend, "a") if exists else None
    before = backend.revision
    result = await backend.write(key("a"), None if deletes else encode("a"), expected=Revision(expected))
    assert result == Conflict(current)
    assert (backend.revision, await backend.get(key("a")), len(feed)) == (before, current, int(exists))


async def test_a_write_may_build_on_one_that_is_under_way(backend: Backend, feed: Feed) -> None:
    first = await put(backend, "a")
    tickets = [Ticket(), Ticket()]
    results = await asyncio.gather(
        backend.write(key("a"), encode("a"), expected=first.modified, ticket=tickets[0]),
        backend.write(key("a"), encode("a"), expected=tickets[0], ticket=tickets[1]),
        backend.write(key("a"), encode("a"), expected=tickets[1]),
        backend.write(key("a"), encode("a"), expected=tickets[0]),  # two on one: the second is late
    )
    assert [isinstance(result, Event) for result in results] == [True, True, True, False]
    assert [ticket.revision for ticket in tickets] == [first.modified + 1, first.modified + 2]
    assert [event.previous for event in feed[1:]] == [event.entry for event in feed[:-1]]


async def test_what_builds_on_a_write_that_is_not_made_is_not_made(backend: Backend) -> None:
    await put(backend, "a")
    ticket = Ticket()
    results = await asyncio.gather(
        backend.write(key("a"), encode("a"), expected=Revision(99), ticket=ticket),
        backend.write(key("a"), encode("a"), expected=ticket),
        backend.write(key("b"), encode("b"), expected=ticket),  # not made is not the same as absent
    )
    assert [type(result) for result in results] == [Conflict] * 3


async def test_of_writers_that_race_exactly_one_wins_each_round(backend: Backend, feed: Feed) -> None:
    wins = 0

    async def increment() -> None:
        nonlocal wins
        while True:
            current = await backend.get(key("a"))
            result = await backend.write(key("a"), encode("a"), expected=current.modified if current else ABSENT)
            if isinstance(result, Event):
                wins += 1
                return

    start = backend.revision
    await asyncio.gather(*(increment() for _ in range(20)))
    assert (wins, backend.revision) == (20, start + 20)
    assert [event.revision for event in feed] == list(range(start + 1, start + 21))
    assert [event.previous for event in feed] == [None, *(event.entry for event in feed[:-1])]


async def test_an_event_is_delivered_before_its_write_returns(backend: Backend, feed: Feed) -> None:
    async def write(index: int) -> None:
        entry = await put(backend, f"p{index}")
        assert entry.modified in {event.revision for event in feed}
        assert backend.revision >= entry.modified

    await asyncio.gather(*(write(index) for index in range(50)))
    assert [event.revision for event in feed] == sorted(event.revision for event in feed)
    assert len({event.key for event in feed}) == len(feed) == 50


async def test_writes_to_one_key_in_one_turn_are_decided_in_order(backend: Backend) -> None:
    next_revision = backend.revision + 1
    created, updated, lost, deleted, again = await asyncio.gather(
        backend.write(key("a"), encode("a"), expected=ABSENT),
        backend.write(key("a"), encode("a"), expected=Revision(next_revision)),
        backend.write(key("a"), encode("a"), expected=Revision(next_revision)),
        backend.write(key("a"), None, expected=Revision(next_revision + 1)),
        backend.write(key("a"), encode("a"), expected=ABSENT),
    )
    assert isinstance(created, Event)
    assert isinstance(updated, Event)
    assert lost == Conflict(updated.entry)
    assert isinstance(deleted, Event)
    assert (deleted.entry, deleted.previous) == (None, updated.entry)
    assert isinstance(again, Event)
    assert again.entry is not None
    assert again.entry.created == next_revision + 3


async def test_a_deleted_key_starts_anew(backend: Backend) -> None:
    first = await put(backend, "a")
    gone = await drop(backend, "a", first.modified)
    assert (gone.entry, gone.previous) == (None, first)
    assert await backend.get(key("a")) is None
    second = await put(backend, "a")
    assert second.created == second.modified == gone.revision + 1


async def test_a_range_is_read_as_it_stood(backend: Backend) -> None:
    history = [await keys_at(backend, backend.revision)]
    a = await put(backend, "a")
    history.append({key("a"): a.modified})
    b = await put(backend, "b")
    history.append({**history[-1], key("b"): b.modified})
    a2 = await put(backend, "a", a.modified)
    history.append({**history[-1], key("a"): a2.modified})
    await drop(backend, "b", b.modified)
    history.append({key("a"): a2.modified})
    first = backend.revision - 4
    assert [await keys_at(backend, first + index) for index in range(5)] == history
    assert await keys_at(backend, 0) == history[-1]
    past = await backend.list_range(key("a"), key("a") + b"\x00", revision=a.modified)
    assert past.entries == [a]


async def test_a_range_has_ends_and_a_limit(backend: Backend) -> None:
    for name in ("a", "b", "c", "d"):
        await put(backend, name)
    found = await backend.list_range(key("b"), key("d"))
    assert [entry.key for entry in found.entries] == [key("b"), key("c")]
    assert not found.more
    found = await backend.list_range(key("a"), b"", limit=3)
    assert ([entry.key for entry in found.entries], found.more) == ([key("a"), key("b"), key("c")], True)
    found = await backend.list_range(key("b"), b"", limit=3)
    assert (len(found.entries), found.more) == (3, False)


async def test_the_future_cannot_be_read(backend: Backend) -> None:
    with pytest.raises(FutureRevision):
        await backend.list_range(b"/", b"0", revision=Revision(backend.revision + 1))


async def test_past_events_come_once_in_order_with_what_they_replaced(backend: Backend, feed: Feed) -> None:
    start = backend.revision
    a = await put(backend, "a")
    await put(backend, "b")
    a2 = await put(backend, "a", a.modified)
    await drop(backend, "a", a2.modified)
    end = backend.revision
    everything = await backend.list_events(b"/", b"0", after=start, until=end)
    assert everything == feed
    assert await backend.list_events(b"/", b"0", after=a.modified, until=a2.modified) == feed[1:3]
    of_a = await backend.list_events(key("a"), key("a") + b"\x00", after=start, until=end)
    assert of_a == [feed[0], feed[2], feed[3]]
    assert await backend.list_events(b"/", b"0", after=end, until=end) == []


async def test_after_compaction_only_the_past_is_gone(backend: Backend, feed: Feed) -> None:
    a = await put(backend, "a")
    b = await put(backend, "b")
    a2 = await put(backend, "a", a.modified)
    await drop(backend, "b", b.modified)
    a3 = await put(backend, "a", a2.modified)
    await backend.compact(a2.modified)
    assert backend.compacted == a2.modified
    for revision in (a.modified, b.modified):
        with pytest.raises(Compacted):
            await keys_at(backend, revision)
        with pytest.raises(Compacted):
            await backend.list_events(b"/", b"0", after=revision, until=backend.revision)
    assert await keys_at(backend, a2.modified) == {key("a"): a2.modified, key("b"): b.modified}
    assert await keys_at(backend, a3.modified) == {key("a"): a3.modified}
    assert await backend.list_events(b"/", b"0", after=a2.modified, until=backend.revision) == feed[3:]
    await backend.compact(a.modified)  # an older one changes nothing
    assert backend.compacted == a2.modified


async def test_everything_up_to_now_can_be_compacted(backend: Backend) -> None:
    a = await put(backend, "a")
    b = await put(backend, "b")
    gone = await drop(backend, "a", a.modified)
    await backend.compact(Revision(gone.revision + 100))
    assert backend.compacted == gone.revision <= backend.revision  # to compact may take a revision of its own
    assert await keys_at(backend, gone.revision) == {key("b"): b.modified}
    assert (await put(backend, "a")).modified > gone.revision


async def test_long_histories_are_compacted_while_others_write(backend: Backend) -> None:
    entry = await put(backend, "a")
    for _ in range(12):
        results = await asyncio.gather(
            *(backend.write(key("a"), encode("a"), expected=Revision(entry.modified + index)) for index in range(50))
        )
        last = results[-1]
        assert isinstance(last, Event)
        assert last.entry is not None
        entry = last.entry
    target = backend.revision
    compaction = asyncio.create_task(backend.compact(target))
    others = [await put(backend, f"b{index}") for index in range(5)]
    await compaction
    assert await keys_at(backend, target) == {key("a"): entry.modified}
    assert len(await keys_at(backend, others[-1].modified)) == 6


async def test_a_closed_backend_refuses_writes(backend: Backend) -> None:
    writes = [asyncio.create_task(put(backend, f"p{index}")) for index in range(5)]
    await asyncio.sleep(0)
    await backend.aclose()
    assert len({(await write).modified for write in writes}) == 5  # those under way were finished
    with pytest.raises(Closed):
        await backend.write(key("a"), encode("a"), expected=ABSENT)


@pytest.mark.parametrize(("prefix", "end"), [(b"/pods/", b"/pods0"), (b"a\xff", b"b"), (b"\xff\xff", b""), (b"", b"")])
def test_range_end_is_the_first_key_behind_the_prefix(prefix: bytes, end: bytes) -> None:
    assert range_end(prefix) == end
