"""DefaultPreemption: makes room for a pod by displacing pods of lower priority.

Upstream counterpart: pkg/scheduler/framework/plugins/defaultpreemption (v1.37).
"""

from collections.abc import Callable, Sequence

from lightkube.models import policy_v1

from knarr.scheduler import preemption
from knarr.scheduler.cluster import Cluster
from knarr.scheduler.cycle import Unplaced
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.profile import Profile


class DefaultPreemption:
    """The plugin.

    Args:
        budgets: Gives the disruption budgets.
        percentage: Share of the nodes that are looked at, at least.
        absolute: How many are looked at, at least.
    """

    name = "DefaultPreemption"

    def __init__(
        self,
        budgets: Callable[[], Sequence[policy_v1.PodDisruptionBudget]],
        *,
        percentage: int = 10,
        absolute: int = 100,
    ) -> None:
        self._budgets = budgets
        self._percentage = percentage
        self._absolute = absolute

    def postfilter(
        self, pod: PodFacts, unplaced: Unplaced, cluster: Cluster, profile: Profile, nominated: str
    ) -> preemption.Candidate | preemption.Refused:
        """Decide whom to displace."""
        limit = max(self._absolute, unplaced.total * self._percentage // 100)
        found = preemption.plan(pod, unplaced, cluster, profile, self._budgets(), nominated=nominated, limit=limit)
        if isinstance(found, preemption.Refused):
            return preemption.Refused(f"preemption: {found.message}", keeps=found.keeps)
        return found
