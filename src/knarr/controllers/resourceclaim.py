"""ResourceClaims of pods: made from templates, reserved while a pod needs them, given back and deleted after.

A request is about a pod, or, with the name after "claim:", about a claim.

Upstream counterpart: pkg/controller/resourceclaim (v1.37).
"""

import contextlib
from collections.abc import Iterable, Sequence

from lightkube.models import core_v1, meta_v1, resource_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.client import DeleteOptions, PatchType
from knarr.control import Context, informer, loop, owners
from knarr.controllers import pods as podinfo

POD_CLAIM = "resource.kubernetes.io/pod-claim-name"
FINALIZER = "resource.kubernetes.io/delete-protection"
CLAIM = "claim:"
RESERVED_LIMIT = 256
"""Most consumers of one claim."""


def claim_for(pod: core_v1.Pod, name: str, template: resource_v1.ResourceClaimTemplate) -> resource_v1.ResourceClaim:
    """Build the claim for one entry of a pod's `resourceClaims`."""
    assert pod.metadata and template.spec
    meta = template.spec.metadata or meta_v1.ObjectMeta()
    return resource_v1.ResourceClaim(
        metadata=meta_v1.ObjectMeta(
            generateName=f"{pod.metadata.name}-{name}-"[:58],
            namespace=pod.metadata.namespace,
            labels=meta.labels,
            annotations={**(meta.annotations or {}), POD_CLAIM: name},
            ownerReferences=[owners.controller_reference(pod)],
        ),
        spec=template.spec.spec,
    )


def needs(pod: core_v1.Pod | None) -> bool:
    """Tell whether a pod still needs its claims."""
    return pod is not None and podinfo.phase(pod) not in ("Succeeded", "Failed")


def reserved(
    claim: resource_v1.ResourceClaim, pods: dict[str, core_v1.Pod]
) -> list[resource_v1.ResourceClaimConsumerReference]:
    """Return the consumers of a claim that still need it.

    Args:
        claim: The claim.
        pods: Of its namespace, by uid.
    """
    current = (claim.status.reservedFor if claim.status else None) or []
    return [one for one in current if one.resource != "pods" or one.apiGroup or needs(pods.get(one.uid))]


