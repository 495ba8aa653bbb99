"""DefaultStorageClass: a claim that names no class gets the default one.

Upstream counterpart: plugin/pkg/admission/storage/storageclass/setdefault (v1.37).
"""

from knarr.apiserver.admission import defaultclass
from knarr.apiserver.admission.chain import CREATE, AdmissionRequest, Context, Plugin

RESOURCE = "storageclasses.storage.k8s.io"
ANNOTATIONS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
OLD_CLASS = "volume.beta.kubernetes.io/storage-class"


def build(context: Context) -> Plugin:
    """Make the plugin."""

    async def admit(request: AdmissionRequest) -> None:
        assert request.object is not None
        spec = request.object.setdefault("spec", {})
        annotations = request.object["metadata"].get("annotations") or {}
        if spec.get("storageClassName") is not None or OLD_CLASS in annotations:
            return
        default = defaultclass.choose(context.registry.list(RESOURCE), ANNOTATIONS)
        if default is not None:
            spec["storageClassName"] = default["metadata"]["name"]

    return Plugin("DefaultStorageClass", frozenset({CREATE}), frozenset({"persistentvolumeclaims"}), admit=admit)
