"""Namespaces that are being deleted are emptied, then let go.

Which resources there are is asked of discovery each time, so that custom ones are found. Everything is deleted by
collection; what remains (through finalizers or grace periods) is counted, told in conditions, and looked at again.

Upstream counterpart: pkg/controller/namespace/deletion.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from lightkube.models import core_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.api.scheme import Resource
from knarr.client import DeleteOptions, Selection, discovery, kinds
from knarr.control import Context, loop

FINALIZER = "kubernetes"
RETRY_S = 0.5
RETRY_LIMIT_S = 15.0
CONCURRENT_DELETES = 8


@dataclass(slots=True)
class Remains:
    """What is left of a namespace after a round of deletions.

    Attributes:
        counts: How many objects of each resource ("pods", "deployments.apps") are left.
        finalizers: How many objects wait for each finalizer.
        discovery_error: Why the resources could not be listed; empty if they could.
        delete_errors: Why deletions failed.
        grace_s: The longest grace period of a pod that is left.
    """

    counts: dict[str, int] = field(default_factory=dict)
    finalizers: dict[str, int] = field(default_factory=dict)
    discovery_error: str = ""
    delete_errors: list[str] = field(default_factory=list)
    grace_s: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether the namespace may go."""
        return not (self.counts or self.discovery_error or self.delete_errors)


_GOOD = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
}


def conditions(
    current: Iterable[core_v1.NamespaceCondition], remains: Remains, now: datetime
) -> list[core_v1.NamespaceCondition]:
    """Return the conditions of a namespace that is being deleted."""
    bad: dict[str, tuple[str, str]] = {}
    if remains.discovery_error:
        bad["NamespaceDeletionDiscoveryFailure"] = ("DiscoveryFailed", remains.discovery_error)
    if remains.delete_errors:
        text = ", ".join(sorted(remains.delete_errors))
        bad["NamespaceDeletionContentFailure"] = (
            "ContentDeletionFailed",
            f"Failed to delete all resource types, {len(remains.delete_errors)} remaining: {text}",
        )
    if remains.counts:
        parts = [f"{name}. has {count} resource instances" for name, count in sorted(remains.counts.items())]
        bad["NamespaceContentRemaining"] = (
            "SomeResourcesRemain",
            f"Some resources are remaining: {', '.join(parts)}",
        )
    if remains.finalizers:
        parts = [f"{name} in {count} resource instances" for name, count in sorted(remains.finalizers.items())]
        bad["NamespaceFinalizersRemaining"] = (
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {', '.join(parts)}",
        )
    standing = {condition.type: condition for condition in current}
    for kind, (reason, message) in _GOOD.items():
        status = "True" if kind in bad else "False"
        reason, message = bad.get(kind, (reason, message))
        before = standing.get(kind)
        if before is not None and (before.status, before.reason, before.message) == (status, reason, message):
            continue
        since = before.lastTransitionTime if before and before.status == status else now.replace(microsecond=0)
        standing[kind] = core_v1.NamespaceCondition(
            type=kind, status=status, reason=reason, message=message, lastTransitionTime=since
        )
    return list(standing.values())


class Reconciler:
    """Empties terminating namespaces.

    Args:
        context: Client and informers.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._namespaces = context.informers.of(core_v1.Namespace)
        self._rounds: dict[str, int] = {}

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Delete everything in the namespace, tell what is left, and finalize it once nothing is."""
        cached = self._namespaces.get("", request.name)
        if cached is None or not cached.metadata or not cached.metadata.deletionTimestamp:
            self._rounds.pop(request.name, None)
            return loop.Result()
        if not cached.spec or FINALIZER not in (cached.spec.finalizers or ()):
            return loop.Result()
        remains = await self._empty(request.name)
        await self._write_status(cached, remains)
        if remains.is_empty:
            await self._finalize(request.name)
            self._rounds.pop(request.name, None)
            return loop.Result()
        round_number = self._rounds[request.name] = self._rounds.get(request.name, -1) + 1
        return loop.Result(requeue_after_s=min(RETRY_S * 2**round_number, RETRY_LIMIT_S))

    async def _empty(self, namespace: str) -> Remains:
        remains = Remains()
        try:
            resources = await discovery.resources(self._client)
        except errors.StatusError as err:
            remains.discovery_error = f"Discovery failed for some groups: {err}"
            return remains
        slots = asyncio.Semaphore(CONCURRENT_DELETES)
        deletable = [one for one in resources if one.namespaced and {"delete", "list"} <= set(one.verbs)]

        # Pods go first, so that nothing that protects them (policies, Secrets) goes while they still run (KEP-5080).
        for resource in deletable:
            if resource.qualified == "pods":
                await self._empty_resource(resource, namespace, remains)
        if not remains.is_empty:
            return remains

        async def empty_one(resource: Resource) -> None:
            async with slots:
                await self._empty_resource(resource, namespace, remains)

        await asyncio.gather(*(empty_one(resource) for resource in deletable if resource.qualified != "pods"))
        return remains

    async def _empty_resource(self, resource: Resource, namespace: str, remains: Remains) -> None:
        kind = kinds.untyped(resource)
        try:
            if not (await self._client.list_page(kind, Selection(namespace), limit=1)).items:
                return
            if "deletecollection" in resource.verbs:
                options = DeleteOptions(propagation="Background")
                await self._client.delete_collection(kind, Selection(namespace), options=options)
            left = (await self._client.list(kind, namespace=namespace)).items
            if "deletecollection" not in resource.verbs:
                for item in left:
                    await self._client.delete(kind, item["metadata"]["name"], namespace=namespace)
                left = (await self._client.list(kind, namespace=namespace)).items
        except (errors.NotFound, errors.PathNotFound, errors.MethodNotSupported):
            return
        except errors.StatusError as err:
            remains.delete_errors.append(str(err))
            return
        if left:
            remains.counts[resource.qualified] = len(left)
        for item in left:
            for finalizer in item["metadata"].get("finalizers") or ():
                remains.finalizers[finalizer] = remains.finalizers.get(finalizer, 0) + 1

    async def _write_status(self, namespace: core_v1.Namespace, remains: Remains) -> None:
        status = namespace.status or core_v1.NamespaceStatus()
        fresh = conditions(status.conditions or (), remains, self._clock.now())
        if fresh != (status.conditions or []):
            told = replace(namespace, status=replace(status, conditions=fresh))
            with contextlib.suppress(errors.Conflict, errors.NotFound):  # the next round writes it anew
                await self._client.update(told, subresource="status")

    async def _finalize(self, name: str) -> None:
        try:
            namespace = await self._client.get(core_v1.Namespace, name)
            assert namespace.spec
            left = [one for one in namespace.spec.finalizers or () if one != FINALIZER]
            await self._client.update(
                replace(namespace, spec=replace(namespace.spec, finalizers=left)), subresource="finalize"
            )
        except errors.NotFound:
            pass


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("namespace", Reconciler(context), context, workers=5)
    controller.watch(core_v1.Namespace, loop.itself)
    return controller
