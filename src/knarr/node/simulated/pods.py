"""All pods of all simulated nodes: players, one heap of the moments at which they go on, and a few writers for what they show.

A pod is stepped by the writer that then writes what the step came to: a slow API server slows the play down instead of piling up
work, and several changes of one pod become one write.

Counterpart: pkg/kubelet/pod_workers.go and status/status_manager.go (v1.37), for many nodes at once.
"""

import asyncio
import heapq
import logging
from collections.abc import Mapping, Sequence
from itertools import count

import msgspec
from lightkube.models import core_v1

from knarr.api import errors
from knarr.client import Client, DeleteOptions, PatchType
from knarr.control import events
from knarr.kit.backoff import Curve
from knarr.kit.clock import Clock
from knarr.node.pods import spec as specs
from knarr.node.pods.admit import REJECTED, Rejection
from knarr.node.pods.publish import diff
from knarr.node.pods.spec import ContainerSpec
from knarr.node.simulated import script, stages
from knarr.node.simulated.fleet import SimulatedNode, spare_addresses
from knarr.node.simulated.player import Outcome, Player
from knarr.node.simulated.script import Script
from knarr.node.simulated.stages import Stage
from knarr.node.waiting import wait_set

WRITERS = 32
RETRY = Curve(first_s=0.2, limit_s=10.0)

logger = logging.getLogger(__name__)


class _Part:
    """One pod's place among all."""

    __slots__ = ("failures", "is_queued", "is_written", "node", "player", "revision", "wake_s")

    def __init__(self, node: SimulatedNode, player: Player) -> None:
        self.node = node
        self.player = player
        self.revision = _revision_of(player.pod)
        self.wake_s: float | None = None
        self.is_queued = False
        self.is_written = False
        self.failures = 0


