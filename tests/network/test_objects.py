import asyncio
from pathlib import Path

from lightkube.models import core_v1, discovery_v1

from knarr.api.user import User
from knarr.apiserver.config import Config
from knarr.apiserver.server import open_apiserver
from knarr.client import Client
from knarr.client.transport import InProcessTransport
from knarr.control.informer import Informers
from knarr.kit.clock import SystemClock
from knarr.network import dns, objects
from knarr.store.memory import MemoryBackend
from tests.network.test_dns_server import DNSRecord, addresses, ask, free_port

ADMIN = User("admin", ("system:masters",))
NODE = User("system:node:n1", ("system:nodes", "system:authenticated"))


async def test_a_node_may_read_what_it_serves_and_dns_finds_itself(tmp_path: Path) -> None:
    async with open_apiserver(Config(backend=MemoryBackend())) as server:
        admin = Client(InProcessTransport(server.handler, ADMIN))
        for _ in range(2):  # again and again, at each start
            await objects.ensure(admin, dns_address="10.96.0.10")
        made = await admin.get(core_v1.Service, "kube-dns", namespace="kube-system")
        assert made.spec and made.spec.clusterIP == "10.96.0.10"
        slices = await admin.list(discovery_v1.EndpointSlice, namespace="kube-system")
        assert [one.endpoints[0].addresses for one in slices.items if one.endpoints] == [["10.96.0.10"]]
        async with Informers(Client(InProcessTransport(server.handler, NODE))) as informers:
            config = dns.Config(
                informers=informers,
                clock=SystemClock(),
                address="127.0.0.1",
                port=free_port(),
                resolv_conf=tmp_path / "none",
            )
            async with dns.open_dns(config) as opened:
                await asyncio.wait_for(opened.wait_ready(), 5)
                for name, address in [("kubernetes.default", "10.96.0.1"), ("kube-dns.kube-system", "10.96.0.10")]:
                    reply = await ask(config.port, DNSRecord.question(f"{name}.svc.cluster.local"))
                    assert addresses(reply) == [address]
