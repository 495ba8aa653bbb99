"""A VolumeAttributesClass that is being deleted goes once no claim and no volume uses it.

Upstream counterpart: pkg/controller/volume/vacprotection (v1.37).
"""

from collections.abc import Iterable

from lightkube.models import core_v1, storage_v1
from msgspec.structs import replace

from knarr.control import Context, loop

FINALIZER = "kubernetes.io/vac-protection"
INDEX = "volume attributes class"


def plan_finalizers(one: storage_v1.VolumeAttributesClass, *, is_used: bool) -> list[str]:
    """Return the finalizers that a class should have."""
    assert one.metadata
    finalizers = list(one.metadata.finalizers or ())
    if one.metadata.deletionTimestamp is None:
        return finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER]
    return finalizers if is_used else [name for name in finalizers if name != FINALIZER]


def classes_of(obj: core_v1.PersistentVolumeClaim | core_v1.PersistentVolume) -> set[str]:
    """Return the classes that a claim or volume has, had last, or is being changed to."""
    found = {obj.spec.volumeAttributesClassName if obj.spec else None}
    if isinstance(obj, core_v1.PersistentVolumeClaim) and obj.status is not None:
        found.add(obj.status.currentVolumeAttributesClassName)
        if obj.status.modifyVolumeStatus is not None:
            found.add(obj.status.modifyVolumeStatus.targetVolumeAttributesClassName)
    return {name for name in found if name}


class Reconciler:
    """Gives classes their finalizer, and takes it away when they may go.

    Args:
        context: Client and informers.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._classes = context.informers.of(storage_v1.VolumeAttributesClass)
        self._claims = context.informers.of(core_v1.PersistentVolumeClaim)
        self._volumes = context.informers.of(core_v1.PersistentVolume)
        self._claims.add_index(INDEX, classes_of)
        self._volumes.add_index(INDEX, classes_of)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Write the finalizers if they are not what they should be."""
        one = self._classes.get("", request.name)
        if one is None or one.metadata is None:
            return loop.Result()
        is_used = bool(self._claims.by_index(INDEX, request.name) or self._volumes.by_index(INDEX, request.name))
        finalizers = plan_finalizers(one, is_used=is_used)
        if finalizers != (one.metadata.finalizers or []):
            await self._client.update(replace(one, metadata=replace(one.metadata, finalizers=finalizers)))
        return loop.Result()


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("volumeattributesclass-protection-controller", Reconciler(context), context)
    controller.watch(storage_v1.VolumeAttributesClass, loop.itself)
    controller.watch(core_v1.PersistentVolumeClaim, _requests)
    controller.watch(core_v1.PersistentVolume, _requests)
    return controller


def _requests(obj: core_v1.PersistentVolumeClaim | core_v1.PersistentVolume) -> Iterable[loop.Request]:
    return [loop.Request("", name) for name in sorted(classes_of(obj))]
