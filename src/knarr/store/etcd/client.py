"""Calls to an etcd cluster over gRPC, with fail-over between its members.

One connection is in use at a time. It is given up when a call on it breaks, when the member behind it has no leader (every call says
`hasleader`, so that a member cut off from the others refuses at once), or when it does not answer a status request, as one
that is paused. What a read asks is asked again elsewhere; a write that may have been made is not: it ends as Uncertain.

Counterpart: go.etcd.io/etcd/client/v3 (balancer, retry interceptor).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any, TypeVar

from google.protobuf.message import Message
from grpclib.client import Channel, Stream
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from knarr.store.errors import Unavailable, Uncertain
from knarr.store.etcd import etcd_pb2 as pb
from knarr.store.etcd import hints
from knarr.store.etcd.endpoints import Endpoint

logger = logging.getLogger(__name__)

READ_S = 10.0
"""How long a read is tried before it fails."""
WRITE_S = 10.0
"""How long a write is waited for."""
ATTEMPT_S = 3.0
"""How long one member may take for a read before the next one is asked."""
CONNECT_S = 2.0
STATUS_EVERY_S = 1.0
STATUS_S = 2.5
LAG_S = 0.25
"""A process whose timers are later than this does not judge others by their slowness."""
PAUSE_S = 0.05
"""Between rounds over all members; it doubles up to half a second."""

BROKEN = (OSError, StreamTerminatedError, ProtocolError, TimeoutError, AttributeError)
"""How a broken connection shows; grpclib raises AttributeError for a channel that is closed under a call."""
_ELSEWHERE = (Status.UNAVAILABLE, Status.CANCELLED, Status.DEADLINE_EXCEEDED, Status.UNKNOWN)
"""Codes of errors that another member may not have."""
_REQUIRE_LEADER = {"hasleader": "true"}
_NEVER_PROPOSED = (
    "etcdserver: no leader",
    "etcdserver: not leader",
    "etcdserver: too many requests",
    "etcdserver: mvcc: database space exceeded",
    "etcdserver: unhealthy cluster",
)
"""Answers to writes that say that nothing was and will be written."""

M = TypeVar("M", bound=Message)


class Refused(Exception):
    """Raised when etcd answers that it will not: the same on every member.

    Attributes:
        status: gRPC's code.
        message: etcd's words.
    """

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message


class Client:
    """Calls by name, over whichever member answers."""

    def __init__(self, endpoints: Sequence[Endpoint], tls: SSLContext | None = None) -> None:
        """Prepare a client; it connects with the first call.

        Args:
            endpoints: The members, tried in this order.
            tls: What to trust and to show; None speaks in the clear.
        """
        self._endpoints = tuple(endpoints)
        self._tls = tls
        self._index = 0
        self._channel: Channel | None = None
        self._teller = hints.Teller()

    def __str__(self) -> str:
        return "etcd at " + ",".join(map(str, self._endpoints))

    @property
    def endpoint(self) -> Endpoint:
        """The member in use."""
        return self._endpoints[self._index % len(self._endpoints)]

    async def read(self, name: str, request: Message, reply: type[M]) -> M:
        """Make a call that may be made again.

        Args:
            name: Such as "KV/Range".
            request: What to ask.
            reply: The type of the answer.

        Raises:
            Refused: etcd answers with an error that asking elsewhere does not change.
            Unavailable: No member answered in time.
        """
        loop = asyncio.get_running_loop()
        end, pause, attempt = loop.time() + READ_S, PAUSE_S, 0
        attempt_s = ATTEMPT_S if len(self._endpoints) > 1 else READ_S
        while True:
            channel = self._current()
            try:
                async with asyncio.timeout(min(attempt_s, max(0.1, end - loop.time()))):
                    return await _unary(channel, name, request, reply)
            except GRPCError as err:
                if err.status not in _ELSEWHERE:
                    raise Refused(err.status, err.message or "") from err
                why = err.message or err.status.name
            except BROKEN as err:
                why = _words(err)
            self.drop(channel, why)
            attempt += 1
            if loop.time() >= end:
                raise Unavailable(str(self), why)
            if attempt % len(self._endpoints) == 0:
                await asyncio.sleep(pause)
                pause = min(2 * pause, 0.5)

    async def write(self, name: str, request: Message, reply: type[M]) -> M:
        """Make a call that must not be made twice.

        Raises:
            Refused: etcd answers with an error; nothing was written.
            Unavailable: Nothing was written, for want of a member that takes it.
            Uncertain: It may or may not have been written.
        """
        loop = asyncio.get_running_loop()
        end, pause, attempt = loop.time() + WRITE_S, PAUSE_S, 0
        while True:
            channel = self._current()
            is_sent = False
            try:
                async with asyncio.timeout(max(CONNECT_S, end - loop.time())):
                    async with _stream(channel, name, Cardinality.UNARY_UNARY, type(request), reply) as stream:
                        async with asyncio.timeout(CONNECT_S):
                            await stream.send_request()
                        is_sent = True
                        await stream.send_message(request, end=True)
                        answer = await stream.recv_message()
                    if answer is None:
                        raise Uncertain(str(self), "the answer was empty")
                    return answer
            except GRPCError as err:
                why = err.message or err.status.name
                if not why.startswith(_NEVER_PROPOSED):
                    if err.status in _ELSEWHERE:
                        self.drop(channel, why)
                        raise Uncertain(str(self), why) from err
                    raise Refused(err.status, why) from err
                if err.status is Status.RESOURCE_EXHAUSTED:
                    raise Unavailable(str(self), why) from err
            except BROKEN as err:
                why = _words(err)
                if is_sent:
                    self.drop(channel, why)
                    raise Uncertain(str(self), why) from err
            self.drop(channel, why)
            attempt += 1
            if loop.time() >= end:
                raise Unavailable(str(self), why)
            if attempt % len(self._endpoints) == 0:
                await asyncio.sleep(pause)
                pause = min(2 * pause, 0.5)

    @asynccontextmanager
    async def open_stream(
        self, name: str, request: type[Message], reply: type[M], *, both_ways: bool = True
    ) -> AsyncIterator[Stream[Any, M]]:
        """Open a stream on the member in use; whatever breaks it comes out as Unavailable or Refused, and drops the member."""
        channel = self._current()
        kind = Cardinality.STREAM_STREAM if both_ways else Cardinality.UNARY_STREAM
        try:
            async with _stream(channel, name, kind, request, reply) as stream:
                async with asyncio.timeout(CONNECT_S):
                    await stream.send_request()
                yield stream
        except GRPCError as err:
            if err.status not in _ELSEWHERE:
                raise Refused(err.status, err.message or "") from err
            self.drop(channel, err.message or err.status.name)
            raise Unavailable(str(self), err.message or err.status.name) from err
        except BROKEN as err:
            self.drop(channel, _words(err))
            raise Unavailable(str(self), _words(err)) from err

    async def keep_healthy(self) -> None:
        """Ask the member in use for its status again and again, and leave it when it does not answer."""
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time()
            await asyncio.sleep(STATUS_EVERY_S)
            lag_s = loop.time() - asked - STATUS_EVERY_S
            channel = self._current()
            try:
                async with asyncio.timeout(STATUS_S):
                    status = await _unary(channel, "Maintenance/Status", pb.StatusRequest(), pb.StatusResponse)
            except TimeoutError as err:
                # Where there is no other member, or this process itself is slow, leaving would only break what is under way.
                if len(self._endpoints) > 1 and lag_s < LAG_S:
                    self.drop(channel, _words(err))
                continue
            except (GRPCError, *BROKEN) as err:
                self.drop(channel, _words(err))
                continue
            self._teller.tell(str(self.endpoint), status)
            if not status.leader:
                self.drop(channel, "it has no leader")

    def drop(self, channel: Channel, why: str) -> None:
        """Leave a member, if it is still the one in use; calls that wait on it break."""
        if channel is not self._channel:
            return
        left = self.endpoint
        self._channel = None
        self._index = (self._index + 1) % len(self._endpoints)
        channel.close()
        logger.warning("etcd member %s is left for %s: %s", left, self.endpoint, why)

    def close(self) -> None:
        """Let go of the connection."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _current(self) -> Channel:
        if self._channel is None:
            endpoint = self.endpoint
            self._channel = Channel(endpoint.host, endpoint.port, ssl=self._tls)
        return self._channel


def _stream(channel: Channel, name: str, kind: Cardinality, request: type[Any], reply: type[M]) -> Stream[Any, M]:
    return channel.request(f"/etcdserverpb.{name}", kind, request, reply, metadata=_REQUIRE_LEADER)


async def _unary(channel: Channel, name: str, request: Message, reply: type[M]) -> M:
    async with _stream(channel, name, Cardinality.UNARY_UNARY, type(request), reply) as stream:
        async with asyncio.timeout(CONNECT_S):
            await stream.send_request()
        await stream.send_message(request, end=True)
        answer = await stream.recv_message()
    if answer is None:
        raise StreamTerminatedError("the answer was empty")
    return answer


def _words(err: BaseException) -> str:
    if isinstance(err, TimeoutError) and not str(err):
        return "it did not answer in time"
    return str(err) or type(err).__name__
