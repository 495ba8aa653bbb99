"""Claims that ask for more than they have: folders of nodes just get it, of others somebody outside takes care.

Upstream counterpart: pkg/controller/volume/expand (v1.37), which leaves CSI volumes to the external resizer.
"""

from lightkube.models import core_v1
from msgspec.structs import replace

from knarr.api import quantity
from knarr.client import PatchType
from knarr.control import Context, informer, loop
from knarr.controllers import localpath
from knarr.controllers import volumematching as matching


def wanted(claim: core_v1.PersistentVolumeClaim) -> str | None:
    """Return the size that a bound claim asks for, if it is more than what it has."""
    if claim.spec is None or claim.status is None or claim.status.phase != "Bound" or not claim.spec.volumeName:
        return None
    asked = str(((claim.spec.resources.requests if claim.spec.resources else None) or {}).get("storage", "0"))
    have = str((claim.status.capacity or {}).get("storage", "0"))
    return asked if quantity.parse(asked) > quantity.parse(have) else None


class Reconciler:
    """Grows volumes.

    Args:
        context: Client, informers and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._recorder = context.recorder
        self._claims = context.informers.of(core_v1.PersistentVolumeClaim)
        self._volumes = context.informers.of(core_v1.PersistentVolume)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Give a claim the size that it asks for: the volume first, then the claim."""
        claim = self._claims.get(request.namespace, request.name)
        size = wanted(claim) if claim is not None else None
        if claim is None or size is None:
            return loop.Result()
        assert claim.spec and claim.status and claim.metadata
        volume = self._volumes.get("", claim.spec.volumeName or "")
        if volume is None or not matching.is_bound_to(volume, claim):
            return loop.Result()
        if not localpath.is_ours(volume):
            text = "waiting for an external controller to expand this PVC"
            self._recorder.normal(claim, "ExternalExpanding", text)
            return loop.Result()
        assert volume.spec
        if quantity.parse(str((volume.spec.capacity or {}).get("storage", "0"))) < quantity.parse(size):
            body = {"spec": {"capacity": {"storage": size}}}
            name = informer.key_of(volume)[1]
            await self._client.patch(core_v1.PersistentVolume, name, body, PatchType.STRATEGIC)
        status = replace(claim.status, capacity={**(claim.status.capacity or {}), "storage": size})
        await self._client.update(replace(claim, status=status), subresource="status")
        self._recorder.normal(claim, "VolumeResizeSuccessful", "Resize volume succeeded")
        return loop.Result()


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("persistentvolume-expander-controller", Reconciler(context), context)
    controller.watch(core_v1.PersistentVolumeClaim, loop.itself)
    return controller
