"""The HTTPS server behind all simulated nodes: logs as scripted, use as scripted, and a clear no to whatever needs a real process.

All nodes of a process share one port, and the path of a log names its pod; what is asked of a node by name has its name in the path:
`/metrics/nodes/NAME/metrics/resource` (an annotation of the Node leads metrics-server there) and `/nodes/NAME/stats/summary`.

Source: pkg/kubelet/server/server.go (v1.37): paths, parameters, answers.
"""

from urllib.parse import parse_qs, unquote

import msgspec

from knarr.api import errors
from knarr.kit import metrics
from knarr.kit.clock import Clock
from knarr.kit.http.messages import Headers, Request, Response
from knarr.node.pods import spec as specs
from knarr.node.runtime.runtime import Container
from knarr.node.server import logs
from knarr.node.server.auth import Guard, Refused
from knarr.node.server.errors import Declined
from knarr.node.simulated import lines, usage
from knarr.node.simulated.fleet import SimulatedNode
from knarr.node.simulated.player import Player
from knarr.node.simulated.simulation import Simulation

NEEDS_PROCESS = {
    "exec": "exec into",
    "attach": "attach to",
    "run": "run a command in",
    "portForward": "forward ports to",
}
NOT_FOUND = "404 page not found\n"


class SimulatedServer:
    """Answers requests; `serve` is its handler.

    Args:
        simulation: The nodes and pods.
        guard: Who may ask.
        clock: The time.
    """

    def __init__(self, simulation: Simulation, guard: Guard, clock: Clock) -> None:
        self._simulation = simulation
        self._guard = guard
        self._clock = clock

    async def serve(self, request: Request) -> Response:
        """Answer one request."""
        try:
            await self._guard.check(request)
            parts = [unquote(part) for part in request.path.split("/") if part]
            return self._route(parts, parse_qs(request.query, keep_blank_values=True))
        except (Refused, Declined) as err:
            return _text(err.status, err.message)
        except errors.StatusError as err:
            return _json(err.to_status(), status=err.code)

    def _route(self, parts: list[str], query: logs.Query) -> Response:
        match parts:
            case ["healthz", *_]:
                return _text(200, "ok")
            case ["containerLogs", namespace, pod, container]:
                return self._logs(self._find(namespace, pod), container, query)
            case [("exec" | "attach" | "run" | "portForward") as verb, namespace, pod, *_]:
                player = self._find(namespace, pod)
                where = specs.spec_of(player.pod).nodeName
                raise errors.BadRequest(
                    f"cannot {NEEDS_PROCESS[verb]} pod {namespace}/{pod}: node {where} is simulated, no process runs there"
                )
            case ["metrics", "nodes", name, "metrics", "resource"]:
                now_s = self._now_s()
                uses = usage.read(self._simulation.pods.on_node(self._node(name)), now_s=now_s)
                return _text(200, usage.metrics(uses, now_s=now_s))
            case ["nodes", name, "stats", "summary"]:
                node, now_s = self._node(name), self._now_s()
                uses = usage.read(self._simulation.pods.on_node(node), now_s=now_s)
                return _json(usage.summary(node, uses, now_s=now_s))
            case ["nodes", name, "pods"]:
                pods = [player.pod for player in self._simulation.pods.on_node(self._node(name))]
                return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})
            case ["metrics"]:
                return metrics.PROCESS.to_response()
            case ["pods"] | ["runningpods"] | ["stats", "summary"] | ["metrics", "resource"]:
                return self._route_single(parts, query)
            case _:
                raise Declined(404, NOT_FOUND)

    def _route_single(self, parts: list[str], query: logs.Query) -> Response:
        """Answer a path without a node's name, which only makes sense if there is but one node."""
        names = [*self._simulation.nodes]
        if len(names) != 1 or parts == ["runningpods"]:
            raise Declined(
                404, f"{len(names)} simulated nodes share this port: ask for /nodes/NAME/{'/'.join(parts)}\n"
            )
        prefix = ["metrics", "nodes"] if parts[0] == "metrics" else ["nodes"]
        return self._route([*prefix, names[0], *parts], query)

    def _logs(self, player: Player, name: str, query: logs.Query) -> Response:
        container = specs.find_container(player.pod, name)
        if container is None:
            raise Declined(404, f'container "{name}" not found in pod "{specs.name_of(player.pod)}"\n')
        options = logs.parse_options(query, now=self._clock.now())
        previous = (query.get("previous") or [""])[0].lower() in ("true", "1")
        chosen = logs.choose_container(player.pod, player.containers, player.waiting, name, previous=previous)
        pods, uid = self._simulation.pods, player.uid

        def find() -> Container | None:
            here = pods.by_uid(uid)
            return next((c for c in here.containers if c.id == chosen.id), None) if here is not None else None

        body = lines.read(player.script(container), find, chosen, options, self._clock)
        return Response(200, Headers([("content-type", "text/plain; charset=utf-8")]), body)

    def _find(self, namespace: str, name: str) -> Player:
        player = self._simulation.pods.find(namespace, name)
        if player is None:
            raise Declined(404, f'pod "{name}" not found\n')
        return player

    def _node(self, name: str) -> SimulatedNode:
        node = self._simulation.nodes.get(name)
        if node is None:
            raise Declined(404, f'node "{name}" is not simulated here\n')
        return node

    def _now_s(self) -> float:
        return self._clock.now().timestamp()


def _text(status: int, text: str) -> Response:
    return Response(status, Headers([("content-type", "text/plain; charset=utf-8")]), text.encode())


def _json(value: object, *, status: int = 200) -> Response:
    return Response(status, Headers([("content-type", "application/json")]), msgspec.json.encode(value))
