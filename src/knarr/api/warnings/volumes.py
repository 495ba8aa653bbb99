"""Warnings about volumes, claims and storage classes.

Source: k8s.io/kubernetes/pkg/api/persistentvolume/util.go, pkg/api/persistentvolumeclaim/util.go, pkg/api/storage/util.go
(v1.37).
"""

from typing import Any

from knarr.api import amounts
from knarr.api.warnings import nodelabels

Object = dict[str, Any]

_CLASS = "volume.beta.kubernetes.io/storage-class"
_CLASS_WORDS = 'deprecated since v1.8; use "storageClassName" attribute instead'
_RECYCLE = (
    "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
    "Instead, the recommended approach is to use dynamic provisioning."
)
GONE = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}


def persistent_volume(obj: Object, _old: Object | None) -> list[str]:
    """Return the warnings about a PersistentVolume."""
    spec = obj.get("spec") or {}
    found = _class(obj)
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        found.append(_RECYCLE)
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    for index, term in enumerate(terms):
        path = f"spec.nodeAffinity.required.nodeSelectorTerms[{index}]"
        found += nodelabels.of_term(term, path, check_values=False)
    return found + [f"spec.{plugin}: {words}" for plugin, words in GONE.items() if spec.get(plugin) is not None]


def persistent_volume_claim(obj: Object, _old: Object | None) -> list[str]:
    """Return the warnings about a PersistentVolumeClaim."""
    return _class(obj) + claim_spec(obj.get("spec") or {}, "spec")


def claim_spec(spec: Object, path: str) -> list[str]:
    """Return the warnings about the spec of a claim, wherever it stands."""
    of = spec.get("resources") or {}
    return [
        words
        for field in ("requests", "limits")
        for words in fraction(of.get(field), "storage", f"{path}.resources.{field}")
    ]


def fraction(values: Object | None, name: str, path: str) -> list[str]:
    """Return the warning about an amount of bytes that is no whole number."""
    value = (values or {}).get(name)
    if value is None or amounts.nanos(value) % amounts.NANOS == 0:
        return []
    return [f'{path}[{name}]: fractional byte value "{value}" is invalid, must be an integer']


def storage_class(obj: Object, _old: Object | None) -> list[str]:
    """Return the warnings about a StorageClass."""
    return [
        f"allowedTopologies[{index}].matchLabelExpressions[{position}].key: {nodelabels.DEPRECATED[expression['key']]}"
        for index, term in enumerate(obj.get("allowedTopologies") or ())
        for position, expression in enumerate(term.get("matchLabelExpressions") or ())
        if expression.get("key") in nodelabels.DEPRECATED
    ]


def csi_storage_capacity(obj: Object, _old: Object | None) -> list[str]:
    """Return the warnings about a CSIStorageCapacity."""
    return nodelabels.of_selector(obj.get("nodeTopology"), "nodeTopology")


def _class(obj: Object) -> list[str]:
    notes = (obj.get("metadata") or {}).get("annotations") or {}
    return [f"metadata.annotations[{_CLASS}]: {_CLASS_WORDS}"] if _CLASS in notes else []
