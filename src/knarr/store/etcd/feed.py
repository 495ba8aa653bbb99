"""Follows every change of etcd's, in order and without a gap, over breaks of the connection.

The whole key space is watched, not the cluster's prefix alone, so that each revision of etcd's shows up here: whoever knows that
revision r exists (a read that etcd has confirmed with its quorum, another server's answer) waits until the feed stands at r, and
sees everything up to it. That needs no progress requests, which etcd before 3.4.25 and 3.5.8 answers too early (etcd issue 15220).

Counterpart: k8s.io/apiserver/pkg/storage/etcd3/watcher.go and pkg/storage/cacher (v1.37).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from heapq import heappop, heappush
from itertools import count

from knarr.store.backend import Deliver, Entry, Event, Range, Revision
from knarr.store.errors import StoreError, Unavailable
from knarr.store.etcd import etcd_pb2 as pb
from knarr.store.etcd import origin
from knarr.store.etcd.client import Client, Refused
from knarr.store.etcd.layout import Layout

logger = logging.getLogger(__name__)

FIRST = ALL = b"\x00"
"""The range of every key there is."""
PAUSE_S = 0.05
PAUSE_MOST_S = 1.0


class Lost(Exception):
    """Raised when what would come next is not to be had: etcd has forgotten it, or everything was replaced.

    Attributes:
        compacted: The oldest revision, of etcd's, that can still be read.
    """

    def __init__(self, compacted: int) -> None:
        super().__init__(f"etcd has nothing to show from before its revision {compacted}")
        self.compacted = compacted


class Feed:
    """What stands, as far as it is known here, and the one place that moves it on."""

    def __init__(self, client: Client, layout: Layout, reread: Callable[[], Awaitable[Range]]) -> None:
        """Prepare a feed.

        Args:
            client: The connection.
            layout: Which keys are ours.
            reread: Reads everything that stands now, for when etcd has forgotten what came between.
        """
        self.live: dict[bytes, Entry] = {}
        self.revision = Revision(0)
        self.compacted = Revision(0)
        self._client = client
        self._layout = layout
        self._origin = origin.key(layout.prefix)
        self._reread = reread
        self._deliver: Deliver | None = None
        self._on_gap: Callable[[], None] | None = None
        self._waiting: list[tuple[Revision, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def start(self, everything: Range, deliver: Deliver, on_gap: Callable[[], None] | None) -> None:
        """Stand at a state; `run` follows from there."""
        self.live = {entry.key: entry for entry in everything.entries}
        self.revision = everything.revision
        self._deliver = deliver
        self._on_gap = on_gap

    async def run(self) -> None:
        """Follow until cancelled."""
        pause = PAUSE_S
        while True:
            before = self.revision
            try:
                await self._follow()
                why = "etcd ended the watch"
            except Lost as err:
                self.compacted = max(self.compacted, self._layout.to_ours(err.compacted))
                logger.warning("%s, and this server stood at %d: it reads everything again", err, self.revision)
                try:
                    self._replace(await self._reread())
                    continue
                except StoreError as second:
                    why = str(second)
            except Refused as err:
                why = str(err)
            except Unavailable as err:
                why = err.why
            pause = PAUSE_S if self.revision > before else min(2 * pause, PAUSE_MOST_S)
            logger.warning("the watch of %s broke and is taken up again at %d: %s", self._client, self.revision, why)
            await asyncio.sleep(pause)

    async def wait(self, revision: Revision) -> None:
        """Wait until everything up to `revision` has been delivered."""
        if revision <= self.revision:
            return
        future = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (revision, next(self._numbers), future))
        await future

    def offer(self, event: Event) -> None:
        """Take an own write at once, without waiting to be told of it, if it is what comes next."""
        if event.revision == self.revision + 1:
            self._apply([event], event.revision)

    async def _follow(self) -> None:
        async with self._client.open_stream("Watch/Watch", pb.WatchRequest, pb.WatchResponse) as stream:
            start = self._layout.to_theirs(self.revision) + 1
            wanted = pb.WatchCreateRequest(
                key=FIRST, range_end=ALL, start_revision=start, progress_notify=True, fragment=True
            )
            await stream.send_message(pb.WatchRequest(create_request=wanted))
            parts: list[pb.Event] = []
            while (answer := await stream.recv_message()) is not None:
                if answer.compact_revision:
                    raise Lost(answer.compact_revision)
                if answer.canceled:
                    raise Unavailable(str(self._client), answer.cancel_reason or "etcd ended the watch")
                parts.extend(answer.events)
                if answer.fragment:
                    continue
                if parts:
                    self._take(parts)
                    parts = []
                elif not answer.created:
                    self._apply([], self._layout.to_ours(answer.header.revision))

    def _take(self, events: Sequence[pb.Event]) -> None:
        layout, found = self._layout, []
        touched: dict[bytes, Entry | None] = {}
        for one in events:
            if one.kv.key == self._origin:
                raise Lost(one.kv.mod_revision)
            if layout.to_ours(one.kv.mod_revision) <= self.revision or not layout.is_ours(one.kv.key):
                continue
            key = layout.from_etcd(one.kv.key)
            event = layout.to_event(one, touched[key] if key in touched else self.live.get(key))
            touched[key] = event.entry
            found.append(event)
        self._apply(found, layout.to_ours(events[-1].kv.mod_revision))

    def _apply(self, events: Sequence[Event], revision: Revision) -> None:
        if revision <= self.revision:
            return
        for event in events:
            if event.entry is None:
                self.live.pop(event.key, None)
            else:
                self.live[event.key] = event.entry
        self.revision = revision
        if events:
            assert self._deliver is not None
            self._deliver(events)
        while self._waiting and self._waiting[0][0] <= revision:
            future = heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)

    def _replace(self, everything: Range) -> None:
        """Go on from a new state: who watches begins anew, and the others are told the difference."""
        if self._on_gap is not None:
            self._on_gap()
        events = []
        now = {entry.key: entry for entry in everything.entries}
        for key, old in self.live.items():
            if key not in now:
                events.append(Event(everything.revision, key, None, old))
        for key, entry in now.items():
            before = self.live.get(key)
            if before is None or before.modified != entry.modified:
                events.append(Event(entry.modified, key, entry, before))
        events.sort(key=lambda event: event.revision)
        self._apply(events, everything.revision)
