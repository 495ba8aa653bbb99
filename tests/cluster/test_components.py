"""Controllers and scheduler work where they lead, and only there."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

from lightkube.models import coordination_v1

from knarr.api import user
from knarr.apiserver.config import Config
from knarr.apiserver.server import ApiServer, open_apiserver
from knarr.client import Client, transport
from knarr.cluster import components
from knarr.control import context as contexts
from knarr.controllers import roster
from knarr.kit.clock import FakeClock
from knarr.kit.tasks import Supervisor
from knarr.scheduler import scheduler
from knarr.store.memory import MemoryBackend

STARTS = ((components.CONTROLLERS, roster.run), (components.SCHEDULER, scheduler.run))


@contextlib.asynccontextmanager
async def open_server(clock: FakeClock) -> AsyncIterator[tuple[ApiServer, Client]]:
    async with open_apiserver(Config(backend=MemoryBackend(), clock=clock, random=Random(1))) as server:
        yield server, Client(transport.InProcessTransport(server.handler, user.User("admin", (user.MASTERS,))))


def run(server: ApiServer, tasks: Supervisor, clock: FakeClock, who: str, *, is_shared: bool = True) -> None:
    options = contexts.Options(cluster_cidr="10.244.0.0/16")
    components.run(
        tasks, server.handler, STARTS, identity=who, is_shared=is_shared, clock=clock, random=Random(2), options=options
    )


async def holders(client: Client) -> set[str]:
    leases = (await client.list(coordination_v1.Lease, namespace="kube-system")).items
    ours = (components.CONTROLLERS, components.SCHEDULER)
    found = [one for one in leases if one.metadata and one.metadata.name in ours]
    return {one.spec.holderIdentity or "" for one in found if one.spec}


async def test_a_server_alone_leads_at_once_and_at_once_again_after_it_was_killed() -> None:
    clock = FakeClock()
    async with open_server(clock) as (server, client):
        for _ in range(2):
            tasks = Supervisor(clock=clock)
            run(server, tasks, clock, "a", is_shared=False)
            await clock.advance(0.1)
            assert await holders(client) == {"a"}
            assert len((await client.list(coordination_v1.Lease, namespace="kube-system")).items) >= 2
            server.parts.registry.update, kept = _refuse, server.parts.registry.update  # no goodbye is heard
            await tasks.aclose()
            server.parts.registry.update = kept


async def _refuse(*_: object) -> None:
    raise AssertionError


async def test_another_server_stands_by_and_takes_over_when_the_first_stops() -> None:
    clock = FakeClock()
    async with open_server(clock) as (server, client), Supervisor(clock=clock) as second:
        async with Supervisor(clock=clock) as first:
            run(server, first, clock, "a")
            await clock.advance(0.1)
            run(server, second, clock, "b")
            await clock.advance(20)
            assert await holders(client) == {"a"}
        assert await holders(client) == {""}, "who stops says so"
        await clock.advance(5)
        assert await holders(client) == {"b"}


def test_a_server_is_the_same_after_each_start(tmp_path: Path) -> None:
    first = components.read_identity(tmp_path / "identity")
    assert components.read_identity(tmp_path / "identity") == first
    assert (tmp_path / "identity").stat().st_mode & 0o777 == 0o600
    assert components.read_identity(tmp_path / "other") != first
