"""StorageObjectInUseProtection: claims and volumes in use outlive their deletion.

Upstream counterpart: plugin/pkg/admission/storage/storageobjectinuseprotection (v1.37).
"""

from collections.abc import Mapping

from knarr.apiserver.admission.chain import CREATE, AdmissionRequest, Context, Plugin

FINALIZERS: Mapping[str, str] = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
}


def build(context: Context) -> Plugin:
    """Make the plugin."""

    async def admit(request: AdmissionRequest) -> None:
        assert request.object is not None
        metadata, finalizer = request.object["metadata"], FINALIZERS[request.target]
        finalizers = metadata.get("finalizers") or []
        if finalizer not in finalizers:
            metadata["finalizers"] = [*finalizers, finalizer]

    return Plugin("StorageObjectInUseProtection", frozenset({CREATE}), frozenset(FINALIZERS), admit=admit)
