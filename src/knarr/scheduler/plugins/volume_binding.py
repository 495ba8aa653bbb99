"""VolumeBinding: a pod runs only where its claims' volumes are, or can be made.

Claims whose class waits for the first consumer get their volume with the pod's node: an existing one that suits and is reached from there,
else one is made, by whoever makes volumes of the class, once the claim is told the node. The pod is bound after that.

Upstream counterpart: pkg/scheduler/framework/plugins/volumebinding (v1.37).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from lightkube.models import core_v1, storage_v1

from knarr.api import errors
from knarr.client import Client, PatchType
from knarr.control import selectors
from knarr.kit.clock import Clock
from knarr.scheduler import nodeselectors, podfacts, volumes
from knarr.scheduler.cluster import Cluster, Mask, Rows
from knarr.scheduler.events import NODE_EVENTS, Event, Kind
from knarr.scheduler.framework import Denied, Rejection, State
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.volumes import Claim, Storage, Volume

TIMEOUT_S = 600
POLL_S = 0.1

NOT_FOUND = "node(s) didn't find available persistent volumes to bind"
NO_SPACE = "node(s) did not have enough free storage"
OUT_OF_REACH = "node(s) didn't match PersistentVolume's node affinity"


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What becomes of one claim, for all rows at once.

    Attributes:
        claim: It waits for its first consumer.
        volumes: Those that suit it, the smallest first.
        chosen: For each row the index of its volume; -1 if there is none.
        made: Rows on which a volume can be made.
        full: Rows on which it could but for want of space.
    """

    claim: Claim
    volumes: Sequence[Volume]
    chosen: Rows
    made: Mask
    full: Mask


