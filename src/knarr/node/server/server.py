"""The routes of the node's HTTPS server.

Source: pkg/kubelet/server/server.go (v1.37): paths, parameters, answers.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

import msgspec

from knarr.kit import metrics
from knarr.kit.clock import Clock
from knarr.kit.http.messages import Headers, Request, Response
from knarr.node.pods.roster import Roster
from knarr.node.pods.worker import Worker
from knarr.node.runtime.cri import CriRuntime
from knarr.node.server import logs, streams
from knarr.node.server.auth import Guard, Refused
from knarr.node.server.errors import Declined
from knarr.node.stats import Stats

Query = Mapping[str, list[str]]
_Route = Callable[[Request, list[str], Query], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Sources:
    """What the server answers from.

    Attributes:
        roster: The pods.
        runtime: Streams.
        stats: What pods use.
        guard: Who may ask.
        clock: Times logs.
        settings: What of a KubeletConfiguration applies here.
    """

    roster: Roster
    runtime: CriRuntime
    stats: Stats
    guard: Guard
    clock: Clock
    settings: Mapping[str, object]


class NodeServer:
    """Answers requests; `handle` is its handler.

    Args:
        sources: What it answers from.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._routes: dict[str, _Route] = {
            "healthz": self._health,
            "pods": self._pods,
            "runningpods": self._running_pods,
            "containerLogs": self._container_logs,
            "exec": self._exec,
            "attach": self._attach,
            "portForward": self._port_forward,
            "run": self._run,
            "configz": self._configz,
            "stats": self._stats,
            "metrics": self._metrics,
        }

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        try:
            await self._sources.guard.check(request)
            parts = [unquote(part) for part in request.path.split("/") if part]
            route = self._routes.get(parts[0]) if parts else None
            if route is None:
                raise Declined(404, "404 page not found\n")
            return await route(request, parts[1:], parse_qs(request.query, keep_blank_values=True))
        except Refused as err:
            return _text(err.status, err.message)
        except Declined as err:
            return _text(err.status, err.message)

    async def _health(self, _request: Request, parts: list[str], _query: Query) -> Response:
        if parts not in ([], ["ping"], ["log"], ["syncloop"]):
            raise Declined(404, "404 page not found\n")
        return _text(200, "ok")

    async def _pods(self, _request: Request, _parts: list[str], _query: Query) -> Response:
        pods = [worker.pod for worker in self._sources.roster.workers]
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})

    async def _running_pods(self, _request: Request, _parts: list[str], _query: Query) -> Response:
        pods = [w.pod for w in self._sources.roster.workers if w.view is not None and w.view.running]
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})

    async def _container_logs(self, _request: Request, parts: list[str], query: Query) -> Response:
        worker, container = self._find(parts)
        return logs.respond(worker, container, query, self._sources.clock)

    async def _exec(self, request: Request, parts: list[str], query: Query) -> Response:
        worker, container = self._find(parts)
        return await streams.respond_exec(request, worker, container, query, self._sources.runtime)

    async def _attach(self, request: Request, parts: list[str], query: Query) -> Response:
        worker, container = self._find(parts)
        return await streams.respond_attach(request, worker, container, query, self._sources.runtime)

    async def _port_forward(self, request: Request, parts: list[str], query: Query) -> Response:
        if len(parts) not in (2, 3):
            raise Declined(404, "404 page not found\n")
        worker = self._find_worker(*parts[:2])
        return await streams.respond_port_forward(request, worker, query, self._sources.runtime)

    async def _run(self, _request: Request, parts: list[str], query: Query) -> Response:
        worker, container = self._find(parts)
        command = query.get("cmd", [""])[0].split(" ")
        result = await self._sources.runtime.exec_sync(streams.running_id(worker, container), command, timeout_s=0)
        return Response(200, Headers(), result.stdout + result.stderr)

    async def _configz(self, _request: Request, _parts: list[str], _query: Query) -> Response:
        return _json({"kubeletconfig": self._sources.settings})

    async def _stats(self, _request: Request, parts: list[str], query: Query) -> Response:
        if parts != ["summary"]:
            raise Declined(404, "404 page not found\n")
        return _json(self._sources.stats.summary(only_cpu_and_memory=query.get("only_cpu_and_memory") == ["true"]))

    async def _metrics(self, _request: Request, parts: list[str], _query: Query) -> Response:
        if not parts:
            return metrics.PROCESS.to_response()
        if parts == ["resource"]:
            return self._sources.stats.resource_metrics()
        if parts == ["cadvisor"]:
            return self._sources.stats.cadvisor_metrics()
        if parts == ["probes"]:
            return metrics.Registry().to_response()
        raise Declined(404, "404 page not found\n")

    def _find(self, parts: list[str]) -> tuple[Worker, str]:
        """Return worker and container of NAMESPACE/POD[/UID]/CONTAINER."""
        if len(parts) not in (3, 4):
            raise Declined(404, "404 page not found\n")
        return self._find_worker(parts[0], parts[1]), parts[-1]

    def _find_worker(self, namespace: str, name: str) -> Worker:
        worker = self._sources.roster.get(namespace, name)
        if worker is None:
            raise Declined(404, f'pod "{name}" not found\n')
        return worker


def _text(status: int, text: str) -> Response:
    return Response(status, Headers([("content-type", "text/plain; charset=utf-8")]), text.encode())


def _json(value: object) -> Response:
    return Response(200, Headers([("content-type", "application/json")]), msgspec.json.encode(value))
