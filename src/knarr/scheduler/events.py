"""What happens in the cluster that may make a pod schedulable.

Upstream counterpart: pkg/scheduler/framework/events.go and eventhandlers.go (v1.37).
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from lightkube.models import core_v1

from knarr.scheduler.podfacts import PodFacts


class Kind(Enum):
    """What happened."""

    NODE_ADDED = "node added"
    NODE_UPDATED = "node updated"
    POD_ADDED = "assigned pod added"
    POD_UPDATED = "assigned pod updated"
    POD_GONE = "assigned pod gone"
    STORAGE = "volume or claim changed"
    RESOURCE_CLAIMS = "resource claim, slice or class changed"
    GROUP = "a pod group, or a pod of one, came or changed"


NODE_EVENTS = frozenset({Kind.NODE_ADDED, Kind.NODE_UPDATED})
POD_EVENTS = frozenset({Kind.POD_ADDED, Kind.POD_UPDATED, Kind.POD_GONE})


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: What.
        node: The node as it is now, for node events.
        old_node: As it was, for NODE_UPDATED.
        pod: The assigned pod, for pod events; the pod that came, for GROUP.
        old_pod: As it was, for POD_UPDATED.
        storage: The claim, volume, class, node's drivers or attachment, for STORAGE.
    """

    kind: Kind
    node: core_v1.Node | None = None
    old_node: core_v1.Node | None = None
    pod: PodFacts | None = None
    old_pod: PodFacts | None = None
    storage: Any = None

    @property
    def is_of_node(self) -> bool:
        """Whether a node came or changed."""
        return self.kind in {Kind.NODE_ADDED, Kind.NODE_UPDATED}

    @property
    def is_of_pod(self) -> bool:
        """Whether an assigned pod came, changed or went."""
        return self.kind in {Kind.POD_ADDED, Kind.POD_UPDATED, Kind.POD_GONE}

    @property
    def changes_resources(self) -> bool:
        """Whether there may be more room on a node."""
        if self.kind in {Kind.NODE_ADDED, Kind.POD_GONE}:
            return True
        if self.kind is Kind.NODE_UPDATED:
            return _allocatable(self.old_node) != _allocatable(self.node)
        if self.kind is Kind.POD_UPDATED and self.pod is not None and self.old_pod is not None:
            now = self.pod.requests
            return any(now.get(name, 0) < before for name, before in self.old_pod.requests.items())
        return False

    @property
    def changes_labels(self) -> bool:
        """Whether a node has other labels than before."""
        return self.kind is Kind.NODE_ADDED or (
            self.kind is Kind.NODE_UPDATED and _labels(self.old_node) != _labels(self.node)
        )

    @property
    def changes_taints(self) -> bool:
        """Whether a node has other taints than before, or was cordoned or uncordoned."""
        return self.kind is Kind.NODE_ADDED or (
            self.kind is Kind.NODE_UPDATED and _taints(self.old_node) != _taints(self.node)
        )


def _allocatable(node: core_v1.Node | None) -> object:
    return node.status.allocatable if node and node.status else None


def _labels(node: core_v1.Node | None) -> object:
    return node.metadata.labels if node and node.metadata else None


def _taints(node: core_v1.Node | None) -> object:
    return (node.spec.taints, bool(node.spec.unschedulable)) if node and node.spec else None
