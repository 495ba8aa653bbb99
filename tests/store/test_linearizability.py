"""The checker finds what it is for; and concurrent clients of every backend, over one server or two, see one register a key."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import pytest

from knarr.kit.clock import SystemClock
from knarr.store.backend import ABSENT, Backend, Conflict, Entry, Revision
from knarr.store.errors import StoreError
from knarr.store.query import Query
from knarr.store.store import Store, open_store
from tests.store.conftest import MakeBackend, extract
from tests.store.linearizability import ANYTHING, NEVER, Call, find_violations, is_linearizable, misordered
from tests.store.objects import encode, key


def read(start: float, end: float, found: str) -> Call:
    return Call("k", "read", start, end, found=found)


def write(start: float, end: float, expected: str, value: str) -> Call:
    return Call("k", "write", start, end, expected, value)


def lost(start: float, end: float, expected: str, found: str) -> Call:
    return Call("k", "write", start, end, expected, "never", found, is_lost=True)


@pytest.mark.parametrize(
    ("calls", "good"),
    [
        ([write(0, 1, "", "a"), read(2, 3, "a")], True),
        ([write(0, 1, "", "a"), read(2, 3, "")], False),  # a stale read
        ([write(0, 3, "", "a"), read(1, 2, "")], True),  # side by side: either
        ([write(0, 3, "", "a"), read(1, 2, "a")], True),
        ([write(0, 9, "", "a"), read(1, 2, "a"), read(3, 4, "")], False),  # seen, and then not
        ([write(0, 1, "", "a"), write(0, 1, "", "b")], False),  # both won
        ([write(0, 1, "", "a"), lost(0, 1, "", "a")], True),
        ([write(0, 1, "", "a"), lost(0, 1, "", "")], False),  # lost to nobody
        ([write(0, 1, "", "a"), lost(2, 3, "a", "a")], False),  # lost although it stood as expected
        ([write(0, 1, "", "a"), write(2, 3, "a", "b"), read(4, 5, "a")], False),  # a lost update
        ([write(0, 1, "", "a"), write(2, 3, "a", ""), read(4, 5, "")], True),
        ([write(0, 1, "", "a"), write(2, 3, "a", ""), read(4, 5, "a")], False),  # it came back
        ([write(0, NEVER, "", "a"), read(1, 2, ""), read(3, 4, "a")], True),  # a lost answer: later
        ([write(0, NEVER, "", "a"), read(1, 2, ""), read(3, 4, "")], True),  # ... or never
        ([write(0, NEVER, "", "a"), read(1, 2, "a"), read(3, 4, "")], False),  # ... but not both
        ([write(5, NEVER, "", "a"), read(1, 2, "a")], False),  # not before it began
        ([write(0, NEVER, "", "a"), write(1, NEVER, "a", "b"), read(4, 5, "b"), read(6, 7, "a")], False),
    ],
)
def test_what_one_register_can_answer(calls: list[Call], good: bool) -> None:
    assert is_linearizable(calls) is good
    assert is_linearizable(calls[::-1]) is good


def test_revisions_that_run_backwards_are_found() -> None:
    first = Call("a", "write", 0, 1, "", "x", revision=7)
    second = Call("b", "write", 2, 3, "", "y", revision=6)
    meanwhile = Call("c", "write", 0.5, 4, "", "z", revision=5)
    assert misordered([first, second, meanwhile]) == [(first, second)]


class Clients:
    """Clients that read and write at random, each one call at a time, and what they were told."""

    def __init__(self, stores: Sequence[Store], random: Random, keys: int) -> None:
        self._stores = stores
        self._random = random
        self._keys = [f"k{index}" for index in range(keys)]
        self._numbers = iter(range(1, 1_000_000))
        self.history: list[Call] = []

    async def run(self, client: int, calls: int) -> None:
        """Play one client."""
        store = self._stores[client % len(self._stores)]
        seen: dict[str, Entry | None] = {}
        for _ in range(calls):
            name = self._random.choice(self._keys)
            if name not in seen or self._random.random() < 0.4:
                seen[name] = await self._read(client, store, name)
            else:
                seen[name] = await self._write(client, store, name, seen[name])
            if self._random.random() < 0.2:
                await asyncio.sleep(0)

    async def _read(self, client: int, store: Store, name: str) -> Entry | None:
        start = time.perf_counter()
        await store.catch_up()
        entry = store.get(key(name))
        self._note(name, "read", start, client=client, found=_value(entry))
        return entry

    async def _write(self, client: int, store: Store, name: str, seen: Entry | None) -> Entry | None:
        value = f"v{next(self._numbers)}" if seen is None or self._random.random() < 0.8 else ""
        start = time.perf_counter()
        try:
            if seen is None:
                result = await store.create(key(name), encode(name, {"v": value}))
            elif value:
                result = await store.update(key(name), encode(name, {"v": value}), expected=seen.modified)
            else:
                result = await store.delete(key(name), expected=seen.modified)
        except StoreError:
            self.history.append(Call(name, "write", start, NEVER, _value(seen), value, client=client))
            return None
        if isinstance(result, Conflict):
            # What it lost to comes from this server's memory if that is already ahead: true, but perhaps not the newest.
            self._note(name, "write", start, client=client, expected=_value(seen), value=value, found=ANYTHING,
                       is_lost=True)  # fmt: skip
            return result.current
        self._note(name, "write", start, client=client, expected=_value(seen), value=value, revision=result.modified)
        return result if value else None

    def _note(self, name: str, kind: str, start: float, **facts: object) -> None:
        self.history.append(Call(name, kind, start, time.perf_counter(), **facts))  # type: ignore[arg-type]


def _value(entry: Entry | None) -> str:
    return extract(entry.key, entry.value).labels["v"] if entry is not None else ""


@asynccontextmanager
async def opened(make_backend: Callable[[], Backend], count: int) -> AsyncIterator[list[Store]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(open_store(make_backend(), extract=extract, clock=SystemClock()))
            for _ in range(count)
        ]


async def play(stores: Sequence[Store], seed: int, *, clients: int, calls: int, keys: int) -> list[Call]:
    """Let clients loose while one watch a store follows; the watches must show exactly the writes that were acknowledged."""
    players = Clients(stores, Random(seed), keys)
    watches = [store.watch(Query(b"/registry/pods/"), after=store.revision) for store in stores]
    await asyncio.gather(*(players.run(index, calls) for index in range(clients)))
    written = sorted(call.revision for call in players.history if call.kind == "write" and call.revision)
    for watch, store in zip(watches, stores, strict=True):
        await store.catch_up()
        watch.close()
        shown = [event.revision async for batch in watch for event in batch]
        assert shown == written, f"seed {seed}"
    return players.history


@pytest.mark.parametrize("seed", range(2))
async def test_clients_see_one_register_a_key(make_backend: MakeBackend, seed: int) -> None:
    is_shared = make_backend().__class__.__name__ == "EtcdBackend"
    async with opened(make_backend, 3 if is_shared else 1) as stores:
        history = await play(stores, seed, clients=8, calls=30, keys=3)
    assert find_violations(history) == [], f"seed {seed}"
    assert misordered(history) == [], f"seed {seed}"
    assert sum(call.is_lost for call in history) > 5  # they did get into each other's way
    assert sum(call.kind == "write" and not call.is_lost for call in history) > 25


class Stale(Store):
    """A store that does not wait for what other servers acknowledged."""

    async def catch_up(self) -> None:
        """Do nothing."""


class Forgetful(Store):
    """A store that acknowledges an update now and then that it does not make."""

    updates = 0

    async def update(self, key: bytes, value: bytes, *, expected: Revision) -> Entry | Conflict:
        """Lose each seventh."""
        self.updates += 1
        if self.updates % 7:
            return await super().update(key, value, expected=expected)
        return Entry(key, value, ABSENT, self.revision)


@pytest.mark.parametrize("make_backend", ["memory", "sqlite"], indirect=True)
async def test_an_acknowledged_write_that_is_not_there_is_found(make_backend: MakeBackend) -> None:
    store = Forgetful(make_backend(), extract=extract)
    await store.open()
    players = Clients([store], Random(1), 2)
    await asyncio.gather(*(players.run(index, 40) for index in range(4)))
    await store.aclose()
    assert find_violations(players.history)


@pytest.mark.parametrize("make_backend", ["etcd"], indirect=True)
async def test_reads_that_do_not_wait_for_other_servers_are_found(make_backend: MakeBackend) -> None:
    found: list[str] = []
    for seed in range(20):  # how far behind a server is depends on the machine
        backend = make_backend()
        async with opened(make_backend, 1) as stores:
            stale = Stale(backend, extract=extract)
            await stale.open()
            players = Clients([*stores, stale], Random(seed), 1)
            await asyncio.gather(*(players.run(index, 12) for index in range(8)))
            await stale.aclose()
        found = find_violations(players.history)
        if found:
            break
    assert found
