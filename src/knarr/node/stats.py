"""What pods and the node use: the summary that autoscalers and `kubectl top` start from, and metrics for Prometheus.

Everything is read from the control groups when asked.

Source: k8s.io/kubelet/pkg/apis/stats/v1alpha1, pkg/kubelet/metrics/collectors/resource_metrics.go, google/cadvisor metrics (v1.37).
"""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from knarr.kit import metrics
from knarr.kit.http.messages import Response
from knarr.node import machine
from knarr.node.cgroups import Usage
from knarr.node.pods import spec as specs
from knarr.node.pods.config import NodeFacts
from knarr.node.pods.resources import qos_class
from knarr.node.pods.roster import Roster
from knarr.node.runtime.runtime import Container

NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Sample:
    cpu_ns: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class _PodUse:
    namespace: str
    name: str
    uid: str
    started: datetime | None
    usage: Usage
    containers: tuple[tuple[Container, Usage], ...]


class Stats:
    """Reads usage.

    Args:
        roster: The pods.
        node: The node and its groups.
    """

    def __init__(self, roster: Roster, node: NodeFacts) -> None:
        self._roster = roster
        self._node = node
        self._samples: dict[str, tuple[_Sample, int]] = {}

    def summary(self, *, only_cpu_and_memory: bool) -> dict[str, Any]:
        """Return the Summary object.

        Args:
            only_cpu_and_memory: Leave out file systems and network.
        """
        at = datetime.now(UTC)
        stamp = _format(at)
        root = self._node.cgroups.read_root()
        node: dict[str, Any] = {
            "nodeName": self._node.name,
            "startTime": _format(_boot_time()),
            "cpu": self._cpu("", root, stamp),
            "memory": _memory(root, stamp, capacity=self._node.memory_bytes),
        }
        if not only_cpu_and_memory:
            node |= {
                "fs": _file_system(self._node.root, stamp),
                "network": {"time": stamp, "name": "", "interfaces": list(_interfaces(Path("/proc/net/dev")))},
                "rlimit": {"time": stamp, "maxpid": _max_pid(), "curproc": root.processes},
            }
        pods = [self._pod(use, stamp, only_cpu_and_memory=only_cpu_and_memory) for use in self._uses()]
        return {"node": node, "pods": pods}

    def resource_metrics(self) -> Response:
        """Return the metrics that metrics-server reads."""
        registry = metrics.Registry()
        registry.collect_from(self._collect_resources)
        return registry.to_response()

    def cadvisor_metrics(self) -> Response:
        """Return container metrics under cAdvisor's names."""
        registry = metrics.Registry()
        registry.collect_from(self._collect_cadvisor)
        return registry.to_response()

    def _uses(self) -> Iterator[_PodUse]:
        groups = self._node.cgroups
        for worker in self._roster.workers:
            view = worker.view
            if view is None or view.sandbox is None:
                continue
            pod = worker.pod
            qos = qos_class(pod)
            status = pod.status
            yield _PodUse(
                specs.namespace_of(pod),
                specs.name_of(pod),
                worker.uid,
                status.startTime if status is not None else None,
                groups.read_pod(worker.uid, qos),
                tuple((c, groups.read_container(worker.uid, qos, c.id)) for c in view.running),
            )

    def _pod(self, use: _PodUse, stamp: str, *, only_cpu_and_memory: bool) -> dict[str, Any]:
        found: dict[str, Any] = {
            "podRef": {"name": use.name, "namespace": use.namespace, "uid": use.uid},
            "startTime": _format(use.started) if use.started is not None else None,
            "containers": [
                {
                    "name": container.name,
                    "startTime": _format(datetime.fromtimestamp(container.started_at_ns / NANO, UTC)),
                    "cpu": self._cpu(container.id, usage, stamp),
                    "memory": _memory(usage, stamp),
                }
                for container, usage in use.containers
            ],
            "cpu": self._cpu(use.uid, use.usage, stamp),
            "memory": _memory(use.usage, stamp),
        }
        if not only_cpu_and_memory:
            found["process_stats"] = {"process_count": use.usage.processes}
        return found

    def _cpu(self, key: str, usage: Usage, stamp: str) -> dict[str, Any]:
        return {
            "time": stamp,
            "usageNanoCores": self._rate(key, usage.cpu_ns),
            "usageCoreNanoSeconds": usage.cpu_ns,
        }

    def _rate(self, key: str, cpu_ns: int) -> int:
        now_ns = time.monotonic_ns()
        kept = self._samples.get(key)
        if kept is None:
            self._samples[key] = (_Sample(cpu_ns, now_ns), 0)
            return 0
        sample, rate = kept
        if now_ns - sample.at_ns < NANO:
            return rate
        rate = max(0, (cpu_ns - sample.cpu_ns) * NANO // (now_ns - sample.at_ns))
        self._samples[key] = (_Sample(cpu_ns, now_ns), rate)
        return rate

    def _collect_resources(self) -> Iterable[Metric]:
        labels = ("container", "namespace", "pod")
        cpu = CounterMetricFamily(
            "container_cpu_usage_seconds",
            "Cumulative cpu time consumed by the container in core-seconds",
            labels=labels,
        )
        memory = GaugeMetricFamily(
            "container_memory_working_set_bytes", "Current working set of the container in bytes", labels=labels
        )
        started = GaugeMetricFamily(
            "container_start_time_seconds", "Start time of the container since unix epoch in seconds", labels=labels
        )
        pod_cpu = CounterMetricFamily(
            "pod_cpu_usage_seconds", "Cumulative cpu time consumed by the pod in core-seconds", labels=labels[1:]
        )
        pod_memory = GaugeMetricFamily(
            "pod_memory_working_set_bytes", "Current working set of the pod in bytes", labels=labels[1:]
        )
        for use in self._uses():
            pod_cpu.add_metric((use.namespace, use.name), use.usage.cpu_ns / NANO)
            pod_memory.add_metric((use.namespace, use.name), use.usage.working_set_bytes)
            for container, usage in use.containers:
                values = (container.name, use.namespace, use.name)
                cpu.add_metric(values, usage.cpu_ns / NANO)
                memory.add_metric(values, usage.working_set_bytes)
                started.add_metric(values, container.started_at_ns / NANO)
        root = self._node.cgroups.read_root()
        yield from (cpu, memory, started, pod_cpu, pod_memory)
        text = "Cumulative cpu time consumed by the node in core-seconds"
        yield CounterMetricFamily("node_cpu_usage_seconds", text, value=root.cpu_ns / NANO)
        text = "Current working set of the node in bytes"
        yield GaugeMetricFamily("node_memory_working_set_bytes", text, value=root.working_set_bytes)
        yield GaugeMetricFamily(
            "resource_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise", value=0
        )

    def _collect_cadvisor(self) -> Iterable[Metric]:
        labels = ("container", "id", "image", "name", "namespace", "pod")
        cpu = CounterMetricFamily(
            "container_cpu_usage_seconds", "Cumulative cpu time consumed in seconds.", labels=labels
        )
        gauges = {
            "container_memory_usage_bytes": ("Current memory usage in bytes.", "memory_bytes"),
            "container_memory_working_set_bytes": ("Current working set in bytes.", "working_set_bytes"),
            "container_memory_rss": ("Size of RSS in bytes.", "rss_bytes"),
            "container_spec_memory_limit_bytes": ("Memory limit for the container.", "limit_bytes"),
            "container_processes": ("Number of processes running inside the container.", "processes"),
        }
        families = {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, _) in gauges.items()}
        started = GaugeMetricFamily(
            "container_start_time_seconds", "Start time of the container since unix epoch in seconds.", labels=labels
        )
        for use in self._uses():
            for container, usage in use.containers:
                values = (
                    container.name,
                    f"/pod{use.uid}/{container.id}",
                    container.image,
                    container.id,
                    use.namespace,
                    use.name,
                )
                cpu.add_metric(values, usage.cpu_ns / NANO)
                started.add_metric(values, container.started_at_ns / NANO)
                for name, (_, attribute) in gauges.items():
                    families[name].add_metric(values, getattr(usage, attribute))
            values = ("", f"/pod{use.uid}", "", "", use.namespace, use.name)
            cpu.add_metric(values, use.usage.cpu_ns / NANO)
            for name, (_, attribute) in gauges.items():
                families[name].add_metric(values, getattr(use.usage, attribute))
        yield from (cpu, started, *families.values())


