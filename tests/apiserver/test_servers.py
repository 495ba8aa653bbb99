"""Servers that share a store: who lives, who is an endpoint, and whose an address is."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from random import Random

import pytest
from lightkube.models import core_v1, meta_v1

from knarr.api import errors, user
from knarr.apiserver import serviceclaims
from knarr.apiserver.config import Config
from knarr.apiserver.server import ApiServer, open_apiserver
from knarr.apiserver.servers import Beats
from knarr.client import Client, transport
from knarr.kit import clock as clocks
from knarr.store.etcd import endpoints
from knarr.store.etcd.backend import EtcdBackend
from tests.store import etcd

pytestmark = pytest.mark.skipif(not etcd.BINARY, reason=etcd.MISSING)


@contextlib.asynccontextmanager
async def open_server(member: etcd.Member, address: str, seed: int) -> AsyncIterator[tuple[ApiServer, Client]]:
    """An API server on the member; the same seed draws the same addresses."""
    config = Config(
        backend=EtcdBackend(endpoints.parse(f"etcd://{member.address}")),
        advertise_address=address,
        advertise_port=6443,
        is_shared=True,
        shutdown_delay_s=0.0,
        random=Random(seed),
        service_cidrs=("10.96.0.0/28",),
    )
    async with open_apiserver(config) as server:
        admin = user.User("admin", (user.MASTERS,))
        yield server, Client(transport.InProcessTransport(server.handler, admin))


def service(name: str, **spec: object) -> core_v1.Service:
    port = core_v1.ServicePort(port=80)
    return core_v1.Service(
        metadata=meta_v1.ObjectMeta(name=name, namespace="default"), spec=core_v1.ServiceSpec(ports=[port], **spec)
    )


def test_who_is_silent_for_some_rounds_is_dead_and_who_goes_on_is_not() -> None:
    beats = Beats(limit=3)
    assert [beats.note({"a": number, "b": 7}) for number in range(4)] == [set(), set(), set(), {"b"}]
    assert beats.note({"a": 5, "b": 8}) == set()
    assert beats.note({"a": 6}) == set()


async def addresses(client: Client) -> list[str]:
    found = await client.get(core_v1.Endpoints, "kubernetes", namespace="default")
    return [one.ip for subset in found.subsets or () for one in subset.addresses or ()]


async def test_servers_are_endpoints_until_they_stop_or_die() -> None:
    with etcd.running() as member:
        async with open_server(member, "192.0.2.1", 1) as (_, first):
            async with open_server(member, "192.0.2.2", 2) as (_, second):
                assert await addresses(first) == await addresses(second) == ["192.0.2.1", "192.0.2.2"]
            assert await addresses(first) == ["192.0.2.1"]
            async with open_server(member, "192.0.2.3", 3) as (dying, _):
                # Killed: no more signs of life, and no goodbye.
                dying.parts.store.update = _never  # type: ignore[method-assign]
                dying.parts.store.delete = _never  # type: ignore[method-assign]
                async with asyncio.timeout(15):
                    while await addresses(first) != ["192.0.2.1"]:
                        await asyncio.sleep(0.1)


async def _never(*_: object, **__: object) -> None:
    raise errors.ServiceUnavailable("this server is dead")


async def test_services_written_at_two_servers_at_once_get_different_addresses_and_ports() -> None:
    with etcd.running() as member:
        one = open_server(member, "192.0.2.1", 7)
        async with one as (server, first), open_server(member, "192.0.2.2", 7) as (_, second):
            made = await asyncio.gather(
                *(
                    client.create(service(f"s{who}-{n}", type="NodePort"))
                    for n in range(5)
                    for who, client in ((1, first), (2, second))
                )
            )
            ips = [one.spec.clusterIP for one in made if one.spec]
            ports = [port.nodePort for one in made if one.spec for port in one.spec.ports or ()]
            assert len(set(ips)) == len(set(ports)) == 10
            taken = str(ips[0])
            with pytest.raises(errors.Invalid, match="already allocated"):
                await second.create(service("thief", clusterIP=taken))
            owner = next(one for one in made if one.spec and one.spec.clusterIP == taken)
            assert owner.metadata and owner.metadata.name
            await first.delete(core_v1.Service, owner.metadata.name, namespace="default")
            again = await second.create(service("heir", clusterIP=taken))
            assert again.spec and again.spec.clusterIP == taken, "claims end with the write"
            await server.parts.store.catch_up()
            entry = server.parts.store.get(serviceclaims.KEY)
            assert entry is not None
            assert serviceclaims.live_claims(entry.value, clocks.SystemClock().now().timestamp()) == {}


def test_claims_end_by_themselves() -> None:
    value = b'{"claims":{"10.96.0.7":100.5,"30001":90.0}}'
    assert serviceclaims.live_claims(value, 95.0) == {"10.96.0.7": 100.5}
    assert serviceclaims.live_claims(b"", 0.0) == {}
