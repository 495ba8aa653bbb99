"""Asks the machine's own DNS servers for what is not the cluster's, and remembers what they say for a short while.

Questions that are the same and come while one is on its way wait for it. That keeps load off the servers, and a loop (a server that
asks us back) ends by timing out instead of feeding itself.

Counterparts: CoreDNS's forward and cache plugins. Source: RFC 5452 (ids and ports by chance), RFC 2308 (negative caching).
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dnslib import EDNS0, QTYPE, DNSError, DNSHeader, DNSQuestion, DNSRecord

from knarr.kit import metrics
from knarr.kit.clock import Clock
from knarr.network.dns import message
from knarr.network.dns.message import Query
from knarr.network.dns.records import Code

PORT = 53
ATTEMPT_S = 2.0
"""How long one server is given; glibc asks again after 5 s, so two servers fit in."""
ATTEMPTS = 2
KEEP_S = 30
"""Answers are kept for at most this long, however long they may be."""
ENTRIES_LIMIT = 10_000
REREAD_S = 5.0
CONCURRENT_LIMIT = 1000

logger = logging.getLogger(__name__)

_HITS = metrics.PROCESS.counter("coredns_cache_hits_total", "The count of cache hits.", ("type",))
_MISSES = metrics.PROCESS.counter("coredns_cache_misses_total", "The count of cache misses.")
_FORWARDED = metrics.PROCESS.counter(
    "coredns_proxy_requests_total", "Counter of requests made per upstream.", ("proxy_name", "to", "rcode")
)


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer of another server.

    Attributes:
        record: What it said.
        taken_s: When.
        until_s: How long it may be used.
    """

    record: DNSRecord
    taken_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Server:
    """A DNS server."""

    address: str
    port: int = PORT


class Upstream:
    """The servers that a resolv.conf names.

    Args:
        resolv_conf: The file, read again when it changes.
        clock: Ages answers.
        own_address: Never asked: that is us.
        port: Where servers listen.
    """

    def __init__(self, resolv_conf: Path, clock: Clock, *, own_address: str, port: int = PORT) -> None:
        self._path = resolv_conf
        self._clock = clock
        self._own_address = own_address
        self._port = port
        self._servers: list[Server] = []
        self._read_at_s = float("-inf")
        self._stamp = 0
        self._kept: dict[tuple[object, ...], Kept] = {}
        self._asking: dict[tuple[object, ...], asyncio.Future[Kept | None]] = {}

    async def ask(self, query: Query) -> Kept | None:
        """Return the answer to a question, or None if no server gives one."""
        now = self._clock.monotonic_s()
        kept = self._kept.get(query.key)
        if kept is not None and kept.until_s > now:
            _HITS.labels("denial" if kept.record.header.rcode else "success").add()
            return kept
        asking = self._asking.get(query.key)
        if asking is None:
            _MISSES.labels().add()
            if len(self._asking) >= CONCURRENT_LIMIT:
                return None
            asking = asyncio.ensure_future(self._ask_servers(query))
            self._asking[query.key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(query.key, None))
        return await asyncio.shield(asking)

    def age_s(self, kept: Kept) -> int:
        """Return how old an answer is, in whole seconds."""
        return int(self._clock.monotonic_s() - kept.taken_s)

    async def aclose(self) -> None:
        """Give up what is on its way."""
        waiting = list(self._asking.values())
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _ask_servers(self, query: Query) -> Kept | None:
        last: DNSRecord | None = None
        for server in self._read_servers()[:ATTEMPTS]:
            try:
                async with asyncio.timeout(ATTEMPT_S):
                    record = await _exchange(server, query)
            except (TimeoutError, OSError, DNSError) as err:
                _FORWARDED.labels("forward", server.address, "FAILED").add()
                logger.debug("%s from %s: %s", query.name, server.address, err or type(err).__name__)
                self._put_last(server)
                continue
            _FORWARDED.labels("forward", server.address, str(record.header.rcode)).add()
            last = record
            if record.header.rcode not in {Code.SERVFAIL, Code.REFUSED, Code.NOTIMP}:
                break
        return self._keep(query, last) if last is not None else None

    def _keep(self, query: Query, record: DNSRecord) -> Kept:
        now = self._clock.monotonic_s()
        if record.header.rcode == Code.NOERROR and record.rr:
            keep_s = message.lowest_ttl(record.rr)
        elif record.header.rcode in {Code.NOERROR, Code.NXDOMAIN}:
            soas = [one for one in record.auth if one.rtype == QTYPE.SOA]
            keep_s = min((min(one.ttl, one.rdata.times[4]) for one in soas), default=0)
        else:
            keep_s = 0
        kept = Kept(record, now, now + min(keep_s, KEEP_S))
        if keep_s:
            if len(self._kept) >= ENTRIES_LIMIT:
                self._kept = {key: one for key, one in self._kept.items() if one.until_s > now}
                if len(self._kept) >= ENTRIES_LIMIT:
                    self._kept.clear()
            self._kept[query.key] = kept
        return kept

    def _read_servers(self) -> Sequence[Server]:
        now = self._clock.monotonic_s()
        if now - self._read_at_s >= REREAD_S:
            self._read_at_s = now
            stamp = self._path.stat().st_mtime_ns if self._path.exists() else 0
            if stamp != self._stamp:
                self._stamp = stamp
                addresses = parse_servers(self._path.read_text()) if stamp else []
                self._servers = [Server(one, self._port) for one in addresses if one != self._own_address]
                logger.info("other names are asked of %s", ", ".join(addresses) or "nobody")
        return tuple(self._servers)

    def _put_last(self, server: Server) -> None:
        if server in self._servers:
            self._servers.remove(server)
            self._servers.append(server)


