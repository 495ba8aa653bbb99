"""GangScheduling: the pods of a group run together or not at all.

The Workload API is not served by default in v1.37, so a group is named by the labels that kubernetes-sigs/scheduler-plugins began with:
`pod-group.scheduling.sigs.k8s.io/name` and `…/min-available`. Pods are not tried until as many exist; those that have a node wait for the
others before any is bound, and give way together when one finds no room.

Upstream counterpart: pkg/scheduler/framework/plugins/gangscheduling (v1.37; KEP-4671).
"""

from collections.abc import Callable

from lightkube.models import meta_v1

from knarr.scheduler import preemption
from knarr.scheduler.binding import WaitingPods
from knarr.scheduler.cluster import Cluster
from knarr.scheduler.cycle import Unplaced
from knarr.scheduler.events import Event, Kind
from knarr.scheduler.framework import Denied, State, Wait
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.profile import Profile

NAME = "pod-group.scheduling.sigs.k8s.io/name"
MIN_AVAILABLE = "pod-group.scheduling.sigs.k8s.io/min-available"
TIMEOUT_S = 300

Members = Callable[[str, str], int]
"""How many pods of a group, by namespace and name, are not finished."""


class GangScheduling:
    """The plugin.

    Args:
        members: Counts the pods of groups.
        cluster: Those that have a node.
        waiting: Those that wait for the others.
        timeout_s: How long they wait.
    """

    name = "GangScheduling"
    events = frozenset(Kind)

    def __init__(self, members: Members, cluster: Cluster, waiting: WaitingPods, *, timeout_s: int = TIMEOUT_S) -> None:
        self._members = members
        self._cluster = cluster
        self._waiting = waiting
        self._timeout_s = timeout_s

    def pre_enqueue(self, pod: PodFacts) -> Denied | None:
        """Keep a pod waiting until its group is large enough."""
        group, least = group_of(pod)
        if not group:
            return None
        count = self._members(pod.namespace, group)
        return Denied(f"waiting for {least} pods of group {group}, there are {count}") if count < least else None

    def postfilter(
        self, pod: PodFacts, unplaced: Unplaced, cluster: Cluster, profile: Profile, nominated: str
    ) -> preemption.Refused | None:
        """Let those that wait for this one give way."""
        group, _ = group_of(pod)
        if not group:
            return None
        self._reject(pod, f"pod {pod.name} of group {group} found no node")
        return preemption.Refused(f"group {group} cannot be placed as a whole", keeps=True, takes_over=True)

    def permit(self, pod: PodFacts, node: str, state: State) -> Wait | None:
        """Let a pod wait until enough of its group have a node."""
        group, least = group_of(pod)
        if not group:
            return None
        selector = meta_v1.LabelSelector(matchLabels={NAME: group})
        count = int(self._cluster.count((frozenset((pod.namespace,)), selector)).sum())
        if count < least:
            return Wait(float(self._timeout_s))
        for waiting in self._waiting:
            if _is_same(waiting.pod, pod):
                waiting.allow(self.name)
        return None

    def reserve(self, pod: PodFacts, node: str, state: State) -> None:
        """Nothing is to be noted."""

    def unreserve(self, pod: PodFacts, node: str, state: State) -> None:
        """When one is not bound, the others must not be either."""
        if group_of(pod)[0]:
            self._reject(pod, f"pod {pod.name} of the group was not bound")

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """Another pod of the group that came, or room that others made: not what the group itself gave back."""
        if not group_of(pod)[0]:
            return False
        return event.pod is None or _is_same(event.pod, pod) is (event.kind is Kind.GROUP)

    def _reject(self, pod: PodFacts, reason: str) -> None:
        for waiting in self._waiting:
            if _is_same(waiting.pod, pod) and waiting.pod.uid != pod.uid:
                waiting.reject(self.name, reason)


def group_of(pod: PodFacts) -> tuple[str, int]:
    """Return a pod's group and how many pods it needs; an empty name if it has none."""
    name, least = pod.labels.get(NAME, ""), pod.labels.get(MIN_AVAILABLE, "")
    return (name, int(least)) if name and least.isdecimal() and int(least) > 1 else ("", 0)


def _is_same(one: PodFacts, other: PodFacts) -> bool:
    return one.namespace == other.namespace and group_of(one)[0] == group_of(other)[0] != ""
