"""Storage classes, CSI drivers and nodes, volume attachments.

Source: k8s.io/kubernetes/pkg/apis/storage/validation/validation.go (v1.37).
"""

from collections.abc import Mapping
from typing import Any

from knarr.api import amounts, names
from knarr.api.validation import meta, selectors
from knarr.api.validation.collector import NOT_NEGATIVE, Errors, Object
from knarr.api.validation.equality import immutable, is_equal
from knarr.api.validation.rules import Rules
from knarr.api.validation.volume_sources import csi_driver_name

GROUP = "storage.k8s.io"
_PARAMETERS_MAX = 512
_PARAMETERS_MAX_BYTES = 256 * 1024
_NODE_ID_MAX = 256
_METADATA_MAX_BYTES = 256 * 1024
_ERROR_MAX_BYTES = 1024
_TOKEN_MIN_S = 600


def storage_class(errors: Errors, obj: Object) -> None:
    """Check a StorageClass."""
    provisioner = obj.get("provisioner") or ""
    if provisioner:
        errors.all_invalid("provisioner", provisioner, names.qualified_name(provisioner.lower()))
    else:
        errors.required("provisioner")
    _parameters(errors, obj.get("parameters") or {})
    policy, mode = obj.get("reclaimPolicy"), obj.get("volumeBindingMode")
    if policy and policy not in {"Delete", "Retain"}:
        errors.unsupported("reclaimPolicy", policy, ("Delete", "Retain"))
    if mode is None:
        errors.required("volumeBindingMode")
    elif mode not in {"Immediate", "WaitForFirstConsumer"}:
        errors.unsupported("volumeBindingMode", mode, ("Immediate", "WaitForFirstConsumer"))
    _topologies(errors, obj.get("allowedTopologies") or ())


def _parameters(errors: Errors, parameters: dict[str, str]) -> None:
    if len(parameters) > _PARAMETERS_MAX:
        errors.too_long("parameters", _PARAMETERS_MAX)
        return
    if "" in parameters:
        errors.invalid("parameters", "", "field can not be empty.")
    if sum(len(key.encode()) + len(value.encode()) for key, value in parameters.items()) > _PARAMETERS_MAX_BYTES:
        errors.too_long("parameters", _PARAMETERS_MAX_BYTES)


def _topologies(errors: Errors, terms: Any) -> None:
    seen: list[dict[str, set[str]]] = []
    for index, term in enumerate(terms):
        path, found = f"allowedTopologies[{index}]", {}
        for position, expression in enumerate(term.get("matchLabelExpressions") or ()):
            here = f"{path}.matchLabelExpressions[{position}]"
            key, values = expression.get("key") or "", expression.get("values") or []
            if not values:
                errors.required(f"{here}.values")
            for place, value in enumerate(values):
                if value in values[:place]:
                    errors.duplicate(f"{here}.values[{place}]", value)
            meta.label_name(errors, key, f"{here}.key")
            if key in found:
                errors.duplicate(f"{here}.key", key)
            found[key] = set(values)
        if found in seen:
            errors.duplicate(f"{path}.matchLabelExpressions", "")
        seen.append(found)


def storage_class_update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of a StorageClass, which leaves what volumes were made with as it is."""
    for field in ("parameters", "provisioner", "reclaimPolicy"):
        if not is_equal(obj.get(field), old.get(field)):
            errors.forbidden(field, f"updates to {field} are forbidden.")
    immutable(errors, "volumeBindingMode", obj.get("volumeBindingMode"), old.get("volumeBindingMode"))


def volume_attachment(errors: Errors, obj: Object) -> None:
    """Check a VolumeAttachment."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    csi_driver_name(errors, spec.get("attacher") or "", "spec.attacher")
    _source(errors, spec.get("source") or {}, "spec.source")
    node = spec.get("nodeName") or ""
    errors.all_invalid("spec.nodeName", node, names.dns_subdomain(node))
    metadata = status.get("attachmentMetadata") or {}
    if sum(len(key) + len(value) for key, value in metadata.items()) > _METADATA_MAX_BYTES:
        errors.too_long("status.attachmentMetadata", _METADATA_MAX_BYTES)
    for field in ("attachError", "detachError"):
        if len(((status.get(field) or {}).get("message") or "").encode()) > _ERROR_MAX_BYTES:
            errors.too_long(f"status.{field}.message", _ERROR_MAX_BYTES)


def _source(errors: Errors, source: Object, path: str) -> None:
    inline, name = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    words = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    if inline is None and name is None:
        errors.required(path, words)
    elif inline is not None and name is not None:
        errors.forbidden(path, words)
    elif name is not None:
        if not name:
            errors.required(f"{path}.persistentVolumeName", "must specify non empty persistentVolumeName")
        errors.all_invalid(f"{path}.persistentVolumeName", name, names.dns_subdomain(name))


def _volume_attachment_update(errors: Errors, obj: Object, old: Object) -> None:
    volume_attachment(errors, obj)
    immutable(errors, "spec", obj.get("spec"), old.get("spec"))


def _volume_attachment_status(errors: Errors, obj: Object, _old: Object) -> None:
    volume_attachment(errors, obj)