def parse_servers(text: str) -> list[str]:
    """Return the addresses of the name servers in a resolv.conf."""
    words = (line.split() for line in text.splitlines())
    return [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]


async def _exchange(server: Server, query: Query) -> DNSRecord:
    """Ask one server over UDP, and over TCP if the answer does not fit."""
    record = await _exchange_udp(server, query)
    return await _exchange_tcp(server, query) if record.header.tc else record


def _question(query: Query) -> DNSRecord:
    header = DNSHeader(id=secrets.randbelow(1 << 16), rd=1)
    header.cd = int(query.checking_disabled)
    asked = DNSRecord(header, q=DNSQuestion(query.name, query.type))
    asked.add_ar(EDNS0(udp_len=message.UDP_BYTES, flags="do" if query.wants_dnssec else ""))
    return asked


def _is_answer(asked: DNSRecord, data: bytes) -> DNSRecord | None:
    """Return the answer if it is one to this very question, None for anything else that strayed or was forged."""
    try:
        record = DNSRecord.parse(data)
    except (DNSError, ValueError, IndexError):
        return None
    if not record.header.qr or record.header.id != asked.header.id:
        return None
    if record.questions and (record.q.qname != asked.q.qname or record.q.qtype != asked.q.qtype):
        return None
    return record


async def _exchange_udp(server: Server, query: Query) -> DNSRecord:
    asked = _question(query)
    answered: asyncio.Future[DNSRecord] = asyncio.get_running_loop().create_future()

    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _address: object) -> None:
            record = _is_answer(asked, data)
            if record is not None and not answered.done():
                answered.set_result(record)

        def error_received(self, exc: Exception) -> None:
            if not answered.done():
                answered.set_exception(exc)

    address = (server.address, server.port)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Protocol, remote_addr=address)
    try:
        transport.sendto(asked.pack())
        return await answered
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def _open_tcp(server: Server) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(server.address, server.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _exchange_tcp(server: Server, query: Query) -> DNSRecord:
    asked = _question(query)
    async with _open_tcp(server) as (reader, writer):
        data = bytes(asked.pack())
        writer.write(len(data).to_bytes(2, "big") + data)
        try:
            size = int.from_bytes(await reader.readexactly(2), "big")
            record = _is_answer(asked, await reader.readexactly(size))
        except asyncio.IncompleteReadError as err:
            raise ConnectionError(f"{server.address} closed the connection") from err
    if record is None:
        raise ConnectionError(f"{server.address} answered something else")
    return record
