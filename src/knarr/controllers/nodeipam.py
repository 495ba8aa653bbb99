"""Gives each node a slice of the pod addresses: spec.podCIDR, a /24 of the cluster's range.

Upstream counterpart: pkg/controller/nodeipam (RangeAllocator).
"""

import functools
import ipaddress
from collections.abc import Iterable

from lightkube.models import core_v1

from knarr.api import errors
from knarr.client import PatchType
from knarr.control import Context, loop

NODE_PREFIX = 24
RETRY_S = 30.0


def free_range(cluster_cidr: str, taken: Iterable[str], prefix: int = NODE_PREFIX) -> str | None:
    """Return the first range of the cluster's that no node has, or None if all are taken.

    Args:
        cluster_cidr: Such as "10.244.0.0/16".
        taken: The ranges of the nodes.
        prefix: The length of a node's range.
    """
    network = ipaddress.ip_network(cluster_cidr)
    first, size = int(network.network_address), 1 << (network.max_prefixlen - prefix)
    used = {_start(cidr) for cidr in taken}
    starts = range(first, first + network.num_addresses, size)
    free = next((start for start in starts if start not in used), None)
    if free is None:
        return None
    return str(ipaddress.ip_network((free, prefix)))


@functools.lru_cache(65_536)
def _start(cidr: str) -> int:
    return int(ipaddress.ip_network(cidr).network_address)


class Reconciler:
    """Gives nodes their ranges, one at a time.

    Args:
        context: Client, informers and the cluster's range.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._recorder = context.recorder
        self._cidr = context.options.cluster_cidr
        self._nodes = context.informers.of(core_v1.Node)
        self._given: dict[str, str] = {}  # what the informer may not show yet

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Give a node a range if it has none."""
        node = self._nodes.get("", request.name)
        if node is None:
            self._given.pop(request.name, None)
            return loop.Result()
        if not self._cidr or (node.spec and node.spec.podCIDR):
            return loop.Result()
        cidr = self._given.get(request.name) or free_range(self._cidr, self._taken())
        if cidr is None:
            self._recorder.normal(node, "CIDRNotAvailable", f"Node {request.name} status is now: CIDRNotAvailable")
            return loop.Result(requeue_after_s=RETRY_S)
        self._given[request.name] = cidr
        body = {"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}}
        try:
            await self._client.patch(core_v1.Node, request.name, body, PatchType.STRATEGIC)
        except errors.NotFound:
            del self._given[request.name]
        return loop.Result()

    def _taken(self) -> set[str]:
        taken = {node.spec.podCIDR for node in self._nodes.list() if node.spec and node.spec.podCIDR}
        return taken | {*self._given.values()}


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("node-ipam", Reconciler(context), context, workers=1)
    controller.watch(core_v1.Node, loop.itself)
    return controller