class Reconciler:
    """Takes the steps of pods and claims.

    Args:
        context: Client, informers and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._recorder = context.recorder
        self._pods = context.informers.of(core_v1.Pod)
        self._claims = context.informers.of(resource_v1.ResourceClaim)
        self._claims.add_index(owners.INDEX, owners.by_controller)
        self._templates = context.informers.of(resource_v1.ResourceClaimTemplate)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Make the claims of a pod, or clean up a claim."""
        if request.name.startswith(CLAIM):
            claim = self._claims.get(request.namespace, request.name.removeprefix(CLAIM))
            if claim is not None:
                await self._clean(claim)
            return loop.Result()
        pod = self._pods.get(request.namespace, request.name)
        if pod is not None and pod.metadata and pod.metadata.deletionTimestamp is None and needs(pod):
            await self._provide(pod)
        return loop.Result()

    async def _provide(self, pod: core_v1.Pod) -> None:
        assert pod.spec and pod.metadata
        told = {
            one.name: one.resourceClaimName for one in (pod.status.resourceClaimStatuses if pod.status else None) or ()
        }
        wanted: dict[str, str | None] = {}
        for entry in pod.spec.resourceClaims or ():
            if not entry.resourceClaimTemplateName:
                continue
            known = self._made_for(pod, entry.name)
            if known is not None:
                wanted[entry.name] = known
                continue
            try:
                wanted[entry.name] = await self._make(pod, entry.name, entry.resourceClaimTemplateName)
            except errors.StatusError as err:
                self._recorder.warning(pod, "FailedResourceClaimCreation", f"PodResourceClaim {entry.name}: {err}")
                raise
        if wanted.items() - told.items():
            stated = [{"name": name, "resourceClaimName": claim} for name, claim in sorted({**told, **wanted}.items())]
            body = {"metadata": {"uid": pod.metadata.uid}, "status": {"resourceClaimStatuses": stated}}
            namespace, name = informer.key_of(pod)
            await self._client.patch(
                core_v1.Pod, name, body, PatchType.STRATEGIC, namespace=namespace, subresource="status"
            )
        if pod.spec.nodeName:
            await self._reserve(pod, [*wanted.values()])

    def _made_for(self, pod: core_v1.Pod, entry: str) -> str | None:
        """Return the name of the claim that was made for an entry of a pod."""
        assert pod.metadata
        for claim in self._claims.by_index(owners.INDEX, pod.metadata.uid or ""):
            if claim.metadata and (claim.metadata.annotations or {}).get(POD_CLAIM) == entry:
                return claim.metadata.name
        return None

    async def _make(self, pod: core_v1.Pod, entry: str, template_name: str) -> str:
        namespace = informer.key_of(pod)[0]
        template = self._templates.get(namespace, template_name)
        if template is None:
            raise errors.NotFound("resource.k8s.io", "resourceclaimtemplates", template_name)
        made = await self._client.create(claim_for(pod, entry, template))
        return informer.key_of(made)[1]

    async def _reserve(self, pod: core_v1.Pod, names: Sequence[str | None]) -> None:
        """Reserve claims that have their device for a pod that came to its node without the scheduler."""
        assert pod.metadata
        for name in names:
            claim = self._claims.get(pod.metadata.namespace or "", name or "")
            if claim is None or claim.status is None or claim.status.allocation is None:
                continue
            current = claim.status.reservedFor or []
            if any(one.uid == pod.metadata.uid for one in current) or len(current) >= RESERVED_LIMIT:
                continue
            mine = resource_v1.ResourceClaimConsumerReference(
                name=pod.metadata.name or "", resource="pods", uid=pod.metadata.uid or ""
            )
            status = replace(claim.status, reservedFor=[*current, mine])
            await self._client.update(replace(claim, status=status), subresource="status")

    async def _clean(self, claim: resource_v1.ResourceClaim) -> None:
        assert claim.metadata
        namespace, name = informer.key_of(claim)
        pods = {(one.metadata.uid or "") if one.metadata else "": one for one in self._pods.list(namespace)}
        left = reserved(claim, pods)
        status = claim.status or resource_v1.ResourceClaimStatus()
        changed = replace(status, reservedFor=left or None)
        if not left and (len(status.reservedFor or ()) or claim.metadata.deletionTimestamp is not None):
            changed = replace(changed, allocation=None, devices=None)
        if changed != replace(status, reservedFor=status.reservedFor or None):
            claim = await self._client.update(replace(claim, status=changed), subresource="status")
        meta = claim.metadata
        assert meta
        if changed.allocation is None and FINALIZER in (meta.finalizers or ()):
            finalizers = [one for one in meta.finalizers or () if one != FINALIZER]
            claim = await self._client.update(replace(claim, metadata=replace(meta, finalizers=finalizers or None)))
        reference = owners.controller_of(claim)
        if reference is None or reference.kind != "Pod" or left:
            return
        if not needs(pods.get(reference.uid)) and claim.metadata and claim.metadata.deletionTimestamp is None:
            options = DeleteOptions(uid=claim.metadata.uid or "")
            with contextlib.suppress(errors.NotFound, errors.Conflict):
                await self._client.delete(resource_v1.ResourceClaim, name, namespace=namespace, options=options)


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("resourceclaim-controller", Reconciler(context), context)
    pods = context.informers.of(core_v1.Pod)

    def of_template(template: resource_v1.ResourceClaimTemplate) -> Iterable[loop.Request]:
        namespace, name = informer.key_of(template)
        for pod in pods.list(namespace):
            entries = (pod.spec.resourceClaims if pod.spec else None) or ()
            if any(one.resourceClaimTemplateName == name for one in entries):
                yield loop.Request(*informer.key_of(pod))

    controller.watch_changes(core_v1.Pod, _requests_of_pod)
    controller.watch(resource_v1.ResourceClaim, _requests_of_claim)
    controller.watch(resource_v1.ResourceClaimTemplate, of_template)
    return controller


def _requests_of_pod(old: core_v1.Pod | None, new: core_v1.Pod | None) -> Iterable[loop.Request]:
    pod = new if new is not None else old
    if pod is None or pod.spec is None or not pod.spec.resourceClaims:
        return
    namespace, name = informer.key_of(pod)
    if new is not None:
        yield loop.Request(namespace, name)
    if new is None or not needs(new):
        named = {
            one.name: one.resourceClaimName for one in (pod.status.resourceClaimStatuses if pod.status else None) or ()
        }
        for entry in pod.spec.resourceClaims:
            claim = entry.resourceClaimName or named.get(entry.name)
            if claim:
                yield loop.Request(namespace, f"{CLAIM}{claim}")


def _requests_of_claim(claim: resource_v1.ResourceClaim) -> Iterable[loop.Request]:
    namespace, name = informer.key_of(claim)
    yield loop.Request(namespace, f"{CLAIM}{name}")
    reference = owners.controller_of(claim)
    if reference is not None and reference.kind == "Pod":
        yield loop.Request(namespace, reference.name)
