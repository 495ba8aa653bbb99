"""ResourceQuotas: their status says how much of each limit is in use.

Admission counts for itself and never relies on this; people and programs read it. Only namespaces with quotas cost anything: there, the
metadata of the resources that the quotas limit is followed, and a change has them counted anew, at most a few times a second.

Upstream counterpart: pkg/controller/resourcequota.
"""

import contextlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from lightkube.models import core_v1
from msgspec.structs import replace

from knarr.api import amounts, errors, quota
from knarr.api.scheme import BUILT_IN, Resource
from knarr.client import kinds
from knarr.control import Context, informer, loop
from knarr.controllers import statuses

PAUSE_S = 0.2
"""Changes are taken together for this long."""
RESYNC_S = 300.0
_COUNT = "count/"


class Meta(msgspec.Struct):
    """The metadata by which a change is noticed."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = ""


class PartialObject(msgspec.Struct):
    """What is decoded of every followed object."""

    metadata: Meta


def resources_of(hard: Iterable[str]) -> list[Resource]:
    """Return the resources whose objects can use what a quota limits."""
    names = [*hard]
    counted = {name.removeprefix(_COUNT) for name in names if name.startswith(_COUNT)}
    return [
        one
        for one in _counted()
        if one.qualified in counted or any(quota.is_counted(one.qualified, name) for name in names)
    ]


def used(
    hard: dict[str, Any], objects: Iterable[tuple[str, dict[str, Any]]], spec: dict[str, Any], now: datetime
) -> dict[str, str]:
    """Return how much of each limit objects use, written as the limit is.

    Args:
        hard: The limits.
        objects: Each with its qualified resource.
        spec: The quota's, for its scopes.
        now: The wall time.
    """
    totals = dict.fromkeys(hard, 0)
    for resource, obj in objects:
        if not quota.is_in_scopes({"spec": spec}, resource, obj):
            continue
        for name, amount in quota.usage(resource, obj, now).items():
            if name in totals:
                totals[name] += amount
    return {name: amounts.format_like(total, str(hard[name])) for name, total in totals.items()}


class Reconciler:
    """Counts.

    Args:
        context: Client, informers and clock.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._informers = context.informers
        self._quotas = context.informers.of(core_v1.ResourceQuota)
        self._followed: dict[tuple[str, str], informer.Informer[PartialObject]] = {}
        self.controller = loop.Controller("resourcequota", self, context)
        self.controller.watch(core_v1.ResourceQuota, loop.itself)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Count what a quota limits and write it down."""
        current = self._quotas.get(request.namespace, request.name)
        if current is None or current.spec is None:
            await self._unfollow(request.namespace)
            return loop.Result()
        hard = current.spec.hard or {}
        resources = resources_of(hard)
        for resource in resources:
            self._follow(request.namespace, resource)
        spec = {key: value for key, value in msgspec.to_builtins(current.spec).items() if value is not None}
        objects = [
            (resource.qualified, obj)
            for resource in resources
            for obj in (await self._client.list(kinds.untyped(resource), namespace=request.namespace)).items
        ]
        status = core_v1.ResourceQuotaStatus(hard=hard, used=used(hard, objects, spec, self._clock.now()))
        if not statuses.is_same(status, current.status):
            with contextlib.suppress(errors.NotFound):
                await self._client.update(replace(current, status=status), subresource="status")
        return loop.Result(requeue_after_s=RESYNC_S)

    def _follow(self, namespace: str, resource: Resource) -> None:
        key = (namespace, resource.qualified)
        if key in self._followed:
            return
        kind: kinds.Kind[PartialObject] = kinds.Kind(resource, PartialObject)
        following = self._followed[key] = self._informers.of(kind, namespace=namespace)
        following.on_change(lambda old, new: self._recount(namespace))

    async def _unfollow(self, namespace: str) -> None:
        if self._quotas.list(namespace):
            return
        for key in [key for key in self._followed if key[0] == namespace]:
            await self._informers.stop(self._followed.pop(key))

    def _recount(self, namespace: str) -> None:
        for one in self._quotas.list(namespace):
            self.controller.add_after(loop.Request(*informer.key_of(one)), PAUSE_S)


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    return Reconciler(context).controller


def _counted() -> list[Resource]:
    """Return every namespaced resource that can be listed, each in its preferred version."""
    found: dict[str, Resource] = {}
    for one in BUILT_IN:
        if one.namespaced and {"list", "watch", "create"} <= set(one.verbs):
            found.setdefault(one.qualified, one)
    return [*found.values()]
