"""What containers use right now: from the metrics API if somebody serves it, else from the summaries of the nodes.

Source: k8s.io/metrics/pkg/apis/metrics/v1beta1, k8s.io/kubelet/pkg/apis/stats/v1alpha1 (v1.37).
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from knarr.api import amounts, errors
from knarr.client import Client
from knarr.client import errors as client_errors

METRICS = "/apis/metrics.k8s.io/v1beta1/pods"
PARALLEL = 16
"""Most nodes that are asked at a time."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one container uses.

    Attributes:
        namespace: Of the pod.
        pod: Its name.
        container: Its name.
        cores: Of CPU.
        memory_bytes: Of memory, its working set.
        at: When that was measured, as the source writes it; equal for a figure that was read before.
    """

    namespace: str
    pod: str
    container: str
    cores: float
    memory_bytes: float
    at: str


async def read(client: Client, nodes: Iterable[str]) -> list[Sample]:
    """Return what containers use.

    Args:
        client: May list pods of metrics.k8s.io or get nodes/proxy.
        nodes: Whom to ask if nobody serves the metrics API.

    Raises:
        StatusError: It may do neither.
    """
    try:
        return [*_of_metrics(await _get(client, METRICS))]
    except errors.StatusError as err:
        logger.debug("no metrics API: %s", err)
    places = asyncio.Semaphore(PARALLEL)

    async def ask(node: str) -> list[Sample]:
        async with places:
            try:
                return [*_of_summary(await _summary(client, node))]
            except errors.Forbidden:
                raise
            except (errors.StatusError, client_errors.Unreachable) as err:
                logger.debug("node %s does not say what its pods use: %s", node, err)
                return []

    found = await asyncio.gather(*(ask(node) for node in nodes))
    return [sample for samples in found for sample in samples]


async def _summary(client: Client, node: str) -> dict[str, Any]:
    """Read what a node tells of its pods; simulated nodes share a port and tell it below their names."""
    path = f"/api/v1/nodes/{node}/proxy"
    try:
        return await _get(client, f"{path}/stats/summary")
    except errors.NotFound:
        return await _get(client, f"{path}/nodes/{node}/stats/summary")


async def _get(client: Client, path: str) -> dict[str, Any]:
    response = await client.raw("GET", path)
    found: dict[str, Any] = msgspec.json.decode(response.body if isinstance(response.body, bytes) else b"{}")
    return found


def _of_metrics(answer: dict[str, Any]) -> Iterator[Sample]:
    for item in answer.get("items") or ():
        meta = item["metadata"]
        for one in item.get("containers") or ():
            used = one.get("usage") or {}
            if "cpu" in used and "memory" in used:
                cores, memory = (amounts.nanos(used[name]) / amounts.NANOS for name in ("cpu", "memory"))
                yield Sample(meta["namespace"], meta["name"], one["name"], cores, memory, str(item.get("timestamp")))


def _of_summary(answer: dict[str, Any]) -> Iterator[Sample]:
    for item in answer.get("pods") or ():
        reference = item["podRef"]
        for one in item.get("containers") or ():
            cpu, memory = one.get("cpu") or {}, one.get("memory") or {}
            if "usageNanoCores" in cpu and "workingSetBytes" in memory:
                cores = cpu["usageNanoCores"] / amounts.NANOS
                yield Sample(
                    reference["namespace"], reference["name"], one["name"],
                    cores, float(memory["workingSetBytes"]), str(cpu.get("time")),
                )  # fmt: skip
