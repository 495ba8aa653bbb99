"""The scheduler: finds a node for each pod that has none.

Upstream counterpart: pkg/scheduler (v1.37).
"""

from knarr.control import Context
from knarr.kit.tasks import Supervisor


def run(context: Context, supervisor: Supervisor) -> None:
    """Start the scheduler; it runs until the supervisor ends.

    Args:
        context: Of the process, as `control.context.open_context(client_for, "kube-scheduler", …)` gives it.
        supervisor: Restarts what fails.
    """
