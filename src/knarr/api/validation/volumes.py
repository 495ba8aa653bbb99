"""Volumes of pods.

Source: ValidateVolumes in k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

from collections.abc import Sequence

from knarr.api import amounts, names
from knarr.api.validation import claims, paths, projections, volume_sources
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.volume_sources import requires

ISCSI_TOO_LONG = (
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters "
    "if iscsi.initiatorName is specified."
)
_ISCSI_MAX = 64


def is_iscsi_name_long(target: Object, name: str) -> bool:
    """Return whether an initiator's own name, made of the volume's name and the portal, would be too long."""
    return target.get("initiatorName") is not None and len(f"{name}:{target.get('targetPortal') or ''}") > _ISCSI_MAX


def check(errors: Errors, volumes: Sequence[Object], pod_name: str, path: str, *, is_pod: bool) -> dict[str, Object]:
    """Check `volumes` of a pod spec.

    Args:
        errors: Receives what is wrong.
        volumes: The volumes.
        pod_name: The pod's name; "" in a template.
        path: Their field.
        is_pod: Whether this is a pod and no template.

    Returns:
        The valid volumes by name.
    """
    created = {f"{pod_name}-{one.get('name')}" for one in volumes if pod_name and one.get("ephemeral") is not None}
    valid: dict[str, Object] = {}
    for index, volume in enumerate(volumes):
        here, name = f"{path}[{index}]", volume.get("name") or ""
        own = Errors()
        volume_sources.exactly_one(own, volume, _SOURCES, here)
        _by_name(own, volume, name, pod_name, here, is_pod=is_pod)
        if name:
            own.all_invalid(f"{here}.name", name, names.dns_label(name))
        else:
            own.required(f"{here}.name")
        if name in valid:
            own.duplicate(f"{here}.name", name)
        if not own.found:
            valid[name] = volume
        errors.found += own.found
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim in created:
            words = "must not reference a PVC that gets created for an ephemeral volume"
            errors.invalid(f"{here}.persistentVolumeClaim.claimName", claim, words)
    return valid


def _by_name(errors: Errors, volume: Object, name: str, pod_name: str, path: str, *, is_pod: bool) -> None:
    target = volume.get("iscsi")
    if target and is_iscsi_name_long(target, name):
        errors.invalid(f"{path}.name", name, ISCSI_TOO_LONG)
    if volume.get("ephemeral") is not None and pod_name and name:
        claim = f"{pod_name}-{name}"
        for complaint in names.dns_subdomain(claim):
            errors.invalid(f"{path}.name", name, f'PVC name "{claim}": {complaint}')
    if volume.get("image") is not None and is_pod and not volume["image"].get("reference"):
        errors.required(f"{path}.image.reference")


def _empty_dir(errors: Errors, source: Object, path: str) -> None:
    limit = source.get("sizeLimit")
    if limit is not None and amounts.nanos(limit) < 0:
        errors.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")


def _git(errors: Errors, source: Object, path: str) -> None:
    requires("repository")(errors, source, path)
    paths.descending(errors, source.get("directory") or "", f"{path}.directory")


def _secret(errors: Errors, source: Object, path: str) -> None:
    requires("secretName")(errors, source, path)
    _files(errors, source, path)


def _config_map(errors: Errors, source: Object, path: str) -> None:
    requires("name")(errors, source, path)
    _files(errors, source, path)


def _files(errors: Errors, source: Object, path: str) -> None:
    paths.mode(errors, source, "defaultMode", path)
    for index, item in enumerate(source.get("items") or ()):
        projections.key_to_path(errors, item, f"{path}.items[{index}]")


def _downward(errors: Errors, source: Object, path: str) -> None:
    paths.mode(errors, source, "defaultMode", path)
    for file in source.get("items") or ():
        projections.downward_file(errors, file, path)


def _csi(errors: Errors, source: Object, path: str) -> None:
    volume_sources.csi_driver_name(errors, source.get("driver") or "", f"{path}.driver")
    reference = source.get("nodePublishSecretRef")
    if reference is None:
        return
    name = reference.get("name") or ""
    if name:
        errors.all_invalid(f"{path}.name", name, names.dns_subdomain(name))
    else:
        errors.required(f"{path}.nodePublishSecretRef.name")


def _ephemeral(errors: Errors, source: Object, path: str) -> None:
    template = source.get("volumeClaimTemplate")
    if template is None:
        errors.required(f"{path}.volumeClaimTemplate")
    else:
        claims.template(errors, template, f"{path}.volumeClaimTemplate")


def _image(errors: Errors, source: Object, path: str) -> None:
    errors.one_of(f"{path}.pullPolicy", source.get("pullPolicy"), ("Always", "IfNotPresent", "Never"))


_SOURCES: dict[str, volume_sources.Check] = {
    "emptyDir": _empty_dir,
    "hostPath": volume_sources.host_path,
    "gitRepo": _git,
    "gcePersistentDisk": volume_sources.disk("pdName"),
    "awsElasticBlockStore": volume_sources.disk("volumeID"),
    "secret": _secret,
    "nfs": volume_sources.nfs,
    "iscsi": volume_sources.iscsi,
    "glusterfs": requires("endpoints", "path"),
    "flocker": volume_sources.flocker,
    "persistentVolumeClaim": requires("claimName"),
    "rbd": requires("monitors", "image"),
    "cinder": volume_sources.with_secret(requires("volumeID"), "name"),
    "cephfs": requires("monitors"),
    "quobyte": volume_sources.quobyte,
    "downwardAPI": _downward,
    "fc": volume_sources.fibre_channel,
    "flexVolume": volume_sources.flex,
    "configMap": _config_map,
    "azureFile": requires("secretName", "shareName"),
    "vsphereVolume": requires("volumePath"),
    "photonPersistentDisk": requires("pdID"),
    "portworxVolume": requires("volumeID"),
    "azureDisk": volume_sources.azure_disk,
    "storageos": volume_sources.with_secret(volume_sources.storage_os, "name"),
    "projected": projections.check,
    "scaleIO": requires("gateway", "system", "volumeName"),
    "csi": _csi,
    "ephemeral": _ephemeral,
    "image": _image,
}
