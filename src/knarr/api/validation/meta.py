"""Object metadata of every kind, on create and on update.

Source: k8s.io/apimachinery/pkg/api/validation/objectmeta.go, pkg/apis/meta/v1/validation and
k8s.io/kubernetes/pkg/apis/core/validation: ValidateObjectMeta (v1.37).
"""

from typing import Any

from knarr.api import names
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable

ANNOTATIONS_MAX_BYTES = 256 * 1024
MANAGER_MAX_BYTES = 128
SUBRESOURCE_MAX_BYTES = 256
_STANDARD_FINALIZERS = {"kubernetes", "orphan", "foregroundDeletion"}
_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def check_create(
    errors: Errors, meta: Object, rule: names.NameRule, *, namespaced: bool, built_in: bool = True
) -> None:
    """Check the metadata of a new object, after its name was generated.

    Args:
        errors: Receives what is wrong.
        meta: `metadata`.
        rule: What the kind demands of a name.
        namespaced: Whether objects of the kind live in namespaces.
        built_in: Whether short finalizer names must be among the standard ones.
    """
    generate = meta.get("generateName")
    if generate:
        errors.all_invalid("metadata.generateName", generate, rule(generate, True))
    name = meta.get("name")
    if name:
        complaints = rule(name, False)
        if complaints:
            errors.all_invalid("metadata.name", name, complaints)
    else:
        errors.required("metadata.name", "name or generateName is required")
    namespace = meta.get("namespace")
    if namespaced:
        if namespace:
            errors.all_invalid("metadata.namespace", namespace, names.dns_label(namespace))
        else:
            errors.required("metadata.namespace")
    elif namespace:
        errors.forbidden("metadata.namespace", "not allowed on this type")
    errors.not_negative("metadata.generation", meta.get("generation"))
    _check_maps(errors, meta)
    finalizers = meta.get("finalizers")
    if finalizers:
        check_finalizers(errors, finalizers, "metadata.finalizers", built_in=built_in)
    for index, entry in enumerate(meta.get("managedFields") or ()):
        _managed_fields(errors, entry, f"metadata.managedFields[{index}]")


def check_update(errors: Errors, meta: Object, old: Object, *, built_in: bool = True) -> None:
    """Check the metadata of a changed object against what it was."""
    finalizers = meta.get("finalizers") or ()
    if old.get("deletionTimestamp"):
        added = sorted(set(finalizers) - set(old.get("finalizers") or ()))
        if added:
            listed = ", ".join(f'"{one}"' for one in added)
            words = "no new finalizers can be added if the object is being deleted, found new finalizers"
            errors.forbidden("metadata.finalizers", f"{words} []string{{{listed}}}")
    if not meta.get("resourceVersion"):
        errors.invalid("metadata.resourceVersion", meta.get("resourceVersion") or "", "must be specified for an update")
    if (meta.get("generation") or 0) < (old.get("generation") or 0):
        errors.invalid("metadata.generation", meta.get("generation") or 0, "must not be decremented")
    for name in _IMMUTABLE:
        if meta.get(name) != old.get(name):
            immutable(errors, f"metadata.{name}", meta.get(name), old.get(name))
    _check_maps(errors, meta)
    if finalizers and finalizers != old.get("finalizers"):
        check_finalizers(errors, finalizers, "metadata.finalizers", built_in=built_in)
    for index, entry in enumerate(meta.get("managedFields") or ()):
        _managed_fields(errors, entry, f"metadata.managedFields[{index}]")


def _check_maps(errors: Errors, meta: Object) -> None:
    values = meta.get("labels")
    if values:
        labels(errors, values, "metadata.labels")
    values = meta.get("annotations")
    if values:
        annotations(errors, values, "metadata.annotations")
    references = meta.get("ownerReferences")
    if references:
        _owner_references(errors, references)


def labels(errors: Errors, values: dict[str, str] | None, path: str) -> None:
    """Check a map of labels, or anything that looks like one."""
    for key, value in (values or {}).items():
        complaints = names.qualified_name(key)
        if complaints:
            errors.all_invalid(path, key, complaints)
        complaints = names.label_value(value)
        if complaints:
            errors.all_invalid(path, value, complaints)


def label_name(errors: Errors, value: str, path: str) -> None:
    """Check one label key."""
    errors.all_invalid(path, value, names.qualified_name(value))


