"""Tells load balancers which nodes have endpoints of a Service that keeps outside traffic on its node (`healthCheckNodePort`).

Source: pkg/proxy/healthcheck/service_health.go (v1.37).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import msgspec

from knarr.kit.http.messages import Headers, Request, Response
from knarr.kit.http.server import open_server
from knarr.kit.tasks import Supervisor


@dataclass(frozen=True, slots=True)
class Health:
    """What is told about one Service.

    Attributes:
        namespace: The Service's namespace.
        service: Its name.
        local_endpoints: How many usable endpoints this node has.
    """

    namespace: str
    service: str
    local_endpoints: int


class HealthChecks:
    """Servers on the health check ports of Services.

    Args:
        supervisor: Runs them.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._health: dict[int, Health] = {}
        self._serving: dict[int, asyncio.Task[None]] = {}

    def replace(self, old: Mapping[int, Health], new: Mapping[int, Health]) -> None:
        """Stop telling `old` and tell `new`, both by port; a port that stays is not closed."""
        for port in old.keys() - new.keys():
            self._health.pop(port, None)
            task = self._serving.pop(port, None)
            if task is not None:
                task.cancel()
        for port, health in new.items():
            self._health[port] = health
            if port not in self._serving:
                self._serving[port] = self._supervisor.run(f"health-{port}", partial(self._serve, port))

    async def _serve(self, port: int) -> None:
        async def answer(_request: Request) -> Response:
            return to_response(self._health[port])

        async with open_server(answer, host="0.0.0.0", port=port, grace_s=1.0):
            await asyncio.get_running_loop().create_future()


def to_response(health: Health) -> Response:
    """Return the answer to a load balancer: 200 if this node has endpoints, else 503."""
    body = {
        "service": {"namespace": health.namespace, "name": health.service},
        "localEndpoints": health.local_endpoints,
        "serviceProxyHealthy": True,
    }
    headers = {
        "content-type": "application/json",
        "x-content-type-options": "nosniff",
        "x-load-balancing-endpoint-weight": str(health.local_endpoints),
    }
    return Response(200 if health.local_endpoints else 503, Headers(headers), msgspec.json.encode(body))