def _memory(usage: Usage, stamp: str, *, capacity: int = 0) -> dict[str, Any]:
    found = {
        "time": stamp,
        "usageBytes": usage.memory_bytes,
        "workingSetBytes": usage.working_set_bytes,
        "rssBytes": usage.rss_bytes,
        "pageFaults": usage.page_faults,
        "majorPageFaults": usage.major_page_faults,
    }
    limit = usage.limit_bytes or capacity
    if limit:
        found["availableBytes"] = max(0, limit - usage.working_set_bytes)
    return found


def _file_system(folder: Path, stamp: str) -> dict[str, Any]:
    info = os.statvfs(folder)
    return {
        "time": stamp,
        "availableBytes": info.f_bavail * info.f_frsize,
        "capacityBytes": info.f_blocks * info.f_frsize,
        "usedBytes": (info.f_blocks - info.f_bfree) * info.f_frsize,
        "inodesFree": info.f_ffree,
        "inodes": info.f_files,
        "inodesUsed": info.f_files - info.f_ffree,
    }


def _interfaces(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = rest.split()
        if name.strip() != "lo":
            yield {
                "name": name.strip(),
                "rxBytes": int(numbers[0]),
                "rxErrors": int(numbers[2]),
                "txBytes": int(numbers[8]),
                "txErrors": int(numbers[10]),
            }


def _boot_time() -> datetime:
    for line in (machine.PROC / "stat").read_text().splitlines():
        if line.startswith("btime "):
            return datetime.fromtimestamp(int(line.split()[1]), UTC)
    return datetime.fromtimestamp(0, UTC)


def _max_pid() -> int:
    return int((machine.PROC / "sys/kernel/pid_max").read_text())


def _format(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
