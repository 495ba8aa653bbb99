"""Gives each node a slice of the pod addresses: spec.podCIDR, a /24 of the cluster's range.

Upstream counterpart: pkg/controller/nodeipam (RangeAllocator).
"""

import ipaddress
from collections import Counter

from lightkube.models import core_v1

from knarr.api import errors
from knarr.client import PatchType
from knarr.control import Context, loop

NODE_PREFIX = 24
RETRY_S = 30.0


class Ranges:
    """The ranges of one network, and which of them are taken.

    Finding a free one does not look at the taken ones again: those before the last one given are left out until the end is reached.

    Args:
        cluster_cidr: Such as "10.244.0.0/16".
        prefix: The length of a node's range.
    """

    def __init__(self, cluster_cidr: str, prefix: int = NODE_PREFIX) -> None:
        network = ipaddress.ip_network(cluster_cidr)
        self._prefix = prefix
        self._size = 1 << (network.max_prefixlen - prefix)
        self._starts = range(int(network.network_address), int(network.broadcast_address) + 1, self._size)
        self._owners: Counter[int] = Counter()
        self._next = 0

    def take(self, cidr: str) -> None:
        """Note that a node has a range; two that claim the same both hold it."""
        self._owners[_start(cidr)] += 1

    def give_back(self, cidr: str) -> None:
        """Note that a node no longer has its range."""
        start = _start(cidr)
        self._owners[start] -= 1
        if self._owners[start] <= 0:
            del self._owners[start]

    def find(self) -> str | None:
        """Return a range that no node has, or None if all are taken; ranges are reused as late as possible."""
        for step in range(len(self._starts)):
            index = (self._next + step) % len(self._starts)
            if self._starts[index] not in self._owners:
                self._next = index + 1
                return str(ipaddress.ip_network((self._starts[index], self._prefix)))
        return None


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
        self._ranges = Ranges(context.options.cluster_cidr) if context.options.cluster_cidr else None
        self._nodes = context.informers.of(core_v1.Node)
        self._given: dict[str, str] = {}  # what is noted as taken, by node
        self._nodes.on_change(self._observe)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Give a node a range if it has none."""
        node = self._nodes.get("", request.name)
        if node is None or self._ranges is None or _cidr_of(node):
            return loop.Result()
        cidr = self._given.get(request.name) or self._ranges.find()
        if cidr is None:
            self._recorder.normal(node, "CIDRNotAvailable", f"Node {request.name} status is now: CIDRNotAvailable")
            return loop.Result(requeue_after_s=RETRY_S)
        self._note(request.name, cidr)
        body = {"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}}
        try:
            await self._client.patch(core_v1.Node, request.name, body, PatchType.STRATEGIC)
        except errors.NotFound:
            self._note(request.name, "")
        return loop.Result()

    def _observe(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        if new is None:
            self._note(_name_of(old), "")
        elif cidr := _cidr_of(new):
            self._note(_name_of(new), cidr)

    def _note(self, name: str, cidr: str) -> None:
        before = self._given.get(name, "")
        if self._ranges is None or before == cidr:
            return
        if before:
            self._ranges.give_back(before)
            del self._given[name]
        if cidr:
            self._ranges.take(cidr)
            self._given[name] = cidr


def _cidr_of(node: core_v1.Node) -> str:
    return (node.spec.podCIDR if node.spec is not None else None) or ""


def _name_of(node: core_v1.Node | None) -> str:
    return (node.metadata.name if node is not None and node.metadata is not None else None) or ""


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("node-ipam", Reconciler(context), context, workers=1)
    controller.watch(core_v1.Node, loop.itself)
    return controller