class Pods:
    """Plays pods.

    Args:
        client: The API; it may write the pods of all these nodes.
        clock: The time.
        nodes: The nodes by name; may change.
        stages: How pods are played beside what their annotations say.
        seed: Of all chance.
        recorder: Tells of crashes and rejections.
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        nodes: Mapping[str, SimulatedNode],
        *,
        stages: Sequence[Stage] = (),
        seed: int = 0,
        recorder: events.Recorder | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._nodes = nodes
        self._stages = stages
        self._seed = seed
        self._recorder = recorder
        self._parts: dict[str, _Part] = {}
        self._uids: dict[tuple[str, str], str] = {}
        self._spare = spare_addresses()
        self._queue: asyncio.Queue[_Part] = asyncio.Queue()
        self._due: list[tuple[float, int, _Part]] = []
        self._order = count()
        self._sooner = asyncio.Event()

    def __len__(self) -> int:
        return len(self._parts)

    def find(self, namespace: str, name: str) -> Player | None:
        """Return the player of a pod by its name."""
        return self.by_uid(self._uids.get((namespace, name), ""))

    def by_uid(self, uid: str) -> Player | None:
        """Return the player of a pod by its uid."""
        part = self._parts.get(uid)
        return part.player if part is not None else None

    def on_node(self, node: SimulatedNode) -> list[Player]:
        """Return the players of one node's pods."""
        return [self._parts[uid].player for uid in node.pods]

    def observe(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        """Take in a change from the API; the handler of an informer."""
        if old is not None and (new is None or specs.uid_of(old) != specs.uid_of(new)):
            self._drop(specs.uid_of(old))
        if new is None:
            return
        part = self._parts.get(specs.uid_of(new))
        if part is None:
            self._begin(new)
        else:
            self._renew(part, new)

    def revive(self, node: SimulatedNode) -> None:
        """Go on with the pods of a node that was silent or unknown."""
        for uid in node.pods:
            self._touch(self._parts[uid])

    def forget(self, node: SimulatedNode) -> None:
        """Let go of a node's pods: the node is gone."""
        for uid in [*node.pods]:
            self._drop(uid)

    async def run(self) -> None:
        """Play until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._wake())
            for _ in range(WRITERS):
                group.create_task(self._write_all())

    def _begin(self, pod: core_v1.Pod) -> None:
        spec = specs.spec_of(pod)
        node = self._nodes.get(spec.nodeName or "")
        if node is None:
            return
        rejection = self._admit(node, pod)
        player = Player(
            pod,
            self._script,
            lambda: node.take_address(self._spare),
            host_ips=node.identity.ips,
            arrived_s=self._clock.now().timestamp(),
            rejection=rejection,
        )
        if player.address:
            node.keep_address(player.address)
        uid = specs.uid_of(pod)
        self._parts[uid] = part = _Part(node, player)
        self._uids[specs.namespace_of(pod), specs.name_of(pod)] = uid
        node.pods.add(uid)
        if rejection is not None:
            self._tell(pod, rejection.reason, rejection.message.removeprefix(REJECTED))
        for problem in script.check(pod) if pod.metadata is not None and pod.metadata.annotations else ():
            self._tell(pod, "SimulationInvalid", problem)
        self._touch(part)

    def _renew(self, part: _Part, pod: core_v1.Pod) -> None:
        revision, known = _revision_of(pod), part.player.pod
        if revision < part.revision:
            return
        part.player.observe(pod)
        if revision > part.revision:  # else it is what was just written here
            part.revision = revision
            if not _is_alike(known, pod):
                self._touch(part)

    def _admit(self, node: SimulatedNode, pod: core_v1.Pod) -> Rejection | None:
        status = pod.status
        assert pod.metadata is not None
        if (status is not None and status.startTime is not None) or pod.metadata.deletionTimestamp is not None:
            node.count(pod)
            return None
        return node.admit(pod)

    def _script(self, pod: core_v1.Pod, container: ContainerSpec) -> Script:
        staged = stages.choose(self._stages, pod, container, seed=self._seed)
        return script.write(pod, container, staged, seed=self._seed)

    def _drop(self, uid: str) -> None:
        part = self._parts.pop(uid, None)
        if part is not None:
            key = specs.namespace_of(part.player.pod), specs.name_of(part.player.pod)
            if self._uids.get(key) == uid:
                del self._uids[key]
            part.node.pods.discard(uid)
            part.node.discount(uid)
            part.node.free_address(part.player.address)

    def _touch(self, part: _Part) -> None:
        """Have a pod stepped soon."""
        if not part.is_queued and not part.node.is_silent:
            part.is_queued = True
            self._queue.put_nowait(part)

    # Time.

    async def _wake(self) -> None:
        while True:
            now_s = self._clock.now().timestamp()
            while self._due and self._due[0][0] <= now_s:
                due_s, _, part = heapq.heappop(self._due)
                if part.wake_s == due_s:  # else it was stepped meanwhile, and noted another moment
                    part.wake_s = None
                    self._touch(part)
            self._sooner.clear()
            await wait_set(self._sooner, self._clock, self._due[0][0] - now_s if self._due else None)

    def _wake_at(self, part: _Part, due_s: float | None) -> None:
        if due_s == part.wake_s:
            return
        part.wake_s = due_s
        if due_s is not None:
            heapq.heappush(self._due, (due_s, next(self._order), part))
            if self._due[0][2] is part:
                self._sooner.set()

    # Writing.

    async def _write_all(self) -> None:
        while True:
            part = await self._queue.get()
            if part.is_written:  # by another writer right now, which looks again when it is done
                continue
            part.is_written = True
            try:
                while part.is_queued:
                    part.is_queued = False
                    await self._step(part)
            finally:
                part.is_written = False

    async def _step(self, part: _Part) -> None:
        if self._parts.get(part.player.uid) is not part or part.node.is_silent:
            return
        outcome = part.player.step(self._clock.now().timestamp())
        self._wake_at(part, outcome.wake_s)
        for name in outcome.waiting:
            text = f"Back-off restarting failed container {name} in pod {specs.format_pod(part.player.pod)}"
            self._tell(part.player.pod, "BackOff", text, field_path=f"spec.containers{{{name}}}")
        if part.player.is_ending:
            part.node.discount(part.player.uid)
        try:
            await self._publish(part, outcome)
        except (errors.NotFound, errors.Conflict) as err:
            logger.debug(
                "status of %s: %s", specs.format_pod(part.player.pod), err
            )  # gone, or another of the same name
        except errors.StatusError as err:
            part.failures += 1
            level = logging.WARNING if part.failures == 5 or err.code in (400, 403, 422) else logging.DEBUG
            logger.log(level, "status of %s: %s", specs.format_pod(part.player.pod), err)
            retry_s = self._clock.now().timestamp() + RETRY.delay_s(part.failures)
            self._wake_at(part, retry_s if outcome.wake_s is None else min(retry_s, outcome.wake_s))
        else:
            part.failures = 0

    async def _publish(self, part: _Part, outcome: Outcome) -> None:
        pod = part.player.pod
        known = msgspec.to_builtins(pod.status) if pod.status is not None else {}
        changes = diff(known, msgspec.to_builtins(outcome.status))
        name, namespace, uid = specs.name_of(pod), specs.namespace_of(pod), specs.uid_of(pod)
        if changes:
            body = {"metadata": {"uid": uid}, "status": changes}
            written = await self._client.patch(
                core_v1.Pod, name, body, PatchType.STRATEGIC, namespace=namespace, subresource="status"
            )
            if _revision_of(written) > part.revision:
                part.revision = _revision_of(written)
                part.player.observe(written)
        if outcome.is_final:
            options = DeleteOptions(grace_s=0, uid=uid)
            await self._client.delete(core_v1.Pod, name, namespace=namespace, options=options)

    def _tell(self, pod: core_v1.Pod, reason: str, message: str, *, field_path: str = "") -> None:
        if self._recorder is not None:
            self._recorder.event(pod, events.WARNING, reason, message, field_path=field_path)


def _revision_of(pod: core_v1.Pod) -> int:
    text = pod.metadata.resourceVersion if pod.metadata is not None else None
    return int(text) if text and text.isdigit() else 0


def _is_alike(old: core_v1.Pod, new: core_v1.Pod) -> bool:
    """Tell whether nothing changed that the play goes by."""
    a, b = old.metadata, new.metadata
    assert a is not None and b is not None
    return (
        a.deletionTimestamp == b.deletionTimestamp
        and a.deletionGracePeriodSeconds == b.deletionGracePeriodSeconds
        and a.generation == b.generation
        and a.annotations == b.annotations
        and old.status == new.status
    )
