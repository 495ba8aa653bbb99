"""Claims of storage, alone or as templates.

Source: ValidatePersistentVolumeClaim* in k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

from copy import deepcopy

from knarr.api import amounts, names
from knarr.api.validation import meta, resources, selectors
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import format_diff, immutable, is_equal

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
_RESIZES = (
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
)


def create(errors: Errors, obj: Object) -> None:
    """Check a PersistentVolumeClaim."""
    claim_spec(errors, obj.get("spec") or {}, "spec")


def template(errors: Errors, value: Object, path: str) -> None:
    """Check a template of claims, whose metadata may hold labels and annotations alone."""
    meta.template_metadata(errors, value.get("metadata"), f"{path}.metadata")
    claim_spec(errors, value.get("spec") or {}, f"{path}.spec")


def access_modes(errors: Errors, modes: list[str], path: str) -> None:
    """Check the access modes of a claim or a volume."""
    for mode in modes:
        if mode not in ACCESS_MODES:
            errors.unsupported(path, mode, ACCESS_MODES)
    others = set(modes) & set(ACCESS_MODES) - {"ReadWriteOncePod"}
    if "ReadWriteOncePod" in modes and others:
        errors.forbidden(path, "may not use ReadWriteOncePod with other access modes")


def claim_spec(errors: Errors, spec: Object, path: str) -> None:
    """Check the spec of a claim."""
    modes = spec.get("accessModes") or []
    if not modes:
        errors.required(f"{path}.accessModes", "at least 1 access mode is required")
    selectors.check(errors, spec.get("selector"), f"{path}.selector")
    access_modes(errors, modes, f"{path}.accessModes")
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if size is None:
        errors.required(f"{path}.resources[storage]")
    else:
        resources.positive_amount(errors, size, f"{path}.resources[storage]")
    _subdomain(errors, spec, "storageClassName", path)
    if spec.get("volumeMode") is not None:
        errors.one_of(f"{path}.volumeMode", spec["volumeMode"], VOLUME_MODES, required=False)
    _data_sources(errors, spec, path)
    _subdomain(errors, spec, "volumeAttributesClassName", path)


def _subdomain(errors: Errors, spec: Object, field: str, path: str) -> None:
    value = spec.get(field)
    if value:
        errors.all_invalid(f"{path}.{field}", value, names.dns_subdomain(value))


def _data_sources(errors: Errors, spec: Object, path: str) -> None:
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    for field, value in (("dataSource", source), ("dataSourceRef", reference)):
        if value is None:
            continue
        here, group, kind = f"{path}.{field}", value.get("apiGroup") or "", value.get("kind") or ""
        for name in ("name", "kind"):
            if not value.get(name):
                errors.required(f"{here}.{name}")
        if not group and kind != "PersistentVolumeClaim":
            errors.invalid(here, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup")
        if group:
            errors.all_invalid(f"{here}.apiGroup", group, names.dns_subdomain(group))
        if value.get("namespace"):
            errors.all_invalid(f"{here}.namespace", value["namespace"], names.dns_label(value["namespace"]))
    if source is None or reference is None:
        return
    if reference.get("namespace"):
        words = "may not be specified when dataSourceRef.namespace is specified"
        errors.invalid(path, f"{path}.dataSource", words)
    elif any(source.get(name) != reference.get(name) for name in ("apiGroup", "kind", "name")):
        errors.invalid(path, f"{path}.dataSource", "must match dataSourceRef")


def update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of a claim: only its size and its attributes class may change once it is bound."""
    create(errors, obj)
    spec, before = deepcopy(obj.get("spec") or {}), deepcopy(old.get("spec") or {})
    annotated = (obj.get("metadata") or {}).get("annotations") or {}
    was_annotated = (old.get("metadata") or {}).get("annotations") or {}
    if not before.get("volumeName") and spec.get("volumeName"):
        before["volumeName"] = spec["volumeName"]
    name, previous = spec.get("storageClassName"), before.get("storageClassName")
    if annotated.get(_OLD_CLASS) != was_annotated.get(_OLD_CLASS) and not (
        _OLD_CLASS not in annotated and previous is None and name == was_annotated.get(_OLD_CLASS)
    ):
        immutable(
            errors,
            f"metadata.annotations.{_OLD_CLASS}",
            annotated.get(_OLD_CLASS) or "",
            was_annotated.get(_OLD_CLASS) or "",
        )
    if name is not None and previous is None and was_annotated.get(_OLD_CLASS, name) == name:
        spec["storageClassName"] = None
    size, old_size = _storage(spec), _storage(before)
    if (obj.get("status") or {}).get("phase") == "Bound":
        if (spec.get("resources") or {}).get("requests"):
            spec["resources"]["requests"]["storage"] = old_size
        if spec.get("volumeAttributesClassName") is not None:
            spec["volumeAttributesClassName"] = before.get("volumeAttributesClassName")
    if not is_equal(spec, before):
        words = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound"
        errors.forbidden("spec", f"{words} claims\n{format_diff(before, spec)}")
    _size(errors, size or "0", old_size or "0", ((old.get("status") or {}).get("capacity") or {}).get("storage") or "0")
    immutable(errors, "volumeMode", spec.get("volumeMode"), before.get("volumeMode"))
    attributes_class(errors, obj.get("spec") or {}, before, may_be_empty=False)


def _size(errors: Errors, size: str, old: str, granted: str) -> None:
    # A request may shrink after an expansion that failed, but not below what there is.
    wanted = amounts.nanos(size)
    if wanted < amounts.nanos(old) and wanted <= amounts.nanos(granted):
        errors.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def attributes_class(errors: Errors, spec: Object, before: Object, *, may_be_empty: bool) -> None:
    """Check that an attributes class, once set, stays set."""
    field = "volumeAttributesClassName"
    if before.get(field) is None or spec.get(field) == before[field]:
        return
    if spec.get(field) is None:
        errors.forbidden(f"spec.{field}", "update from non-nil value to nil is forbidden")
    elif not spec[field] and not may_be_empty:
        errors.forbidden(f"spec.{field}", "update from non-nil value to an empty string is forbidden")


def _storage(spec: Object) -> str | None:
    size: str | None = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return size


def status(errors: Errors, obj: Object, _old: Object) -> None:
    """Check the status of a claim."""
    if not (obj.get("spec") or {}).get("accessModes"):
        errors.required("Spec.accessModes")
    value = obj.get("status") or {}
    for name, amount in (value.get("capacity") or {}).items():
        resources.basic_amount(errors, amount, f"status.capacity[{name}]")
    for name, state in (value.get("allocatedResourceStatuses") or {}).items():
        _resource_key(errors, name, "status.allocatedResourceStatus")
        if state not in _RESIZES:
            errors.unsupported("status.allocatedResourceStatus", name, _RESIZES)
    for name, amount in (value.get("allocatedResources") or {}).items():
        _resource_key(errors, name, "status.allocatedResources")
        resources.basic_amount(errors, amount, f"status.allocatedResources[{name}]")


def _resource_key(errors: Errors, name: str, path: str) -> None:
    complaints = names.qualified_name(name)
    errors.all_invalid(path, name, complaints)
    if not complaints and resources.is_native(name) and name != "storage":
        errors.unsupported(path, name, ("storage",))
