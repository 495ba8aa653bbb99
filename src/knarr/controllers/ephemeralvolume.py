"""Claims for the ephemeral volumes of pods: each is made from the template in the pod, and goes with the pod.

Upstream counterpart: pkg/controller/volume/ephemeral (v1.37).
"""

from collections.abc import Iterable

from lightkube.models import core_v1, meta_v1

from knarr.api import errors
from knarr.control import Context, loop, owners
from knarr.controllers import podclaims


def claim_for(pod: core_v1.Pod, volume: core_v1.Volume) -> core_v1.PersistentVolumeClaim:
    """Build the claim of a pod's ephemeral volume."""
    assert pod.metadata and volume.ephemeral and volume.ephemeral.volumeClaimTemplate
    template = volume.ephemeral.volumeClaimTemplate
    meta = template.metadata or meta_v1.ObjectMeta()
    return core_v1.PersistentVolumeClaim(
        metadata=meta_v1.ObjectMeta(
            name=podclaims.ephemeral_name(pod, volume),
            namespace=pod.metadata.namespace,
            labels=meta.labels,
            annotations=meta.annotations,
            ownerReferences=[owners.controller_reference(pod)],
        ),
        spec=template.spec,
    )


def plan(
    pod: core_v1.Pod, claims: Iterable[core_v1.PersistentVolumeClaim]
) -> tuple[list[core_v1.PersistentVolumeClaim], list[str]]:
    """Return the claims that are missing, and the names of those that exist and are not the pod's.

    Args:
        pod: Not being deleted.
        claims: Those of its namespace.
    """
    assert pod.spec
    existing = {(one.metadata.name or "") if one.metadata else "": one for one in claims}
    missing, foreign = [], []
    for volume in pod.spec.volumes or ():
        if volume.ephemeral is None:
            continue
        found = existing.get(podclaims.ephemeral_name(pod, volume))
        if found is None:
            missing.append(claim_for(pod, volume))
        elif not owners.is_controlled_by(found, pod):
            foreign.append(podclaims.ephemeral_name(pod, volume))
    return missing, foreign


class Reconciler:
    """Makes the claims of pods.

    Args:
        context: Client, informers and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._recorder = context.recorder
        self._pods = context.informers.of(core_v1.Pod)
        self._claims = context.informers.of(core_v1.PersistentVolumeClaim)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Make the claims that a pod lacks."""
        pod = self._pods.get(request.namespace, request.name)
        if pod is None or pod.metadata is None or pod.metadata.deletionTimestamp is not None or not _has_any(pod):
            return loop.Result()
        missing, foreign = plan(pod, self._claims.list(request.namespace))
        for claim in missing:
            try:
                await self._client.create(claim)
            except errors.AlreadyExists:
                return loop.Result(requeue_after_s=1.0)
            except errors.StatusError as err:
                self._recorder.warning(pod, "FailedCreate", f"PVC {_name(claim)}: {err}")
                raise
        for name in foreign:
            text = f'PVC "{request.namespace}/{name}" was not created for pod "{request}" (pod is not owner)'
            self._recorder.warning(pod, "FailedCreate", text)
        return loop.Result()


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("ephemeral-volume-controller", Reconciler(context), context)
    controller.watch(core_v1.Pod, lambda pod: loop.itself(pod) if _has_any(pod) else [])
    controller.watch(core_v1.PersistentVolumeClaim, _pod_of)
    return controller


def _has_any(pod: core_v1.Pod) -> bool:
    return any(volume.ephemeral is not None for volume in (pod.spec.volumes if pod.spec else None) or ())


def _pod_of(claim: core_v1.PersistentVolumeClaim) -> Iterable[loop.Request]:
    reference = owners.controller_of(claim)
    if reference is None or reference.kind != "Pod" or claim.metadata is None:
        return ()
    return (loop.Request(claim.metadata.namespace or "", reference.name),)


def _name(claim: core_v1.PersistentVolumeClaim) -> str:
    return (claim.metadata.name or "") if claim.metadata else ""
