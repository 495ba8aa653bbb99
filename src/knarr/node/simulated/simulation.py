"""A simulation put together: nodes, their heartbeats and their pods over one client and one set of informers.

The same on real time in a process of its own (`agent.serve`) and on virtual time inside a test.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from random import Random

from lightkube.models import core_v1

from knarr.client import Client
from knarr.control import events
from knarr.control.informer import Informers
from knarr.kit.clock import Clock
from knarr.kit.tasks import Supervisor
from knarr.node.simulated.fleet import FAILED_ANNOTATION, GROUP_LABEL, Fleet, SimulatedNode
from knarr.node.simulated.heartbeats import Heartbeats
from knarr.node.simulated.pods import Pods
from knarr.node.simulated.stages import Stage

COMPONENT = "kubelet"


class Simulation:
    """A running simulation. Use `open_simulation`.

    Attributes:
        nodes: The nodes by name.
        pods: Their pods.
        heartbeats: Their signs of life.

    Args:
        fleet: What the nodes are like.
        nodes: The nodes by name.
        pods: Their pods.
        heartbeats: Their signs of life.
    """

    def __init__(self, fleet: Fleet, nodes: dict[str, SimulatedNode], pods: Pods, heartbeats: Heartbeats) -> None:
        self.nodes = nodes
        self.pods = pods
        self.heartbeats = heartbeats
        self._fleet = fleet
        self._made = len(nodes)

    async def add(self, name: str) -> None:
        """Register one more node, or one that was removed before."""
        if name not in self.nodes:
            self.nodes[name] = SimulatedNode(self._fleet.identity(name, self._made))
            self._made += 1
        await self.heartbeats.register(self.nodes[name])

    def fail(self, name: str) -> None:
        """Have a node fall silent: no signs of life, no statuses; what runs there goes on unseen."""
        self.nodes[name].is_silent = True

    def recover(self, name: str) -> None:
        """Have a node be heard again."""
        node = self.nodes[name]
        node.is_silent = False
        node.reported_s = float("-inf")
        self.pods.revive(node)

    def observe(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        """Take in a change of a Node; the handler of an informer."""
        node = self.nodes.get(_name(new or old))
        if node is None:
            return
        if new is None:
            # Whoever deletes a Node takes the machine away, and its pods with it.
            del self.nodes[node.name]
            self.pods.forget(node)
            return
        node.observe(new)
        if _is_failed(new) and not _is_failed(old):
            self.fail(node.name)
        elif _is_failed(old) and not _is_failed(new):
            self.recover(node.name)


@contextlib.asynccontextmanager
async def open_simulation(
    client: Client,
    fleet: Fleet,
    *,
    clock: Clock,
    random: Random,
    stages: Sequence[Stage] = (),
    seed: int = 0,
) -> AsyncIterator[Simulation]:
    """Play nodes until the block is left; they are registered in the background.

    Args:
        client: May write Nodes, Leases, statuses of pods and events, delete pods, and watch Nodes and pods.
        fleet: The nodes.
        clock: The time of everything.
        random: Spreads retries.
        stages: How pods are played beside what their annotations say.
        seed: Of what is played.
    """
    nodes = {name: SimulatedNode(fleet.identity(name, number)) for number, name in enumerate(fleet.names)}
    recorder = events.Recorder(client, COMPONENT, clock=clock)
    pods = Pods(client, clock, nodes, stages=stages, seed=seed, recorder=recorder)
    simulation = Simulation(fleet, nodes, pods, Heartbeats(client, clock, nodes))
    async with (
        contextlib.aclosing(recorder),
        Informers(client, clock, random) as informers,
        Supervisor("simulation", clock=clock, random=random) as supervisor,
    ):
        informers.of(core_v1.Node, label_selector=f"{GROUP_LABEL}={fleet.group}").on_change(simulation.observe)
        informers.of(core_v1.Pod, field_selector="spec.nodeName!=").on_change(pods.observe)
        supervisor.run("pods", pods.run)
        supervisor.run("registration", simulation.heartbeats.register_all)
        supervisor.run("heartbeats", simulation.heartbeats.run)
        yield simulation


def _name(node: core_v1.Node | None) -> str:
    return (node.metadata.name if node is not None and node.metadata is not None else None) or ""


def _is_failed(node: core_v1.Node | None) -> bool:
    annotations = (node.metadata.annotations if node is not None and node.metadata is not None else None) or {}
    said: str = annotations.get(FAILED_ANNOTATION, "false")
    return said != "false"
