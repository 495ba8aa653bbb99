"""Deletes what nobody owns any more, and carries out foreground and orphaning deletions.

Every kind that can be listed, watched and deleted is followed, custom ones too: `ownership.Graph` takes in the metadata
of all objects and says whose fate to look at. Before anything is deleted its owners are read from the API itself, since
watches of different kinds run apart.

Upstream counterpart: pkg/controller/garbagecollector.
"""

import contextlib
import logging
from dataclasses import dataclass
from functools import partial

import msgspec
from lightkube.models import meta_v1

from knarr.api import errors
from knarr.api.scheme import Resource
from knarr.client import DeleteOptions, PatchType, discovery, kinds
from knarr.control import Context, informer, loop
from knarr.controllers.ownership import (
    FOREGROUND,
    ORPHAN,
    Delete,
    Detach,
    Due,
    Graph,
    Identity,
    Node,
    Owner,
    Owners,
    plan,
)

DISCOVERY_PERIOD_S = 30.0
DISCOVERY_RETRY_S = 1.0
ABSENT_RETRY_S = 5.0
SYNC_RETRY_S = 0.2
SYNC_TIMEOUT_S = 30.0
ABSENT_LIMIT = 500
IGNORED = frozenset({"events", "events.events.k8s.io"})
"""Resources that own nothing and are owned by nothing but come in masses."""
ATTEMPT_DELETE, ATTEMPT_ORPHAN = "delete", "orphan"
"""The two kinds of work; a request's namespace says which, its name is the uid."""

logger = logging.getLogger(__name__)


