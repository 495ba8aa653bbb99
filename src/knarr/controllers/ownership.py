"""The graph of who owns whom, and what its garbage collector should look at next.

Pure: events go in, the uids whose fate may have changed come out. An owner that some object names but nobody has seen is
kept as a virtual node until its existence is known, since watches of different kinds arrive in any order.

Upstream counterpart: pkg/controller/garbagecollector/graph.go and graph_builder.go.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"


@dataclass(frozen=True, slots=True)
class Identity:
    """Where an object is.

    Attributes:
        api_version: Such as "apps/v1".
        kind: Such as "ReplicaSet".
        namespace: Empty for cluster-scoped objects.
        name: Its name.
    """

    api_version: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Owner:
    """One owner reference.

    Attributes:
        identity: Whom it names; the namespace is the dependent's.
        uid: The owner's uid.
        blocks: blockOwnerDeletion.
    """

    identity: Identity
    uid: str
    blocks: bool = False


@dataclass(slots=True)
class Node:
    """One object in the graph.

    Attributes:
        uid: Its uid.
        identity: Where it is.
        owners: Its owner references by uid.
        dependents: The uids of those that name it as an owner.
        is_virtual: Only named by others so far.
        is_deleting: Has a deletion timestamp.
        finalizers: Its finalizers.
    """

    uid: str
    identity: Identity
    owners: Mapping[str, Owner] = field(default_factory=dict)
    dependents: set[str] = field(default_factory=set)
    is_virtual: bool = False
    is_deleting: bool = False
    finalizers: frozenset[str] = frozenset()

    @property
    def is_deleting_dependents(self) -> bool:
        """Whether it waits in foreground deletion for its dependents to go."""
        return self.is_deleting and FOREGROUND in self.finalizers

    @property
    def is_orphaning(self) -> bool:
        """Whether it is being deleted and its dependents are to live on."""
        return self.is_deleting and ORPHAN in self.finalizers


@dataclass(slots=True)
class Due:
    """What to look at after an event.

    Attributes:
        delete: Uids that may have to be deleted, or whose foreground deletion may go on.
        orphan: Uids whose dependents are to be cut loose.
    """

    delete: list[str] = field(default_factory=list)
    orphan: list[str] = field(default_factory=list)


class Graph:
    """All known objects and their ownership; fed by events, read by the garbage collector."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}

    def get(self, uid: str) -> Node | None:
        """Return the node of `uid`, or None."""
        return self._nodes.get(uid)

    def nodes(self) -> Iterable[Node]:
        """Return every node."""
        return self._nodes.values()

    def blocking_dependents(self, node: Node) -> list[Node]:
        """Return the dependents that hold up a foreground deletion of `node`."""
        dependents = (self._nodes[uid] for uid in node.dependents)
        return [one for one in dependents if node.uid in one.owners and one.owners[node.uid].blocks]

    def observe(
        self, uid: str, identity: Identity, owners: Iterable[Owner], *, is_deleting: bool, finalizers: frozenset[str]
    ) -> Due:
        """Take in an object as it stands now, seen for the first time or again."""
        due = Due()
        node = self._nodes.get(uid)
        is_new = node is None or node.is_virtual
        if node is None:
            node = self._nodes[uid] = Node(uid, identity)
        was_orphaning, was_waiting = node.is_orphaning, node.is_deleting_dependents
        if node.is_virtual and node.identity != identity:
            due.delete += sorted(node.dependents)  # they named this owner wrongly: their references are dangling
        node.identity, node.is_virtual, node.is_deleting, node.finalizers = identity, False, is_deleting, finalizers
        removed = self._set_owners(node, {owner.uid: owner for owner in owners}, due)
        if is_new and node.owners:
            due.delete.append(uid)
        if removed:
            due.delete.append(uid)
        if node.is_orphaning and (is_new or not was_orphaning):
            due.orphan.append(uid)
        if node.is_deleting_dependents and (is_new or not was_waiting):
            due.delete += [*sorted(node.dependents), uid]
        return due

    def forget(self, uid: str) -> Due:
        """Take in that an object is gone: its dependents lose an owner, its owners a dependent."""
        due = Due()
        node = self._nodes.pop(uid, None)
        if node is None:
            return due
        for owner_uid in node.owners:
            owner = self._nodes.get(owner_uid)
            if owner is None:
                continue
            owner.dependents.discard(uid)
            if owner.is_deleting_dependents:
                due.delete.append(owner_uid)
            if owner.is_virtual and not owner.dependents:
                del self._nodes[owner_uid]
        due.delete += sorted(node.dependents)
        if node.dependents:  # until the dependents have been looked at, others may still name it
            self._nodes[uid] = Node(uid, node.identity, dependents=node.dependents, is_virtual=True)
        return due

    def _set_owners(self, node: Node, owners: Mapping[str, Owner], due: Due) -> bool:
        """Link `node` below its owners.

        Returns:
            Whether a reference that was there has gone.
        """
        before = node.owners
        for uid in before.keys() - owners.keys():
            owner = self._nodes.get(uid)
            if owner is not None:
                owner.dependents.discard(node.uid)
                if owner.is_deleting_dependents:
                    due.delete.append(uid)
                if owner.is_virtual and not owner.dependents:
                    del self._nodes[uid]
        for uid, reference in owners.items():
            owner = self._nodes.get(uid)
            if owner is None:
                owner = self._nodes[uid] = Node(uid, reference.identity, is_virtual=True)
                due.delete.append(uid)  # find out whether it exists
            owner.dependents.add(node.uid)
            unblocked = uid in before and before[uid].blocks and not reference.blocks
            if owner.is_deleting_dependents and (uid not in before or unblocked):
                due.delete += [node.uid, uid]
        node.owners = owners
        return bool(before.keys() - owners.keys())


@dataclass(frozen=True, slots=True)
class Owners:
    """A node's owners, sorted by their fate.

    Attributes:
        solid: They exist and stay.
        dangling: They do not exist.
        waiting: They exist and wait in foreground deletion for their dependents.
    """

    solid: tuple[Owner, ...]
    dangling: tuple[Owner, ...]
    waiting: tuple[Owner, ...]


@dataclass(frozen=True, slots=True)
class Keep:
    """Leave the object alone."""


@dataclass(frozen=True, slots=True)
class Detach:
    """Remove the owner references of these uids."""

    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object.

    Attributes:
        policy: "Foreground", "Background" or "Orphan".
        unblock: First clear blockOwnerDeletion, since its owners wait for it and it waits for its own dependents.
    """

    policy: str
    unblock: bool = False


def plan(node: Node, owners: Owners, *, has_waiting_dependents: bool) -> Keep | Detach | Delete:
    """Decide what becomes of an object that names owners.

    Args:
        node: The object; not being deleted.
        owners: Its owners by fate.
        has_waiting_dependents: Whether a dependent of it waits in foreground deletion too (a cycle would never end).

    Source: attemptToDeleteItem.
    """
    if not node.owners:
        return Keep()
    if owners.solid:
        gone = tuple(owner.uid for owner in (*owners.dangling, *owners.waiting))
        return Detach(gone) if gone else Keep()
    if owners.waiting and node.dependents:
        return Delete("Foreground", unblock=has_waiting_dependents)
    if node.is_orphaning or ORPHAN in node.finalizers:
        return Delete("Orphan")
    return Delete("Foreground" if FOREGROUND in node.finalizers else "Background")
