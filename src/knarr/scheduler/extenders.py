"""Extenders: programs outside that are asked over HTTP which nodes suit a pod, and may bind it.

Upstream counterpart: pkg/scheduler/extender.go; k8s.io/kube-scheduler/extender/v1 (v1.37).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from knarr.api import errors
from knarr.kit.http import client as http_client
from knarr.kit.http import errors as http_errors
from knarr.kit.http.messages import Headers, Request
from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.framework import MAX_SCORE, Scores
from knarr.scheduler.podfacts import PodFacts

MAX_EXTENDER_SCORE = 10
"""Extenders score 0 to this."""


@dataclass(frozen=True, slots=True)
class Extender:
    """A program that is asked over HTTP.

    Attributes:
        url: Where its verbs are.
        filter: The verb that rules nodes out; empty if it does not.
        prioritize: The verb that scores; empty if it does not.
        bind: The verb that binds; empty if it does not.
        weight: Of its scores.
        timeout_s: How long to wait for an answer.
        by_name: Whether it knows the nodes and is told names only.
        resources: It is asked for pods that request one of these; empty means for all.
        ignored: Resources that NodeResourcesFit leaves to it.
        ignorable: Whether pods are scheduled without it when it does not answer.
    """

    url: str
    filter: str = ""
    prioritize: str = ""
    bind: str = ""
    weight: int = 1
    timeout_s: float = 5.0
    by_name: bool = False
    resources: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    ignorable: bool = False


class Extenders:
    """Asks the extenders.

    Args:
        settings: Which.
    """

    def __init__(self, settings: Sequence[Extender]) -> None:
        self._settings = settings
        self._clients: dict[str, http_client.Client] = {}

    def interested(self, pod: PodFacts) -> list[Extender]:
        """Return those that are to be asked about a pod."""
        return [one for one in self._settings if not one.resources or one.resources & pod.requests.keys()]

    async def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> tuple[Rows, Counter[str]]:
        """Return the rows that are left, and how many each reason rules out."""
        reasons: Counter[str] = Counter()
        for one in self.interested(pod):
            if not one.filter or not len(rows):
                continue
            try:
                answer = await self._ask(one, one.filter, _arguments(one, pod, cluster, rows))
            except errors.StatusError:
                if one.ignorable:
                    continue
                raise
            if answer.get("Error") or answer.get("error"):
                if one.ignorable:
                    continue
                raise errors.InternalError(str(answer.get("Error") or answer.get("error")))
            names = _left(answer, one)
            failed = {**(_get(answer, "failedNodes") or {}), **(_get(answer, "failedAndUnresolvableNodes") or {})}
            reasons.update(str(reason) for reason in failed.values())
            rows = np.array([row for row in rows if cluster.names[row] in names], np.intp)
        return rows, reasons

    async def prioritize(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores:
        """Return the weighted scores of the rows."""
        total = np.zeros(len(rows))
        for one in self.interested(pod):
            if not one.prioritize:
                continue
            try:
                answer = await self._ask(one, one.prioritize, _arguments(one, pod, cluster, rows))
            except errors.StatusError:
                continue  # as upstream: the others decide
            scores = {_get(item, "host"): _get(item, "score") or 0 for item in answer or ()}
            factor = one.weight * MAX_SCORE / MAX_EXTENDER_SCORE
            total += np.array([factor * scores.get(cluster.names[row], 0) for row in rows])
        return total

    async def bind(self, pod: PodFacts, node: str) -> bool:
        """Let the extender that binds do it; False if there is none."""
        for one in self.interested(pod):
            if one.bind:
                body = {"podName": pod.name, "podNamespace": pod.namespace, "podUID": pod.uid, "node": node}
                answer = await self._ask(one, one.bind, body)
                problem = _get(answer, "error")
                if problem:
                    raise errors.InternalError(str(problem))
                return True
        return False

    async def aclose(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.aclose()

    async def _ask(self, extender: Extender, verb: str, body: Any) -> Any:
        client = self._clients.get(extender.url)
        if client is None:
            client = self._clients[extender.url] = http_client.Client(extender.url)
        headers = Headers.from_lower([("content-type", "application/json"), ("accept", "application/json")])
        request = Request("POST", f"/{verb}", "", headers, msgspec.json.encode(body))
        try:
            response = await client.request(request, timeout_s=extender.timeout_s)
            if response.status != 200:
                raise errors.InternalError(f"failed {verb} with extender at URL {extender.url}, code {response.status}")
            assert isinstance(response.body, bytes)
            return msgspec.json.decode(response.body)
        except (http_errors.HttpError, msgspec.DecodeError) as err:
            raise errors.InternalError(f"extender at URL {extender.url}: {err}") from err


def _arguments(extender: Extender, pod: PodFacts, cluster: Cluster, rows: Rows) -> Mapping[str, Any]:
    if extender.by_name:
        return {"pod": pod.pod, "nodenames": [cluster.names[row] for row in rows]}
    return {"pod": pod.pod, "nodes": {"items": [cluster.nodes[row] for row in rows]}}


def _left(answer: Mapping[str, Any], extender: Extender) -> set[str]:
    if extender.by_name:
        return {*(_get(answer, "nodenames") or ())}
    return {node["metadata"]["name"] for node in (_get(answer, "nodes") or {}).get("items") or ()}


def _get(answer: Any, name: str) -> Any:
    """Read a field: Go programs that have no tags on their types write it with a capital."""
    if not isinstance(answer, dict):
        return None
    return next((value for key, value in answer.items() if key.lower() == name.lower()), None)
