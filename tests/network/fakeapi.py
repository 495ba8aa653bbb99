"""An API that holds Services, EndpointSlices and the like in memory and answers lists and watches: enough for informers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import msgspec

from knarr.api.user import User
from knarr.client import Client
from knarr.client.transport import InProcessTransport
from knarr.control.informer import Informers
from knarr.kit.http.messages import Headers, Request, Response

PREFIXES = {
    "services": "/api/v1", "namespaces": "/api/v1", "pods": "/api/v1", "nodes": "/api/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
}  # fmt: skip
JSON = Headers({"content-type": "application/json"})


class FakeApi:
    """Objects by resource, and who watches them."""

    def __init__(self) -> None:
        self.revision = 1
        self.objects: dict[str, dict[tuple[str, str], dict[str, Any]]] = {name: {} for name in PREFIXES}
        self.watchers: dict[str, list[asyncio.Queue[bytes]]] = {name: [] for name in PREFIXES}

    def put(self, resource: str, obj: dict[str, Any]) -> None:
        """Create or replace an object."""
        meta = obj["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        self.revision += 1
        obj = {**obj, "metadata": {"uid": "/".join(key), **meta, "resourceVersion": str(self.revision)}}
        self._tell(resource, "MODIFIED" if key in self.objects[resource] else "ADDED", obj)
        self.objects[resource][key] = obj

    def remove(self, resource: str, namespace: str, name: str) -> None:
        """Delete an object."""
        self.revision += 1
        obj = self.objects[resource].pop((namespace, name))
        obj["metadata"]["resourceVersion"] = str(self.revision)
        self._tell(resource, "DELETED", obj)

    def _tell(self, resource: str, kind: str, obj: dict[str, Any]) -> None:
        for queue in self.watchers[resource]:
            queue.put_nowait(msgspec.json.encode({"type": kind, "object": obj}) + b"\n")

    async def answer(self, request: Request) -> Response:
        resource = next((name for name, prefix in PREFIXES.items() if request.path == f"{prefix}/{name}"), None)
        if resource is None or request.method != "GET":
            return Response(404, JSON, b'{"kind":"Status","apiVersion":"v1","status":"Failure","code":404}')
        if parse_qs(request.query).get("watch"):
            return Response(200, JSON, self._watch(resource))
        items = list(self.objects[resource].values())
        return Response(
            200, JSON, msgspec.json.encode({"metadata": {"resourceVersion": str(self.revision)}, "items": items})
        )

    async def _watch(self, resource: str) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.watchers[resource].append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self.watchers[resource].remove(queue)

    @contextlib.asynccontextmanager
    async def open_informers(self) -> AsyncIterator[Informers]:
        """Give informers over these objects."""
        async with Informers(Client(InProcessTransport(self.answer, User("tester", ())))) as informers:
            yield informers


def service(name: str, ports: list[dict[str, Any]], *, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    """Return a Service; `clusterIP` and others go into its spec."""
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"type": "ClusterIP", "ports": ports, **spec}}


def slice_of(
    name: str, endpoints: list[dict[str, Any] | str], ports: list[dict[str, Any]], *, namespace: str = "default"
) -> dict[str, Any]:
    """Return the only EndpointSlice of a Service; a plain address is a ready endpoint."""
    full = [{"addresses": [one], "conditions": {"ready": True}} if isinstance(one, str) else one for one in endpoints]
    return {
        "metadata": {"name": f"{name}-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": full,
        "ports": ports,
    }
