"""What the descheduler sees: nodes, the pods on them, what they request, and which of them may be moved.

Upstream counterpart: sigs.k8s.io/descheduler pkg/descheduler/{node,pod,evictions} (v0.3x).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lightkube.models import core_v1

from knarr.api import quantity
from knarr.control import informer, owners
from knarr.controllers import nodes as placement
from knarr.controllers import pods as podinfo

MIRROR = "kubernetes.io/config.mirror"
EVICT = "descheduler.alpha.kubernetes.io/evict"
"""Annotation by which a pod may be moved although it would not be."""
CRITICAL = 2_000_000_000
"""Pods of this priority and above are left alone."""
RESOURCES = ("cpu", "memory")

Amounts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """Which pods are left alone, and how many go at most.

    Attributes:
        per_node: Most pods evicted from one node in a run; None for no limit.
        total: Most pods evicted in a run.
        local_storage: Whether pods with data on their node (emptyDir, hostPath) may go.
        bare: Whether pods that nobody makes anew may go.
        namespaces: Left alone.
    """

    per_node: int | None = None
    total: int | None = None
    local_storage: bool = False
    bare: bool = False
    namespaces: frozenset[str] = frozenset({"kube-system"})


@dataclass(slots=True)
class NodeView:
    """A node and its pods.

    Attributes:
        node: The node.
        pods: Those that run on it or are about to.
        used: What they request: "cpu" and "memory" in thousandths, "pods" in pieces.
        room: What the node has, in the same units.
    """

    node: core_v1.Node
    pods: list[core_v1.Pod] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    room: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The node's name."""
        return informer.key_of(self.node)[1]

    def share(self, resource: str) -> float:
        """Return how much of a resource is requested, in percent."""
        return 100.0 * self.used.get(resource, 0) / self.room[resource] if self.room.get(resource) else 0.0

    def is_open(self) -> bool:
        """Tell whether the node is ready and takes pods."""
        conditions = (self.node.status.conditions if self.node.status else None) or ()
        ready = any(one.type == "Ready" and one.status == "True" for one in conditions)
        return ready and not (self.node.spec and self.node.spec.unschedulable)

    def add(self, pod: core_v1.Pod) -> None:
        """Count a pod in."""
        self.pods.append(pod)
        self.reserve(pod)

    def reserve(self, pod: core_v1.Pod) -> None:
        """Count in what a pod that is going to come requests."""
        for resource, amount in requests_of(pod).items():
            self.used[resource] = self.used.get(resource, 0) + amount

    def remove(self, pod: core_v1.Pod) -> None:
        """Count a pod out."""
        self.pods.remove(pod)
        for resource, amount in requests_of(pod).items():
            self.used[resource] = self.used.get(resource, 0) - amount


@dataclass(slots=True)
class View:
    """A cluster.

    Attributes:
        nodes: By name.
        limits: What is left alone.
        namespace_labels: Gives the labels of a namespace.
    """

    nodes: dict[str, NodeView]
    limits: Limits
    namespace_labels: Callable[[str], Mapping[str, str]] = lambda name: {}

    @property
    def pods(self) -> list[core_v1.Pod]:
        """All pods."""
        return [pod for node in self.nodes.values() for pod in node.pods]

    def may_move(self, pod: core_v1.Pod) -> bool:
        """Tell whether a pod is one that somebody makes anew elsewhere, without loss."""
        assert pod.metadata and pod.spec
        annotations = pod.metadata.annotations or {}
        if MIRROR in annotations or pod.metadata.deletionTimestamp is not None:
            return False
        if annotations.get(EVICT) == "true":
            return True
        reference = owners.controller_of(pod)
        if (reference is None and not self.limits.bare) or (reference is not None and reference.kind == "DaemonSet"):
            return False
        if pod.metadata.namespace in self.limits.namespaces or (pod.spec.priority or 0) >= CRITICAL:
            return False
        return self.limits.local_storage or not any(
            volume.emptyDir is not None or volume.hostPath is not None for volume in pod.spec.volumes or ()
        )

    def fits(self, pod: core_v1.Pod, node: NodeView) -> bool:
        """Tell whether a node would take a pod: selectors, taints and room."""
        assert pod.spec
        effects = ("NoSchedule", "NoExecute")
        if not node.is_open() or not placement.is_selected(pod.spec, node.node):
            return False
        if not placement.is_tolerated(pod.spec.tolerations, node.node, effects):
            return False
        wanted = requests_of(pod)
        return all(
            node.used.get(name, 0) + amount <= node.room.get(name, 0) for name, amount in wanted.items() if amount
        )

    def elsewhere(self, pod: core_v1.Pod, among: Iterable[NodeView] | None = None) -> NodeView | None:
        """Return a node other than its own that would take a pod, or None."""
        own = pod.spec.nodeName if pod.spec else None
        candidates = self.nodes.values() if among is None else among
        return next((node for node in candidates if node.name != own and self.fits(pod, node)), None)


def observe(
    nodes: Iterable[core_v1.Node],
    pods: Iterable[core_v1.Pod],
    limits: Limits,
    namespace_labels: Callable[[str], Mapping[str, str]] = lambda name: {},
) -> View:
    """Return the view of a cluster; pods that have finished do not count."""
    found = {informer.key_of(node)[1]: NodeView(node, room=_room(node)) for node in nodes}
    for pod in sorted(pods, key=informer.key_of):
        place = found.get((pod.spec.nodeName if pod.spec else None) or "")
        if place is not None and podinfo.phase(pod) not in ("Succeeded", "Failed"):
            place.add(pod)
    return View(found, limits, namespace_labels)


def requests_of(pod: core_v1.Pod) -> Amounts:
    """Return what a pod requests, the larger of its containers together and any init container."""
    assert pod.spec
    totals = {"pods": 1}
    for resource in RESOURCES:
        running = sum(_request(one, resource) for one in pod.spec.containers)
        running += sum(
            _request(one, resource) for one in pod.spec.initContainers or () if one.restartPolicy == "Always"
        )
        starting = max((_request(one, resource) for one in pod.spec.initContainers or ()), default=0)
        overhead = _amount((pod.spec.overhead or {}).get(resource))
        totals[resource] = max(running, starting) + overhead
    return totals


def by_priority(pods: Sequence[core_v1.Pod]) -> list[core_v1.Pod]:
    """Sort pods by who goes first: lower priority, then younger."""

    def key(pod: core_v1.Pod) -> tuple[float, float]:
        created = pod.metadata.creationTimestamp if pod.metadata else None
        priority = (pod.spec.priority or 0) if pod.spec else 0
        return priority, -(created.timestamp() if created else 0.0)

    return sorted(pods, key=key)


def _room(node: core_v1.Node) -> dict[str, int]:
    has = (node.status.allocatable if node.status else None) or {}
    room = {resource: _amount(has.get(resource)) for resource in RESOURCES}
    return {**room, "pods": quantity.parse(str(has.get("pods", "0"))).value}


def _request(container: core_v1.Container, resource: str) -> int:
    return _amount(((container.resources.requests if container.resources else None) or {}).get(resource))


def _amount(value: object) -> int:
    return 0 if value is None else quantity.parse(str(value)).milli_value
