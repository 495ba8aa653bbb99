"""PersistentVolumeClaimResize: a claim grows only where its class allows it.

Upstream counterpart: plugin/pkg/admission/storage/persistentvolume/resize (v1.37).
"""

from knarr.api import amounts
from knarr.apiserver.admission.chain import UPDATE, AdmissionRequest, Context, Object, Plugin
from knarr.apiserver.admission.default_storage_class import OLD_CLASS, RESOURCE


def build(context: Context) -> Plugin:
    """Make the plugin."""

    async def validate(request: AdmissionRequest) -> None:
        assert request.object is not None
        assert request.old is not None
        if _size(request.object) <= _size(request.old):
            return
        if (request.old.get("status") or {}).get("phase") != "Bound":
            raise request.forbidden("Only bound persistent volume claims can be expanded")
        annotations = request.object["metadata"].get("annotations") or {}
        name = annotations.get(OLD_CLASS) or (request.object.get("spec") or {}).get("storageClassName") or ""
        found = context.registry.get(RESOURCE, "", name) if name else None
        if found is None or not found.get("allowVolumeExpansion"):
            raise request.forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize"
            )

    targets = frozenset({"persistentvolumeclaims"})
    return Plugin("PersistentVolumeClaimResize", frozenset({UPDATE}), targets, validate=validate)


def _size(claim: Object) -> int:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return amounts.nanos(requests.get("storage") or 0)
