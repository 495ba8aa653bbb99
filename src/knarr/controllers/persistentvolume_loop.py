"""Carries out the plans of claims and volumes, one at a time: who binds must not be overtaken by himself.

A request with a namespace is about a claim, one without about a volume.

Upstream counterpart: pkg/controller/volume/persistentvolume (v1.37).
"""

import contextlib
from collections.abc import Iterable
from typing import Any

from lightkube.models import core_v1, storage_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.control import Context, informer, loop
from knarr.controllers import persistentvolume as plans
from knarr.controllers import podclaims, statuses
from knarr.controllers import volumematching as matching
from knarr.controllers.latest import Latest

UNBOUND = "claims without a volume"
RESYNC_S = 15.0
"""Claims that wait are looked at, and told why, this often."""


class Reconciler:
    """Takes the steps of claims and volumes.

    Args:
        context: Client, informers and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._recorder = context.recorder
        self.claims = context.informers.of(core_v1.PersistentVolumeClaim)
        self.claims.add_index(UNBOUND, _unbound)
        self._claims = Latest(self.claims)
        self._volumes = Latest(context.informers.of(core_v1.PersistentVolume))
        self._classes = context.informers.of(storage_v1.StorageClass)
        self._nodes = context.informers.of(core_v1.Node)
        self._pods = context.informers.of(core_v1.Pod)
        self._pods.add_index(podclaims.INDEX, podclaims.by_claim)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Take the next step of a claim or a volume."""
        if request.namespace:
            claim = self._claims.get(request.namespace, request.name)
            return await self._step_claim(claim) if claim is not None else loop.Result()
        volume = self._volumes.get("", request.name)
        return await self._step_volume(volume) if volume is not None else loop.Result()

    def waiting_claims(self) -> list[loop.Request]:
        """Name the claims that have no volume yet."""
        return [loop.Request(*informer.key_of(one)) for one in self.claims.by_index(UNBOUND, "")]

    async def _step_claim(self, claim: core_v1.PersistentVolumeClaim) -> loop.Result:
        namespace, name = informer.key_of(claim)
        users = self._pods.by_index(podclaims.INDEX, f"{namespace}/{name}")
        around = plans.Surroundings(
            volumes=self._volumes.list(),
            classes={informer.key_of(one)[1]: one for one in self._classes.list()},
            node=self._nodes.get("", matching.annotation(claim, matching.SELECTED_NODE) or ""),
            waiting_pods=sorted(informer.key_of(pod)[1] for pod in users if not podclaims.has_node(pod)),
        )
        step = plans.plan_claim(claim, around)
        for type_, reason, message in step.events:
            if reason not in ("ClaimLost", "ClaimMisbound") or _phase(claim) != plans.LOST:
                self._recorder.event(claim, type_, reason, message)
        if step.default_class and claim.spec:
            await self._write(replace(claim, spec=replace(claim.spec, storageClassName=step.default_class)))
            return loop.Result()
        volume = step.bind
        if volume is not None:
            volume, claim = await self._bind(volume, claim)
        elif step.provisioner:
            told = {matching.OLD_PROVISIONER: step.provisioner, matching.PROVISIONER: step.provisioner}
            claim = await self._annotate(claim, told)
        if step.phase is not None:
            await self._write_phase(claim, step.phase, volume)
        return loop.Result(requeue_after_s=RESYNC_S if step.phase == plans.PENDING and step.events else None)

    async def _bind(
        self, volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim
    ) -> tuple[core_v1.PersistentVolume, core_v1.PersistentVolumeClaim]:
        """Make both refer to each other, the volume first."""
        assert volume.spec and volume.metadata and claim.spec and claim.metadata
        meta, reference = claim.metadata, volume.spec.claimRef
        if reference is None or reference.uid != meta.uid:
            mine = reference is not None and matching.is_bound_to(volume, claim)
            made = core_v1.ObjectReference(
                apiVersion="v1",
                kind="PersistentVolumeClaim",
                namespace=meta.namespace,
                name=meta.name,
                uid=meta.uid,
                resourceVersion=meta.resourceVersion,
            )
            bound = replace(volume, spec=replace(volume.spec, claimRef=made))
            volume = self._volumes.remember(await self._client.update(bound if mine else _marked(bound)))
        volume = await self._write_volume_phase(volume, plans.BOUND, "")
        changed = claim
        if claim.spec.volumeName != informer.key_of(volume)[1]:
            changed = _marked(replace(claim, spec=replace(claim.spec, volumeName=informer.key_of(volume)[1])))
        claim = await self._annotate(changed, {matching.BIND_COMPLETED: "yes"}, is_changed=changed is not claim)
        return volume, claim

    async def _write_phase(
        self, claim: core_v1.PersistentVolumeClaim, phase: str, volume: core_v1.PersistentVolume | None
    ) -> None:
        before = claim.status or core_v1.PersistentVolumeClaimStatus()
        status = replace(before, phase=phase, accessModes=None, capacity=None)
        if phase == plans.BOUND and volume is not None and volume.spec and claim.spec:
            status.accessModes = volume.spec.accessModes
            status.capacity = before.capacity if before.phase == plans.BOUND else volume.spec.capacity
            status.capacity = status.capacity or volume.spec.capacity
            if before.phase != plans.BOUND:
                status.currentVolumeAttributesClassName = volume.spec.volumeAttributesClassName
        if not statuses.is_same(status, claim.status):
            written = await self._client.update(replace(claim, status=status), subresource="status")
            self._claims.remember(written)

    async def _annotate(
        self, claim: core_v1.PersistentVolumeClaim, told: dict[str, str], *, is_changed: bool = False
    ) -> core_v1.PersistentVolumeClaim:
        assert claim.metadata
        before = claim.metadata.annotations or {}
        if not is_changed and told.items() <= before.items():
            return claim
        return await self._write(replace(claim, metadata=replace(claim.metadata, annotations={**before, **told})))

    async def _write(self, claim: core_v1.PersistentVolumeClaim) -> core_v1.PersistentVolumeClaim:
        return self._claims.remember(await self._client.update(claim))

    async def _step_volume(self, volume: core_v1.PersistentVolume) -> loop.Result:
        assert volume.spec
        reference = volume.spec.claimRef
        claim = self._claims.get(reference.namespace or "", reference.name or "") if reference else None
        step = plans.plan_volume(volume, claim)
        if step.phase == plans.RELEASED and claim is None and reference is not None:
            claim = await self._look_again(reference)  # before data is given up, the API is asked, not the cache
            step = plans.plan_volume(volume, claim) if claim is not None else step
        for type_, reason, message in step.events:
            self._recorder.event(volume, type_, reason, message)
            if reason == "VolumeMismatch" and claim is not None:
                self._recorder.event(claim, type_, reason, message)
        if step.unbind:
            volume = self._volumes.remember(await self._client.update(_unbound_volume(volume)))
        if step.phase is not None:
            await self._write_volume_phase(volume, step.phase, step.message)
        if step.wake and claim is not None and not step.events:
            await self._step_claim(claim)
        return loop.Result()

    async def _look_again(self, reference: core_v1.ObjectReference) -> core_v1.PersistentVolumeClaim | None:
        kind = core_v1.PersistentVolumeClaim
        with contextlib.suppress(errors.NotFound):
            return await self._client.get(kind, reference.name or "", namespace=reference.namespace or "")
        return None

    async def _write_volume_phase(
        self, volume: core_v1.PersistentVolume, phase: str, message: str
    ) -> core_v1.PersistentVolume:
        before = volume.status or core_v1.PersistentVolumeStatus()
        if (before.phase, before.message or "") == (phase, message):
            return volume
        status = replace(before, phase=phase, message=message or None)
        written = await self._client.update(replace(volume, status=status), subresource="status")
        return self._volumes.remember(written)


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("persistentvolume-binder-controller", reconciler, context, workers=1)
    controller.watch(core_v1.PersistentVolumeClaim, _requests_of_claim)
    controller.watch(storage_v1.StorageClass, lambda _: reconciler.waiting_claims())

    def of_volume(volume: core_v1.PersistentVolume) -> Iterable[loop.Request]:
        yield from loop.itself(volume)
        reference = volume.spec.claimRef if volume.spec else None
        if reference is not None:
            yield loop.Request(reference.namespace or "", reference.name or "")
        else:
            yield from reconciler.waiting_claims()

    controller.watch(core_v1.PersistentVolume, of_volume)
    return controller


