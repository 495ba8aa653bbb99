"""PrioritySort: more important pods go first, of equals the one that waits longer.

Upstream counterpart: pkg/scheduler/framework/plugins/queuesort (v1.37).
"""

from knarr.scheduler.podfacts import PodFacts


class PrioritySort:
    """The plugin."""

    name = "PrioritySort"

    def less(self, pod: PodFacts, since_s: float) -> tuple[float, ...]:
        """Sort by priority, then by time."""
        return (-pod.priority, since_s)
