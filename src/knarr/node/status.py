"""What the Node object says of this node, as a pure function of what was read.

Source: pkg/kubelet/nodestatus/setters.go, pkg/kubelet/kubelet_node_status.go (v1.37).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lightkube.models import core_v1, meta_v1

from knarr.api import names
from knarr.node import machine as machines
from knarr.node.machine import Machine
from knarr.node.runtime.runtime import Condition, Image, Version

MAX_IMAGES = 50
MIN_MEMORY_BYTES = 100 << 20
MIN_STORAGE_SHARE = 0.10
MIN_IMAGE_STORAGE_SHARE = 0.15
MIN_PIDS = 100
KUBELET_VERSION = "v1.37.0+knarr"


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of the node just now.

    Attributes:
        version: The container runtime's.
        runtime: Its conditions; empty if it does not answer.
        images: What it keeps.
        memory_bytes: Available memory.
        storage_share: Free share of the file system that pods write to.
        image_storage_share: Free share of the one that images are on.
        pids: Processes that can still be made.
    """

    version: Version
    runtime: tuple[Condition, ...]
    images: tuple[Image, ...] = ()
    memory_bytes: int = 1 << 40
    storage_share: float = 1.0
    image_storage_share: float = 1.0
    pids: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Identity:
    """What a node is and stays.

    Attributes:
        name: Its name.
        ips: Its addresses.
        port: Of its HTTPS server.
        machine: The machine.
        max_pods: Most pods.
        labels: Labels beside the usual ones.
    """

    name: str
    ips: tuple[str, ...]
    port: int
    machine: Machine
    max_pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)


def node_labels(identity: Identity) -> dict[str, str]:
    """Return the labels that the node sets on itself."""
    architecture = identity.machine.architecture
    return {
        "beta.kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        "kubernetes.io/hostname": identity.name,
        "kubernetes.io/os": "linux",
        **identity.labels,
    }


def node_object(identity: Identity, status: core_v1.NodeStatus) -> core_v1.Node:
    """Return the Node to register."""
    return core_v1.Node(
        metadata=meta_v1.ObjectMeta(name=identity.name, labels=node_labels(identity)),
        spec=core_v1.NodeSpec(),
        status=status,
    )


def node_status(
    identity: Identity, reading: Reading, old: core_v1.NodeStatus | None, *, now: datetime
) -> core_v1.NodeStatus:
    """Return the node's whole status.

    Args:
        identity: What it is.
        reading: What was read.
        old: What the API has: the times of transitions, and the extended resources that somebody advertises.
        now: The present.
    """
    total = machines.capacity(identity.machine, max_pods=identity.max_pods)
    machine = identity.machine
    extended = _extended(old.capacity) if old is not None else {}
    images = sorted(reading.images, key=lambda image: -image.size_bytes)[:MAX_IMAGES]
    return core_v1.NodeStatus(
        addresses=[
            *(core_v1.NodeAddress(address=ip, type="InternalIP") for ip in identity.ips),
            core_v1.NodeAddress(address=identity.name, type="Hostname"),
        ],
        allocatable={**extended, **machines.format_amounts(machines.allocatable(total))},
        capacity={**extended, **machines.format_amounts(total)},
        conditions=_conditions(reading, old, now.replace(microsecond=0)),
        daemonEndpoints=core_v1.NodeDaemonEndpoints(kubeletEndpoint=core_v1.DaemonEndpoint(Port=identity.port)),
        images=[
            core_v1.ContainerImage(names=[*image.digests, *image.tags] or None, sizeBytes=image.size_bytes)
            for image in images
        ],
        nodeInfo=core_v1.NodeSystemInfo(
            architecture=machine.architecture,
            bootID=machine.boot_id,
            containerRuntimeVersion=f"{reading.version.name}://{reading.version.version}",
            kernelVersion=machine.kernel,
            kubeProxyVersion="",
            kubeletVersion=KUBELET_VERSION,
            machineID=machine.machine_id,
            operatingSystem="linux",
            osImage=machine.os_image,
            systemUUID=machine.system_uuid,
        ),
    )


def is_ready(status: core_v1.NodeStatus) -> bool:
    """Tell whether a status says Ready."""
    return any(condition.type == "Ready" and condition.status == "True" for condition in status.conditions or [])


def is_settled(status: core_v1.NodeStatus) -> bool:
    """Tell whether pods may use the extended resources that a node has, all of them and no others."""
    return _extended(status.capacity) == _extended(status.allocatable)


def _extended(amounts: Mapping[str, str] | None) -> dict[str, str]:
    """Return the resources that are neither the machine's nor Kubernetes' own: whoever patches them into the capacity, advertises them."""
    return {name: amount for name, amount in (amounts or {}).items() if names.is_extended_resource(name)}


def _conditions(reading: Reading, old: core_v1.NodeStatus | None, now: datetime) -> list[core_v1.NodeCondition]:
    known = {condition.type: condition for condition in (old.conditions or [])} if old is not None else {}
    disk = reading.storage_share < MIN_STORAGE_SHARE or reading.image_storage_share < MIN_IMAGE_STORAGE_SHARE
    pressures = (
        ("MemoryPressure", reading.memory_bytes < MIN_MEMORY_BYTES, "Memory", "memory available"),
        ("DiskPressure", disk, "Disk", "disk"),
        ("PIDPressure", reading.pids < MIN_PIDS, "PID", "PID available"),
    )
    wanted = [_pressure(*pressure) for pressure in pressures]
    wanted.append(_ready(reading.runtime))
    for condition in wanted:
        before = known.get(condition.type)
        same = before is not None and before.status == condition.status
        condition.lastHeartbeatTime = now
        condition.lastTransitionTime = before.lastTransitionTime if same and before is not None else now
    return wanted


def _pressure(kind: str, present: bool, noun: str, words: str) -> core_v1.NodeCondition:
    if noun == "Disk":
        reason = "KubeletHasDiskPressure" if present else "KubeletHasNoDiskPressure"
        message = "kubelet has disk pressure" if present else "kubelet has no disk pressure"
    else:
        reason = f"KubeletHas{'Insufficient' if present else 'Sufficient'}{noun}"
        message = f"kubelet has {'insufficient' if present else 'sufficient'} {words}"
    return core_v1.NodeCondition(type=kind, status="True" if present else "False", reason=reason, message=message)


def _ready(conditions: Sequence[Condition]) -> core_v1.NodeCondition:
    problems = []
    if not conditions:
        problems.append("container runtime is down")
    for condition in conditions:
        if not condition.ready:
            detail = f"{condition.type}=false reason:{condition.reason} message:{condition.message}"
            what = (
                "container runtime network not ready"
                if condition.type == "NetworkReady"
                else "container runtime status check may not have completed yet"
            )
            problems.append(f"{what}: {detail}")
    if problems:
        message = ", ".join(problems)
        return core_v1.NodeCondition(type="Ready", status="False", reason="KubeletNotReady", message=message)
    message = "kubelet is posting ready status"
    return core_v1.NodeCondition(type="Ready", status="True", reason="KubeletReady", message=message)