def _requests_of_claim(claim: core_v1.PersistentVolumeClaim) -> Iterable[loop.Request]:
    yield from loop.itself(claim)
    if claim.spec and claim.spec.volumeName:
        yield loop.Request("", claim.spec.volumeName)


def _unbound(claim: core_v1.PersistentVolumeClaim) -> Iterable[str]:
    return () if matching.annotation(claim, matching.BIND_COMPLETED) is not None else ("",)


def _marked(obj: Any) -> Any:
    """Return the object with the note that the binding is this controller's doing."""
    annotations = {**(obj.metadata.annotations or {}), matching.BOUND_BY_CONTROLLER: "yes"}
    return replace(obj, metadata=replace(obj.metadata, annotations=annotations))


def _unbound_volume(volume: core_v1.PersistentVolume) -> core_v1.PersistentVolume:
    """Return a volume without its claim; of one that a user reserved only the uid goes."""
    assert volume.spec and volume.metadata and volume.spec.claimRef
    annotations = dict(volume.metadata.annotations or {})
    if annotations.pop(matching.BOUND_BY_CONTROLLER, None) is None:
        kept = replace(volume.spec.claimRef, uid=None, resourceVersion=None)
        return replace(volume, spec=replace(volume.spec, claimRef=kept))
    meta = replace(volume.metadata, annotations=annotations or None)
    return replace(volume, metadata=meta, spec=replace(volume.spec, claimRef=None))


def _phase(claim: core_v1.PersistentVolumeClaim) -> str:
    return (claim.status.phase if claim.status else None) or ""
