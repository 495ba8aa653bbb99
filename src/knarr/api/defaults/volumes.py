"""Volumes of pods, and the sources that persistent volumes share with them.

Source: k8s.io/kubernetes/pkg/apis/core/v1/defaults.go and the +default markers of the types (v1.37).
"""

from collections.abc import Mapping
from typing import Any

from knarr.api.defaults import quantities
from knarr.api.defaults.images import pull_policy

Object = dict[str, Any]

MODE_0644 = 0o644
_SOURCES: Mapping[str, Mapping[str, Any]] = {
    "hostPath": {"type": ""},
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": False, "kind": "Shared"},
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
    "secret": {"defaultMode": MODE_0644},
    "configMap": {"defaultMode": MODE_0644},
    "downwardAPI": {"defaultMode": MODE_0644},
    "projected": {"defaultMode": MODE_0644},
}


def volume(obj: Object) -> None:
    """Set the defaults of one volume of a pod spec."""
    found = False
    for name, source in tuple(obj.items()):
        if name == "name" or source is None:
            continue
        found = True
        _source(name, source)
        if name == "downwardAPI":
            _field_refs(source)
        elif name == "projected":
            _projected(source)
        elif name == "ephemeral":
            claim = source.get("volumeClaimTemplate")
            if claim is not None:
                claim_spec(claim.setdefault("spec", {}))
        elif name == "image" and not source.get("pullPolicy"):
            source["pullPolicy"] = pull_policy(source.get("reference") or "")
    if not found:
        obj["emptyDir"] = {}


def persistent_source(spec: Object) -> None:
    """Set the defaults of the volume source in a PersistentVolume's spec."""
    for name in ("hostPath", "iscsi", "rbd", "azureDisk", "scaleIO"):
        source = spec.get(name)
        if source is not None:
            _source(name, source)


def claim_spec(spec: Object) -> None:
    """Set the defaults of a PersistentVolumeClaim's spec."""
    if spec.get("volumeMode") is None:
        spec["volumeMode"] = "Filesystem"
    resources = spec.get("resources")
    if resources:
        quantities.round_up(resources.get("limits"))
        quantities.round_up(resources.get("requests"))


def _source(name: str, source: Object) -> None:
    values = _SOURCES.get(name)
    if values:
        for field, value in values.items():
            if source.get(field) is None:
                source[field] = value


def _field_refs(source: Object) -> None:
    for item in source.get("items") or ():
        field_ref = item.get("fieldRef")
        if field_ref is not None and not field_ref.get("apiVersion"):
            field_ref["apiVersion"] = "v1"


def _projected(source: Object) -> None:
    for projection in source.get("sources") or ():
        downward = projection.get("downwardAPI")
        if downward:
            _field_refs(downward)
        token = projection.get("serviceAccountToken")
        if token is not None and token.get("expirationSeconds") is None:
            token["expirationSeconds"] = 3600
        certificate = projection.get("podCertificate")
        if certificate is not None and certificate.get("maxExpirationSeconds") is None:
            certificate["maxExpirationSeconds"] = 86400
