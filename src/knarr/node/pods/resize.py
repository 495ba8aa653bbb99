"""Resizing pods in place: which of the resources that a spec asks for are granted, and which containers must be told.

What a pod runs with is its allocation. A spec that asks for something else is granted if the node has room; until then the pod
keeps what it has, and its status says why: Infeasible if the node could never give it, Deferred if others hold it now.

Source: KEP-1287; pkg/kubelet/allocation, pkg/kubelet/kuberuntime computePodResizeAction (v1.37).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import msgspec
from lightkube.models import core_v1

from knarr.node.pods import spec as specs
from knarr.node.pods.resources import parse_amounts, pod_requests
from knarr.node.pods.spec import ContainerSpec

RESOURCES = ("cpu", "memory")
Allocation = Mapping[str, core_v1.ResourceRequirements | None]
"""Resources by container name."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Why a resize has not been granted: Infeasible or Deferred, and a message."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What a pod may use.

    Attributes:
        allocation: By container name.
        pending: Set while the spec asks for something else.
    """

    allocation: Allocation = field(default_factory=dict)
    pending: Pending | None = None


def first_allocation(pod: core_v1.Pod) -> Allocation:
    """Return what a pod has when this agent first sees it: the spec, or what its status says it was granted."""
    found: dict[str, core_v1.ResourceRequirements | None] = {c.name: c.resources for c in _resizable(pod)}
    conditions = (pod.status.conditions or []) if pod.status is not None else []
    if any(condition.type == "PodResizePending" and condition.status == "True" for condition in conditions):
        found |= {name: known for name, known in _known(pod).items() if name in found}
    return found


def known_resources(pod: core_v1.Pod, container_id: str) -> core_v1.ResourceRequirements | None:
    """Return what the status says that a container, by its full id, runs with."""
    status = pod.status
    lists = (status.initContainerStatuses, status.containerStatuses) if status is not None else ()
    return next((c.resources for entries in lists for c in entries or [] if c.containerID == container_id), None)


def decide(
    pod: core_v1.Pod, allocation: Allocation, others: Iterable[core_v1.Pod], *, allocatable: Mapping[str, Fraction]
) -> Decision:
    """Decide whether a pod gets what its spec asks for.

    Args:
        pod: As the API has it.
        allocation: What it has.
        others: The other pods here, with what they have.
        allocatable: What all may use together.
    """
    wanted = {container.name: container.resources for container in _resizable(pod)}
    if all(is_same(wanted[name], allocation.get(name)) for name in wanted):
        return Decision(wanted)
    there = list(others)
    for resource in RESOURCES:
        asked, total = pod_requests(pod, resource), allocatable.get(resource)
        if total is None:
            continue
        unit = 1000 if resource == "cpu" else 1
        if asked > total:
            figures = f"requested: {int(asked * unit)}, capacity: {int(total * unit)}"
            return Decision(
                allocation, Pending("Infeasible", f"Node didn't have enough capacity: {resource}, {figures}")
            )
        used = sum((pod_requests(other, resource) for other in there), Fraction(0))
        if asked + used > total and asked > pod_requests(with_allocation(pod, allocation), resource):
            figures = f"requested: {int(asked * unit)}, used: {int(used * unit)}, capacity: {int(total * unit)}"
            return Decision(allocation, Pending("Deferred", f"Node didn't have enough resource: {resource}, {figures}"))
    return Decision(wanted)


def with_allocation(pod: core_v1.Pod, allocation: Allocation) -> core_v1.Pod:
    """Return a pod whose containers ask for what they have."""
    spec = specs.spec_of(pod)
    if all(is_same(c.resources, allocation.get(c.name, c.resources)) for c in _resizable(pod)):
        return pod

    def given(containers: list[core_v1.Container] | None) -> list[core_v1.Container]:
        return [
            msgspec.structs.replace(c, resources=allocation[c.name]) if c.name in allocation else c
            for c in containers or []
        ]

    changed = msgspec.structs.replace(
        spec, containers=given(spec.containers), initContainers=given(spec.initContainers) or None
    )
    return msgspec.structs.replace(pod, spec=changed)


def is_same(left: core_v1.ResourceRequirements | None, right: core_v1.ResourceRequirements | None) -> bool:
    """Tell whether two sets of resources mean the same CPU and memory."""
    return _figures(left) == _figures(right)


def needs_restart(
    container: ContainerSpec, old: core_v1.ResourceRequirements | None, new: core_v1.ResourceRequirements | None
) -> bool:
    """Tell whether a container must be started again to get other resources, as its resizePolicy says."""
    before, after = _figures(old), _figures(new)
    changed = {key[1] for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    policies = (container.resizePolicy or []) if isinstance(container, core_v1.Container) else []
    return any(policy.resourceName in changed and policy.restartPolicy == "RestartContainer" for policy in policies)


def _resizable(pod: core_v1.Pod) -> list[core_v1.Container]:
    return [*specs.init_containers(pod), *specs.spec_of(pod).containers]


def _known(pod: core_v1.Pod) -> dict[str, core_v1.ResourceRequirements | None]:
    status = pod.status
    lists = (status.initContainerStatuses, status.containerStatuses) if status is not None else ()
    return {c.name: c.resources for entries in lists for c in entries or [] if c.resources is not None}


def _figures(resources: core_v1.ResourceRequirements | None) -> dict[tuple[str, str], Fraction]:
    if resources is None:
        return {}
    return {
        (kind, name): amount
        for kind, amounts in (("limits", resources.limits), ("requests", resources.requests))
        for name, amount in parse_amounts(amounts).items()
        if name in RESOURCES
    }
