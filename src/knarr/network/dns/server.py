"""Listens for questions on UDP and TCP.

Source: RFC 1035 section 4.2, RFC 7766 (TCP).
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from knarr.control.informer import Informers
from knarr.kit import tasks
from knarr.kit.clock import Clock
from knarr.network.dns.responder import Responder
from knarr.network.dns.upstream import Upstream
from knarr.network.dns.view import ClusterView
from knarr.network.dns.zone import Zone

SYNC_S = 4.0
"""How long a question waits for the first reading of the cluster: less than the asker's patience."""
TCP_IDLE_S = 10.0
RUNNING_LIMIT = 2000
"""Most questions that are being answered at a time; more are dropped, and asked again."""
IP_FREEBIND = 15
"""Socket option of Linux: bind to an address that is not there yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a DNS server works with.

    Attributes:
        informers: Of the node's client; shared with the proxy.
        clock: Ages cached answers.
        address: Where it listens; the address may come into being later.
        port: 53, except in tests.
        domain: The cluster's domain ("cluster.local").
        service_cidr: Range of Service addresses, for reverse names.
        pod_cidr: Range of pod addresses, for reverse names.
        resolv_conf: Names the servers that answer for everything else.
        upstream_port: 53, except in tests.
    """

    informers: Informers
    clock: Clock
    address: str
    port: int = 53
    domain: str = "cluster.local"
    service_cidr: str = "10.96.0.0/16"
    pod_cidr: str = "10.244.0.0/16"
    resolv_conf: Path = Path("/etc/resolv.conf")
    upstream_port: int = 53


class Dns:
    """A running DNS server; made by `open_dns`."""

    def __init__(self, config: Config, supervisor: tasks.Supervisor) -> None:
        self._config = config
        self._supervisor = supervisor
        self._view = ClusterView(config.informers)
        ranges = tuple(ipaddress.ip_network(one) for one in (config.service_cidr, config.pod_cidr))
        zone = Zone(config.domain, config.address, ranges)
        self.upstream = Upstream(
            config.resolv_conf, config.clock, own_address=config.address, port=config.upstream_port
        )
        self.responder = Responder(zone, self._view, self.upstream, config.clock, self._wait_briefly)
        self._view.on_change(self.responder.forget)
        self._listening = asyncio.Event()
        self._running = 0

    @property
    def is_ready(self) -> bool:
        """Whether it answers for everything in the cluster."""
        return self._listening.is_set() and self._view.is_synced

    async def wait_ready(self) -> None:
        """Wait until it answers for everything in the cluster."""
        await self._listening.wait()
        await self._view.wait_synced()

    async def run(self) -> None:
        """Listen until cancelled.

        Raises:
            OSError: The address cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        with (
            _open_socket(socket.SOCK_DGRAM, self._config) as udp,
            _open_socket(socket.SOCK_STREAM, self._config) as tcp,
        ):
            transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), sock=udp.dup())
            server = await asyncio.start_server(self._serve_tcp, sock=tcp.dup())
            self._listening.set()
            try:
                await loop.create_future()
            finally:
                self._listening.clear()
                transport.close()
                server.close()

    def start_answering(self, transport: asyncio.DatagramTransport, data: bytes, address: tuple[str, int]) -> None:
        """Answer a UDP question that needs some time."""
        if self._running >= RUNNING_LIMIT:
            return
        self._running += 1
        task = self._supervisor.once("answer", self._answer(transport, data, address))
        task.add_done_callback(self._ended)

    def _ended(self, _task: object) -> None:
        self._running -= 1

    async def _answer(self, transport: asyncio.DatagramTransport, data: bytes, address: tuple[str, int]) -> None:
        reply = await self.responder.respond(data, is_udp=True)
        if reply is not None and not transport.is_closing():
            transport.sendto(reply, address)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(TCP_IDLE_S):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(size)
                reply = self.responder.respond_nowait(data, is_udp=False)
                reply = reply or await self.responder.respond(data, is_udp=False)
                if reply is None:
                    return
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _wait_briefly(self) -> None:
        if not self._view.is_synced:
            async with asyncio.timeout(SYNC_S):
                await self._view.wait_synced()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, dns: Dns) -> None:
        self._dns = dns
        self._responder = dns.responder

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._responder.respond_nowait(data, is_udp=True)
        if reply is not None:
            self._transport.sendto(reply, addr)
        else:
            self._dns.start_answering(self._transport, data, addr)


def _open_socket(type_: socket.SocketKind, config: Config) -> socket.socket:
    made = socket.socket(socket.AF_INET, type_)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        made.bind((config.address, config.port))
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


@asynccontextmanager
async def open_dns(config: Config) -> AsyncIterator[Dns]:
    """Run cluster DNS on this node."""
    async with tasks.Supervisor("dns", clock=config.clock) as supervisor:
        dns = Dns(config, supervisor)
        supervisor.run("listen", dns.run)
        try:
            yield dns
        finally:
            await dns.upstream.aclose()
