"""Whether this node takes a pod that somebody bound to it: the scheduler may be wrong or passed over, and then the pod fails here.

Source: pkg/kubelet/lifecycle/predicate.go, k8s.io/component-helpers/scheduling/corev1/nodeaffinity (v1.37).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from lightkube.models import core_v1

from knarr.api import amounts, names
from knarr.node.pods import spec as specs
from knarr.node.pods.resources import pod_requests

REJECTED = "Pod was rejected: "
ANY_ADDRESS = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a pod is not taken.

    Attributes:
        reason: Of the pod's status, such as "OutOfcpu".
        message: Likewise.
    """

    reason: str
    message: str


def admit(
    pod: core_v1.Pod,
    others: Iterable[core_v1.Pod],
    *,
    allocatable: Mapping[str, Fraction],
    node: core_v1.Node | None,
) -> Rejection | None:
    """Return why a pod is not taken, or None.

    Args:
        pod: The new pod.
        others: The pods that run here or will.
        allocatable: What all pods may use together.
        node: The Node object; its labels are not looked at while it is unknown.
    """
    if node is not None and not _fits_labels(pod, node):
        text = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        return Rejection("NodeAffinity", REJECTED + text)
    there = list(others)
    if _is_port_taken(pod, there):
        text = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
        return Rejection("NodePorts", REJECTED + text)
    if "pods" in allocatable and len(there) + 1 > allocatable["pods"]:
        return short_of("pods", Fraction(1), Fraction(len(there)), allocatable["pods"])
    for resource in ("cpu", "memory", "ephemeral-storage"):
        wanted = pod_requests(pod, resource)
        if not wanted or resource not in allocatable:
            continue
        used = sum((pod_requests(other, resource) for other in there), Fraction(0))
        if used + wanted > allocatable[resource]:
            return short_of(resource, wanted, used, allocatable[resource])
    return _short_of_extended(pod, there, node)


def _short_of_extended(pod: core_v1.Pod, others: Sequence[core_v1.Pod], node: core_v1.Node | None) -> Rejection | None:
    """Look at the resources that somebody advertises on the node; what it does not have at all is somebody else's business."""
    has = (node.status.allocatable if node is not None and node.status is not None else None) or {}
    for resource, amount in has.items():
        wanted = pod_requests(pod, resource) if names.is_extended_resource(resource) else Fraction(0)
        if not wanted:
            continue
        used = sum((pod_requests(other, resource) for other in others), Fraction(0))
        total = Fraction(amounts.nanos(amount), 10**9)
        if used + wanted > total:
            return short_of(resource, wanted, used, total)
    return None


def short_of(resource: str, wanted: Fraction, used: Fraction, total: Fraction) -> Rejection:
    """Return the rejection of a pod that wants more of a resource than is left.

    Args:
        resource: Such as "cpu" or "pods".
        wanted: By the pod, in cores, bytes or pieces.
        used: By the pods that are there.
        total: For all pods.
    """
    unit = 1000 if resource == "cpu" else 1
    figures = ", ".join(
        f"{name}: {int(amount * unit)}" for name, amount in (("requested", wanted), ("used", used), ("capacity", total))
    )
    return Rejection(f"OutOf{resource}", f"{REJECTED}Node didn't have enough resource: {resource}, {figures}")


def _is_port_taken(pod: core_v1.Pod, others: Iterable[core_v1.Pod]) -> bool:
    """Tell whether a pod wants a port of the machine that another has, on the same address or where one takes all."""
    wanted = _host_ports(pod)
    if not wanted:
        return False
    taken = {port for other in others for port in _host_ports(other)}
    return any(
        (protocol, number) == (known_protocol, known)
        and (address == known_address or ANY_ADDRESS in (address, known_address))
        for address, protocol, number in wanted
        for known_address, known_protocol, known in taken
    )


def _host_ports(pod: core_v1.Pod) -> set[tuple[str, str, int]]:
    """Return (address, protocol, number) of the ports of the machine that a pod takes."""
    spec = specs.spec_of(pod)
    sidecars = [one for one in spec.initContainers or () if one.restartPolicy == "Always"]
    return {
        (port.hostIP or ANY_ADDRESS, port.protocol or "TCP", port.hostPort)
        for container in (*spec.containers, *sidecars)
        for port in container.ports or ()
        if port.hostPort
    }


def _fits_labels(pod: core_v1.Pod, node: core_v1.Node) -> bool:
    spec = specs.spec_of(pod)
    metadata = node.metadata
    labels = (metadata.labels if metadata is not None else None) or {}
    if any(labels.get(key) != value for key, value in (spec.nodeSelector or {}).items()):
        return False
    affinity = spec.affinity.nodeAffinity if spec.affinity is not None else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity is not None else None
    if required is None:
        return True
    fields = {"metadata.name": (metadata.name if metadata is not None else None) or ""}
    return any(_fits_term(term, labels, fields) for term in required.nodeSelectorTerms)


def _fits_term(term: core_v1.NodeSelectorTerm, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    if not term.matchExpressions and not term.matchFields:
        return False  # an empty term matches nothing
    return all(_fits(requirement, labels) for requirement in term.matchExpressions or []) and all(
        _fits(requirement, fields) for requirement in term.matchFields or []
    )


def _fits(requirement: core_v1.NodeSelectorRequirement, values: Mapping[str, str]) -> bool:
    value = values.get(requirement.key)
    listed = requirement.values or []
    match requirement.operator:
        case "In":
            return value in listed
        case "NotIn":
            return value not in listed
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            if value is None or not _is_number(value) or not _is_number(listed[0]):
                return False
            greater = int(value) > int(listed[0])
            return greater if requirement.operator == "Gt" else int(value) < int(listed[0])
        case _:
            return False


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdigit()
