"""A whole cluster in this process on virtual time: API server, controllers, scheduler and simulated nodes."""

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from random import Random
from typing import Any

from lightkube.models import core_v1

from knarr.api import errors
from knarr.api.user import User
from knarr.apiserver.config import Config
from knarr.apiserver.server import ApiServer, open_apiserver
from knarr.client import Client, transport
from knarr.control import context as contexts
from knarr.controllers import roster
from knarr.kit.clock import FakeClock
from knarr.kit.tasks import Supervisor
from knarr.node.simulated.fleet import Fleet
from knarr.node.simulated.simulation import Simulation, open_simulation
from knarr.node.simulated.stages import Stage
from knarr.scheduler import scheduler
from knarr.store.memory import MemoryBackend

STEP_S = 0.25
COMPONENTS = {"kube-controller-manager": roster.run, "kube-scheduler": scheduler.run}


class Cluster:
    """What a test holds on to.

    Attributes:
        client: An administrator's.
        clock: Everybody's.
        random: What chance comes from.
        server: The API server.
        simulation: The nodes.
    """

    def __init__(self, server: ApiServer, client: Client, clock: FakeClock, random: Random) -> None:
        self.server = server
        self.client = client
        self.clock = clock
        self.random = random
        self.simulation: Simulation
        self._running: dict[str, contextlib.AsyncExitStack] = {}

    async def start(self, component: str) -> None:
        """Start the controllers or the scheduler."""
        client_for = contexts.in_process(self.server.handler, component, self.clock)
        options = contexts.Options(root_ca="CERTIFICATE", cluster_cidr="10.244.0.0/16")
        async with contextlib.AsyncExitStack() as stack:
            opened = contexts.open_context(client_for, component, clock=self.clock, random=self.random, options=options)
            context = await stack.enter_async_context(opened)
            tasks = await stack.enter_async_context(Supervisor(component, clock=self.clock, random=self.random))
            COMPONENTS[component](context, tasks)
            self._running[component] = stack.pop_all()

    async def restart(self, component: str) -> None:
        """Cut the controllers or the scheduler off in the middle of whatever they do, and start them anew."""
        await self._running.pop(component).aclose()
        await self.start(component)

    async def stop(self) -> None:
        """Stop both."""
        for stack in self._running.values():
            await stack.aclose()

    async def pass_time(self, seconds: float, *, step_s: float = STEP_S) -> None:
        """Let virtual time pass."""
        while seconds > 0:
            await self.clock.advance(min(step_s, seconds))
            seconds -= step_s

    async def until(self, condition: Callable[[], Awaitable[Any]], *, seconds: float = 60.0) -> Any:
        """Let virtual time pass until a condition holds, and return what it gave."""
        left = seconds
        while not (found := await _holds(condition)):
            if left <= 0:
                raise AssertionError(f"not within {seconds} s of virtual time")
            await self.clock.advance(STEP_S)
            left -= STEP_S
        return found

    def items(self, plural: str, namespace: str = "") -> list[dict[str, Any]]:
        """Return objects such as "deployments.apps" as the store has them, in the order of their keys."""
        return self.server.parts.registry.list(plural, namespace)

    async def pods(self, namespace: str = "default", labels: str = "") -> list[core_v1.Pod]:
        """Return the pods of a namespace, those on their way out too."""
        return (await self.client.list(core_v1.Pod, namespace=namespace, labels=labels)).items


async def _holds(condition: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await condition()
    except errors.NotFound:
        return None


@contextlib.asynccontextmanager
async def open_cluster(
    fleet: Fleet, *, seed: int = 0, stages: Sequence[Stage] = (), components: Sequence[str] = tuple(COMPONENTS)
) -> AsyncIterator[Cluster]:
    """Start everything; return once the nodes are registered and pods can be made."""
    logging.getLogger("knarr").setLevel(logging.ERROR)
    clock, random = FakeClock(), Random(seed)
    async with contextlib.AsyncExitStack() as stack:
        config = Config(backend=MemoryBackend(), clock=clock, random=random)
        server = await stack.enter_async_context(open_apiserver(config))
        admin = User("admin", ("system:masters", "system:authenticated"))
        client = Client(transport.InProcessTransport(server.handler, admin), clock=clock)
        cluster = Cluster(server, client, clock, random)
        stack.push_async_callback(cluster.stop)
        for component in components:
            await cluster.start(component)
        playing = open_simulation(client, fleet, clock=clock, random=random, stages=stages, seed=seed)
        cluster.simulation = await stack.enter_async_context(playing)

        async def is_up() -> bool:
            nodes = (await client.list(core_v1.Node)).items
            if components:
                await client.get(core_v1.ServiceAccount, "default", namespace="default")
            return len(nodes) == fleet.count

        await cluster.until(is_up)
        yield cluster
