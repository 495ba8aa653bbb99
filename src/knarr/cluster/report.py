"""How a cluster of this machine is: its processes, and what its API server says of nodes and pods."""

import asyncio
from dataclasses import asdict, dataclass
from typing import Any

from lightkube.models import core_v1

from knarr.api import errors as api_errors
from knarr.client import Client, errors
from knarr.cluster import access, settings, supervisor, units
from knarr.cluster.layout import Layout

ASK_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Report:
    """What there is to say of one cluster.

    Attributes:
        name: Its name.
        state: "running", "degraded" (something that should run does not) or "stopped".
        server: The API server's URL on this machine.
        processes: Process name to pid, 0 if it does not run.
        nodes: Number of nodes.
        nodes_ready: Those that are Ready.
        pods: Number of pods.
        pods_running: Those that run.
        problems: What is wrong, one sentence each.
    """

    name: str
    state: str
    server: str
    processes: dict[str, int]
    nodes: int = 0
    nodes_ready: int = 0
    pods: int = 0
    pods_running: int = 0
    problems: tuple[str, ...] = ()


async def describe(layout: Layout) -> Report:
    """Look at the processes and ask the API server.

    Raises:
        ClusterNotFound: There is no such cluster here.
    """
    decided = settings.load(layout)
    names = decided.processes if units.is_installed(layout, decided) else ("supervisor", *decided.processes)
    processes = {name: supervisor.read_pid(layout.pid_file(name)) or 0 for name in names}
    if not any(processes.values()):
        return Report(layout.name, "stopped", decided.server_url, processes)
    problems = [f"{name} does not run; see {layout.logs / name}.log" for name, pid in processes.items() if not pid]
    nodes: list[core_v1.Node] = []
    pods: list[core_v1.Pod] = []
    try:
        opened = access.open_node if decided.is_joined else access.open_admin
        async with asyncio.timeout(ASK_TIMEOUT_S), opened(layout, decided) as client:
            # A node sees all nodes, and of pods its own.
            nodes, pods = await _ask(client, f"spec.nodeName={decided.node_name}" if decided.is_joined else "")
    except (errors.Unreachable, api_errors.StatusError, TimeoutError) as err:
        problems.append(f"the API server does not answer: {err or 'timeout'}")
    ready = sum(_is_ready(node) for node in nodes)
    if ready < len(nodes):
        problems.append(f"{len(nodes) - ready} of {len(nodes)} nodes are not Ready; see `kubectl describe nodes`")
    return Report(
        layout.name,
        "degraded" if problems else "running",
        decided.server_url,
        processes,
        nodes=len(nodes),
        nodes_ready=ready,
        pods=len(pods),
        pods_running=sum(pod.status is not None and pod.status.phase == "Running" for pod in pods),
        problems=tuple(problems),
    )


def to_data(report: Report) -> dict[str, Any]:
    """Return a report as plain data for JSON."""
    return asdict(report)


async def _ask(client: Client, fields: str) -> tuple[list[core_v1.Node], list[core_v1.Pod]]:
    return (await client.list(core_v1.Node)).items, (await client.list(core_v1.Pod, fields=fields)).items


def _is_ready(node: core_v1.Node) -> bool:
    conditions = (node.status.conditions or ()) if node.status else ()
    return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)
