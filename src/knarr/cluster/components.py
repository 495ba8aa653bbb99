"""Controllers and scheduler of a server: each works while its Lease is held here.

Where several servers share a store one of them leads, and the others stand by without reading anything. A server alone leads from its
first moment, and again at once after it was killed: it is known to the Lease under the same identity. What both components read
they read through the same informers, which are opened when the first begins and closed after the last ends.
"""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from random import Random

from knarr.control import context as contexts
from knarr.control import informer, leader
from knarr.kit import pki
from knarr.kit.clock import Clock
from knarr.kit.http.messages import Handler
from knarr.kit.tasks import Supervisor

CONTROLLERS, SCHEDULER = "kube-controller-manager", "kube-scheduler"
ALONE = leader.Timing(lease_s=15.0, renew_s=10.0, retry_s=5.0)
"""Where no rival can be, the Lease is renewed just often enough for those who watch it."""

Start = Callable[[contexts.Context, Supervisor], None]


class SharedInformers:
    """Informers that live while somebody uses them.

    Args:
        make: Makes them, not yet open.
    """

    def __init__(self, make: Callable[[], informer.Informers]) -> None:
        self._make = make
        self._users = 0
        self._stack = contextlib.AsyncExitStack()
        self._opened: informer.Informers | None = None
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[informer.Informers]:
        """Use them."""
        async with self._lock:
            if self._opened is None:
                self._opened = await self._stack.enter_async_context(self._make())
            self._users += 1
        try:
            yield self._opened
        finally:
            await asyncio.shield(self._leave())

    async def _leave(self) -> None:
        async with self._lock:
            self._users -= 1
            if not self._users:
                self._opened = None
                await self._stack.aclose()


def run(
    tasks: Supervisor,
    handler: Handler,
    starts: Iterable[tuple[str, Start]],
    *,
    identity: str,
    is_shared: bool,
    clock: Clock,
    random: Random,
    options: contexts.Options,
) -> None:
    """Have controllers and scheduler work below a supervisor whenever they lead here.

    Args:
        tasks: What they run below.
        handler: The API server's.
        starts: The process name of each, and how it begins.
        identity: Who this server is.
        is_shared: Whether other servers may use the same store.
        clock: The time.
        random: Chance.
        options: Facts about the cluster.
    """
    reader = contexts.in_process(handler, CONTROLLERS, clock)(f"system:{CONTROLLERS}")
    shared = SharedInformers(lambda: informer.Informers(reader, clock, random))

    def lead(name: str, start: Start) -> None:
        client_for = contexts.in_process(handler, name, clock)
        timing = leader.Timing() if is_shared else ALONE
        elector = leader.Elector(
            client_for(f"system:{name}"), clock, random, name=name, identity=identity, timing=timing
        )

        async def work() -> None:
            async with contextlib.AsyncExitStack() as stack:
                informers = await stack.enter_async_context(shared.open())
                opened = contexts.open_context(
                    client_for, name, clock=clock, random=random, options=options, shared=informers
                )
                context = await stack.enter_async_context(opened)
                below = await stack.enter_async_context(Supervisor(name, clock=clock, random=random))
                start(context, below)
                await asyncio.Event().wait()

        async def stay() -> None:
            while True:
                await elector.run(work)

        tasks.run(name, stay)

    for name, start in starts:
        lead(name, start)


def read_identity(path: Path) -> str:
    """Return who the server with this file is: its machine's name and a number of its own, the same after each start."""
    try:
        number = path.read_text().strip()
    except FileNotFoundError:
        number = str(uuid.uuid4())
        pki.write_file(path, f"{number}\n".encode())
    return f"{socket.gethostname()}_{number}"
