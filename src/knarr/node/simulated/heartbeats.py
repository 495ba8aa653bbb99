"""Registration and signs of life of all simulated nodes over one client: Node objects, their statuses, and Leases.

Renewals are spread evenly over the period, and the period grows with the number of nodes up to half of the time after which a node
counts as lost: 5,000 nodes cost 200 small requests a second.

Counterpart: pkg/kubelet/kubelet_node_status.go, k8s.io/component-helpers/apimachinery/lease (v1.37).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

import msgspec
from lightkube.models import coordination_v1, core_v1, meta_v1

from knarr.api import errors
from knarr.client import Client, PatchType
from knarr.control.leader import micro_time
from knarr.kit.clock import Clock
from knarr.kit.http.messages import Response
from knarr.node.heartbeat import LEASE_DURATION_S, LEASE_NAMESPACE, status_patch
from knarr.node.simulated.fleet import METRICS_PATH_ANNOTATION, RUNTIME, SimulatedNode, ready_conditions
from knarr.node.status import Reading, is_ready, is_settled, node_labels, node_object, node_status

RENEW_FIRST_S = 10.0
RENEW_LIMIT_S = 25.0
RENEWALS_A_SECOND = 200
"""More nodes than this rate allows at the shortest period renew less often."""
REPORT_S = 300.0
WORKERS = 16
RETRY_S = 0.5

logger = logging.getLogger(__name__)


class _Meta(msgspec.Struct):
    resourceVersion: str = ""


class _Stored(msgspec.Struct):
    metadata: _Meta


_stored = msgspec.json.Decoder(_Stored)


class Heartbeats:
    """Keeps nodes registered and alive.

    Args:
        client: The API; it may write all of these nodes.
        clock: Times everything.
        nodes: The nodes by name; may change.
        on_registered: Told of each node that is there.
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        nodes: Mapping[str, SimulatedNode],
        on_registered: Callable[[SimulatedNode], None] = lambda _node: None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._nodes = nodes
        self._on_registered = on_registered

    async def register_all(self) -> None:
        """Register every node that is not; those that exist are taken over."""
        waiting = iter([*self._nodes.values()])

        async def work(left: Iterable[SimulatedNode]) -> None:
            for node in left:
                await self.register(node)

        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(work(waiting))

    async def register(self, node: SimulatedNode) -> None:
        """Register one node, trying again until it is there and ready."""
        while not node.is_silent:
            try:
                found = await self._create(node) if node.node is None else node.node
                await self._renew(node, found)
                if node.reported_s == float("-inf"):
                    found = await self._report(node, found)
            except errors.StatusError as err:
                logger.debug("node %s: %s", node.name, err)
                await self._clock.sleep(RETRY_S)
                continue
            node.observe(found)
            self._on_registered(node)
            return

    async def run(self) -> None:
        """Renew Leases and statuses until cancelled."""
        async with asyncio.TaskGroup() as group:
            for worker in range(WORKERS):
                group.create_task(self._beat(worker))

    async def _beat(self, worker: int) -> None:
        """Keep every WORKERS-th node alive, one after the other, spread over the period."""
        while True:
            mine = [node for number, node in enumerate([*self._nodes.values()]) if number % WORKERS == worker]
            began_s, period_s = self._clock.monotonic_s(), renewal_period_s(len(self._nodes))
            for number, node in enumerate(mine):
                due_s = began_s + period_s * number / len(mine)
                await self._clock.sleep(max(0.0, due_s - self._clock.monotonic_s()))
                await self._keep_alive(node)
            await self._clock.sleep(max(RETRY_S, began_s + period_s - self._clock.monotonic_s()))

    async def _keep_alive(self, node: SimulatedNode) -> None:
        if node.is_silent or node.node is None or node.name not in self._nodes:
            return
        try:
            await self._renew(node, node.node)
            if self._clock.monotonic_s() - node.reported_s > REPORT_S or not _is_well(node.node):
                await self._report(node, node.node)
        except errors.StatusError as err:
            logger.debug("node %s: %s", node.name, err)
            node.lease_revision = ""

    async def _create(self, node: SimulatedNode) -> core_v1.Node:
        made = node_object(node.identity, self._status(node, None))
        assert made.metadata is not None
        made.metadata.annotations = {METRICS_PATH_ANNOTATION: f"/metrics/nodes/{node.name}/metrics/resource"}
        try:
            created = await self._client.create(made)
        except errors.AlreadyExists:
            return await self._adopt(node)
        node.reported_s = self._clock.monotonic_s()
        return created

    async def _adopt(self, node: SimulatedNode) -> core_v1.Node:
        found = await self._client.get(core_v1.Node, node.name)
        labels = (found.metadata.labels if found.metadata is not None else None) or {}
        missing = {key: value for key, value in node_labels(node.identity).items() if labels.get(key) != value}
        if missing:
            body = {"metadata": {"labels": missing}}
            found = await self._client.patch(core_v1.Node, node.name, body, PatchType.STRATEGIC)
        return found

    async def _report(self, node: SimulatedNode, found: core_v1.Node) -> core_v1.Node:
        changes = status_patch(found.status, self._status(node, found.status))
        patched = await self._client.patch(
            core_v1.Node, node.name, {"status": changes}, PatchType.STRATEGIC, subresource="status"
        )
        node.reported_s = self._clock.monotonic_s()
        return patched

    def _status(self, node: SimulatedNode, old: core_v1.NodeStatus | None) -> core_v1.NodeStatus:
        reading = Reading(version=RUNTIME, runtime=ready_conditions())
        return node_status(node.identity, reading, old, now=self._clock.now())

    async def _renew(self, node: SimulatedNode, found: core_v1.Node) -> None:
        if not node.lease_revision:
            node.lease_revision = await self._find_lease(node, found)
        path = f"/apis/coordination.k8s.io/v1/namespaces/{LEASE_NAMESPACE}/leases/{node.name}"
        body = msgspec.json.encode(self._lease(node, found, node.lease_revision))
        answer = await self._client.raw("PUT", path, body=body)
        node.lease_revision = _stored.decode(bytes_of(answer)).metadata.resourceVersion

    async def _find_lease(self, node: SimulatedNode, found: core_v1.Node) -> str:
        try:
            lease = await self._client.create(self._lease(node, found, ""))
        except errors.AlreadyExists:
            lease = await self._client.get(coordination_v1.Lease, node.name, namespace=LEASE_NAMESPACE)
        return (lease.metadata.resourceVersion if lease.metadata is not None else None) or ""

    def _lease(self, node: SimulatedNode, found: core_v1.Node, revision: str) -> coordination_v1.Lease:
        metadata = found.metadata
        owner = meta_v1.OwnerReference(
            apiVersion="v1", kind="Node", name=node.name, uid=(metadata.uid if metadata is not None else None) or ""
        )
        return coordination_v1.Lease(
            apiVersion="coordination.k8s.io/v1",
            kind="Lease",
            metadata=meta_v1.ObjectMeta(
                name=node.name,
                namespace=LEASE_NAMESPACE,
                ownerReferences=[owner],
                resourceVersion=revision or None,
            ),
            spec=coordination_v1.LeaseSpec(
                holderIdentity=node.name, leaseDurationSeconds=LEASE_DURATION_S, renewTime=micro_time(self._clock.now())
            ),
        )


def renewal_period_s(count: int) -> float:
    """Return how often each of `count` nodes renews its Lease, in seconds."""
    return min(RENEW_LIMIT_S, max(RENEW_FIRST_S, count / RENEWALS_A_SECOND))


def bytes_of(answer: Response) -> bytes:
    """Return the whole body of an answer."""
    assert isinstance(answer.body, bytes)
    return answer.body


def _is_well(node: core_v1.Node) -> bool:
    return node.status is not None and is_ready(node.status) and is_settled(node.status)
