"""What a pod asks for and may use, in the figures of cgroups: QoS class, CPU shares and quota, memory, OOM scores.

Source: pkg/apis/core/v1/helper/qos, pkg/kubelet/cm/helpers_linux.go, pkg/kubelet/qos/policy.go (v1.37).
"""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import msgspec
from lightkube.models import core_v1

from knarr.api import amounts as quantities
from knarr.api import qos
from knarr.api.qos import BEST_EFFORT, GUARANTEED
from knarr.node import cgroups
from knarr.node.pods.spec import ContainerSpec, init_containers, is_critical, is_sidecar, spec_of
from knarr.node.runtime.runtime import Resources

SANDBOX_OOM_SCORE = -998
_MIN_SHARES = 2
_MAX_SHARES = 262_144
_MIN_QUOTA_US = 1000
_PERIOD_US = 100_000


def qos_class(pod: core_v1.Pod) -> str:
    """Return Guaranteed, Burstable or BestEffort; the class that the API recorded wins."""
    if pod.status is not None and pod.status.qosClass:
        return pod.status.qosClass
    return qos.compute(msgspec.to_builtins(spec_of(pod)))


def container_resources(
    pod: core_v1.Pod, container: ContainerSpec, *, memory_capacity_bytes: int, unified: bool
) -> Resources:
    """Return the limits of one container.

    Args:
        pod: The pod, for its QoS class and priority.
        container: One of its containers.
        memory_capacity_bytes: The node's memory; OOM scores are shares of it.
        unified: Whether the node has cgroups v2, where an OOM kill takes the whole container.
    """
    requests, limits = _requests(container), _limits(container)
    cpu_limit = limits.get("cpu", Fraction(0))
    cpu_request = requests.get("cpu", cpu_limit if "cpu" in limits else Fraction(0))
    return Resources(
        cpu_shares=to_shares(cpu_request),
        cpu_period_us=_PERIOD_US,
        cpu_quota_us=to_quota_us(cpu_limit),
        memory_limit_bytes=int(limits.get("memory", 0)),
        oom_score_adj=oom_score(pod, container, memory_capacity_bytes=memory_capacity_bytes),
        unified={"memory.oom.group": "1"} if unified else {},
    )


def pod_limits(pod: core_v1.Pod) -> cgroups.Limits:
    """Return the limits of the pod's own group: quotas only where every container has one."""
    shares = to_shares(pod_total(pod, "cpu", _requests_or_limits))
    quota = to_quota_us(pod_total(pod, "cpu", _limits)) if _all_limited(pod, "cpu") else -1
    memory = int(pod_total(pod, "memory", _limits)) if _all_limited(pod, "memory") else None
    if qos_class(pod) == BEST_EFFORT:
        return cgroups.Limits(cpu_shares=_MIN_SHARES)
    return cgroups.Limits(cpu_shares=shares, cpu_quota_us=quota if quota > 0 else None, memory_bytes=memory)


def pod_requests(pod: core_v1.Pod, resource: str) -> Fraction:
    """Return how much of `resource` the pod requests as a whole, in cores, bytes or pieces."""
    return pod_total(pod, resource, _requests)


def pod_total(pod: core_v1.Pod, resource: str, pick: Callable[[Any], Mapping[str, Fraction]]) -> Fraction:
    """Add up a pod: main containers and sidecars together, or the largest moment of initialization if that is more.

    Args:
        pod: Any pod; pod-level resources win over sums.
        resource: Such as "cpu".
        pick: Gives a container's amounts.

    Source: k8s.io/component-helpers/resource/helpers.go PodRequests (v1.37).
    """
    spec = spec_of(pod)
    zero = Fraction(0)
    overhead = parse_amounts(spec.overhead).get(resource, zero)
    if spec.resources is not None and resource in (own := pick(spec)):
        return own[resource] + overhead
    sidecars, peak = zero, zero
    for container in init_containers(pod):
        amount = pick(container).get(resource, zero)
        if is_sidecar(container):
            sidecars += amount
            peak = max(peak, sidecars)
        else:
            peak = max(peak, sidecars + amount)
    total = sidecars + sum((pick(container).get(resource, zero) for container in spec.containers), zero)
    return max(total, peak) + overhead


def oom_score(pod: core_v1.Pod, container: ContainerSpec, *, memory_capacity_bytes: int) -> int:
    """Return oom_score_adj: the more of its node a container asked for, the later it is killed."""
    qos = qos_class(pod)
    if is_critical(pod) or qos == GUARANTEED:
        return -997
    if qos == BEST_EFFORT:
        return 1000
    request = int(_requests(container).get("memory", _limits(container).get("memory", Fraction(0))))
    score = 1000 - 1000 * request // max(1, memory_capacity_bytes)
    return max(3, min(score, 999))


def to_shares(cores: Fraction) -> int:
    """Convert cores to CPU shares, 2 to 262144; one core is 1024."""
    millis = math.ceil(cores * 1000)
    return max(_MIN_SHARES, min(int(millis * 1024 // 1000), _MAX_SHARES))


def to_quota_us(cores: Fraction) -> int:
    """Convert cores to microseconds a period of 100 ms; 0 means no limit, anything else is at least 1 ms."""
    if cores <= 0:
        return 0
    return max(_MIN_QUOTA_US, int(cores * _PERIOD_US))


def parse_amounts(amounts: Mapping[str, Any] | None) -> dict[str, Fraction]:
    """Read a resource list."""
    return {name: parse_amount(value) for name, value in (amounts or {}).items()}


def parse_amount(value: Any) -> Fraction:
    """Read one quantity as an exact number."""
    return Fraction(quantities.nanos(value), quantities.NANOS)


def _limits(owner: Any) -> dict[str, Fraction]:
    return parse_amounts(owner.resources.limits if owner.resources else None)


def _requests(owner: Any) -> dict[str, Fraction]:
    return parse_amounts(owner.resources.requests if owner.resources else None)


def _requests_or_limits(owner: Any) -> dict[str, Fraction]:
    return {**_limits(owner), **_requests(owner)}


def _all_limited(pod: core_v1.Pod, resource: str) -> bool:
    spec = spec_of(pod)
    if spec.resources is not None and resource in _limits(spec):
        return True
    return all(_limits(container).get(resource) for container in [*init_containers(pod), *spec.containers])
