"""The DNS server over real sockets on loopback, its cluster held in memory, its upstream another instance or a few lines here."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from dnslib import EDNS0, QTYPE, RCODE, RR, A, DNSRecord

from knarr.kit.clock import SystemClock
from knarr.network import dns
from tests.network.fakeapi import FakeApi, service, slice_of


def free_port() -> int:
    """Return a port that is free for UDP and TCP alike, below those that the kernel hands out to clients."""
    for port in random.SystemRandom().sample(range(20000, 32000), 100):
        with (
            contextlib.suppress(OSError),
            socket.socket(type=socket.SOCK_DGRAM) as udp,
            socket.socket(type=socket.SOCK_STREAM) as tcp,
        ):
            udp.bind(("127.0.0.1", port))
            tcp.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port on 127.0.0.1")


@contextlib.asynccontextmanager
async def open_server(api: FakeApi, folder: Path, *, upstream_port: int = 9) -> AsyncIterator[int]:
    (folder / "resolv.conf").write_text("nameserver 127.0.0.2\n" if upstream_port != 9 else "")
    async with api.open_informers() as informers:
        config = dns.Config(
            informers=informers,
            clock=SystemClock(),
            address="127.0.0.1",
            port=free_port(),
            resolv_conf=folder / "resolv.conf",
            upstream_port=upstream_port,
        )
        async with dns.open_dns(config) as opened:
            await asyncio.wait_for(opened.wait_ready(), 5)
            yield config.port


@contextlib.asynccontextmanager
async def open_upstream(answers: dict[str, list[str]], asked: list[str]) -> AsyncIterator[int]:
    """A server on 127.0.0.2 that knows some addresses; what it does not know does not exist."""

    class Protocol(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            request = DNSRecord.parse(data)
            name = str(request.q.qname).rstrip(".")
            asked.append(name)
            reply = request.reply()
            found = answers.get(name)
            if found is None:
                reply.header.rcode = RCODE.NXDOMAIN
            for address in found or ():
                reply.add_answer(RR(name, QTYPE.A, ttl=300, rdata=A(address)))
            self.transport.sendto(reply.pack(), addr)

    port = free_port()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Protocol, local_addr=("127.0.0.2", port))
    yield port
    transport.close()


async def ask(port: int, question: DNSRecord | bytes) -> DNSRecord:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(("127.0.0.1", port))
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, question if isinstance(question, bytes) else question.pack())
        return DNSRecord.parse(await asyncio.wait_for(loop.sock_recv(client, 65536), 5))


async def ask_tcp(port: int, question: DNSRecord) -> DNSRecord:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = question.pack()
    writer.write(len(data).to_bytes(2, "big") + data)
    size = int.from_bytes(await reader.readexactly(2), "big")
    reply = DNSRecord.parse(await reader.readexactly(size))
    writer.close()
    await writer.wait_closed()
    return reply


def addresses(reply: DNSRecord) -> list[str]:
    return [str(one.rdata) for one in reply.rr if one.rtype == QTYPE.A]


def cluster() -> FakeApi:
    api = FakeApi()
    for name in ("default", "kube-system"):
        api.put("namespaces", {"metadata": {"name": name}})
    api.put("services", service("web", [{"name": "http", "port": 80}], clusterIP="10.96.0.5"))
    api.put("services", service("db", [{"name": "sql", "port": 5432}], clusterIP="None"))
    api.put("endpointslices", slice_of("db", [f"10.244.0.{n}" for n in range(2, 62)], [{"name": "sql", "port": 5432}]))
    return api


async def test_service_changes_show_at_once(tmp_path: Path) -> None:
    api = cluster()
    name = "Web.default.svc.cluster.local"
    async with open_server(api, tmp_path) as port:
        for _ in range(2):  # once worked out, once kept
            reply = await ask(port, DNSRecord.question(name))
            assert addresses(reply) == ["10.96.0.5"]
            assert reply.header.aa and str(reply.rr[0].rname) == f"{name}.", "spelled as asked"
        api.put("services", service("web", [{"name": "http", "port": 80}], clusterIP="10.96.0.7"))
        await asyncio.sleep(0.05)
        assert addresses(await ask(port, DNSRecord.question(name))) == ["10.96.0.7"]
        api.remove("services", "default", "web")
        await asyncio.sleep(0.05)
        reply = await ask(port, DNSRecord.question(name))
        assert reply.header.rcode == RCODE.NXDOMAIN
        assert [one.rtype for one in reply.auth] == [QTYPE.SOA]


async def test_big_answers_are_cut_on_udp_and_whole_on_tcp(tmp_path: Path) -> None:
    name = "db.default.svc.cluster.local"
    async with open_server(cluster(), tmp_path) as port:
        plain = await ask(port, DNSRecord.question(name))
        assert plain.header.tc
        assert 10 < len(addresses(plain)) < 60
        assert len(plain.pack()) <= 512
        extended = DNSRecord.question(name)
        extended.add_ar(EDNS0(udp_len=4096))
        reply = await ask(port, extended)
        assert not reply.header.tc
        assert len(addresses(reply)) == 60
        assert [one.rtype for one in reply.ar] == [QTYPE.OPT]
        assert len(addresses(await ask_tcp(port, DNSRecord.question(name)))) == 60


async def test_several_addresses_take_turns(tmp_path: Path) -> None:
    api = cluster()
    api.put(
        "endpointslices", slice_of("db", ["10.244.0.2", "10.244.0.3", "10.244.0.4"], [{"name": "sql", "port": 5432}])
    )
    async with open_server(api, tmp_path) as port:
        firsts = {addresses(await ask(port, DNSRecord.question("db.default.svc.cluster.local")))[0] for _ in range(6)}
        assert firsts == {"10.244.0.2", "10.244.0.3", "10.244.0.4"}


async def test_other_names_are_forwarded_and_kept(tmp_path: Path) -> None:
    asked: list[str] = []
    async with (
        open_upstream({"example.com": ["192.0.2.80"]}, asked) as upstream,
        open_server(cluster(), tmp_path, upstream_port=upstream) as port,
    ):
        for _ in range(3):
            reply = await ask(port, DNSRecord.question("example.com"))
            assert addresses(reply) == ["192.0.2.80"]
            assert not reply.header.aa and reply.header.ra
        assert asked == ["example.com"]
        replies = await asyncio.gather(*(ask(port, DNSRecord.question("none.example.com")) for _ in range(5)))
        assert {reply.header.rcode for reply in replies} == {RCODE.NXDOMAIN}
        assert asked == ["example.com", "none.example.com"], "the same question is asked once"


async def test_external_names_are_followed(tmp_path: Path) -> None:
    api = cluster()
    api.put("services", service("out", [], type="ExternalName", externalName="example.com."))
    api.put("services", service("inner", [], type="ExternalName", externalName="web.default.svc.cluster.local"))
    api.put("services", service("loop", [], type="ExternalName", externalName="loop.default.svc.cluster.local"))
    async with (
        open_upstream({"example.com": ["192.0.2.80"]}, []) as upstream,
        open_server(api, tmp_path, upstream_port=upstream) as port,
    ):
        reply = await ask(port, DNSRecord.question("out.default.svc.cluster.local"))
        assert [(one.rtype, str(one.rdata)) for one in reply.rr] == [
            (QTYPE.CNAME, "example.com."),
            (QTYPE.A, "192.0.2.80"),
        ]
        assert addresses(await ask(port, DNSRecord.question("inner.default.svc.cluster.local"))) == ["10.96.0.5"]
        assert len((await ask(port, DNSRecord.question("loop.default.svc.cluster.local"))).rr) < 20


async def test_no_upstream_is_a_server_failure(tmp_path: Path) -> None:
    async with open_server(cluster(), tmp_path) as port:
        assert (await ask(port, DNSRecord.question("example.com"))).header.rcode == RCODE.SERVFAIL


@pytest.mark.parametrize(
    ("mangle", "code"),
    [
        (lambda data: data[:2] + b"\x28\x00" + data[4:], RCODE.NOTIMP),  # an update
        (lambda data: data[:4] + b"\x00\x00" + data[6:12], RCODE.FORMERR),  # no question
        (lambda data: data[:20], RCODE.FORMERR),  # cut short
        (lambda data: data[:-2] + b"\x00\x03", RCODE.REFUSED),  # class CHAOS
    ],
)
async def test_bad_questions(mangle: Any, code: int, tmp_path: Path) -> None:
    async with open_server(cluster(), tmp_path) as port:
        data = bytes(mangle(bytes(DNSRecord.question("web.default.svc.cluster.local").pack())))
        assert (await ask(port, data)).header.rcode == code
