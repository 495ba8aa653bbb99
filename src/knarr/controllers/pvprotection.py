"""A volume that is being deleted goes once no claim is bound to it.

Upstream counterpart: pkg/controller/volume/pvprotection (v1.37).
"""

from lightkube.models import core_v1
from msgspec.structs import replace

from knarr.control import Context, loop

FINALIZER = "kubernetes.io/pv-protection"


def plan_finalizers(volume: core_v1.PersistentVolume) -> list[str]:
    """Return the finalizers that a volume should have."""
    assert volume.metadata is not None
    finalizers = list(volume.metadata.finalizers or ())
    if volume.metadata.deletionTimestamp is None:
        return finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER]
    if volume.status is not None and volume.status.phase == "Bound":
        return finalizers
    return [name for name in finalizers if name != FINALIZER]


class Reconciler:
    """Gives volumes their finalizer, and takes it away when they may go.

    Args:
        context: Client and informers.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._volumes = context.informers.of(core_v1.PersistentVolume)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Write the finalizers if they are not what they should be."""
        volume = self._volumes.get("", request.name)
        if volume is None or volume.metadata is None:
            return loop.Result()
        finalizers = plan_finalizers(volume)
        if finalizers != (volume.metadata.finalizers or []):
            await self._client.update(replace(volume, metadata=replace(volume.metadata, finalizers=finalizers)))
        return loop.Result()


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("pv-protection-controller", Reconciler(context), context)
    controller.watch(core_v1.PersistentVolume, loop.itself)
    return controller
