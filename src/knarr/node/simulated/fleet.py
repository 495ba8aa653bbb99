"""The simulated nodes themselves: what each one is, which addresses its pods get, and how much of it is taken."""

import ipaddress
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from lightkube.models import core_v1

from knarr.node import machine as machines
from knarr.node import status
from knarr.node.machine import Machine
from knarr.node.pods import spec as specs
from knarr.node.pods.admit import Rejection, admit, short_of
from knarr.node.pods.resources import pod_requests
from knarr.node.runtime.runtime import Condition, Version

RUNTIME = Version("simulated", "1.37")
GROUP_LABEL = "simulated.knarr.dev/group"
FAILED_ANNOTATION = "simulated.knarr.dev/failed"
METRICS_PATH_ANNOTATION = "metrics.k8s.io/resource-metrics-path"
"""Where metrics-server finds a node's metrics if not at /metrics/resource: all nodes of a process share one port."""
NODE_ADDRESSES = ipaddress.ip_network("198.18.0.0/16")
"""Addresses of nodes that nothing can be asked of; set aside for benchmarks by RFC 2544."""
SPARE_ADDRESSES = ipaddress.ip_network("198.19.0.0/16")
"""Addresses of pods whose node has no range of its own (yet)."""
_COUNTED = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many nodes there are and what each is like.

    Attributes:
        count: How many.
        group: Stands before their numbers in their names; two processes of one cluster need two groups.
        cores: Of each.
        memory_bytes: Of each.
        storage_bytes: Of each.
        max_pods: Of each.
        zones: Over how many zones they are spread; 0 leaves the label out.
        labels: More labels.
        address: Where the process that plays them listens; empty gives each node an address that nothing answers at.
        port: Likewise.
    """

    count: int
    group: str = "sim"
    cores: int = 32
    memory_bytes: int = 256 << 30
    storage_bytes: int = 1 << 40
    max_pods: int = 110
    zones: int = 3
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    port: int = 10250

    @property
    def names(self) -> list[str]:
        """The nodes' names."""
        return [f"{self.group}-{number}" for number in range(self.count)]

    def identity(self, name: str, number: int) -> status.Identity:
        """Return what one node is.

        Args:
            name: Its name.
            number: Counted from 0; decides its zone and address.
        """
        labels = {GROUP_LABEL: self.group, **self.labels}
        if self.zones:
            labels["topology.kubernetes.io/zone"] = f"zone-{number % self.zones}"
        machine = Machine(
            cores=self.cores,
            memory_bytes=self.memory_bytes,
            storage_bytes=self.storage_bytes,
            huge_pages={},
            machine_id=name,
            system_uuid=name,
            boot_id=name,
            kernel="simulated",
            os_image="simulated",
            architecture="amd64",
        )
        address = self.address or str(NODE_ADDRESSES[1 + number % (NODE_ADDRESSES.num_addresses - 2)])
        return status.Identity(name, (address,), self.port, machine, self.max_pods, labels)


class SimulatedNode:
    """One node.

    Attributes:
        identity: What it is.
        pods: Uids of the pods that are on it.
        node: The Node object as the API has it; None while it is not registered.
        lease_revision: Resource version of its Lease; empty while unknown.
        reported_s: When its status was last written, on the monotonic clock.
        is_silent: It has failed: it neither says that it lives nor plays its pods.

    Args:
        identity: What it is.
    """

    def __init__(self, identity: status.Identity) -> None:
        self.identity = identity
        self.pods: set[str] = set()
        self.node: core_v1.Node | None = None
        self.lease_revision = ""
        self.reported_s = float("-inf")
        self.is_silent = False
        total = machines.capacity(identity.machine, max_pods=identity.max_pods)
        self.allocatable = machines.allocatable(total)
        self._used = dict.fromkeys(_COUNTED, Fraction(0))
        self._counted: dict[str, tuple[Fraction, ...]] = {}
        self._addresses: Iterator[str] = iter(())
        self._cidr = ""
        self._taken: set[str] = set()

    @property
    def name(self) -> str:
        """Its name."""
        return self.identity.name

    def observe(self, node: core_v1.Node) -> None:
        """Take in the Node object as the API has it."""
        self.node = node
        cidr = (node.spec.podCIDR if node.spec is not None else None) or ""
        if cidr and cidr != self._cidr:
            self._cidr = cidr
            # The first two are the network's and, in real clusters, the bridge's.
            self._addresses = itertools.cycle(map(str, itertools.islice(ipaddress.ip_network(cidr), 2, 255)))

    def take_address(self, spare: Iterator[str]) -> str:
        """Return a free address for a pod.

        Args:
            spare: Where from if the node has no range, or no address left.
        """
        for address in itertools.islice(self._addresses, 256):
            if address not in self._taken:
                self._taken.add(address)
                return address
        return next(spare)

    def keep_address(self, address: str) -> None:
        """Note that a pod has an address from before."""
        self._taken.add(address)

    def free_address(self, address: str) -> None:
        """Note that a pod no longer has its address."""
        self._taken.discard(address)

    def admit(self, pod: core_v1.Pod) -> Rejection | None:
        """Return why the node does not take a pod, or take it."""
        rejection = admit(pod, (), allocatable={}, node=self.node)  # labels and affinity
        if rejection is not None:
            return rejection
        if len(self._counted) + 1 > self.allocatable["pods"]:
            return short_of("pods", Fraction(1), Fraction(len(self._counted)), self.allocatable["pods"])
        wanted = tuple(pod_requests(pod, resource) for resource in _COUNTED)
        for resource, amount in zip(_COUNTED, wanted, strict=True):
            if amount and self._used[resource] + amount > self.allocatable[resource]:
                return short_of(resource, amount, self._used[resource], self.allocatable[resource])
        self.count(pod)
        return None

    def count(self, pod: core_v1.Pod) -> None:
        """Count what a pod asks for as taken."""
        uid = specs.uid_of(pod)
        if uid in self._counted:
            return
        self._counted[uid] = amounts = tuple(pod_requests(pod, resource) for resource in _COUNTED)
        for resource, amount in zip(_COUNTED, amounts, strict=True):
            self._used[resource] += amount

    def discount(self, uid: str) -> None:
        """Count what a pod that ended asked for as free again."""
        for resource, amount in zip(_COUNTED, self._counted.pop(uid, ()), strict=False):
            self._used[resource] -= amount


def ready_conditions() -> tuple[Condition, ...]:
    """Return the conditions of a runtime that is well."""
    return (Condition("RuntimeReady", ready=True), Condition("NetworkReady", ready=True))


def spare_addresses() -> Iterator[str]:
    """Return addresses for pods of nodes without a range, again and again."""
    return itertools.cycle(map(str, SPARE_ADDRESSES.hosts()))