class Meta(msgspec.Struct):
    """The metadata that ownership depends on."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = ""
    deletionTimestamp: str | None = None
    finalizers: list[str] | None = None
    ownerReferences: list[meta_v1.OwnerReference] | None = None


class PartialObject(msgspec.Struct):
    """What is decoded of every object: the rest of its bytes is skipped."""

    metadata: Meta


@dataclass(frozen=True, slots=True)
class Followed:
    """A kind that is followed."""

    kind: kinds.Kind[PartialObject]
    informer: informer.Informer[PartialObject]

    @property
    def resource(self) -> Resource:
        """Where it is served."""
        return self.kind.resource


class GarbageCollector:
    """Follows all kinds and deletes by ownership.

    Args:
        context: Client, informers and clock.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._graph = Graph()
        self._followed: dict[str, Followed] = {}
        self._absent: dict[str, None] = {}
        self._began_s: float | None = None
        self.controller = loop.Controller("garbagecollector", self, context, workers=20)
        self.controller.beside(self.run)

    async def run(self) -> None:
        """Look for new resources again and again; the controller's loop runs beside."""
        while True:
            try:
                await self._follow_resources()
            except errors.StatusError as err:
                logger.info("discovery: %s", err)
                await self._context.clock.sleep(DISCOVERY_RETRY_S)
                continue
            await self._context.clock.sleep(DISCOVERY_PERIOD_S)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Look at one object's fate; the request's namespace says whether to delete or to orphan."""
        if not self._is_synced():
            return loop.Result(requeue_after_s=SYNC_RETRY_S)
        node = self._graph.get(request.name)
        if node is None:
            return loop.Result()
        if request.namespace == ATTEMPT_ORPHAN:
            return await self._orphan(node)
        return await self._attempt_delete(node)

    def _is_synced(self) -> bool:
        """Tell whether all kinds have been read; one that cannot be read holds the others up for a while only."""
        if self._began_s is None:
            return False
        if all(one.informer.is_synced for one in self._followed.values()):
            return True
        return self._context.clock.monotonic_s() - self._began_s > SYNC_TIMEOUT_S

    async def _follow_resources(self) -> None:
        served = set()
        for resource in await discovery.resources(self._client):
            served.add(resource.qualified)
            usable = {"delete", "list", "watch"} <= set(resource.verbs)
            if not usable or resource.qualified in IGNORED or resource.qualified in self._followed:
                continue
            kind: kinds.Kind[PartialObject] = kinds.Kind(resource, PartialObject)
            following = self._context.informers.of(kind)
            self._followed[resource.qualified] = Followed(kind, following)
            following.on_change(partial(self._observe, resource))
        for name in self._followed.keys() - served:
            await self._context.informers.stop(self._followed.pop(name).informer)
        if self._began_s is None:
            self._began_s = self._context.clock.monotonic_s()

    def _observe(self, resource: Resource, old: PartialObject | None, new: PartialObject | None) -> None:
        if new is None:
            assert old is not None
            self._absent.pop(old.metadata.uid, None)
            self._enqueue(self._graph.forget(old.metadata.uid))
            return
        if old is not None and old.metadata.uid != new.metadata.uid:  # deleted and made anew between two looks
            self._enqueue(self._graph.forget(old.metadata.uid))
        meta = new.metadata
        due = self._graph.observe(
            meta.uid,
            Identity(resource.api_version, resource.kind, meta.namespace, meta.name),
            owners_of(meta),
            is_deleting=meta.deletionTimestamp is not None,
            finalizers=frozenset(meta.finalizers or ()),
        )
        self._enqueue(due)

    def _enqueue(self, due: Due) -> None:
        for uid in due.delete:
            self.controller.add(loop.Request(ATTEMPT_DELETE, uid))
        for uid in due.orphan:
            self.controller.add(loop.Request(ATTEMPT_ORPHAN, uid))

    async def _attempt_delete(self, node: Node) -> loop.Result:
        live = await self._read(node.identity)
        if live is None or live.metadata.uid != node.uid:
            if node.is_virtual:  # the owner that others name does not exist
                self._enqueue(self._graph.forget(node.uid))
                return loop.Result()
            return loop.Result(requeue_after_s=ABSENT_RETRY_S)  # its own watch will tell
        if live.metadata.deletionTimestamp is not None:
            if node.is_deleting_dependents:
                await self._finish_foreground(node, live)
            return loop.Result()
        if node.is_virtual:  # it exists, but its watch has not told yet
            return loop.Result(requeue_after_s=ABSENT_RETRY_S)
        fresh = Node(node.uid, node.identity, {owner.uid: owner for owner in owners_of(live.metadata)}, node.dependents)
        fresh.finalizers = frozenset(live.metadata.finalizers or ())
        fates = await self._fates(fresh)
        await self._act(fresh, live, plan(fresh, fates, has_waiting_dependents=self._has_waiting_dependents(fresh)))
        return loop.Result()

    async def _fates(self, node: Node) -> Owners:
        solid, dangling, waiting = [], [], []
        for owner in node.owners.values():
            if self._find(owner.identity).resource.namespaced and not node.identity.namespace:
                solid.append(owner)  # a cluster-wide object cannot be owned from within a namespace: leave it alone
                continue
            live = None if owner.uid in self._absent else await self._read(owner.identity)
            if live is None or live.metadata.uid != owner.uid:
                self._note_absent(owner.uid)
                dangling.append(owner)
            elif live.metadata.deletionTimestamp is not None and FOREGROUND in (live.metadata.finalizers or ()):
                waiting.append(owner)
            else:
                solid.append(owner)
        return Owners(tuple(solid), tuple(dangling), tuple(waiting))

    def _has_waiting_dependents(self, node: Node) -> bool:
        dependents = (self._graph.get(uid) for uid in node.dependents)
        return any(one is not None and one.is_deleting_dependents for one in dependents)

    async def _act(self, node: Node, live: PartialObject, decision: object) -> None:
        match decision:
            case Detach(uids):
                left = [one for one in live.metadata.ownerReferences or () if one.uid not in uids]
                await self._patch(node, {"metadata": {"ownerReferences": left, "uid": node.uid}})
            case Delete(policy, unblock):
                if unblock:
                    cleared = [
                        msgspec.structs.replace(one, blockOwnerDeletion=False)
                        for one in live.metadata.ownerReferences or ()
                    ]
                    await self._patch(node, {"metadata": {"ownerReferences": cleared, "uid": node.uid}})
                await self._delete(node, live, policy)

    async def _finish_foreground(self, node: Node, live: PartialObject) -> None:
        blocking = self._graph.blocking_dependents(node)
        for dependent in blocking:
            if not dependent.is_deleting_dependents:
                self.controller.add(loop.Request(ATTEMPT_DELETE, dependent.uid))
        if not blocking:
            await self._remove_finalizer(node, live, FOREGROUND)

    async def _orphan(self, node: Node) -> loop.Result:
        for uid in sorted(node.dependents):
            dependent = self._graph.get(uid)
            if dependent is None or dependent.is_virtual:
                continue
            live = await self._read(dependent.identity)
            if live is None or live.metadata.uid != uid:
                continue
            left = [one for one in live.metadata.ownerReferences or () if one.uid != node.uid]
            if len(left) != len(live.metadata.ownerReferences or ()):
                await self._patch(dependent, {"metadata": {"ownerReferences": left, "uid": uid}})
        live = await self._read(node.identity)
        if live is not None and live.metadata.uid == node.uid:
            await self._remove_finalizer(node, live, ORPHAN)
        return loop.Result()

    async def _remove_finalizer(self, node: Node, live: PartialObject, finalizer: str) -> None:
        left = [one for one in live.metadata.finalizers or () if one != finalizer]
        if len(left) != len(live.metadata.finalizers or ()):
            version = live.metadata.resourceVersion
            await self._patch(node, {"metadata": {"finalizers": left, "uid": node.uid, "resourceVersion": version}})

    def _note_absent(self, uid: str) -> None:
        self._absent[uid] = None
        if len(self._absent) > ABSENT_LIMIT:
            del self._absent[next(iter(self._absent))]

    def _find(self, identity: Identity) -> Followed:
        """Return the followed kind of an identity, whatever version of it an owner reference names.

        Raises:
            PathNotFound: there is none, at least not now; nothing may be concluded from that.
        """
        group = identity.api_version.rpartition("/")[0]
        for one in self._followed.values():
            if one.resource.kind == identity.kind and one.resource.group == group:
                return one
        raise errors.PathNotFound

    async def _read(self, identity: Identity) -> PartialObject | None:
        kind = self._find(identity).kind
        try:
            return await self._client.get(kind, identity.name, namespace=identity.namespace)
        except errors.NotFound:
            return None

    async def _patch(self, node: Node, body: dict[str, object]) -> None:
        kind = self._find(node.identity).kind
        with contextlib.suppress(errors.NotFound):
            await self._client.patch(kind, node.identity.name, body, PatchType.MERGE, namespace=node.identity.namespace)

    async def _delete(self, node: Node, live: PartialObject, policy: str) -> None:
        kind = self._find(node.identity).kind
        with contextlib.suppress(errors.NotFound):
            await self._client.delete(
                kind,
                node.identity.name,
                namespace=node.identity.namespace,
                options=DeleteOptions(propagation=policy, uid=node.uid, revision=live.metadata.resourceVersion),
            )


def owners_of(meta: Meta) -> list[Owner]:
    """Return an object's owner references; owners are looked for in its own namespace."""
    return [
        Owner(
            Identity(one.apiVersion, one.kind, meta.namespace, one.name),
            one.uid,
            blocks=bool(one.blockOwnerDeletion),
        )
        for one in meta.ownerReferences or ()
    ]


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    return GarbageCollector(context).controller
