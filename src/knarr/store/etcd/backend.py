"""A backend that any number of servers share: an etcd v3 cluster.

Writes are transactions that compare a key's mod_revision, reads are confirmed by etcd's quorum. What stands is kept here as well and
follows etcd's watch (see `feed`): a write returns once this server has seen it, and `catch_up` once this server has seen
everything that any server had acknowledged. The revision is etcd's own.

Counterpart: k8s.io/apiserver/pkg/storage/etcd3 (v1.37).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from ssl import SSLContext

from grpclib.const import Status

from knarr.store.backend import LATEST, Conflict, Deliver, Entry, Event, Range, Revision, Ticket, revision_of
from knarr.store.errors import Closed, Compacted, Corrupt, FutureRevision, TooLarge, Unavailable
from knarr.store.etcd import compactor, feed, origin
from knarr.store.etcd import etcd_pb2 as pb
from knarr.store.etcd import layout as layouts
from knarr.store.etcd.client import Client, Refused
from knarr.store.etcd.endpoints import Address
from knarr.store.etcd.feed import Feed, Lost
from knarr.store.etcd.turns import Turns

logger = logging.getLogger(__name__)

PAGE_KEYS = 1000
"""Keys read at a time."""
CLOSE_S = 5.0
"""How long the writes under way are waited for at the end."""
PROTOBUF = b"k8s\x00"
"""How values begin that kube-apiserver stored in its own default form."""
BEHIND_S = 5.0
"""How long a read waits for the watch to catch up."""


class EtcdBackend:
    """A `Backend` on etcd."""

    def __init__(self, address: Address, tls: SSLContext | None = None) -> None:
        """Prepare a backend; `open` connects.

        Args:
            address: The members and the prefix.
            tls: What to trust and to show; None speaks in the clear.
        """
        self._layout = layouts.Layout(address.prefix)
        self._client = Client(address.endpoints, tls)
        self._feed = Feed(self._client, self._layout, self.read_everything)
        self._compactor = compactor.Compactor(self._client, self._layout)
        self._since = Revision(0)
        self._turns = Turns()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_open = False
        self._reading: asyncio.Task[None] | None = None
        self._next_reading: asyncio.Task[None] | None = None

    @property
    def revision(self) -> Revision:
        """The newest revision that was delivered here."""
        return self._feed.revision

    @property
    def compacted(self) -> Revision:
        """The oldest revision that can be read, as far as is known here."""
        return max(self._feed.compacted, self._compactor.compacted, self._since)

    async def open(self, deliver: Deliver, *, on_gap: Callable[[], None] | None = None) -> Range:
        """Connect, read everything and follow.

        Raises:
            Unavailable: No member answers.
        """
        everything = await self.read_everything()
        self._feed.start(everything, deliver, on_gap)
        self._tasks = [
            asyncio.create_task(self._feed.run(), name="etcd watch"),
            asyncio.create_task(self._client.keep_healthy(), name="etcd health"),
        ]
        self._is_open = True
        return everything

    async def get(self, key: bytes) -> Entry | None:
        """Read one key, from etcd."""
        answer = await self._range(pb.RangeRequest(key=self._layout.to_etcd(key)))
        return self._layout.to_entry(answer.kvs[0]) if answer.kvs else None

    async def list_range(self, start: bytes, end: bytes, *, revision: Revision = LATEST, limit: int = 0) -> Range:
        """Read the live keys of [start, end) as they stood at one revision, from etcd.

        Raises:
            Compacted: `revision` is older than the last compaction.
            FutureRevision: `revision` has not happened yet.
        """
        if revision and revision < self.compacted:
            raise Compacted(revision, self.compacted)
        first, last = self._layout.to_range(start, end)
        entries: list[Entry] = []
        while first < last:
            step = min(PAGE_KEYS, limit - len(entries)) if limit else PAGE_KEYS
            theirs = self._layout.to_theirs(revision)
            answer = await self._range(pb.RangeRequest(key=first, range_end=last, limit=step, revision=theirs))
            revision = revision or self._layout.to_ours(answer.header.revision)
            entries += map(self._layout.to_entry, answer.kvs)
            if not answer.more or len(entries) == limit:
                return Range(entries, revision, answer.more)
            first = answer.kvs[-1].key + b"\x00"
        return Range(entries, revision or self.revision)

    async def list_events(self, start: bytes, end: bytes, *, after: Revision, until: Revision) -> list[Event]:
        """Read the changes of [start, end) with after < revision <= until, by a watch of the past.

        Raises:
            Compacted: `after` is older than the last compaction.
        """
        if after < self.compacted:
            raise Compacted(after, self.compacted)
        until = min(until, self.revision)
        if after >= until:
            return []
        try:
            events = await self._replay(after, until)
        except Lost as err:
            raise Compacted(after, self._layout.to_ours(err.compacted)) from err
        except Refused as err:
            raise Unavailable(str(self._client), err.message) from err
        return [event for event in events if start <= event.key and (not end or event.key < end)]

    @property
    def is_ordered(self) -> bool:
        """Writes of one key take turns."""
        return True

    async def write(
        self, key: bytes, value: bytes | None, *, expected: Revision | Ticket, ticket: Ticket | None = None
    ) -> Event | Conflict:
        """Put or delete one key if it stands at `expected`; see `Backend.write`.

        Raises:
            Closed: The backend is closing.
            TooLarge: etcd takes no value of this size.
            Unavailable: Nothing was written.
            Uncertain: It may or may not have been written.
        """
        if not self._is_open:
            raise Closed
        async with self._turns.take(key):
            revision = revision_of(expected)
            if value is None and not revision:
                return Conflict(await self.get(key))
            result = await self._write(key, value, revision)
            if ticket is not None and isinstance(result, Event):
                ticket.revision = result.revision
            return result

    async def catch_up(self) -> None:
        """Wait until every write that any server acknowledged before this call has been delivered here.

        Raises:
            Unavailable: etcd's quorum does not answer.
        """
        # Those who ask together share an answer; but one that was asked for before is no use to who comes later.
        if self._reading is None or self._reading.done():
            self._reading = self._begin(self._confirm())
            await asyncio.shield(self._reading)
            return
        if self._next_reading is None or self._next_reading.done():
            self._next_reading = self._begin(self._confirm_after(self._reading))
        await asyncio.shield(self._next_reading)

    async def compact(self, revision: Revision) -> None:
        """Let etcd forget what was superseded at or before `revision`, unless another server does so now."""
        revision = min(revision, self.revision)
        if revision > self.compacted:
            await self._compactor.compact(revision)

    async def aclose(self) -> None:
        """Finish the writes under way and let go of the connection."""
        self._is_open = False
        with suppress(TimeoutError):  # with etcd away there is nothing to wait for
            async with asyncio.timeout(CLOSE_S):
                await self._turns.wait_idle()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._client.close()

    async def _write(self, key: bytes, value: bytes | None, expected: Revision) -> Event | Conflict:
        place = self._layout.to_etcd(key)
        previous = self._feed.live.get(key)
        is_known = (previous.modified if previous else 0) == expected
        change = pb.RequestOp()
        if value is None:
            change.request_delete_range.CopyFrom(pb.DeleteRangeRequest(key=place, prev_kv=not is_known))
        else:
            change.request_put.CopyFrom(pb.PutRequest(key=place, value=value, prev_kv=not is_known))
        request = pb.TxnRequest(
            compare=[pb.Compare(target=pb.Compare.MOD, key=place, mod_revision=self._layout.to_theirs(expected))],
            success=[change],
            failure=[pb.RequestOp(request_range=pb.RangeRequest(key=place))],
        )
        try:
            answer = await self._client.write("KV/Txn", request, pb.TxnResponse)
        except Refused as err:
            if "too large" in err.message:
                raise TooLarge(len(value or b""), 3 << 19) from err
            raise Unavailable(str(self._client), err.message) from err
        if not answer.succeeded:
            found = answer.responses[0].response_range.kvs
            return Conflict(self._layout.to_entry(found[0]) if found else None)
        if not is_known and expected:
            done = answer.responses[0]
            before = done.response_delete_range.prev_kvs[0] if value is None else done.response_put.prev_kv
            previous = self._layout.to_entry(before)
        elif not expected:
            previous = None
        revision = self._layout.to_ours(answer.header.revision)
        entry = None
        if value is not None:
            created = previous.created if previous else revision
            entry = Entry(key, layouts.stamped(value, revision), created, revision)
        event = Event(revision, key, entry, previous)
        self._feed.offer(event)
        await self._feed.wait(revision)
        return event

    @staticmethod
    def _begin(reading: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(reading, name="etcd confirmed read")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # all who asked may have gone
        return task

    async def _confirm(self) -> None:
        first, _ = self._layout.to_range(b"", b"")
        answer = await self._range(pb.RangeRequest(key=first, count_only=True))
        try:
            async with asyncio.timeout(BEHIND_S):
                await self._feed.wait(self._layout.to_ours(answer.header.revision))
        except TimeoutError as err:
            raise Unavailable(str(self._client), "this server has not caught up with it") from err

    async def _confirm_after(self, earlier: asyncio.Task[None]) -> None:
        await asyncio.wait([earlier])
        self._reading, self._next_reading = self._next_reading, None
        await self._confirm()

    async def _range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        try:
            return await self._client.read("KV/Range", request, pb.RangeResponse)
        except Refused as err:
            if err.status is not Status.OUT_OF_RANGE:
                raise Unavailable(str(self._client), err.message) from err
            asked = self._layout.to_ours(request.revision)
            if "compacted" not in err.message:
                raise FutureRevision(asked, self.revision) from err
            await self._compactor.look()
            raise Compacted(asked, max(self.compacted, asked + 1)) from err

    async def read_everything(self) -> Range:
        """Read everything that lives; this alone needs no `open`.

        Raises:
            Corrupt: The objects were not brought in to the end.
            Unavailable: No member answers.
        """
        found = await origin.read(self._client, self._layout.prefix)
        self._layout.offset, self._since = found.offset, Revision(found.since)
        await self._compactor.look()
        everything = await self.list_range(b"", b"")
        foreign = next((one for one in everything.entries if one.value.startswith(PROTOBUF)), None)
        if foreign is not None:
            raise Corrupt(
                str(self._client),
                f"{foreign.key.decode()} is protobuf: let kube-apiserver write everything anew with "
                "--storage-media-type=application/json first",
            )
        return everything

    async def _replay(self, after: Revision, until: Revision) -> list[Event]:
        found: list[Event] = []
        start, last = self._layout.to_theirs(after) + 1, self._layout.to_theirs(until)
        async with self._client.open_stream("Watch/Watch", pb.WatchRequest, pb.WatchResponse) as stream:
            wanted = pb.WatchCreateRequest(
                key=feed.FIRST, range_end=feed.ALL, start_revision=start, prev_kv=True, fragment=True
            )
            await stream.send_message(pb.WatchRequest(create_request=wanted))
            while (answer := await stream.recv_message()) is not None:
                if answer.compact_revision:
                    raise Lost(answer.compact_revision)
                for one in answer.events:
                    if one.kv.mod_revision > last:
                        break
                    if not self._layout.is_ours(one.kv.key):
                        continue
                    previous = self._layout.to_entry(one.prev_kv) if one.HasField("prev_kv") else None
                    found.append(self._layout.to_event(one, previous))
                if answer.events and answer.events[-1].kv.mod_revision >= last and not answer.fragment:
                    break
            await stream.cancel()
        return found
