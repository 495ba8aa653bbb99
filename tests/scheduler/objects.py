"""Nodes and pods for tests."""

from typing import Any

from lightkube.models import core_v1, meta_v1

from knarr.kit.clock import FakeClock
from knarr.scheduler import podfacts
from knarr.scheduler.binding import WaitingPods
from knarr.scheduler.cluster import Cluster
from knarr.scheduler.plugins.order import Tools
from knarr.scheduler.volumes import Storage

NO_STORAGE = Storage(lambda namespace, name: None, lambda name: None, lambda name: None)
TOOLS = Tools(None, FakeClock(), Cluster(), WaitingPods(), dict, NO_STORAGE, lambda pod: None)


def node(name: str, *, cpu: str = "4", memory: str = "8Gi", pods: str = "110", **more: Any) -> core_v1.Node:
    labels = {"kubernetes.io/hostname": name, **more.pop("labels", {})}
    allocatable = {"cpu": cpu, "memory": memory, "pods": pods, **more.pop("extra", {})}
    images = more.pop("images", None)
    return core_v1.Node(
        metadata=meta_v1.ObjectMeta(name=name, labels=labels),
        spec=core_v1.NodeSpec(**more),
        status=core_v1.NodeStatus(allocatable=allocatable, images=images),
    )


def pod(name: str, *, cpu: str = "", memory: str = "", **more: Any) -> core_v1.Pod:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value} | more.pop("requests", {})
    labels, namespace, ports = more.pop("labels", {}), more.pop("namespace", "default"), more.pop("ports", None)
    container = core_v1.Container(
        name="c",
        image=more.pop("image", "busybox"),
        resources=core_v1.ResourceRequirements(requests=requests),
        ports=ports,
    )
    return core_v1.Pod(
        metadata=meta_v1.ObjectMeta(name=name, namespace=namespace, uid=f"uid-{name}", labels=labels),
        spec=core_v1.PodSpec(containers=[container], **more),
    )


def facts(name: str, **more: Any) -> podfacts.PodFacts:
    return podfacts.of(pod(name, **more))


def cluster(*nodes: core_v1.Node, **placed: list[podfacts.PodFacts]) -> Cluster:
    """Make a cluster; keywords name nodes (with "_" for "-") and the pods on them."""
    made = Cluster()
    for one in nodes:
        made.set_node(one)
    for name, pods in placed.items():
        for one in pods:
            made.add_pod(one, name.replace("_", "-"))
    return made
