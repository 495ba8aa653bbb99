"""Pods that have displaced others and wait for the room: they count as if they ran on the node that they wait for.

Upstream counterpart: pkg/scheduler/backend/queue/nominator.go (v1.37).
"""

import contextlib
from collections.abc import Iterator

from knarr.scheduler.cluster import Cluster
from knarr.scheduler.podfacts import PodFacts


class Nominator:
    """Who waits for which node.

    Args:
        cluster: Where they are counted.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[str, tuple[PodFacts, str]] = {}

    def node_of(self, uid: str) -> str:
        """Return the node that a pod waits for; empty if none."""
        known = self._known.get(uid)
        return known[1] if known is not None else ""

    def nominate(self, pod: PodFacts, node: str) -> None:
        """Note that a pod waits for a node."""
        self._known[pod.uid] = (pod, node)

    def forget(self, uid: str) -> bool:
        """Note that a pod waits no more; tells whether it did."""
        return self._known.pop(uid, None) is not None

    def lesser_on(self, node: str, priority: int) -> list[PodFacts]:
        """Return the pods of lower priority that wait for a node: they must look for another."""
        return [pod for pod, where in self._known.values() if where == node and pod.priority < priority]

    @contextlib.contextmanager
    def counted(self, pod: PodFacts) -> Iterator[None]:
        """Count those that are at least as important as `pod` while a decision about it is made."""
        added = []
        for uid, (other, node) in self._known.items():
            if uid == pod.uid or other.priority < pod.priority or uid in self._cluster.located:
                continue
            if node in self._cluster.index:
                self._cluster.add_pod(other, node)
                added.append(uid)
        try:
            yield
        finally:
            for uid in added:
                self._cluster.remove_pod(uid)
