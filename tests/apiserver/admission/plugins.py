"""Runs one admission plugin, or all of them, over a registry in memory."""

import contextlib
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

from knarr.api import errors
from knarr.api.user import User
from knarr.apiserver.admission.chain import CREATE, DELETE, UPDATE, AdmissionRequest, Chain, Context, Plugin
from knarr.apiserver.admission.shapes import Shaper
from knarr.apiserver.authz import bootstrap
from knarr.apiserver.authz.authorizer import Authorizer
from knarr.apiserver.authz.rbac import Rbac
from knarr.apiserver.registry import Registry
from knarr.apiserver.webhooks import Webhooks
from knarr.kit.clock import FakeClock
from tests.apiserver.access import add, open_registry, user

Object = dict[str, Any]
ADMIN = user("admin", "system:masters")


class Bench:
    """A chain of one plugin with its registry."""

    def __init__(self, registry: Registry, clock: FakeClock, build: Callable[[Context], Plugin]) -> None:
        self.registry, self.clock = registry, clock
        rbac = Rbac(registry)
        self.authorizer = Authorizer((rbac,), rbac)
        random = Random(1)
        context = Context(registry, self.authorizer, clock, random, Webhooks(registry, random), Shaper())
        self.chain = Chain([build(context)])

    async def add(self, resource: str, name: str, namespace: str = "", **rest: Any) -> Object:
        return await add(self.registry, resource, name, namespace, **rest)

    def request(
        self,
        operation: str,
        target: str,
        obj: Object | None = None,
        old: Object | None = None,
        who: User = ADMIN,
        **rest: Any,
    ) -> AdmissionRequest:
        qualified, _, subresource = target.partition("/")
        resource = self.registry.resource(qualified)
        metadata = ((obj or old or {}).get("metadata")) or {}
        namespace = metadata.get("namespace", "ns" if resource.namespaced else "")
        facts = {"namespace": namespace, "name": metadata.get("name", ""), **rest}
        return AdmissionRequest(operation, resource, subresource, object=obj, old=old, user=who, **facts)

    async def run(self, request: AdmissionRequest) -> str:
        """Admit and validate; return the refusal, or nothing."""
        try:
            await self.chain.admit(request)
            await self.chain.validate(request)
        except errors.StatusError as error:
            return error.message
        return ""

    async def create(self, target: str, obj: Object, **rest: Any) -> str:
        return await self.run(self.request(CREATE, target, obj, **rest))

    async def update(self, target: str, obj: Object, old: Object, **rest: Any) -> str:
        return await self.run(self.request(UPDATE, target, obj, old, **rest))

    async def delete(self, target: str, old: Object, **rest: Any) -> str:
        return await self.run(self.request(DELETE, target, None, old, **rest))


@contextlib.asynccontextmanager
async def open_bench(build: Callable[[Context], Plugin], *, policy: bool = False) -> AsyncIterator[Bench]:
    """Give a bench; with `policy` the bootstrap roles are there."""
    async with open_registry(clock := FakeClock()) as registry:
        if policy:
            await bootstrap.reconcile(registry, now=clock.now())
        yield Bench(registry, clock, build)


def pod(name: str = "p", *containers: Object, annotations: Object | None = None, **spec: Any) -> Object:
    """Return a pod in the namespace ns; without containers it has one named c."""
    metadata: Object = {"name": name, "namespace": "ns"}
    if annotations:
        metadata["annotations"] = annotations
    spec["containers"] = [dict(one) for one in containers] or [{"name": "c", "image": "i"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
