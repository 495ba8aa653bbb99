"""The store over every backend: reads from memory, lists with selectors, watches from the past."""

import asyncio

import msgspec
import pytest

from knarr.store import watch as watches
from knarr.store.backend import Conflict, Entry, Event, Revision
from knarr.store.errors import Closed, Compacted, FutureRevision
from knarr.store.query import Query, Term
from knarr.store.store import Store
from knarr.store.watch import Watch
from tests.store.objects import encode, key, version

PODS = Query(b"/registry/pods/")
WEB: Term = ("label", "app", "web")


async def create(store: Store, name: str, labels: dict[str, str] | None = None, /, **fields: str) -> Entry:
    entry = await store.create(key(name), encode(name, labels, **fields))
    assert isinstance(entry, Entry)
    return entry


async def update(store: Store, entry: Entry, labels: dict[str, str] | None = None) -> Entry:
    name = entry.key.rpartition(b"/")[2].decode()
    result = await store.update(entry.key, encode(name, labels), expected=entry.modified)
    assert isinstance(result, Entry)
    return result


async def delete(store: Store, entry: Entry) -> Entry:
    result = await store.delete(entry.key, expected=entry.modified)
    assert isinstance(result, Entry)
    return result


def current(store: Store, name: str) -> Entry:
    entry = store.get(key(name))
    assert entry is not None
    return entry


async def take(watch: Watch, count: int) -> list[tuple[str, str, int]]:
    """Read `count` events as (type, name, revision)."""
    found: list[tuple[str, str, int]] = []
    async with asyncio.timeout(5):
        while len(found) < count:
            for event in await anext(watch):
                assert version(event.value) == event.revision
                found.append((event.type, event.key.rpartition(b"/")[2].decode(), event.revision))
    return found


def names(entries: list[Entry]) -> list[str]:
    return [entry.key.rpartition(b"/")[2].decode() for entry in entries]


async def test_updates_pile_up_on_what_is_under_way(store: Store) -> None:
    first = await create(store, "a")
    assert store.head(key("a")) is None

    async def add(mark: str) -> None:
        while True:
            head, entry = store.head(key("a")), current(store, "a")
            labels = msgspec.json.decode(head.value if head else entry.value)["metadata"].get("labels", {})
            value = encode("a", {**labels, mark: "x"})
            if isinstance(await store.update(key("a"), value, expected=head or entry.modified), Entry):
                return

    await asyncio.gather(*(add(f"m{n}") for n in range(20)))
    last = current(store, "a")
    assert len(msgspec.json.decode(last.value)["metadata"]["labels"]) == 20
    assert last.modified == first.modified + 20
    assert store.head(key("a")) is None


async def test_what_is_written_is_read(store: Store) -> None:
    entry = await create(store, "a")
    assert store.get(key("a")) == entry
    assert (await store.create(key("a"), encode("a"))) == Conflict(entry)
    newer = await update(store, entry)
    assert (await store.update(key("a"), encode("a"), expected=entry.modified)) == Conflict(newer)
    assert (await store.delete(key("a"), expected=entry.modified)) == Conflict(newer)
    gone = await delete(store, newer)
    assert (version(gone.value), gone.modified) == (store.revision, store.revision)
    assert store.get(key("a")) is None
    assert (await store.delete(key("a"), expected=newer.modified)) == Conflict(None)


async def test_pages_of_a_list_show_one_revision(store: Store) -> None:
    for name in ("a", "b", "c", "d", "e"):
        await create(store, name)
    first = store.list(PODS, limit=2)
    assert (names(first.entries), first.next, first.remaining) == (["a", "b"], key("b"), 3)
    await delete(store, current(store, "d"))
    await create(store, "bb")
    second = await store.list_at(PODS, first.revision, limit=2, after=first.next)
    assert (names(second.entries), second.revision, second.next) == (["c", "d"], first.revision, key("d"))
    third = await store.list_at(PODS, first.revision, limit=2, after=second.next)
    assert (names(third.entries), third.next, third.remaining) == (["e"], b"", 0)
    assert names(store.list(PODS).entries) == ["a", "b", "bb", "c", "e"]


async def test_lists_stay_within_their_prefix(store: Store) -> None:
    for place in ("pods/default/a", "pods/default-2/a", "pods/default/b", "podtemplates/default/a"):
        await store.create(b"/registry/" + place.encode(), encode("a"))
    found = store.list(Query(b"/registry/pods/default/"))
    assert [entry.key for entry in found.entries] == [b"/registry/pods/default/a", b"/registry/pods/default/b"]
    assert names(store.list(Query(b"/registry/pods/default/a")).entries) == ["a"]


