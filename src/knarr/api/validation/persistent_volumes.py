"""Persistent volumes.

Source: ValidatePersistentVolume* in k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

import posixpath
from typing import Any

from knarr.api import names
from knarr.api.validation import claims, paths, resources, scheduling, volume_sources, volumes
from knarr.api.validation.collector import IMMUTABLE, Errors, Object
from knarr.api.validation.equality import format_diff, immutable, is_equal
from knarr.api.validation.volume_sources import requires, with_secret

_RECLAIM = ("Delete", "Recycle", "Retain")
_SECRETS = ("controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef")
_STABLE_LABELS = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


def create(errors: Errors, obj: Object) -> None:
    """Check a persistent volume."""
    spec = obj.get("spec") or {}
    modes = spec.get("accessModes") or []
    if not modes:
        errors.required("spec.accessModes")
    claims.access_modes(errors, modes, "spec.accessModes")
    _capacity(errors, spec.get("capacity") or {})
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy:
        errors.one_of("spec.persistentVolumeReclaimPolicy", policy, _RECLAIM)
    _affinity(errors, spec.get("nodeAffinity"))
    volume_sources.exactly_one(errors, spec, _SOURCES, "spec")
    _by_source(errors, spec, (obj.get("metadata") or {}).get("name") or "")
    storage_class = spec.get("storageClassName")
    if storage_class:
        errors.all_invalid("spec.storageClassName", storage_class, names.dns_subdomain(storage_class))
    if spec.get("volumeMode") is not None:
        errors.one_of("spec.volumeMode", spec["volumeMode"], claims.VOLUME_MODES, required=False)
    _attributes_class(errors, spec)


def _capacity(errors: Errors, capacity: Object) -> None:
    if not capacity:
        errors.required("spec.capacity")
    if set(capacity) != {"storage"}:
        errors.unsupported("spec.capacity", capacity, ("storage",))
    for name, amount in capacity.items():
        resources.basic_amount(errors, amount, f"spec.capacity[{name}]")
        resources.positive_amount(errors, amount, f"spec.capacity[{name}]")


def _affinity(errors: Errors, affinity: Object | None) -> None:
    if affinity is None:
        return
    if affinity.get("required") is None:
        errors.required("spec.nodeAffinity.required", "must specify required node constraints")
    else:
        scheduling.node_selector(errors, affinity["required"], "spec.nodeAffinity.required")


def _by_source(errors: Errors, spec: Object, name: str) -> None:
    if spec.get("local") is not None and spec["local"].get("path") is not None and spec.get("nodeAffinity") is None:
        errors.required("spec.nodeAffinity", "Local volume requires node affinity")
    target = spec.get("iscsi")
    if target and volumes.is_iscsi_name_long(target, name):
        errors.invalid("spec.iscsi.targetportal", target.get("targetPortal") or "", volumes.ISCSI_TOO_LONG)
    place = (spec.get("hostPath") or {}).get("path")
    if place and posixpath.normpath(place) == "/" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        words = "may not be 'recycle' for a hostPath mount of '/'"
        errors.forbidden("spec.persistentVolumeReclaimPolicy", words)


def _attributes_class(errors: Errors, spec: Object) -> None:
    name = spec.get("volumeAttributesClassName")
    if name is None:
        return
    if name:
        errors.all_invalid("spec.volumeAttributesClassName", name, names.dns_subdomain(name))
    else:
        errors.required("spec.volumeAttributesClassName", "an empty string is disallowed")
    if spec.get("csi") is None:
        errors.required("spec.csi", "has to be specified when using volumeAttributesClassName")


def update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of a persistent volume, whose source stays."""
    create(errors, obj)
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    now, then = ({kind: one[kind] for kind in _SOURCES if one.get(kind) is not None} for one in (spec, before))
    secret = "controllerExpandSecretRef"
    if now.get("csi") and then.get("csi") and then["csi"].get(secret) is None:
        now["csi"] = {key: value for key, value in now["csi"].items() if key != secret}
    if not is_equal(now, then):
        words = f"spec.persistentvolumesource is immutable after creation\n{format_diff(then, now)}"
        errors.forbidden("spec.persistentvolumesource", words)
    immutable(errors, "volumeMode", spec.get("volumeMode"), before.get("volumeMode"))
    affinity, was = spec.get("nodeAffinity"), before.get("nodeAffinity")
    if was is not None and not _is_same_affinity(affinity, was):
        errors.invalid("nodeAffinity", affinity, f"{IMMUTABLE}, except for updating from beta label to GA")
    claims.attributes_class(errors, spec, before, may_be_empty=True)


