"""What controllers ask about pods: active, ready, available; which go first; and the pod of a template.

Upstream counterpart: pkg/controller/controller_utils.go and pkg/api/v1/pod.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from lightkube.models import core_v1, meta_v1
from msgspec.structs import replace

from knarr.control import informer, loop, selectors

NODE_INDEX = "node"
"""Name of the index that `by_node` is for."""
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def is_active(pod: core_v1.Pod) -> bool:
    """Tell whether a pod neither finished nor is being deleted."""
    assert pod.metadata
    return phase(pod) not in {"Succeeded", "Failed"} and pod.metadata.deletionTimestamp is None


def is_terminating(pod: core_v1.Pod) -> bool:
    """Tell whether a pod is being deleted and has not finished yet."""
    assert pod.metadata
    return phase(pod) not in {"Succeeded", "Failed"} and pod.metadata.deletionTimestamp is not None


def phase(pod: core_v1.Pod) -> str:
    """Return the phase; a pod without status is Pending."""
    return (pod.status.phase if pod.status else None) or "Pending"


def condition(pod: core_v1.Pod, kind: str) -> core_v1.PodCondition | None:
    """Return the condition of that type, or None."""
    conditions = (pod.status.conditions if pod.status else None) or ()
    return next((one for one in conditions if one.type == kind), None)


def is_ready(pod: core_v1.Pod) -> bool:
    """Tell whether the Ready condition is true."""
    ready = condition(pod, "Ready")
    return ready is not None and ready.status == "True"


def is_available(pod: core_v1.Pod, min_ready_s: int, now: datetime) -> bool:
    """Tell whether a pod has been ready for at least `min_ready_s` seconds."""
    ready = condition(pod, "Ready")
    if ready is None or ready.status != "True":
        return False
    since = ready.lastTransitionTime
    return min_ready_s == 0 or (since is not None and since + timedelta(seconds=min_ready_s) <= now)


def seconds_until_available(pods: Iterable[core_v1.Pod], min_ready_s: int, now: datetime) -> float | None:
    """Return when the next ready pod becomes available through waiting alone, or None."""
    if not min_ready_s:
        return None
    waits = []
    for pod in pods:
        ready = condition(pod, "Ready")
        if ready and ready.status == "True" and ready.lastTransitionTime:
            left = min_ready_s - (now - ready.lastTransitionTime).total_seconds()
            if left > 0:
                waits.append(left)
    return min(waits, default=None)


def by_node(pod: core_v1.Pod) -> Iterable[str]:
    """Index pods by the node that they are assigned to."""
    return (pod.spec.nodeName,) if pod.spec and pod.spec.nodeName else ()


def deletion_order(pods: Sequence[core_v1.Pod], *, related: Mapping[str, int]) -> list[core_v1.Pod]:
    """Sort active pods so that those a ReplicaSet can best spare come first.

    Unassigned before assigned, Pending before Running, not ready before ready, lower deletion cost, on nodes with more
    related pods, ready for a shorter time, more restarts, younger.

    Args:
        pods: The candidates.
        related: How many active pods of the same owner's family run on each node.

    Source: ActivePodsWithRanks.Less.
    """
    phases = {"Pending": 0, "Unknown": 1, "Running": 2}

    def key(pod: core_v1.Pod) -> tuple[object, ...]:
        assert pod.metadata and pod.spec
        node = pod.spec.nodeName or ""
        ready = condition(pod, "Ready")
        ready_since = ready.lastTransitionTime if ready and ready.status == "True" else None
        created = pod.metadata.creationTimestamp
        return (
            bool(node),
            phases.get(phase(pod), 1),
            is_ready(pod),
            _deletion_cost(pod),
            -related.get(node, 0),
            -ready_since.timestamp() if ready_since else float("-inf"),
            -_restarts(pod),
            -created.timestamp() if created else float("-inf"),
        )

    return sorted(pods, key=key)


def from_template(
    template: core_v1.PodTemplateSpec, *, namespace: str, generate_name: str, owner: meta_v1.OwnerReference
) -> core_v1.Pod:
    """Build a pod of a template, owned by `owner`."""
    meta = template.metadata or meta_v1.ObjectMeta()
    return core_v1.Pod(
        metadata=meta_v1.ObjectMeta(
            namespace=namespace,
            generateName=generate_name,
            labels=meta.labels,
            annotations=meta.annotations,
            finalizers=meta.finalizers,
            ownerReferences=[owner],
        ),
        spec=replace(template.spec) if template.spec else None,
    )


def _deletion_cost(pod: core_v1.Pod) -> int:
    assert pod.metadata
    text = (pod.metadata.annotations or {}).get(DELETION_COST, "0")
    return int(text) if text.lstrip("-").isdigit() else 0


def _restarts(pod: core_v1.Pod) -> int:
    statuses = (pod.status.containerStatuses if pod.status else None) or ()
    return max((status.restartCount for status in statuses), default=0)


def endpoint_facts(pod: core_v1.Pod) -> tuple[object, ...]:
    """Return what the endpoints of a Service depend on; a change of anything else need not be looked at."""
    assert pod.metadata and pod.spec
    addresses = tuple(one.ip for one in (pod.status.podIPs or ())) if pod.status else ()
    return (
        pod.metadata.labels,
        pod.metadata.uid,
        pod.metadata.deletionTimestamp,
        pod.spec.nodeName,
        addresses,
        phase(pod),
        is_ready(pod),
    )


def services_of(
    services: informer.Informer[core_v1.Service], old: core_v1.Pod | None, new: core_v1.Pod | None
) -> Iterable[loop.Request]:
    """Name the Services that select a pod as it was or is, if anything that their endpoints show has changed."""
    if old is not None and new is not None and endpoint_facts(old) == endpoint_facts(new):
        return ()
    found: dict[loop.Request, None] = {}
    for pod in (old, new):
        if pod is None or pod.metadata is None:
            continue
        for service in services.list(pod.metadata.namespace or ""):
            selector = service.spec.selector if service.spec else None
            if selector and selectors.subset(selector, pod.metadata.labels):
                found[loop.Request(*informer.key_of(service))] = None
    return found


def disruption(reason: str, message: str, now: datetime) -> core_v1.PodCondition:
    """Return the condition that says that a pod is about to be ended by the cluster, not by its own doing."""
    return core_v1.PodCondition(
        type="DisruptionTarget",
        status="True",
        reason=reason,
        message=message,
        lastTransitionTime=now.replace(microsecond=0),
    )
