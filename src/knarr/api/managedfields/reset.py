"""Fields that a write through an endpoint does not own, because the server resets them there, and those nobody owns.

Writing the object itself leaves `status` alone, writing `/status` leaves `spec` alone; kinds that differ are in the table.

Source: the GetResetFields methods of the strategies in k8s.io/kubernetes/pkg/registry (v1.37), and stripmeta.go in
k8s.io/apimachinery/pkg/util/managedfields/internal.
"""

from collections.abc import Mapping
from functools import lru_cache

from knarr.api.managedfields.fieldset import FieldSet, union

BOOKKEEPING: FieldSet = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        f"f:{name}": {}
        for name in (
            "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
            "resourceVersion",
        )
    },
}  # fmt: skip

_CSR = "certificates.k8s.io"
# (group, kind, subresource) -> paths
_SPECIAL: Mapping[tuple[str, str, str], tuple[str, ...]] = {
    ("", "Namespace", "finalize"): ("status",),
    ("", "PersistentVolumeClaim", "status"): ("spec",),
    ("", "Pod", "ephemeralcontainers"): ("status", "metadata"),
    ("", "Pod", "resize"): ("status", "metadata"),
    ("", "Pod", "status"): ("spec", "metadata.deletionTimestamp", "metadata.ownerReferences"),
    ("apiextensions.k8s.io", "CustomResourceDefinition", "status"): ("spec", "metadata"),
    ("apiregistration.k8s.io", "APIService", "status"): ("spec", "metadata"),
    ("apps", "Deployment", "status"): ("spec", "metadata.labels"),
    (_CSR, "CertificateSigningRequest", ""): ("spec", "status"),
    (_CSR, "CertificateSigningRequest", "approval"): ("spec", "status.certificate"),
    (_CSR, "CertificateSigningRequest", "status"): ("spec",),
    ("resource.k8s.io", "ResourceClaim", "status"): ("spec", "metadata"),
    ("storage.k8s.io", "VolumeAttachment", "status"): ("spec", "metadata"),
}
_USUAL: Mapping[str, tuple[str, ...]] = {"": ("status",), "scale": ("status",), "status": ("spec",)}


@lru_cache(1024)
def fields(group: str, kind: str, subresource: str = "", *, custom: bool = False) -> FieldSet:
    """Return the fields that a write neither changes nor owns, the bookkeeping ones among them.

    Args:
        group: The API group of the resource.
        kind: Its kind.
        subresource: Through which the write goes; "" for the object itself.
        custom: Whether it is a custom resource, whose `/status` leaves metadata alone too.
    """
    if custom and subresource == "status":
        paths: tuple[str, ...] = ("spec", "metadata")
    else:
        paths = _SPECIAL.get((group, kind, subresource)) or _USUAL.get(subresource, ())
    result: FieldSet = BOOKKEEPING
    for path in paths:
        if path == "metadata":
            result = {**result, "f:metadata": {}}
            continue
        node: FieldSet = {}
        for name in reversed(path.split(".")):
            node = {f"f:{name}": node}
        result = union(result, node)
    return result
