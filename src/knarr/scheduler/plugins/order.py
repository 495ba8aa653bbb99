"""Which plugins there are, in the order in which they run, and what each score weighs.

Source: getDefaultPlugins in pkg/scheduler/apis/config/v1/default_plugins.go (v1.37).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from knarr.scheduler.framework import Filter, Score
from knarr.scheduler.plugins.image_locality import ImageLocality
from knarr.scheduler.plugins.inter_pod_affinity import InterPodAffinity, NamespaceLabels
from knarr.scheduler.plugins.node_affinity import NodeAffinity
from knarr.scheduler.plugins.node_name import NodeName
from knarr.scheduler.plugins.node_ports import NodePorts
from knarr.scheduler.plugins.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from knarr.scheduler.plugins.node_resources_fit import NodeResourcesFit
from knarr.scheduler.plugins.node_unschedulable import NodeUnschedulable
from knarr.scheduler.plugins.pod_topology_spread import PodTopologySpread, SelectorOf
from knarr.scheduler.plugins.taint_toleration import TaintToleration
from knarr.scheduler.plugins.volume_binding import Storage, VolumeBinding


@dataclass(frozen=True, slots=True)
class Order:
    """The plugins of a scheduler.

    Attributes:
        filters: In order; a node that one rules out is not shown to the next.
        scores: With their weights.
        volumes: The one among the filters that also knows which claims wait for a node.
    """

    filters: Sequence[Filter]
    scores: Sequence[tuple[Score, int]]
    volumes: VolumeBinding


def default(namespaces: NamespaceLabels, storage: Storage, selector_of: SelectorOf) -> Order:
    """Return upstream's default plugins.

    Args:
        namespaces: Gives the labels of all namespaces.
        storage: Claims, volumes and classes.
        selector_of: Gives what selects a pod's kind.
    """
    taints, affinity, fit = TaintToleration(), NodeAffinity(), NodeResourcesFit()
    volumes, spread, pods = VolumeBinding(storage), PodTopologySpread(selector_of), InterPodAffinity(namespaces)
    return Order(
        filters=(NodeUnschedulable(), NodeName(), taints, affinity, NodePorts(), fit, volumes, spread, pods),
        volumes=volumes,
        scores=(
            (taints, 3),
            (affinity, 2),
            (fit, 1),
            (spread, 2),
            (pods, 2),
            (NodeResourcesBalancedAllocation(), 1),
            (ImageLocality(), 1),
        ),
    )
