"""Several servers on one etcd, and what the others of the contract suite do not ask of a backend."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from knarr.kit.clock import SystemClock
from knarr.store.backend import ABSENT, Conflict, Entry, Event
from knarr.store.errors import Compacted
from knarr.store.etcd import endpoints
from knarr.store.etcd.backend import EtcdBackend
from knarr.store.query import Query
from knarr.store.store import Store, open_store
from tests.store import etcd
from tests.store.conftest import extract
from tests.store.objects import encode, key


@pytest.fixture
def address(etcd_member: etcd.Member) -> endpoints.Address:
    return endpoints.parse(f"etcd://{etcd_member.address}/test-{uuid.uuid4().hex}")


@pytest.fixture
async def servers(address: endpoints.Address) -> AsyncIterator[tuple[Store, Store]]:
    async with (
        open_store(EtcdBackend(address), extract=extract, clock=SystemClock()) as first,
        open_store(EtcdBackend(address), extract=extract, clock=SystemClock()) as second,
    ):
        yield first, second


async def test_what_one_server_acknowledged_another_reads_once_it_has_caught_up(servers: tuple[Store, Store]) -> None:
    first, second = servers
    for index in range(50):
        created = await first.create(key(f"p{index}"), encode(f"p{index}"))
        assert isinstance(created, Entry)
        await second.catch_up()
        assert second.get(key(f"p{index}")) == created
        first, second = second, first
    assert first.list(Query(b"/registry/pods/")).entries == second.list(Query(b"/registry/pods/")).entries


async def test_a_server_that_is_behind_cannot_overwrite(servers: tuple[Store, Store]) -> None:
    first, second = servers
    created = await first.create(key("a"), encode("a"))
    assert isinstance(created, Entry)
    changed = await second.update(key("a"), encode("a", {"by": "second"}), expected=created.modified)
    assert isinstance(changed, Entry)
    assert await first.update(key("a"), encode("a"), expected=created.modified) == Conflict(changed)
    assert await first.create(key("a"), encode("a")) == Conflict(changed)
    deleted = await first.delete(key("a"), expected=changed.modified)
    assert isinstance(deleted, Entry)
    assert await second.delete(key("a"), expected=changed.modified) == Conflict(None)


async def test_a_watch_at_one_server_shows_the_writes_of_both(servers: tuple[Store, Store]) -> None:
    with servers[0].watch(Query(b"/registry/pods/"), after=servers[0].revision) as watch:
        made = [await servers[index % 2].create(key(f"p{index}"), encode(f"p{index}")) for index in range(20)]
        seen: list[int] = []
        async with asyncio.timeout(5):
            while len(seen) < 20:
                seen += [event.revision for event in await watch.__anext__()]
    assert seen == [entry.modified for entry in made if isinstance(entry, Entry)]


async def test_one_server_compacts_and_the_other_learns_it(address: endpoints.Address) -> None:
    first, second = EtcdBackend(address), EtcdBackend(address)
    for backend in (first, second):
        await backend.open(lambda _events: None)
    past = first.revision
    for _ in range(3):
        await first.write(key(uuid.uuid4().hex), encode("a"), expected=ABSENT)
    await second.catch_up()
    await first.compact(first.revision)
    target = first.compacted
    await second.compact(second.revision)  # the other one has done so since it looked last
    assert second.compacted == target > past
    with pytest.raises(Compacted):
        await second.list_range(b"/", b"0", revision=past)
    for backend in (first, second):
        await backend.aclose()


@pytest.mark.parametrize(
    ("text", "hosts", "prefix"),
    [
        ("etcd://a", ["a:2379"], b"/registry"),
        ("etcd://a:1,b:2,[::1]:3", ["a:1", "b:2", "[::1]:3"], b"/registry"),
        ("etcd://a:1/clusters/one/", ["a:1"], b"/clusters/one"),
    ],
)
def test_an_address(text: str, hosts: list[str], prefix: bytes) -> None:
    found = endpoints.parse(text)
    assert ([str(endpoint) for endpoint in found.endpoints], found.prefix) == (hosts, prefix)


async def test_a_member_that_is_not_there_is_passed_over(etcd_member: etcd.Member) -> None:
    [nobody] = etcd.free_ports(1)
    backend = EtcdBackend(endpoints.parse(f"etcd://127.0.0.1:{nobody},{etcd_member.address}/test-{uuid.uuid4().hex}"))
    await backend.open(lambda _events: None)
    assert isinstance(await backend.write(key("a"), encode("a"), expected=ABSENT), Event)
    await backend.aclose()


async def test_a_restart_of_etcd_loses_no_event() -> None:
    if not etcd.BINARY:
        pytest.skip(etcd.MISSING)
    with etcd.running() as member:
        backend, other = (EtcdBackend(endpoints.parse(f"etcd://{member.address}")) for _ in range(2))
        shown: list[int] = []
        await backend.open(lambda events: shown.extend(event.revision for event in events))
        await other.open(lambda _events: None)
        made = []
        for index in range(3):
            event = await other.write(key(f"p{index}"), encode("p"), expected=ABSENT)
            assert isinstance(event, Event)
            made.append(event.revision)
            member.kill()
            member.start()
            await asyncio.to_thread(member.wait_ready)
        await backend.catch_up()
        assert shown == made
        await backend.aclose()
        await other.aclose()


async def test_who_is_behind_what_was_compacted_is_told_the_difference(address: endpoints.Address) -> None:
    backend, other = EtcdBackend(address), EtcdBackend(address)
    events: list[Event] = []
    gaps: list[int] = []
    await other.open(lambda _events: None)
    old = await other.write(key("old"), encode("old"), expected=ABSENT)
    assert isinstance(old, Event)
    await backend.open(events.extend, on_gap=lambda: gaps.append(len(events)))
    for task in backend._tasks:  # it sleeps through what follows
        task.cancel()
    new = await other.write(key("new"), encode("new"), expected=ABSENT)
    assert isinstance(new, Event)
    assert isinstance(await other.write(key("old"), None, expected=old.revision), Event)
    await other.compact(other.revision)
    backend._tasks = [asyncio.create_task(backend._feed.run())]
    async with asyncio.timeout(10):
        await backend.catch_up()
    assert gaps == [0]  # who watches was told first
    assert {event.key: event.entry is not None for event in events} == {key("new"): True, key("old"): False}
    assert [entry.key for entry in backend._feed.live.values()] == [key("new")]
    assert backend.compacted >= new.revision
    await backend.aclose()
    await other.aclose()
