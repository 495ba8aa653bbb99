"""Removes pods that nobody else will: of nodes that are gone, terminating without a node, and too many finished ones.

Upstream counterpart: pkg/controller/podgc.
"""

from collections.abc import Collection, Sequence

from lightkube.models import core_v1

from knarr.controllers import pods as podinfo

PERIOD_S = 20.0
QUARANTINE_S = 40.0
"""How long a node must be missing before its pods are taken for orphans."""
TERMINATED_LIMIT = 12_500
"""Most finished pods kept. Source: kube-controller-manager --terminated-pod-gc-threshold."""


def orphans(pods: Sequence[core_v1.Pod], missing_nodes: Collection[str]) -> list[core_v1.Pod]:
    """Return the pods assigned to nodes that have been missing for longer than the quarantine."""
    return [pod for pod in pods if pod.spec and pod.spec.nodeName in missing_nodes]


def unscheduled_terminating(pods: Sequence[core_v1.Pod]) -> list[core_v1.Pod]:
    """Return the pods that are being deleted and were never assigned to a node, whose agent would finish them."""
    return [
        pod for pod in pods if pod.metadata and pod.metadata.deletionTimestamp and pod.spec and not pod.spec.nodeName
    ]


def surplus_terminated(pods: Sequence[core_v1.Pod], limit: int = TERMINATED_LIMIT) -> list[core_v1.Pod]:
    """Return the oldest finished pods beyond `limit`; a limit of 0 or less keeps all."""
    if limit <= 0:
        return []
    done = [pod for pod in pods if podinfo.phase(pod) in {"Succeeded", "Failed"} and _created(pod)]
    done.sort(key=lambda pod: (_created(pod), pod.metadata.name if pod.metadata else ""))
    return done[: max(0, len(done) - limit)]


def _created(pod: core_v1.Pod) -> str:
    created = pod.metadata.creationTimestamp if pod.metadata else None
    return created.isoformat() if created else ""
