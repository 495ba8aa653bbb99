"""What the runtime is told of a pod: the configurations of its sandbox and containers, made from its spec. Pure.

Source: pkg/kubelet/kuberuntime/kuberuntime_sandbox.go and kuberuntime_container.go (v1.37).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import msgspec
from lightkube.models import core_v1

from knarr.node.cgroups import Cgroups
from knarr.node.pods import spec as specs
from knarr.node.pods.dns import pod_dns
from knarr.node.pods.env import expand
from knarr.node.pods.resources import container_resources, qos_class
from knarr.node.pods.security import container_security, sandbox_security
from knarr.node.pods.spec import ContainerSpec
from knarr.node.runtime.runtime import ContainerConfig, Device, Dns, Image, Mount, PortMapping, SandboxConfig


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What pods need to know of their node.

    Attributes:
        name: The node's name.
        ips: Its addresses, the primary one first.
        root: The agent's folder: pods and plugins.
        logs: Folder of container logs.
        domain: The cluster's domain.
        dns_servers: Addresses of the cluster's DNS.
        host_dns: The machine's resolver configuration.
        memory_bytes: All memory of the machine.
        allocatable: Cores, bytes and pieces that pods may use.
        cgroups: The groups of this cluster.
    """

    name: str
    ips: tuple[str, ...]
    root: Path
    logs: Path
    cgroups: Cgroups
    domain: str = "cluster.local"
    dns_servers: tuple[str, ...] = ()
    host_dns: Dns = field(default_factory=Dns)
    memory_bytes: int = 1
    allocatable: Mapping[str, Fraction] = field(default_factory=dict)

    def pod_folder(self, uid: str) -> Path:
        """Return where a pod's volumes and files are."""
        return self.root / "pods" / uid

    def log_folder(self, pod: core_v1.Pod) -> Path:
        """Return where a pod's logs are: NAMESPACE_NAME_UID."""
        return self.logs / f"{specs.namespace_of(pod)}_{specs.name_of(pod)}_{specs.uid_of(pod)}"

    @property
    def seccomp_root(self) -> str:
        """Folder of localhost seccomp profiles."""
        return str(self.root / "seccomp")


def sandbox_config(pod: core_v1.Pod, node: NodeFacts, *, attempt: int) -> SandboxConfig:
    """Return the configuration of a pod's sandbox.

    Args:
        pod: The pod.
        node: Its node.
        attempt: How many sandboxes it had before.
    """
    spec = specs.spec_of(pod)
    metadata = pod.metadata
    assert metadata is not None
    context = spec.securityContext or core_v1.PodSecurityContext()
    host_name, full = specs.host_name(pod, node.domain)
    if spec.setHostnameAsFQDN and full:
        host_name = f"{host_name}.{full}"
    return SandboxConfig(
        name=specs.name_of(pod),
        namespace=specs.namespace_of(pod),
        uid=specs.uid_of(pod),
        attempt=attempt,
        hostname="" if spec.hostNetwork else host_name,
        log_directory=str(node.log_folder(pod)),
        dns=pod_dns(pod, host=node.host_dns, cluster_servers=node.dns_servers, domain=node.domain),
        ports=() if spec.hostNetwork else port_mappings(pod),
        labels={**(metadata.labels or {}), **_pod_labels(pod)},
        annotations=metadata.annotations or {},
        cgroup_parent=node.cgroups.pod_parent(specs.uid_of(pod), qos_class(pod)),
        sysctls={sysctl.name: sysctl.value for sysctl in context.sysctls or []},
        security=sandbox_security(pod, seccomp_root=node.seccomp_root),
    )


def port_mappings(pod: core_v1.Pod) -> tuple[PortMapping, ...]:
    """Return the host ports of all containers."""
    spec = specs.spec_of(pod)
    sidecars = [container for container in spec.initContainers or [] if specs.is_sidecar(container)]
    return tuple(
        PortMapping(port.protocol or "TCP", port.containerPort, port.hostPort, port.hostIP or "")
        for container in [*sidecars, *spec.containers]
        for port in container.ports or []
        if port.hostPort
    )


def container_config(
    pod: core_v1.Pod,
    container: ContainerSpec,
    node: NodeFacts,
    image: Image,
    *,
    attempt: int,
    image_ref: str,
    environment: Mapping[str, str],
    mounts: Sequence[Mount],
    devices: Sequence[Device] = (),
    groups: Sequence[int] = (),
    target_id: str = "",
) -> ContainerConfig:
    """Return the configuration of one container.

    Args:
        pod: The pod.
        container: One of its containers.
        node: Its node.
        image: The image as the runtime knows it.
        attempt: How often it was started before.
        image_ref: What to create it from.
        environment: Its variables.
        mounts: Its volumes and files.
        devices: Its devices.
        groups: Groups that its volumes ask for.
        target_id: For an ephemeral container: the container whose processes it sees.

    Raises:
        ConfigFailed: It must not run as root, but would or might.
    """
    return ContainerConfig(
        name=container.name,
        attempt=attempt,
        image=image_ref,
        user_image=container.image or "",
        command=tuple(expand(word, environment) for word in container.command or []),
        args=tuple(expand(word, environment) for word in container.args or []),
        working_dir=container.workingDir or "",
        env=tuple(environment.items()),
        mounts=tuple(mounts),
        devices=tuple(devices),
        labels={**_pod_labels(pod), specs.CONTAINER_NAME: container.name},
        annotations=_annotations(pod, container, attempt),
        log_path=f"{container.name}/{attempt}.log",
        stdin=bool(container.stdin),
        stdin_once=bool(container.stdinOnce),
        tty=bool(container.tty),
        resources=container_resources(
            pod, container, memory_capacity_bytes=node.memory_bytes, unified=node.cgroups.unified
        ),
        security=container_security(
            pod, container, image, groups=groups, seccomp_root=node.seccomp_root, target_id=target_id
        ),
    )


def _pod_labels(pod: core_v1.Pod) -> dict[str, str]:
    return {
        specs.POD_NAME: specs.name_of(pod),
        specs.POD_NAMESPACE: specs.namespace_of(pod),
        specs.POD_UID: specs.uid_of(pod),
    }


def _annotations(pod: core_v1.Pod, container: ContainerSpec, attempt: int) -> dict[str, str]:
    annotations = {
        specs.CONTAINER_HASH: specs.container_hash(container),
        specs.RESTART_COUNT: str(attempt),
        specs.TERMINATION_PATH: container.terminationMessagePath or "",
        specs.TERMINATION_POLICY: container.terminationMessagePolicy or "File",
        specs.GRACE_PERIOD: str(specs.grace_period_s(pod)),
    }
    if container.lifecycle is not None and container.lifecycle.preStop is not None:
        # An agent that no longer knows the pod must still be able to run the hook.
        annotations[specs.PRE_STOP] = msgspec.json.encode(container.lifecycle.preStop).decode()
    return annotations
