"""Where containers mount volumes and attach block devices.

Source: ValidateVolumeMounts and ValidateVolumeDevices in k8s.io/kubernetes/pkg/apis/core/validation (v1.37).
"""

from collections.abc import Mapping

from knarr.api.validation import paths
from knarr.api.validation.collector import Errors, Object

_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")


def volume_mounts(errors: Errors, container: Object, volumes: Mapping[str, Object], path: str) -> None:
    """Check `volumeMounts` of a container."""
    devices = {one.get("name"): one.get("devicePath") for one in container.get("volumeDevices") or ()}
    seen = set()
    for index, mount in enumerate(container["volumeMounts"]):
        here = f"{path}[{index}]"
        name, place = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.required(f"{here}.name")
        if name not in volumes:
            errors.not_found(f"{here}.name", name)
        if not place:
            errors.required(f"{here}.mountPath")
        if place in seen:
            errors.invalid(f"{here}.mountPath", place, "must be unique")
        seen.add(place)
        if name in devices:
            errors.invalid(f"{here}.name", name, "must not already exist in volumeDevices")
        if place in devices.values():
            errors.invalid(f"{here}.mountPath", place, "must not already exist as a path in volumeDevices")
        _subpaths(errors, mount, volumes.get(name) or {}, here, path)
        _propagation(errors, mount, container, path)


def _subpaths(errors: Errors, mount: Object, volume: Object, here: str, path: str) -> None:
    for field in ("subPath", "subPathExpr"):
        value = mount.get(field) or ""
        if not value:
            continue
        if volume.get("image") is not None:
            errors.invalid(f"{here}.{field}", value, "not allowed in image volume sources")
        if field == "subPathExpr" and mount.get("subPath"):
            errors.invalid(f"{here}.{field}", value, "subPathExpr and subPath are mutually exclusive")
        paths.descending(errors, value, f"{path}.{field}")


def _propagation(errors: Errors, mount: Object, container: Object, path: str) -> None:
    propagation, recursive = mount.get("mountPropagation"), mount.get("recursiveReadOnly")
    if propagation is not None:
        errors.one_of(f"{path}.mountPropagation", propagation, _PROPAGATIONS, required=False)
        is_privileged = (container.get("securityContext") or {}).get("privileged")
        if propagation == "Bidirectional" and not is_privileged:
            words = "Bidirectional mount propagation is available only to privileged containers"
            errors.forbidden(f"{path}.mountPropagation", words)
    if recursive is None:
        return
    errors.one_of(f"{path}.recursiveReadOnly", recursive, _RECURSIVE, required=False)
    if recursive in {"Enabled", "IfPossible"}:
        if not mount.get("readOnly"):
            errors.forbidden(f"{path}.recursiveReadOnly", "may only be specified when readOnly is true")
        if propagation not in {None, "None"}:
            words = "may only be specified when mountPropagation is None or not specified"
            errors.forbidden(f"{path}.recursiveReadOnly", words)


def volume_devices(errors: Errors, container: Object, volumes: Mapping[str, Object], path: str) -> None:
    """Check `volumeDevices` of a container."""
    mounts = {one.get("name"): one.get("mountPath") for one in container.get("volumeMounts") or ()}
    names: set[str] = set()
    places: set[str] = set()
    for index, device in enumerate(container["volumeDevices"]):
        here = f"{path}[{index}]"
        name, place = device.get("name") or "", device.get("devicePath") or ""
        if not name:
            errors.required(f"{here}.name")
        if name in names:
            errors.invalid(f"{here}.name", name, "must be unique")
        volume = volumes.get(name)
        if volume is None:
            errors.not_found(f"{here}.name", name)
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            words = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            errors.invalid(f"{here}.name", name, words)
        if not place:
            errors.required(f"{here}.devicePath")
        if place in places:
            errors.invalid(f"{here}.devicePath", place, "must be unique")
        if ".." in place.split("/"):
            errors.invalid(f"{here}.devicePath", place, "can not contain backsteps ('..')")
        else:
            places.add(place)
        if name in mounts:
            errors.invalid(f"{here}.name", name, "must not already exist in volumeMounts")
        if place in mounts.values():
            errors.invalid(f"{here}.devicePath", place, "must not already exist as a path in volumeMounts")
        if name:
            names.add(name)