class VolumeBinding:
    """The plugin.

    Args:
        storage: Claims, volumes and classes.
        cluster: The nodes.
        client: Binds volumes; None where nothing is written.
        clock: Times the wait for volumes.
        timeout_s: How long to wait for them.
    """

    name = "VolumeBinding"
    events = NODE_EVENTS | {Kind.STORAGE}

    def __init__(
        self, storage: Storage, cluster: Cluster, client: Client | None, clock: Clock, *, timeout_s: int = TIMEOUT_S
    ) -> None:
        self._storage = storage
        self._cluster = cluster
        self._client = client
        self._clock = clock
        self._timeout_s = timeout_s
        self._taken: dict[str, str] = {}

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """Pods without claims can go anywhere."""
        return not volumes.claims_of(pod)

    def prefilter(self, pod: PodFacts, cluster: Cluster, state: State) -> Denied | None:
        """Reject a pod while a claim is missing, or unbound though it need not wait for the pod."""
        claims = []
        for name in volumes.claims_of(pod):
            claim = self._storage.claim(pod.namespace, name)
            if claim is None:
                return Denied(f'persistentvolumeclaim "{name}" not found')
            assert claim.metadata
            if (claim.status.phase if claim.status else None) == "Lost":
                return Denied(f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume')
            if claim.metadata.deletionTimestamp:
                return Denied(f'persistentvolumeclaim "{name}" is being deleted')
            claims.append(claim)
        if any(not volumes.is_bound(claim) and not self._storage.waits(claim) for claim in claims):
            return Denied("pod has unbound immediate PersistentVolumeClaims")
        return None

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes that a volume cannot be reached from, or where none can be had."""
        for claim in self._storage.claims(pod):
            if volumes.is_bound(claim):
                yield from self._reach(claim, cluster, rows)
        for choice in self._choose(pod, cluster, rows):
            missing = choice.chosen < 0
            yield Rejection(missing & ~choice.made & ~choice.full, NOT_FOUND, is_final=True)
            yield Rejection(missing & choice.full, NO_SPACE, is_final=True)

    def reserve(self, pod: PodFacts, node: str, state: State) -> Denied | None:
        """Take the volumes for the pod's claims on a node."""
        rows = np.array([self._cluster.index[node]], np.intp)
        planned: list[tuple[Claim, Volume | None]] = []
        for choice in self._choose(pod, self._cluster, rows):
            index = int(choice.chosen[0])
            volume = choice.volumes[index] if index >= 0 else None
            if volume is None and not choice.made[0]:
                return Denied(f"1 {NOT_FOUND}")
            if volume is not None:
                self._taken[_name(volume)] = pod.uid
            planned.append((choice.claim, volume))
        state[self.name] = planned
        return None

    def unreserve(self, pod: PodFacts, node: str, state: State) -> None:
        """Give them back."""
        self._taken = {name: uid for name, uid in self._taken.items() if uid != pod.uid}

    async def prebind(self, pod: PodFacts, node: str, state: State) -> Denied | None:
        """Bind the volumes, or have them made, and wait until each claim has its own."""
        planned: Sequence[tuple[Claim, Volume | None]] = state.get(self.name, ())
        if not planned or self._client is None:
            return None
        try:
            for claim, volume in planned:
                if volume is None:
                    await self._select_node(self._client, claim, node)
                elif not (volume.spec and volume.spec.claimRef and volume.spec.claimRef.uid):
                    await self._claim(self._client, claim, volume)
            return await self._wait_bound([claim for claim, _ in planned], [one for _, one in planned], node)
        finally:
            self.unreserve(pod, node, state)

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A claim, volume or class that changed, or a node that came or has other labels."""
        if event.kind is Kind.STORAGE:
            return not isinstance(event.storage, storage_v1.VolumeAttachment) and volumes.concerns(pod, event.storage)
        return event.changes_labels

    async def _select_node(self, client: Client, claim: Claim, node: str) -> None:
        assert claim.metadata
        body = {"metadata": {"annotations": {volumes.SELECTED_NODE: node}}}
        where, name = claim.metadata.namespace or "", claim.metadata.name or ""
        await client.patch(Claim, name, body, PatchType.MERGE, namespace=where)

    async def _claim(self, client: Client, claim: Claim, volume: Volume) -> None:
        assert claim.metadata and volume.metadata
        reference = core_v1.ObjectReference(
            apiVersion="v1",
            kind="PersistentVolumeClaim",
            namespace=claim.metadata.namespace,
            name=claim.metadata.name,
            uid=claim.metadata.uid,
            resourceVersion=claim.metadata.resourceVersion,
        )
        marks = {} if volume.spec and volume.spec.claimRef else {volumes.BOUND_BY_CONTROLLER: "yes"}
        body = {
            "metadata": {"annotations": marks, "resourceVersion": volume.metadata.resourceVersion},
            "spec": {"claimRef": reference},
        }
        await client.patch(Volume, _name(volume), body, PatchType.MERGE)

    async def _wait_bound(self, claims: Sequence[Claim], chosen: Sequence[Volume | None], node: str) -> Denied | None:
        deadline_s = self._clock.monotonic_s() + self._timeout_s
        seen: set[str] = set()
        while True:
            is_done = True
            for claim, volume in zip(claims, chosen, strict=True):
                assert claim.metadata
                name = claim.metadata.name or ""
                now = self._storage.claim(claim.metadata.namespace or "", name)
                if now is None or (now.metadata and now.metadata.uid != claim.metadata.uid):
                    raise errors.InternalError(f'persistentvolumeclaim "{name}" not found')
                if volumes.is_bound(now):
                    continue
                is_done = False
                selected = volumes.annotations(now).get(volumes.SELECTED_NODE)
                if selected == node:
                    seen.add(name)
                elif volume is None and (selected or name in seen):
                    # Whoever makes volumes takes the node away from the claim when none can be made there.
                    return Denied(f'provisioning failed for PVC "{name}"')
            if is_done:
                return None
            if self._clock.monotonic_s() > deadline_s:
                raise errors.ServerTimeout("binding volumes: context deadline exceeded")
            await self._clock.sleep(POLL_S)

    def _reach(self, claim: Claim, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        name = (claim.spec.volumeName or "") if claim.spec else ""
        volume = self._storage.volume(name)
        if volume is None:
            reason = f'node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s): persistentvolume "{name}" not found'
            yield Rejection(np.ones(len(rows), np.bool_), reason, is_final=True)
            return
        yield Rejection(~_reached(volume, cluster, rows), OUT_OF_REACH, is_final=True)

    def _choose(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> list[Choice]:
        """Decide for each claim that waits, the smallest first, which volume it gets on each row."""
        waiting = [claim for claim in self._storage.claims(pod) if not volumes.is_bound(claim)]
        used: dict[str, Mask] = {}
        choices = []
        for claim in sorted(waiting, key=volumes.wanted):
            suitable = sorted(
                (one for one in self._candidates(claim, pod.uid) if volumes.suits(one, claim)),
                key=lambda one: (not volumes.refers_to(one, claim), volumes.size(one), _name(one)),
            )
            chosen = np.full(len(rows), -1, np.intp)
            selected = volumes.annotations(claim).get(volumes.SELECTED_NODE)
            for index, volume in enumerate(suitable if not selected else ()):
                mine = used.setdefault(_name(volume), np.zeros(len(rows), np.bool_))
                fits = (chosen < 0) & ~mine & _reached(volume, cluster, rows)
                chosen[fits] = index
                mine |= fits
            made, full = self._makeable(claim, cluster, rows)
            if selected:  # a volume is being made there already
                made &= rows == cluster.index.get(selected, -1)
            choices.append(Choice(claim, suitable, chosen, made, full))
        return choices

    def _candidates(self, claim: Claim, uid: str) -> list[Volume]:
        found = self._storage.volumes(volumes.class_of(claim))
        return [one for one in found if self._taken.get(_name(one), uid) == uid]

    def _makeable(self, claim: Claim, cluster: Cluster, rows: Rows) -> tuple[Mask, Mask]:
        """Tell on which rows a volume can be made, and on which only space is wanting."""
        nowhere = np.zeros(len(rows), np.bool_)
        found = self._storage.storage_class(volumes.class_of(claim))
        if found is None or not found.provisioner or found.provisioner == volumes.NO_PROVISIONER:
            return nowhere, nowhere
        allowed = np.ones(len(rows), np.bool_)
        if found.allowedTopologies:
            allowed = nodeselectors.matches_any(cluster, rows, [_node_term(one) for one in found.allowedTopologies])
        driver = self._storage.driver(found.provisioner)
        if driver is None or not (driver.spec and driver.spec.storageCapacity):
            return allowed, nowhere
        roomy = nowhere.copy()
        for capacity in self._storage.capacities():
            most = capacity.maximumVolumeSize or capacity.capacity
            if capacity.storageClassName != volumes.class_of(claim) or most is None or capacity.nodeTopology is None:
                continue
            if podfacts.amount("storage", most) >= volumes.wanted(claim):
                labels = (cluster.labels(int(row)) for row in rows)
                roomy |= np.fromiter((selectors.matches(capacity.nodeTopology, one) for one in labels), np.bool_)
        return allowed & roomy, allowed & ~roomy


def _reached(volume: Volume, cluster: Cluster, rows: Rows) -> Mask:
    affinity = volume.spec.nodeAffinity.required if volume.spec and volume.spec.nodeAffinity else None
    if affinity is None:
        return np.ones(len(rows), np.bool_)
    return nodeselectors.matches_any(cluster, rows, affinity.nodeSelectorTerms)


def _node_term(term: core_v1.TopologySelectorTerm) -> core_v1.NodeSelectorTerm:
    return core_v1.NodeSelectorTerm(
        matchExpressions=[
            core_v1.NodeSelectorRequirement(key=one.key, operator="In", values=one.values)
            for one in term.matchLabelExpressions or ()
        ]
    )


def _name(volume: Volume) -> str:
    return (volume.metadata.name or "") if volume.metadata else ""