def csi_driver(errors: Errors, obj: Object) -> None:
    """Check a CSIDriver."""
    spec = obj.get("spec") or {}
    csi_driver_name(errors, (obj.get("metadata") or {}).get("name") or "", "name")
    for field, shown in (
        ("attachRequired", "attachedRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ):
        if spec.get(field) is None:
            errors.required(f"spec.{shown}")
    policy = spec.get("fsGroupPolicy")
    supported = ("File", "None", "ReadWriteOnceWithFSType")
    if policy is not None and policy not in supported:
        errors.unsupported("spec.fsGroupPolicy", policy, supported)
    _token_requests(errors, spec.get("tokenRequests") or ())
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in {"Ephemeral", "Persistent"}:
            errors.unsupported("spec.volumeLifecycleModes", mode, ("Ephemeral", "Persistent"))
    if spec.get("seLinuxMount") is None:
        errors.required("spec.seLinuxMount")


def _token_requests(errors: Errors, requests: Any) -> None:
    seen = set()
    for index, request in enumerate(requests):
        path, audience = f"spec.tokenRequests[{index}]", request.get("audience") or ""
        if audience in seen:
            errors.duplicate(f"{path}.audience", audience)
        seen.add(audience)
        seconds, here = request.get("expirationSeconds"), f"{path}.expirationSeconds"
        if seconds is not None and seconds < _TOKEN_MIN_S:
            errors.invalid(here, seconds, "may not specify a duration less than 10 minutes")
        if seconds is not None and seconds > 1 << 32:
            errors.invalid(here, seconds, "may not specify a duration larger than 2^32 seconds")


def _csi_driver_update(errors: Errors, obj: Object, old: Object) -> None:
    csi_driver(errors, obj)
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    for field, shown in (
        ("attachRequired", "attachedRequired"),
        ("fsGroupPolicy", "fsGroupPolicy"),
        ("volumeLifecycleModes", "volumeLifecycleModes"),
    ):
        immutable(errors, f"spec.{shown}", spec.get(field), before.get(field))


def csi_node(errors: Errors, obj: Object) -> None:
    """Check a CSINode."""
    seen = set()
    for index, driver in enumerate((obj.get("spec") or {}).get("drivers") or ()):
        path, name, node_id = f"spec.drivers[{index}]", driver.get("name") or "", driver.get("nodeID") or ""
        csi_driver_name(errors, name, f"{path}.name")
        if not node_id:
            errors.required(f"{path}.nodeID")
        if len(node_id.encode()) > _NODE_ID_MAX:
            errors.invalid(f"{path}.nodeID", node_id, f"must be {_NODE_ID_MAX} characters or less")
        errors.not_negative(f"{path}.allocatable.count", (driver.get("allocatable") or {}).get("count"))
        if name in seen:
            errors.duplicate(f"{path}.name", name)
        seen.add(name)
        keys = driver.get("topologyKeys") or []
        for position, key in enumerate(keys):
            if not key:
                errors.required(path)
            if key in keys[:position]:
                errors.duplicate(path, key)
            errors.all_invalid(path, keys, names.qualified_name(key))


def _csi_node_update(errors: Errors, obj: Object, old: Object) -> None:
    csi_node(errors, obj)
    before = {driver.get("name"): driver for driver in (old.get("spec") or {}).get("drivers") or ()}
    for driver in (obj.get("spec") or {}).get("drivers") or ():
        was = before.get(driver.get("name"))
        if was is not None:
            immutable(errors, "CSINodeDriver", driver, was)


def csi_storage_capacity(errors: Errors, obj: Object) -> None:
    """Check a CSIStorageCapacity."""
    selectors.check(errors, obj.get("nodeTopology"), "nodeTopology")
    name = obj.get("storageClassName") or ""
    errors.all_invalid("storageClassName", name, names.dns_subdomain(name))
    for field in ("capacity", "maximumVolumeSize"):
        value = obj.get(field)
        if value is not None and amounts.nanos(value) < 0:
            errors.invalid(field, value, NOT_NEGATIVE)


def _csi_storage_capacity_update(errors: Errors, obj: Object, old: Object) -> None:
    csi_storage_capacity(errors, obj)
    for field in ("nodeTopology", "storageClassName"):
        immutable(errors, field, obj.get(field), old.get(field))


def volume_attributes_class(errors: Errors, obj: Object) -> None:
    """Check a VolumeAttributesClass."""
    driver, parameters = obj.get("driverName") or "", obj.get("parameters") or {}
    if driver:
        errors.all_invalid("driverName", driver, names.qualified_name(driver.lower()))
    else:
        errors.required("driverName")
    if not parameters:
        errors.required("parameters", "must contain at least one key/value pair")
    _parameters(errors, parameters)


def _volume_attributes_class_update(errors: Errors, obj: Object, old: Object) -> None:
    for field in ("driverName", "parameters"):
        if not is_equal(obj.get(field), old.get(field)):
            errors.forbidden(field, f"updates to {field} are forbidden.")


RULES: Mapping[tuple[str, str], Rules] = {
    (GROUP, "CSIDriver"): Rules(csi_driver, _csi_driver_update, name=names.name_is_anything),
    (GROUP, "CSINode"): Rules(csi_node, _csi_node_update),
    (GROUP, "CSIStorageCapacity"): Rules(csi_storage_capacity, _csi_storage_capacity_update),
    (GROUP, "StorageClass"): Rules(storage_class, storage_class_update),
    (GROUP, "VolumeAttachment"): Rules(volume_attachment, _volume_attachment_update, _volume_attachment_status),
    (GROUP, "VolumeAttributesClass"): Rules(volume_attributes_class, _volume_attributes_class_update),
}
