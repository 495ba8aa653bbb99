"""From the bytes of a question to the bytes of its answer.

Answers about the cluster are kept as bytes, by the bytes of the question, until something in the cluster changes; several addresses
take turns in being first. So a repeated question costs a look-up and a copy.
"""

import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from knarr.kit import metrics
from knarr.kit.clock import Clock
from knarr.network.dns import message
from knarr.network.dns.message import Query
from knarr.network.dns.records import Answer, Code, View
from knarr.network.dns.upstream import Upstream
from knarr.network.dns.zone import Zone

ENTRIES_LIMIT = 10_000
ALIASES_LIMIT = 8
"""Longest chain of aliases that is followed."""

_REQUESTS = metrics.PROCESS.counter(
    "coredns_dns_requests_total", "Counter of DNS requests made per zone, protocol and family.", ("proto", "type")
)
_RESPONSES = metrics.PROCESS.counter("coredns_dns_responses_total", "Counter of response status codes.", ("rcode",))
_SECONDS = metrics.PROCESS.histogram(
    "coredns_dns_request_duration_seconds", "Histogram of the time (in seconds) each request took per zone.",
    tuple(0.00025 * 2**exponent for exponent in range(16)),
)  # fmt: skip


@dataclass(slots=True)
class _Entry:
    variants: Iterator[bytes]
    requests: metrics.Count
    responses: metrics.Count


class Responder:
    """Answers questions about one zone, and has all others answered by `upstream`.

    Args:
        zone: The names that are ours.
        view: What the cluster has.
        upstream: Answers everything else.
        clock: Measures.
        wait_synced: Returns once `view` is complete, raises TimeoutError if that takes too long.
    """

    def __init__(
        self, zone: Zone, view: View, upstream: Upstream, clock: Clock, wait_synced: Callable[[], Awaitable[None]]
    ) -> None:
        self._zone = zone
        self._view = view
        self._upstream = upstream
        self._clock = clock
        self._wait_synced = wait_synced
        self._kept: dict[tuple[bytes, bool], _Entry] = {}
        self._serial = int(clock.now().timestamp())

    def forget(self) -> None:
        """Drop all kept answers, because something in the cluster has changed."""
        self._kept.clear()
        self._serial = max(self._serial + 1, int(self._clock.now().timestamp())) & 0xFFFFFFFF

    def respond_nowait(self, data: bytes, *, is_udp: bool) -> bytes | None:
        """Answer from what is kept, or return None."""
        entry = self._kept.get((data[2:], is_udp))
        if entry is None:
            return None
        entry.requests.value += 1
        entry.responses.value += 1
        return data[:2] + next(entry.variants)

    async def respond(self, data: bytes, *, is_udp: bool) -> bytes | None:
        """Answer a question given as bytes; None if there is nothing to answer."""
        query = message.parse_query(data)
        if query is None:
            return None
        began_s = self._clock.monotonic_s()
        requests = _REQUESTS.labels("udp" if is_udp else "tcp", message.type_name(query.type))
        requests.add()
        reply = await self._respond(data, query, requests, is_udp=is_udp)
        _RESPONSES.labels(message.code_name(reply)).add()
        _SECONDS.labels().observe(self._clock.monotonic_s() - began_s)
        return reply

    async def _respond(self, data: bytes, query: Query, requests: metrics.Count, *, is_udp: bool) -> bytes:
        if query.code is not Code.NOERROR:
            return message.format_error(query, query.code)
        name = query.name.lower()
        if not self._zone.is_ours(name):
            return await self._forward(query, is_udp=is_udp)
        try:
            await self._wait_synced()
        except TimeoutError:
            return message.format_error(query, Code.SERVFAIL)
        answer = self._zone.resolve(self._view, name, query.type)
        if answer is None:
            return await self._forward(query, is_udp=is_udp)
        serial = self._serial
        has_foreign = False
        if answer.follow:
            answer, has_foreign = await self._follow(query, answer)
        variants = message.format_answer(query, answer, self._zone.authority_of(name), serial=serial, is_udp=is_udp)
        if not has_foreign and serial == self._serial:
            if len(self._kept) >= ENTRIES_LIMIT:
                self._kept.clear()
            responses = _RESPONSES.labels(message.code_name(variants[0]))
            turning = itertools.cycle([one[2:] for one in variants])
            self._kept[data[2:], is_udp] = _Entry(turning, requests, responses)
        return variants[0]

    async def _follow(self, query: Query, answer: Answer) -> tuple[Answer, bool]:
        """Add the records of what an answer is an alias of; tell whether some are another server's."""
        records = list(answer.records)
        for _ in range(ALIASES_LIMIT):
            target = answer.follow
            found = self._zone.resolve(self._view, target, query.type)
            if found is None:
                kept = await self._upstream.ask(replace(query, name=target, wants_dnssec=False))
                if kept is not None:
                    records += message.to_records(kept.record)
                return Answer(tuple(records)), True
            records += found.records
            if not found.follow:
                return Answer(tuple(records)), False
            answer = found
        return Answer(tuple(records)), False

    async def _forward(self, query: Query, *, is_udp: bool) -> bytes:
        kept = await self._upstream.ask(query)
        if kept is None:
            return message.format_error(query, Code.SERVFAIL)
        return message.format_forwarded(query, kept.record, age_s=self._upstream.age_s(kept), is_udp=is_udp)