@pytest.mark.parametrize("count", [10, 400], ids=["scanned", "indexed"])
async def test_selectors_find_the_same_with_and_without_an_index(store: Store, count: int) -> None:
    await asyncio.gather(
        *(
            create(store, f"p{index:03}", {"app": "web" if index % 7 == 0 else "db"}, node=f"n{index % 3}")
            for index in range(count)
        )
    )
    of_node: Term = ("field", "node", "n0")
    expected = [f"p{index:03}" for index in range(count) if index % 21 == 0]
    assert names(store.list(Query(PODS.prefix, (WEB, of_node))).entries) == expected
    assert names((await store.list_at(Query(PODS.prefix, (WEB, of_node)), store.revision)).entries) == expected
    await update(store, current(store, "p000"), {"app": "db"})
    await delete(store, current(store, "p007"))
    expected = [f"p{index:03}" for index in range(14, count, 7)]
    assert names(store.list(Query(PODS.prefix, (WEB,))).entries) == expected
    odd = Query(PODS.prefix, (WEB,), lambda attributes: int(attributes.fields["metadata.name"][1:]) % 2 == 1)
    assert names(store.list(odd).entries) == [name for name in expected if int(name[1:]) % 2]
    past = await store.list_at(odd, Revision(store.revision - 2), limit=1)
    assert names(past.entries) == ["p007"]


async def test_a_watch_shows_each_change_once_in_order(store: Store) -> None:
    with store.watch(PODS, after=store.revision) as watch:
        a = await create(store, "a")
        a2 = await update(store, a)
        b = await create(store, "b")
        gone = await delete(store, a2)
        await store.create(b"/registry/nodes/n", encode("n"))
        assert await take(watch, 4) == [
            ("ADDED", "a", a.modified),
            ("MODIFIED", "a", a2.modified),
            ("ADDED", "b", b.modified),
            ("DELETED", "a", gone.modified),
        ]
        assert watch.is_caught_up()
    assert store.watches == 0


async def test_a_watch_shows_what_comes_and_goes_by_its_selector(store: Store) -> None:
    with store.watch(Query(PODS.prefix, (WEB,)), after=store.revision) as watch:
        a = await create(store, "a", {"app": "db"})
        a2 = await update(store, a, {"app": "web"})
        a3 = await update(store, a2, {"app": "web"})
        a4 = await update(store, a3, {"app": "db"})
        b = await create(store, "b", {"app": "web"})
        b2 = await delete(store, b)
        await delete(store, a4)
        assert await take(watch, 5) == [
            ("ADDED", "a", a2.modified),
            ("MODIFIED", "a", a3.modified),
            ("DELETED", "a", a4.modified),
            ("ADDED", "b", b.modified),
            ("DELETED", "b", b2.modified),
        ]


@pytest.mark.parametrize("window", [10_000, 3], ids=["window", "backend"])
async def test_a_watch_starts_in_the_past(store: Store, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr("knarr.store.watchcache.WINDOW_EVENTS", window)
    start = store.revision
    happened = [("ADDED", f"p{index}", (await create(store, f"p{index}")).modified) for index in range(8)]
    for skipped in (0, 3, 8):
        with store.watch(PODS, after=Revision(start + skipped)) as watch:
            happened.append(("ADDED", f"q{skipped}", (await create(store, f"q{skipped}")).modified))
            assert await take(watch, len(happened) - skipped) == happened[skipped:]


async def test_what_is_compacted_can_neither_be_listed_nor_watched(store: Store) -> None:
    start = store.revision
    for name in ("a", "b", "c"):
        await create(store, name)
    await store.compact(Revision(start + 2))
    with pytest.raises(Compacted):
        await store.list_at(PODS, Revision(start + 1))
    with pytest.raises(Compacted):
        store.watch(PODS, after=Revision(start + 1))
    assert names((await store.list_at(PODS, Revision(start + 2))).entries) == ["a", "b"]
    with store.watch(PODS, after=Revision(start + 2)) as watch:
        assert await take(watch, 1) == [("ADDED", "c", start + 3)]


async def test_the_future_can_neither_be_listed_nor_watched(store: Store) -> None:
    with pytest.raises(FutureRevision):
        await store.list_at(PODS, Revision(store.revision + 1))
    with pytest.raises(FutureRevision):
        store.watch(PODS, after=Revision(store.revision + 1))


async def test_a_slow_watch_is_closed_and_others_go_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "PENDING_AT_MOST", 3)
    with store.watch(PODS, after=store.revision) as slow, store.watch(PODS, after=store.revision) as quick:
        for index in range(6):
            await create(store, f"p{index}")
            await take(quick, 1)
        assert (slow.is_closed, quick.is_closed) == (True, False)
        assert [event[1] for event in await take(slow, 3)] == ["p0", "p1", "p2"]
        with pytest.raises(StopAsyncIteration):
            await anext(slow)


async def test_a_line_is_encoded_once_for_all_watches(store: Store) -> None:
    with store.watch(PODS, after=store.revision) as one, store.watch(PODS, after=store.revision) as two:
        entry = await create(store, "a")
        (first,), (second,) = await anext(one), await anext(two)
        assert first.line is second.line
        assert first.line == b'{"type":"ADDED","object":%b}\n' % entry.value


async def test_subscribers_are_called_in_order_before_the_writer(store: Store) -> None:
    seen: list[Event] = []
    unsubscribe = store.subscribe(b"/registry/pods/", seen.append)
    entry = await create(store, "a")
    assert [event.entry for event in seen] == [entry]
    await store.create(b"/registry/nodes/n", encode("n"))
    unsubscribe()
    await delete(store, entry)
    assert len(seen) == 1


async def test_closing_ends_watches_and_refuses_writes(store: Store) -> None:
    watch = store.watch(PODS, after=store.revision)
    await store.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)
    with pytest.raises(Closed):
        await store.create(key("a"), encode("a"))