def _is_same_affinity(new: Any, old: Any) -> bool:
    # A key may become the stable one that took its place.
    if isinstance(new, dict) and isinstance(old, dict):
        return all(
            _is_same_affinity(new.get(key), old.get(key))
            or (key == "key" and _STABLE_LABELS.get(old.get(key) or "") == new.get(key))
            for key in new.keys() | old.keys()
        )
    if isinstance(new, list) and isinstance(old, list):
        return len(new) == len(old) and all(map(_is_same_affinity, new, old))
    return is_equal(new, old)


def _csi(errors: Errors, source: Object, path: str) -> None:
    volume_sources.csi_driver_name(errors, source.get("driver") or "", f"{path}.driver")
    requires("volumeHandle")(errors, source, path)
    for field in _SECRETS:
        reference = source.get(field)
        if reference is None:
            continue
        for part, rule in (("name", names.dns_subdomain), ("namespace", names.dns_label)):
            value = reference.get(part) or ""
            if value:
                errors.all_invalid(f"{path}.{field}.{part}", value, rule(value))
            else:
                errors.required(f"{path}.{field}.{part}")


def _local(errors: Errors, source: Object, path: str) -> None:
    requires("path")(errors, source, path)
    paths.no_backsteps(errors, source.get("path") or "", f"{path}.path")


def _azure_file(errors: Errors, source: Object, path: str) -> None:
    requires("secretName", "shareName")(errors, source, path)
    if source.get("secretNamespace") == "":
        errors.required(f"{path}.secretNamespace")


def _glusterfs(errors: Errors, source: Object, path: str) -> None:
    requires("endpoints", "path")(errors, source, path)
    namespace = source.get("endpointsNamespace")
    if namespace == "":
        words = "if the endpointnamespace is set, it must be a valid namespace name"
        errors.invalid(f"{path}.endpointsNamespace", "", words)
    elif namespace is not None:
        errors.all_invalid(f"{path}.endpointsNamespace", namespace, names.dns_label(namespace))


_SOURCES: dict[str, volume_sources.Check] = {
    "hostPath": volume_sources.host_path,
    "gcePersistentDisk": volume_sources.disk("pdName"),
    "awsElasticBlockStore": volume_sources.disk("volumeID"),
    "glusterfs": _glusterfs,
    "flocker": volume_sources.flocker,
    "nfs": volume_sources.nfs,
    "rbd": requires("monitors", "image"),
    "quobyte": volume_sources.quobyte,
    "cephfs": requires("monitors"),
    "iscsi": with_secret(volume_sources.iscsi, "name"),
    "cinder": with_secret(requires("volumeID"), "name", "namespace"),
    "fc": volume_sources.fibre_channel,
    "flexVolume": volume_sources.flex,
    "azureFile": _azure_file,
    "vsphereVolume": requires("volumePath"),
    "photonPersistentDisk": requires("pdID"),
    "portworxVolume": requires("volumeID"),
    "azureDisk": volume_sources.azure_disk,
    "scaleIO": requires("gateway", "system", "volumeName"),
    "local": _local,
    "storageos": with_secret(volume_sources.storage_os, "name", "namespace"),
    "csi": _csi,
}
