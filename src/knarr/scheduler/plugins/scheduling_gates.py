"""SchedulingGates: a pod is not tried while it has gates.

Upstream counterpart: pkg/scheduler/framework/plugins/schedulinggates (v1.37; KEP-3521).
"""

from knarr.scheduler.events import Event, Kind
from knarr.scheduler.framework import Denied
from knarr.scheduler.podfacts import PodFacts


class SchedulingGates:
    """The plugin."""

    name = "SchedulingGates"
    events: frozenset[Kind] = frozenset()

    def pre_enqueue(self, pod: PodFacts) -> Denied | None:
        """Keep gated pods waiting."""
        gates = [gate.name for gate in pod.spec.schedulingGates or ()]
        return Denied(f"waiting for scheduling gates: [{' '.join(gates)}]") if gates else None

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """Only the pod itself changes its gates."""
        return False
