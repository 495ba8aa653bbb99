"""Which plugins there are, in the order in which they run, what each score weighs, and how each is made of its arguments.

Source: getDefaultPlugins in pkg/scheduler/apis/config/v1/default_plugins.go (v1.37).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightkube.models import core_v1, policy_v1

from knarr.client import Client
from knarr.kit.clock import Clock
from knarr.scheduler import arguments
from knarr.scheduler.binding import WaitingPods
from knarr.scheduler.cluster import Cluster
from knarr.scheduler.plugins.default_binder import DefaultBinder
from knarr.scheduler.plugins.default_preemption import DefaultPreemption
from knarr.scheduler.plugins.dynamic_resources import Devices, DynamicResources
from knarr.scheduler.plugins.gang_scheduling import TIMEOUT_S as GANG_TIMEOUT_S
from knarr.scheduler.plugins.gang_scheduling import GangScheduling, Members
from knarr.scheduler.plugins.image_locality import ImageLocality
from knarr.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from knarr.scheduler.plugins.node_affinity import NodeAffinity
from knarr.scheduler.plugins.node_name import NodeName
from knarr.scheduler.plugins.node_ports import NodePorts
from knarr.scheduler.plugins.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from knarr.scheduler.plugins.node_resources_fit import NodeResourcesFit
from knarr.scheduler.plugins.node_unschedulable import NodeUnschedulable
from knarr.scheduler.plugins.node_volume_limits import NodeVolumeLimits
from knarr.scheduler.plugins.pod_topology_spread import PodTopologySpread, SelectorOf
from knarr.scheduler.plugins.priority_sort import PrioritySort
from knarr.scheduler.plugins.scheduling_gates import SchedulingGates
from knarr.scheduler.plugins.taint_toleration import TaintToleration
from knarr.scheduler.plugins.volume_binding import TIMEOUT_S, VolumeBinding
from knarr.scheduler.plugins.volume_restrictions import VolumeRestrictions
from knarr.scheduler.plugins.volume_zone import VolumeZone
from knarr.scheduler.profile import DEFAULT_NAME, Profile, assemble
from knarr.scheduler.terms import NamespaceLabels
from knarr.scheduler.volumes import Storage


@dataclass(frozen=True, slots=True)
class Tools:
    """What plugins may use of the scheduler.

    Attributes:
        client: Writes; None where nothing is written.
        clock: The time.
        cluster: Nodes and the pods on them.
        waiting: Pods that wait at permit.
        namespaces: Gives the labels of all namespaces.
        storage: Claims, volumes and classes.
        selector_of: Gives what selects a pod's kind.
        budgets: Gives the disruption budgets.
        devices: Resource claims, and what drivers offer.
        members: Counts the pods of groups.
    """

    client: Client | None
    clock: Clock
    cluster: Cluster
    waiting: WaitingPods
    namespaces: NamespaceLabels
    storage: Storage
    selector_of: SelectorOf
    budgets: Callable[[], Sequence[policy_v1.PodDisruptionBudget]] = list
    devices: Devices = field(default_factory=Devices)
    members: Members = lambda namespace, name: 0


Make = Callable[[Tools, Mapping[str, Any]], Any]


def _fit(tools: Tools, given: Mapping[str, Any]) -> NodeResourcesFit:
    return NodeResourcesFit(arguments.strategy(given), arguments.ignored(given))


def _balanced(tools: Tools, given: Mapping[str, Any]) -> NodeResourcesBalancedAllocation:
    return NodeResourcesBalancedAllocation([name for name, _ in arguments.resources(given.get("resources"))])


def _spread(tools: Tools, given: Mapping[str, Any]) -> PodTopologySpread:
    return PodTopologySpread(tools.selector_of, defaults=arguments.spread_defaults(given))


def _affinity(tools: Tools, given: Mapping[str, Any]) -> NodeAffinity:
    return NodeAffinity(arguments.typed(given, "addedAffinity", core_v1.NodeAffinity))


def _pods(tools: Tools, given: Mapping[str, Any]) -> InterPodAffinity:
    weight = arguments.integer(given, "hardPodAffinityWeight", 1, lowest=0, highest=100)
    ignore = arguments.boolean(given, "ignorePreferredTermsOfExistingPods")
    return InterPodAffinity(tools.namespaces, hard_weight=weight, ignore_preferred=ignore)


def _volumes(tools: Tools, given: Mapping[str, Any]) -> VolumeBinding:
    timeout_s = arguments.integer(given, "bindTimeoutSeconds", TIMEOUT_S, lowest=0)
    return VolumeBinding(tools.storage, tools.cluster, tools.client, tools.clock, timeout_s=timeout_s)


def _gangs(tools: Tools, given: Mapping[str, Any]) -> GangScheduling:
    timeout_s = arguments.integer(given, "schedulingTimeoutSeconds", GANG_TIMEOUT_S, lowest=1)
    return GangScheduling(tools.members, tools.cluster, tools.waiting, timeout_s=timeout_s)


def _preemption(tools: Tools, given: Mapping[str, Any]) -> DefaultPreemption:
    percentage = arguments.integer(given, "minCandidateNodesPercentage", 10, lowest=0, highest=100)
    absolute = arguments.integer(given, "minCandidateNodesAbsolute", 100, lowest=0)
    return DefaultPreemption(tools.budgets, percentage=percentage, absolute=absolute)


def _binder(tools: Tools, given: Mapping[str, Any]) -> Any:
    return DefaultBinder(tools.client) if tools.client is not None else _Nobody()


class _Nobody:
    """Stands for the binder where nothing is written."""

    name = DefaultBinder.name


PLUGINS: Mapping[str, tuple[int, Make]] = {
    "SchedulingGates": (0, lambda tools, given: SchedulingGates()),
    "PrioritySort": (0, lambda tools, given: PrioritySort()),
    "NodeUnschedulable": (0, lambda tools, given: NodeUnschedulable()),
    "NodeName": (0, lambda tools, given: NodeName()),
    "TaintToleration": (3, lambda tools, given: TaintToleration()),
    "NodeAffinity": (2, _affinity),
    "NodePorts": (0, lambda tools, given: NodePorts()),
    "NodeResourcesFit": (1, _fit),
    "VolumeRestrictions": (0, lambda tools, given: VolumeRestrictions(tools.storage)),
    "NodeVolumeLimits": (0, lambda tools, given: NodeVolumeLimits(tools.storage)),
    "VolumeBinding": (0, _volumes),
    "VolumeZone": (0, lambda tools, given: VolumeZone(tools.storage)),
    "PodTopologySpread": (2, _spread),
    "InterPodAffinity": (2, _pods),
    "DynamicResources": (0, lambda tools, given: DynamicResources(tools.devices, tools.cluster, tools.client)),
    "DefaultPreemption": (0, _preemption),
    "GangScheduling": (0, _gangs),
    "NodeResourcesBalancedAllocation": (1, _balanced),
    "ImageLocality": (1, lambda tools, given: ImageLocality()),
    "DefaultBinder": (0, _binder),
}
"""Upstream's default plugins in their order: the weight of each one's score, and how it is made of its arguments."""


def make(name: str, tools: Tools, given: Mapping[str, Any]) -> Any:
    """Make a plugin by its name, or by "module:Class" for one that is not built in.

    Raises:
        BadConfiguration: there is none, or it does not take the arguments.
    """
    if name in PLUGINS:
        return PLUGINS[name][1](tools, given)
    return arguments.load(name)(tools, given)


def default(tools: Tools) -> Profile:
    """Return upstream's default profile."""
    return assemble(DEFAULT_NAME, [(make(name, tools, {}), weight) for name, (weight, _) in PLUGINS.items()])
