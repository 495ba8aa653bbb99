"""One local port in front of several equal servers: bytes are passed on, TLS and all, to one that lives.

A client that knows one address, as a kubeconfig does, so survives the loss of any server. New connections go to the first target in
order that is well; when a target is found dead its connections are cut, so that whoever waits on them comes again and reaches
another. A target that only refuses new work, as one that is about to stop, keeps the connections that it has.

Upstream counterpart: none; k3s agents have the same.
"""

import asyncio
import contextlib
import enum
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from knarr.kit import tasks
from knarr.kit.clock import Clock

CONNECT_S = 2.0
PROBE_S = 5.0
"""Between two looks at the targets in use."""
SILENCE_MS = 4000
"""A connection whose bytes are not acknowledged for this long is lost: the machine is gone, or the way to it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Health(enum.Enum):
    """How a target was found."""

    WELL = "well"
    REFUSING = "takes no new work"
    DEAD = "does not answer"


Probe = Callable[[Target], Awaitable[Health]]


@dataclass(slots=True, eq=False)
class _State:
    health: Health = Health.WELL
    links: "set[_Link]" = field(default_factory=set)


class Balancer:
    """The targets and what is known of them; made by `open_balancer`.

    Args:
        targets: In order of preference.
        clock: Times probes.
        probe: Looks at a target.
    """

    def __init__(self, targets: Iterable[Target], clock: Clock, probe: Probe) -> None:
        self._clock = clock
        self._probe = probe
        self._states: dict[Target, _State] = {target: _State() for target in targets}
        self._accepting: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets in order of preference."""
        return tuple(self._states)

    def replace(self, targets: Sequence[Target]) -> None:
        """Take other targets; connections to those that are no longer among them stay until either side ends them."""
        self._states = {target: self._states.get(target) or _State() for target in targets}

    def order(self) -> list[Target]:
        """Return the targets in the order in which they are tried: those that are well first."""
        ranks = list(Health)
        return sorted(self._states, key=lambda target: ranks.index(self._states[target].health))

    async def run(self) -> None:
        """Look at the targets that are in use or were not well, until cancelled."""
        while True:
            await self._clock.sleep(PROBE_S)
            await self.look()

    async def look(self) -> None:
        """Look at the targets that are in use or were not well."""
        due = [target for target, state in self._states.items() if state.links or state.health is not Health.WELL]
        for target, found in zip(due, await asyncio.gather(*map(self._probe, due)), strict=True):
            self._note(target, found)

    def close(self) -> None:
        """Cut all connections."""
        for task in self._accepting:
            task.cancel()
        for state in self._states.values():
            for link in tuple(state.links):
                link.cut()

    def accept(self) -> asyncio.Protocol:
        """Return the protocol of a new connection, as servers of the event loop want it."""
        return _Link(self._begin)

    def _begin(self, link: "_Link") -> None:
        task = asyncio.ensure_future(self._connect(link))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)

    async def _connect(self, link: "_Link") -> None:
        loop = asyncio.get_running_loop()
        for target in self.order():
            state = self._states.get(target)
            if state is None:
                continue
            try:
                async with asyncio.timeout(CONNECT_S):
                    _, other = await loop.create_connection(lambda: _Link(None), target.host, target.port)
            except OSError as err:  # a timeout is one, too
                logger.info("%s: %s", target, err or "no answer")
                self._note(target, Health.DEAD)
                continue
            if state.health is Health.DEAD:
                state.health = Health.WELL
            other.watch_silence()
            link.join(other, state.links)
            return
        link.cut()

    def _note(self, target: Target, found: Health) -> None:
        state = self._states.get(target)
        if state is None:
            return
        if state.health is not found:
            logger.info("%s %s", target, found.value if found is not Health.WELL else "is well again")
            state.health = found
        if found is Health.DEAD:
            for link in tuple(state.links):
                link.cut()


class _Link(asyncio.Protocol):
    """One of the two ends of a passed-on connection.

    Args:
        begin: Called with the end once it is connected and told to wait; None for the end towards the target.
    """

    def __init__(self, begin: "Callable[[_Link], None] | None") -> None:
        self._begin = begin
        self._other: _Link | None = None
        self._transport: asyncio.Transport | None = None
        self._group: set[_Link] | None = None
        self._is_lost = False
        self._is_at_end = False
        self._early: list[bytes] = []

    def join(self, other: "_Link", group: "set[_Link]") -> None:
        """Pass on between this end and another from now on, and be found in `group` while it lasts."""
        self._other, other._other = other, self
        if self._is_lost:
            other.cut()
            return
        self._group = group
        group.add(self)
        assert self._transport is not None and other._transport is not None
        if self._early:
            other._transport.write(b"".join(self._early))
            self._early.clear()
            self._transport.resume_reading()
        if self._is_at_end:
            self.eof_received()

    def cut(self) -> None:
        """End both ends at once."""
        if self._transport is not None:
            self._transport.abort()

    def watch_silence(self) -> None:
        """Notice when the machine at this end is gone."""
        assert self._transport is not None
        found = self._transport.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MS)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport; at the near end, look for a far one."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        if self._begin is not None:
            self._begin(self)

    def data_received(self, data: bytes) -> None:
        """Pass on, or keep for the far end that is being looked for: the first packet, and then no more is read."""
        if self._other is None and not self._is_lost:
            if not self._early:
                cast(asyncio.Transport, self._transport).pause_reading()
            self._early.append(data)
            return
        if self._other is not None and self._other._transport is not None:
            self._other._transport.write(data)

    def eof_received(self) -> bool:
        """Pass on that no more comes; the other direction goes on."""
        self._is_at_end = True
        if self._other is not None and self._other._transport is not None and self._other._transport.can_write_eof():
            with contextlib.suppress(OSError):
                self._other._transport.write_eof()
        return True

    def pause_writing(self) -> None:
        """Read no more at the other end while this one is slow."""
        if self._other is not None and self._other._transport is not None:
            self._other._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read on."""
        if self._other is not None and self._other._transport is not None:
            self._other._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other end, after what is still to be written there."""
        self._is_lost = True
        if self._group is not None:
            self._group.discard(self)
        other, self._other = self._other, None
        if other is not None and other._transport is not None:
            other._transport.abort() if exc is not None else other._transport.close()


@contextlib.asynccontextmanager
async def open_balancer(
    targets: Sequence[Target], probe: Probe, *, clock: Clock, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Balancer]:
    """Listen, and pass on what comes until the block is left.

    Args:
        targets: In order of preference.
        probe: Looks at a target.
        clock: Times probes.
        host: Where to listen.
        port: Where to listen; 0 takes a free one.
    """
    balancer = Balancer(targets, clock, probe)
    server = await asyncio.get_running_loop().create_server(balancer.accept, host, port)
    balancer.port = server.sockets[0].getsockname()[1]
    try:
        async with tasks.Supervisor("balancer", clock=clock) as supervisor:
            supervisor.run("balancer", balancer.run)
            yield balancer
    finally:
        server.close()
        balancer.close()
