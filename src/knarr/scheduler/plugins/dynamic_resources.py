"""DynamicResources: devices that pods claim.

Upstream counterpart: pkg/scheduler/framework/plugins/dynamicresources (v1.37).
"""

from knarr.scheduler import preemption
from knarr.scheduler.cluster import Cluster
from knarr.scheduler.cycle import Unplaced
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.profile import Profile


class DynamicResources:
    """The plugin."""

    name = "DynamicResources"

    def postfilter(
        self, pod: PodFacts, unplaced: Unplaced, cluster: Cluster, profile: Profile, nominated: str
    ) -> preemption.Refused:
        """Say that no claim can be given up for the pod: it has none that is allocated but unused."""
        return preemption.Refused("no new claims to deallocate", keeps=True)
