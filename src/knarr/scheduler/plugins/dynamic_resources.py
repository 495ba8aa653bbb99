"""DynamicResources: a pod runs only where the devices that its claims ask for are, or are free.

Claims that have no devices yet get them with the pod's node; all are reserved for the pod before it is bound.

Upstream counterpart: pkg/scheduler/framework/plugins/dynamicresources (v1.37; KEP-4381).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from lightkube.models import core_v1, resource_v1
from msgspec.structs import replace

from knarr.client import Client
from knarr.scheduler import devices, nodeselectors, preemption
from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.cycle import Unplaced
from knarr.scheduler.devices import Chosen, DeviceId, Offered, Wanted
from knarr.scheduler.events import NODE_EVENTS, Event, Kind
from knarr.scheduler.framework import Denied, Rejection, State
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.profile import Profile

FINALIZER = "resource.kubernetes.io/delete-protection"
RESERVED_LIMIT = 256
"""Most pods that share a claim."""

Claim = resource_v1.ResourceClaim


@dataclass(frozen=True, slots=True)
class Devices:
    """How to look things up.

    Attributes:
        claim: By namespace and name.
        claims: All.
        device_class: By name.
        slices: All.
    """

    claim: Callable[[str, str], Claim | None] = field(default=lambda namespace, name: None)
    claims: Callable[[], Sequence[Claim]] = field(default=lambda: ())
    device_class: Callable[[str], resource_v1.DeviceClass | None] = field(default=lambda name: None)
    slices: Callable[[], Sequence[resource_v1.ResourceSlice]] = field(default=lambda: ())


class DynamicResources:
    """The plugin.

    Args:
        offers: Claims, classes and slices.
        cluster: The nodes.
        client: Writes allocations; None where nothing is written.
    """

    name = "DynamicResources"
    events = NODE_EVENTS | {Kind.RESOURCE_CLAIMS, Kind.POD_GONE}

    def __init__(self, offers: Devices, cluster: Cluster, client: Client | None) -> None:
        self._offers = offers
        self._cluster = cluster
        self._client = client
        self._pending: dict[str, list[DeviceId]] = {}
        self._written: dict[tuple[str, str], Claim] = {}

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """Pods without claims can go anywhere."""
        return not pod.spec.resourceClaims

    def pre_enqueue(self, pod: PodFacts) -> Denied | None:
        """Keep a pod waiting until its claims exist."""
        missing = [one for one, claim in self._named(pod) if claim is None]
        return Denied(f'waiting for resource claim "{missing[0]}" to be created') if missing else None

    def prefilter(self, pod: PodFacts, cluster: Cluster, state: State) -> Denied | None:
        """Reject a pod whose claims are missing, on their way out, used up, or ask for a class that there is not."""
        for name, claim in self._named(pod):
            if claim is None or claim.metadata is None:
                return Denied(f'resourceclaim "{name}" not found')
            if claim.metadata.deletionTimestamp is not None:
                return Denied(f'resourceclaim "{name}" is being deleted')
            reserved = (claim.status.reservedFor or ()) if claim.status else ()
            if len(reserved) >= RESERVED_LIMIT and all(one.uid != pod.uid for one in reserved):
                return Denied("resourceclaim in use")
            if _allocation(claim) is None:
                for request, cls in _classes(claim):
                    if self._offers.device_class(cls) is None:
                        return Denied(f"request {request}: device class {cls} does not exist")
        return None

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out nodes that allocated devices cannot be reached from, or where not all others can be had."""
        claims = [claim for _, claim in self._named(pod) if claim is not None]
        for claim in claims:
            allocation = _allocation(claim)
            if allocation is not None and allocation.nodeSelector is not None:
                terms = allocation.nodeSelector.nodeSelectorTerms
                mask = ~nodeselectors.matches_any(cluster, rows, terms)
                yield Rejection(mask, "resourceclaim not available on the node", is_final=True)
        wanted = self._wanted(claims)
        if wanted:
            offered, taken = devices.complete(self._offers.slices()), self._taken()
            lacking = [self._allocate(wanted, cluster, int(row), offered, taken) is None for row in rows]
            yield Rejection(np.array(lacking, np.bool_), "cannot allocate all claims", is_final=True)

    def postfilter(
        self, pod: PodFacts, unplaced: Unplaced, cluster: Cluster, profile: Profile, nominated: str
    ) -> preemption.Refused:
        """Say that no claim can be given up for the pod: devices are allocated only together with the pod's node."""
        return preemption.Refused("no new claims to deallocate", keeps=True)

    def reserve(self, pod: PodFacts, node: str, state: State) -> Denied | None:
        """Take the devices on a node."""
        wanted = self._wanted([claim for _, claim in self._named(pod) if claim is not None])
        if not wanted:
            return None
        row, offered = self._cluster.index[node], devices.complete(self._offers.slices())
        chosen = self._allocate(wanted, self._cluster, row, offered, self._taken())
        if chosen is None:
            return Denied("1 cannot allocate all claims")
        self._pending[pod.uid] = [one.id for each in chosen for _, one, _ in each]
        state[self.name] = {
            one.claim.metadata.uid: devices.result(one, each, node)
            for one, each in zip(wanted, chosen, strict=True)
            if one.claim.metadata
        }
        return None

    def unreserve(self, pod: PodFacts, node: str, state: State) -> None:
        """Give them back, as far as they are not written yet."""
        self._pending.pop(pod.uid, None)

    async def prebind(self, pod: PodFacts, node: str, state: State) -> Denied | None:
        """Write the allocations, and that the claims are reserved for the pod."""
        if self._client is None:
            return None
        allocated = state.get(self.name, {})
        try:
            for _, claim in self._named(pod):
                if claim is not None and claim.metadata is not None:
                    await self._write(self._client, pod, claim, allocated.get(claim.metadata.uid))
        finally:
            self._pending.pop(pod.uid, None)
        return None

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """A claim, slice or class that changed, or a node."""
        return event.kind is not Kind.POD_GONE or (event.pod is not None and bool(event.pod.spec.resourceClaims))

    async def _write(
        self, client: Client, pod: PodFacts, claim: Claim, allocation: resource_v1.AllocationResult | None
    ) -> None:
        status = claim.status or resource_v1.ResourceClaimStatus()
        if allocation is not None and status.allocation is None:
            assert claim.metadata
            if FINALIZER not in (claim.metadata.finalizers or ()):
                meta = replace(claim.metadata, finalizers=[*(claim.metadata.finalizers or ()), FINALIZER])
                claim = await client.update(replace(claim, metadata=meta))
            status = replace(status, allocation=allocation)
        reserved = list(status.reservedFor or ())
        if all(one.uid != pod.uid for one in reserved):
            reserved.append(resource_v1.ResourceClaimConsumerReference(resource="pods", name=pod.name, uid=pod.uid))
        if status.allocation is not (claim.status.allocation if claim.status else None) or reserved != (
            (claim.status.reservedFor if claim.status else None) or []
        ):
            written = await client.update(
                replace(claim, status=replace(status, reservedFor=reserved)), subresource="status"
            )
            assert written.metadata
            self._written[written.metadata.namespace or "", written.metadata.name or ""] = written

    def _named(self, pod: PodFacts) -> Iterator[tuple[str, Claim | None]]:
        """Yield the names of a pod's claims, and the claims; those that need none are left out."""
        statuses = (pod.pod.status.resourceClaimStatuses or ()) if pod.pod.status else ()
        made = {one.name: one for one in statuses}
        for one in pod.spec.resourceClaims or ():
            name = one.resourceClaimName
            if name is None and one.name in made:
                name = made[one.name].resourceClaimName
                if name is None:
                    continue
            yield name or one.name, self._claim(pod.namespace, name) if name else None

    def _claim(self, namespace: str, name: str) -> Claim | None:
        """Return a claim as it is now, as far as is known: what was written last may not have been heard of yet."""
        heard, written = self._offers.claim(namespace, name), self._written.get((namespace, name))
        if written is None:
            return heard
        if heard is None or _version(heard) >= _version(written):
            del self._written[namespace, name]
            return heard
        return written

    def _wanted(self, claims: Iterable[Claim]) -> list[Wanted]:
        found = []
        for claim in claims:
            if _allocation(claim) is None:
                classes = {cls: known for _, cls in _classes(claim) if (known := self._offers.device_class(cls))}
                found.append(Wanted(claim, classes))
        return found

    def _taken(self) -> set[DeviceId]:
        for place in [*self._written]:
            self._claim(*place)
        claims = [*self._offers.claims(), *self._written.values()]
        taken = {one for claim in claims for one in devices.ids_of(claim)}
        return taken.union(*self._pending.values())

    @staticmethod
    def _allocate(
        wanted: Sequence[Wanted], cluster: Cluster, row: int, offered: Sequence[Offered], taken: set[DeviceId]
    ) -> list[list[Chosen]] | None:
        rows = np.array([row], np.intp)

        def accepts(selector: core_v1.NodeSelector) -> bool:
            return bool(nodeselectors.matches_any(cluster, rows, selector.nodeSelectorTerms)[0])

        reached = devices.on_node(offered, cluster.names[row], accepts)
        return devices.allocate(wanted, reached, lambda one: one not in taken)


def _allocation(claim: Claim) -> resource_v1.AllocationResult | None:
    return claim.status.allocation if claim.status else None


def _version(claim: Claim) -> int:
    return int((claim.metadata.resourceVersion or 0) if claim.metadata else 0)


def _classes(claim: Claim) -> Iterator[tuple[str, str]]:
    """Yield the requests of a claim with the classes that they name."""
    spec = devices.asked_of(claim)
    for request in (spec.requests or ()) if spec else ():
        if request.exactly is not None:
            yield request.name, request.exactly.deviceClassName
        for one in request.firstAvailable or ():
            yield f"{request.name}/{one.name}", one.deviceClassName
