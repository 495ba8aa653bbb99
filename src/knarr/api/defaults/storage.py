"""Volumes, claims, classes and drivers.

Source: k8s.io/kubernetes/pkg/apis/{core,storage}/v1/defaults.go (v1.37).
"""

from typing import Any

from knarr.api.defaults import quantities, volumes

Object = dict[str, Any]


def persistent_volume(obj: Object) -> None:
    """Set the defaults of a PersistentVolume."""
    spec = obj.setdefault("spec", {})
    status = obj.setdefault("status", {})
    if not status.get("phase"):
        status["phase"] = "Pending"
    if not spec.get("persistentVolumeReclaimPolicy"):
        spec["persistentVolumeReclaimPolicy"] = "Retain"
    if spec.get("volumeMode") is None:
        spec["volumeMode"] = "Filesystem"
    quantities.round_up(spec.get("capacity"))
    volumes.persistent_source(spec)


def persistent_volume_claim(obj: Object) -> None:
    """Set the defaults of a PersistentVolumeClaim."""
    status = obj.setdefault("status", {})
    if not status.get("phase"):
        status["phase"] = "Pending"
    volumes.claim_spec(obj.setdefault("spec", {}))
    quantities.round_up(status.get("capacity"))


def storage_class(obj: Object) -> None:
    """Set the defaults of a StorageClass."""
    if obj.get("reclaimPolicy") is None:
        obj["reclaimPolicy"] = "Delete"
    if obj.get("volumeBindingMode") is None:
        obj["volumeBindingMode"] = "Immediate"


def csi_driver(obj: Object) -> None:
    """Set the defaults of a CSIDriver."""
    spec = obj.setdefault("spec", {})
    values = {
        "attachRequired": True,
        "podInfoOnMount": False,
        "storageCapacity": False,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "requiresRepublish": False,
        "seLinuxMount": False,
    }
    for name, value in values.items():
        if spec.get(name) is None:
            spec[name] = value
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def volume_attachment(obj: Object) -> None:
    """Set the defaults of a VolumeAttachment's inline volume."""
    inline = ((obj.get("spec") or {}).get("source") or {}).get("inlineVolumeSpec")
    if inline:
        quantities.round_up(inline.get("capacity"))
        volumes.persistent_source(inline)
