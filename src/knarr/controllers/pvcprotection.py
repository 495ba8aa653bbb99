"""A claim that is being deleted goes once no pod uses it.

Upstream counterpart: pkg/controller/volume/pvcprotection (v1.37).
"""

from collections.abc import Iterable

from lightkube.models import core_v1
from msgspec.structs import replace

from knarr.control import Context, loop

FINALIZER = "kubernetes.io/pvc-protection"


def claims_of(pod: core_v1.Pod) -> list[str]:
    """Return the names of the claims that a pod uses; one that no node has seen uses none."""
    if pod.spec is None or pod.metadata is None or not pod.spec.nodeName:
        return []
    names = []
    for volume in pod.spec.volumes or ():
        if volume.persistentVolumeClaim is not None:
            names.append(volume.persistentVolumeClaim.claimName)
        elif volume.ephemeral is not None:
            names.append(f"{pod.metadata.name}-{volume.name}")
    return names


def plan_finalizers(claim: core_v1.PersistentVolumeClaim, pods: Iterable[core_v1.Pod]) -> list[str]:
    """Return the finalizers that a claim should have.

    Args:
        claim: The claim.
        pods: Those of its namespace.
    """
    assert claim.metadata is not None
    finalizers = list(claim.metadata.finalizers or ())
    if claim.metadata.deletionTimestamp is None:
        return finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER]
    if any(claim.metadata.name in claims_of(pod) for pod in pods):
        return finalizers
    return [name for name in finalizers if name != FINALIZER]


class Reconciler:
    """Gives claims their finalizer, and takes it away when they may go.

    Args:
        context: Client and informers.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._claims = context.informers.of(core_v1.PersistentVolumeClaim)
        self._pods = context.informers.of(core_v1.Pod)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Write the finalizers if they are not what they should be."""
        claim = self._claims.get(request.namespace, request.name)
        if claim is None or claim.metadata is None:
            return loop.Result()
        finalizers = plan_finalizers(claim, self._pods.list(request.namespace))
        if finalizers != (claim.metadata.finalizers or []):
            await self._client.update(replace(claim, metadata=replace(claim.metadata, finalizers=finalizers)))
        return loop.Result()


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("pvc-protection-controller", Reconciler(context), context)
    controller.watch(core_v1.PersistentVolumeClaim, loop.itself)
    controller.watch(core_v1.Pod, _claims_of)
    return controller


def _claims_of(pod: core_v1.Pod) -> list[loop.Request]:
    namespace = (pod.metadata and pod.metadata.namespace) or ""
    return [loop.Request(namespace, name) for name in claims_of(pod)]