def annotations(errors: Errors, values: dict[str, str] | None, path: str) -> None:
    """Check a map of annotations, keys without regard to case."""
    size = 0
    for key, value in (values or {}).items():
        complaints = names.qualified_name(key.lower())
        if complaints:
            errors.all_invalid(path, key, complaints)
        size += len(key) + len(value)
    # Bytes are only counted where the characters come near the limit.
    if size > ANNOTATIONS_MAX_BYTES // 4 and values:
        size = sum(len(key.encode()) + len(value.encode()) for key, value in values.items())
        if size > ANNOTATIONS_MAX_BYTES:
            errors.too_long(path, ANNOTATIONS_MAX_BYTES)


def _owner_references(errors: Errors, references: list[Object]) -> None:
    path = "metadata.ownerReferences"
    first = ""
    for reference in references:
        version = reference.get("apiVersion") or ""
        if not version.rpartition("/")[2] or version.count("/") > 1:
            errors.invalid(f"{path}.apiVersion", version, "version must not be empty")
        for name in ("kind", "name", "uid"):
            if not reference.get(name):
                errors.invalid(f"{path}.{name}", reference.get(name) or "", "must not be empty")
        if (version, reference.get("kind")) == ("v1", "Event"):
            errors.invalid(path, reference, "/v1, Kind=Event is disallowed from being an owner")
        if reference.get("controller"):
            current = f"{reference.get('kind')}/{reference.get('name')}"
            if first:
                words = 'Only one reference can have Controller set to true. Found "true" in references for'
                errors.invalid(path, references, f"{words} {first} and {current}")
            else:
                first = current


def check_finalizers(errors: Errors, finalizers: list[str], path: str, *, built_in: bool = True) -> None:
    """Check a list of finalizers."""
    for finalizer in finalizers:
        errors.all_invalid(path, finalizer, names.qualified_name(finalizer))
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        errors.invalid(path, finalizers, "finalizer orphan and foregroundDeletion cannot be both set")
    if built_in:
        for index, finalizer in enumerate(finalizers):
            standard_finalizer(errors, finalizer, f"{path}[{index}]")


def standard_finalizer(errors: Errors, finalizer: str, path: str) -> None:
    """Check that a finalizer without a domain is one of Kubernetes' own."""
    if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
        errors.invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified")


def _managed_fields(errors: Errors, entry: Object, path: str) -> None:
    if entry.get("operation") not in {"Apply", "Update"}:
        errors.invalid(f"{path}.operation", entry.get("operation") or "", "must be `Apply` or `Update`")
    if entry.get("fieldsType") not in {None, "", "FieldsV1"}:
        errors.invalid(f"{path}.fieldsType", entry["fieldsType"], "must be `FieldsV1`")
    manager = entry.get("manager") or ""
    if len(manager.encode()) > MANAGER_MAX_BYTES:
        errors.too_long(f"{path}.manager", MANAGER_MAX_BYTES)
    if not manager.isprintable():
        index, char = next((i, c) for i, c in enumerate(manager) if not c.isprintable())
        errors.invalid(f"{path}.manager", manager, f"invalid character U+{ord(char):04X} (at position {index})")
    if len((entry.get("subresource") or "").encode()) > SUBRESOURCE_MAX_BYTES:
        errors.too_long(f"{path}.subresource", SUBRESOURCE_MAX_BYTES)


def template_metadata(errors: Errors, meta: Object | None, path: str) -> None:
    """Check metadata in a template that allows labels and annotations alone."""
    meta = meta or {}
    annotations(errors, meta.get("annotations"), f"{path}.annotations")
    labels(errors, meta.get("labels"), f"{path}.labels")
    for name, value in meta.items():
        if name not in {"labels", "annotations", "creationTimestamp"} and value:
            errors.forbidden(f"{path}.{name}", "cannot be set")


def conditions(errors: Errors, values: list[Object] | None, path: str) -> None:
    """Check conditions of the common shape (metav1.Condition)."""
    seen = set()
    for index, condition in enumerate(values or ()):
        here = f"{path}[{index}]"
        kind = condition.get("type") or ""
        if kind in seen:
            errors.duplicate(f"{here}.type", kind)
        seen.add(kind)
        label_name(errors, kind, f"{here}.type")
        errors.one_of(f"{here}.status", condition.get("status"), ("False", "True", "Unknown"), required=False)
        generation: Any = condition.get("observedGeneration") or 0
        if generation < 0:
            errors.invalid(f"{here}.observedGeneration", generation, "must be greater than or equal to zero")
        if not condition.get("lastTransitionTime"):
            errors.required(f"{here}.lastTransitionTime", "must be set")
        if not condition.get("reason"):
            errors.required(f"{here}.reason", "must be set")
        elif len(condition["reason"].encode()) > 1024:
            errors.too_long(f"{here}.reason", 1024)
        if len((condition.get("message") or "").encode()) > 32768:
            errors.too_long(f"{here}.message", 32768)
