"""What played pods use, in the forms in which it is asked for: the summary, and the metrics that metrics-server reads.

Use is as the script says: so many cores all the time, so many bytes.

Source: k8s.io/kubelet/pkg/apis/stats/v1alpha1, pkg/kubelet/metrics/collectors/resource_metrics.go (v1.37).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lightkube.models import core_v1

from knarr.node.pods import spec as specs
from knarr.node.simulated.fleet import SimulatedNode
from knarr.node.simulated.player import Player

NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ContainerUse:
    """What one running container uses."""

    name: str
    started_s: float
    cores: float
    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class PodUse:
    """What one pod uses."""

    pod: core_v1.Pod
    containers: tuple[ContainerUse, ...]


def read(players: Iterable[Player], *, now_s: float) -> list[PodUse]:
    """Return what pods use that run.

    Args:
        players: Of the pods.
        now_s: The present, seconds since the epoch.
    """
    found = []
    for player in players:
        containers = []
        for container in player.view(now_s).running:
            spec = specs.find_container(player.pod, container.name)
            if spec is None:
                continue
            script, started_s = player.script(spec), container.started_at_ns / NANO
            cores = script.draw("cpu")
            spent_s = cores * max(0.0, now_s - started_s)
            containers.append(ContainerUse(container.name, started_s, cores, spent_s, int(script.draw("memory"))))
        if containers:
            found.append(PodUse(player.pod, tuple(containers)))
    return found


def summary(node: SimulatedNode, uses: list[PodUse], *, now_s: float) -> dict[str, Any]:
    """Return the Summary object of a node.

    Args:
        node: The node.
        uses: Its pods.
        now_s: The present, seconds since the epoch.
    """
    stamp = _stamp(now_s)
    everything = [container for use in uses for container in use.containers]
    created = node.node.metadata.creationTimestamp if node.node is not None and node.node.metadata is not None else None
    return {
        "node": {
            "nodeName": node.name,
            "startTime": _stamp(created.timestamp() if created is not None else now_s),
            **_amounts(everything, stamp, capacity=node.identity.machine.memory_bytes),
        },
        "pods": [
            {
                "podRef": {
                    "name": specs.name_of(use.pod),
                    "namespace": specs.namespace_of(use.pod),
                    "uid": specs.uid_of(use.pod),
                },
                "startTime": _stamp(min(container.started_s for container in use.containers)),
                "containers": [
                    {"name": one.name, "startTime": _stamp(one.started_s), **_amounts([one], stamp)}
                    for one in use.containers
                ],
                **_amounts(use.containers, stamp),
            }
            for use in uses
        ],
    }


def metrics(uses: list[PodUse], *, now_s: float) -> str:
    """Return the resource metrics of a node as Prometheus reads them.

    Args:
        uses: Its pods.
        now_s: The present, seconds since the epoch.
    """
    at_ms = int(now_s * 1000)
    rows: dict[str, list[str]] = {name: [] for name, _ in _FAMILIES}
    for use in uses:
        pod = f'namespace="{specs.namespace_of(use.pod)}",pod="{specs.name_of(use.pod)}"'
        for one in use.containers:
            labels = f'{{container="{one.name}",{pod}}}'
            rows["container_cpu_usage_seconds_total"].append(f"{labels} {one.cpu_s:.9g} {at_ms}")
            rows["container_memory_working_set_bytes"].append(f"{labels} {one.memory_bytes} {at_ms}")
            rows["container_start_time_seconds"].append(f"{labels} {one.started_s:.3f}")
        rows["pod_cpu_usage_seconds_total"].append(f"{{{pod}}} {_cpu_s(use.containers):.9g} {at_ms}")
        rows["pod_memory_working_set_bytes"].append(f"{{{pod}}} {_memory(use.containers)} {at_ms}")
    everything = [container for use in uses for container in use.containers]
    rows["node_cpu_usage_seconds_total"].append(f" {_cpu_s(everything):.9g} {at_ms}")
    rows["node_memory_working_set_bytes"].append(f" {_memory(everything)} {at_ms}")
    rows["resource_scrape_error"].append(" 0")
    written = []
    for name, kind in _FAMILIES:
        written.append(f"# TYPE {name} {kind}")
        written += [f"{name}{row}" for row in rows[name]]
    return "\n".join(written) + "\n"


_FAMILIES = (
    ("container_cpu_usage_seconds_total", "counter"),
    ("container_memory_working_set_bytes", "gauge"),
    ("container_start_time_seconds", "gauge"),
    ("pod_cpu_usage_seconds_total", "counter"),
    ("pod_memory_working_set_bytes", "gauge"),
    ("node_cpu_usage_seconds_total", "counter"),
    ("node_memory_working_set_bytes", "gauge"),
    ("resource_scrape_error", "gauge"),
)


def _amounts(containers: Iterable[ContainerUse], stamp: str, *, capacity: int = 0) -> dict[str, Any]:
    found = [*containers]
    memory = {
        "time": stamp,
        "usageBytes": _memory(found),
        "workingSetBytes": _memory(found),
        "rssBytes": _memory(found),
    }
    if capacity:
        memory["availableBytes"] = max(0, capacity - _memory(found))
    return {
        "cpu": {
            "time": stamp,
            "usageNanoCores": int(sum(one.cores for one in found) * NANO),
            "usageCoreNanoSeconds": int(_cpu_s(found) * NANO),
        },
        "memory": memory,
    }


def _cpu_s(containers: Iterable[ContainerUse]) -> float:
    return sum(container.cpu_s for container in containers)


def _memory(containers: Iterable[ContainerUse]) -> int:
    return sum(container.memory_bytes for container in containers)


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
