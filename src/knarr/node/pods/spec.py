"""Questions that a pod's spec answers, and the labels by which its containers are found again.

Source: pkg/kubelet/types/labels.go, pkg/kubelet/container/helpers.go (v1.37).
"""

import zlib
from collections.abc import Iterator

import msgspec
from lightkube.models import core_v1

ContainerSpec = core_v1.Container | core_v1.EphemeralContainer

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
CONTAINER_HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
TERMINATION_PATH = "io.kubernetes.container.terminationMessagePath"
TERMINATION_POLICY = "io.kubernetes.container.terminationMessagePolicy"
GRACE_PERIOD = "io.kubernetes.pod.terminationGracePeriod"
PRE_STOP = "io.kubernetes.container.preStopHandler"
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
DEFAULT_GRACE_S = 30
SYSTEM_CRITICAL_PRIORITY = 2_000_000_000


def uid_of(pod: core_v1.Pod) -> str:
    """Return the pod's uid."""
    assert pod.metadata is not None
    return pod.metadata.uid or ""


def name_of(pod: core_v1.Pod) -> str:
    """Return the pod's name."""
    assert pod.metadata is not None
    return pod.metadata.name or ""


def namespace_of(pod: core_v1.Pod) -> str:
    """Return the pod's namespace."""
    assert pod.metadata is not None
    return pod.metadata.namespace or "default"


def spec_of(pod: core_v1.Pod) -> core_v1.PodSpec:
    """Return the pod's spec."""
    assert pod.spec is not None
    return pod.spec


def init_containers(pod: core_v1.Pod) -> list[core_v1.Container]:
    """Return the init containers, sidecars included, in order."""
    return spec_of(pod).initContainers or []


def ephemeral_containers(pod: core_v1.Pod) -> list[core_v1.EphemeralContainer]:
    """Return the ephemeral containers."""
    return spec_of(pod).ephemeralContainers or []


def all_containers(pod: core_v1.Pod) -> Iterator[ContainerSpec]:
    """Yield init, main and ephemeral containers."""
    yield from init_containers(pod)
    yield from spec_of(pod).containers
    yield from ephemeral_containers(pod)


def find_container(pod: core_v1.Pod, name: str) -> ContainerSpec | None:
    """Return the container of that name, whatever its kind."""
    return next((container for container in all_containers(pod) if container.name == name), None)


def is_sidecar(container: ContainerSpec) -> bool:
    """Tell whether an init container keeps running beside the main ones."""
    return container.restartPolicy == "Always"


def has_sidecars(pod: core_v1.Pod) -> bool:
    """Tell whether any init container is a sidecar."""
    return any(is_sidecar(container) for container in init_containers(pod))


def is_host_network(pod: core_v1.Pod) -> bool:
    """Tell whether the pod lives in the host's network."""
    return bool(spec_of(pod).hostNetwork)


def restart_policy(pod: core_v1.Pod) -> str:
    """Return Always, OnFailure or Never."""
    return spec_of(pod).restartPolicy or "Always"


def should_restart(pod: core_v1.Pod, container: ContainerSpec, exit_code: int) -> bool:
    """Tell whether a container that ended is to be started again.

    Args:
        pod: Gives the policy where the container has none.
        container: Its own policy and rules come first.
        exit_code: How it ended.
    """
    for rule in container.restartPolicyRules or []:
        codes = rule.exitCodes
        if codes is not None:
            listed = exit_code in (codes.values or [])
            if listed == (codes.operator == "In"):
                return rule.action == "Restart"
    policy = container.restartPolicy or restart_policy(pod)
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def container_hash(container: ContainerSpec) -> str:
    """Return a number that changes when the container must be replaced: its name or image changed."""
    return format(zlib.crc32(msgspec.json.encode([container.name, container.image])), "x")


def grace_period_s(pod: core_v1.Pod) -> int:
    """Return the seconds that containers get to end, as the deletion or else the spec says."""
    metadata = pod.metadata
    assert metadata is not None
    if metadata.deletionTimestamp is not None and metadata.deletionGracePeriodSeconds is not None:
        return metadata.deletionGracePeriodSeconds
    seconds = spec_of(pod).terminationGracePeriodSeconds
    return DEFAULT_GRACE_S if seconds is None else seconds


def is_critical(pod: core_v1.Pod) -> bool:
    """Tell whether the pod has a system priority."""
    return (spec_of(pod).priority or 0) >= SYSTEM_CRITICAL_PRIORITY


def format_pod(pod: core_v1.Pod) -> str:
    """Write a pod for messages: name_namespace(uid)."""
    return f"{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})"


def host_name(pod: core_v1.Pod, domain: str) -> tuple[str, str]:
    """Return a pod's host name and its full domain, empty if it has no subdomain.

    Args:
        pod: Any pod.
        domain: The cluster's domain.

    Source: pkg/kubelet/kubelet_pods.go GeneratePodHostNameAndDomain (v1.37).
    """
    spec = spec_of(pod)
    if spec.hostnameOverride:
        return spec.hostnameOverride, ""
    name = spec.hostname or name_of(pod)[:63].rstrip("-.")
    full = f"{spec.subdomain}.{namespace_of(pod)}.svc.{domain}" if spec.subdomain else ""
    return name, full
