"""Backends under test: everything that a backend must do is asked of each of them."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from knarr.store.backend import Backend, Event
from knarr.store.etcd import endpoints
from knarr.store.etcd.backend import EtcdBackend
from knarr.store.memory import MemoryBackend
from knarr.store.query import Attributes
from knarr.store.sqlite import SqliteBackend
from knarr.store.store import Store
from tests.store import etcd

MakeBackend = Callable[[], Backend]


@pytest.fixture(scope="session")
def etcd_member() -> Iterator[etcd.Member]:
    """One etcd for all tests of a run, each of which has a prefix of its own there."""
    if not etcd.BINARY:
        pytest.skip(etcd.MISSING)
    with etcd.running() as member:
        yield member


@pytest.fixture(params=["memory", "sqlite", "etcd"])
def make_backend(request: pytest.FixtureRequest, tmp_path: Path) -> MakeBackend:
    if request.param == "memory":
        return MemoryBackend
    if request.param == "sqlite":
        return lambda: SqliteBackend(tmp_path / "state.db")
    member: etcd.Member = request.getfixturevalue("etcd_member")
    address = endpoints.parse(f"etcd://{member.address}/test-{uuid.uuid4().hex}")
    return lambda: EtcdBackend(address)


class Feed(list[Event]):
    """Everything delivered, and the sizes of the deliveries."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def deliver(self, events: Sequence[Event]) -> None:
        self.batches.append(len(events))
        self.extend(events)


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
async def backend(make_backend: MakeBackend, feed: Feed) -> AsyncIterator[Backend]:
    backend = make_backend()
    await backend.open(feed.deliver)
    yield backend
    await backend.aclose()


def extract(_key: bytes, value: bytes) -> Attributes:
    meta = msgspec.json.decode(value)["metadata"]
    return Attributes(meta.get("labels", {}), {"metadata.name": meta["name"], **meta.get("fields", {})})


@pytest.fixture
async def store(make_backend: MakeBackend) -> AsyncIterator[Store]:
    store = Store(make_backend(), extract=extract)
    await store.open()
    yield store
    await store.aclose()
