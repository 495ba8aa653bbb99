"""Rows of volumes, claims, classes and drivers.

Source: pkg/printers/internalversion/printers.go; pkg/apis/core/v1/helper (access modes) (v1.37).
"""

from datetime import datetime
from typing import Any

from knarr.apiserver.tables import cells
from knarr.apiserver.tables.columns import Cells, Object, Printer, columns

_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASSES = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def _modes(found: list[Any]) -> str:
    return ",".join(short for mode, short in _MODES.items() if mode in found)


def _class(obj: Object) -> str:
    return cells.text(obj, "metadata", "annotations", _OLD_CLASS) or cells.text(obj, "spec", "storageClassName")


def _phase(obj: Object) -> str:
    return "Terminating" if cells.part(obj, "metadata", "deletionTimestamp") else cells.text(obj, "status", "phase")


def _persistent_volume(obj: Object, now: datetime) -> Cells:
    claim = cells.part(obj, "spec", "claimRef")
    return [
        cells.name(obj),
        cells.text(obj, "spec", "capacity", "storage", absent="0"),
        _modes(cells.items(obj, "spec", "accessModes")),
        cells.text(obj, "spec", "persistentVolumeReclaimPolicy"),
        _phase(obj),
        f"{claim.get('namespace') or ''}/{claim.get('name') or ''}" if claim else "",
        _class(obj),
        cells.text(obj, "spec", "volumeAttributesClassName", absent=cells.UNSET),
        cells.text(obj, "status", "reason"),
        cells.age(obj, now),
        cells.text(obj, "spec", "volumeMode", absent=cells.UNSET),
    ]


def _persistent_volume_claim(obj: Object, now: datetime) -> Cells:
    is_bound = bool(cells.text(obj, "spec", "volumeName"))
    return [
        cells.name(obj),
        _phase(obj),
        cells.text(obj, "spec", "volumeName"),
        cells.text(obj, "status", "capacity", "storage", absent="0") if is_bound else "",
        _modes(cells.items(obj, "status", "accessModes")) if is_bound else "",
        _class(obj),
        cells.text(obj, "spec", "volumeAttributesClassName", absent=cells.UNSET),
        cells.age(obj, now),
        cells.text(obj, "spec", "volumeMode", absent=cells.UNSET),
    ]


def _named(obj: Object, annotations: tuple[str, ...]) -> str:
    is_default = any(cells.text(obj, "metadata", "annotations", key) == "true" for key in annotations)
    return f"{cells.name(obj)} (default)" if is_default else cells.name(obj)


def _storage_class(obj: Object, now: datetime) -> Cells:
    return [
        _named(obj, _DEFAULT_CLASSES),
        cells.text(obj, "provisioner"),
        cells.text(obj, "reclaimPolicy", absent="Delete"),
        cells.text(obj, "volumeBindingMode", absent="Immediate"),
        bool(obj.get("allowVolumeExpansion")),
        cells.age(obj, now),
    ]


def _volume_attributes_class(obj: Object, now: datetime) -> Cells:
    name = _named(obj, ("volumeattributesclass.alpha.kubernetes.io/is-default-class",))
    return [name, cells.text(obj, "driverName"), cells.age(obj, now)]


def _volume_attachment(obj: Object, now: datetime) -> Cells:
    return [
        cells.name(obj),
        cells.text(obj, "spec", "attacher"),
        cells.text(obj, "spec", "source", "persistentVolumeName"),
        cells.text(obj, "spec", "nodeName"),
        bool(cells.part(obj, "status", "attached")),
        cells.age(obj, now),
    ]


def _csi_node(obj: Object, now: datetime) -> Cells:
    return [cells.name(obj), len(cells.items(obj, "spec", "drivers")), cells.age(obj, now)]


def _csi_driver(obj: Object, now: datetime) -> Cells:
    spec = cells.part(obj, "spec")
    audiences = [cells.text(request, "audience") for request in cells.items(spec, "tokenRequests")]
    return [
        cells.name(obj),
        spec.get("attachRequired") is not False,
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        ",".join(audiences) if audiences else cells.UNSET,
        bool(spec.get("requiresRepublish")),
        cells.joined(cells.items(spec, "volumeLifecycleModes")),
        cells.age(obj, now),
    ]


def _csi_storage_capacity(obj: Object, now: datetime) -> Cells:
    return [cells.name(obj), cells.text(obj, "storageClassName"), cells.text(obj, "capacity", absent=cells.UNSET)]


PERSISTENT_VOLUME = Printer(
    columns(
        "Name Capacity Access_Modes Reclaim_Policy Status Claim StorageClass VolumeAttributesClass Reason Age | VolumeMode"
    ),
    _persistent_volume,
)
PERSISTENT_VOLUME_CLAIM = Printer(
    columns("Name Status Volume Capacity Access_Modes StorageClass VolumeAttributesClass Age | VolumeMode"),
    _persistent_volume_claim,
)
STORAGE_CLASS = Printer(
    columns("Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age"), _storage_class
)
VOLUME_ATTRIBUTES_CLASS = Printer(columns("Name DriverName Age"), _volume_attributes_class)
VOLUME_ATTACHMENT = Printer(columns("Name Attacher PV Node Attached:boolean Age"), _volume_attachment)
CSI_NODE = Printer(columns("Name Drivers:integer Age"), _csi_node)
CSI_DRIVER = Printer(
    columns(
        "Name AttachRequired:boolean PodInfoOnMount:boolean StorageCapacity:boolean TokenRequests "
        "RequiresRepublish:boolean Modes Age"
    ),
    _csi_driver,
)
CSI_STORAGE_CAPACITY = Printer(columns("Name StorageClassName Capacity"), _csi_storage_capacity)
