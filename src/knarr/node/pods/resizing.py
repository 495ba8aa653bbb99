"""Giving running containers other resources: the pod's group is widened first and narrowed last, so that nothing is refused between.

Source: pkg/kubelet/kuberuntime/kuberuntime_manager.go doPodResizeAction (v1.37).
"""

from collections.abc import Iterable
from dataclasses import replace

from lightkube.models import core_v1

from knarr.api.qos import BEST_EFFORT
from knarr.node.cgroups import Limits
from knarr.node.pods import spec as specs
from knarr.node.pods.observe import Observed
from knarr.node.pods.resources import container_resources, pod_limits, qos_class
from knarr.node.pods.tools import Tools
from knarr.node.runtime.errors import RuntimeFailure

UNLIMITED = -1


async def apply(
    pod: core_v1.Pod,
    ids: Iterable[str],
    observed: Observed,
    tools: Tools,
    applied: dict[str, core_v1.ResourceRequirements | None],
) -> None:
    """Give containers the resources that their pod has been granted.

    Args:
        pod: The pod, with what it has been granted.
        ids: The containers.
        observed: What runs.
        tools: The node.
        applied: Noted here as each is done.

    Raises:
        RuntimeFailure: The kernel or the runtime refused; what was done stays.
    """
    _limit_pod(pod, tools, Limits(cpu_quota_us=UNLIMITED, memory_bytes=UNLIMITED))
    try:
        for container in observed.containers:
            spec = specs.find_container(pod, container.name)
            if container.id not in ids or spec is None:
                continue
            resources = container_resources(
                pod, spec, memory_capacity_bytes=tools.node.memory_bytes, unified=tools.node.cgroups.unified
            )
            resources = replace(
                resources,
                cpu_quota_us=resources.cpu_quota_us or UNLIMITED,
                memory_limit_bytes=resources.memory_limit_bytes or UNLIMITED,
                oom_score_adj=0,  # fixed at the start
                unified={},
            )
            await tools.runtime.update_resources(container.id, resources)
            applied[container.id] = spec.resources
    finally:
        limits = pod_limits(pod)
        _limit_pod(
            pod,
            tools,
            replace(
                limits,
                cpu_quota_us=limits.cpu_quota_us or UNLIMITED,
                memory_bytes=limits.memory_bytes or UNLIMITED,
            ),
        )


def _limit_pod(pod: core_v1.Pod, tools: Tools, limits: Limits) -> None:
    qos = qos_class(pod)
    if qos == BEST_EFFORT:
        return
    try:
        tools.node.cgroups.create_pod(specs.uid_of(pod), qos, limits)
    except OSError as err:
        raise RuntimeFailure("UpdatePodSandboxResources", "UNKNOWN", str(err)) from err
