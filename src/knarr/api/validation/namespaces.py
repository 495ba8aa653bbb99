"""Namespaces.

Source: ValidateNamespace* in k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

from knarr.api import names
from knarr.api.validation import meta
from knarr.api.validation.collector import Errors, Object


def create(errors: Errors, obj: Object) -> None:
    """Check a new namespace."""
    for finalizer in (obj.get("spec") or {}).get("finalizers") or ():
        _finalizer(errors, finalizer, "spec.finalizers")


def finalize(errors: Errors, obj: Object, _old: Object) -> None:
    """Check a change through `/finalize`."""
    for index, finalizer in enumerate((obj.get("spec") or {}).get("finalizers") or ()):
        _finalizer(errors, finalizer, f"spec.finalizers[{index}]")


def _finalizer(errors: Errors, finalizer: str, path: str) -> None:
    errors.all_invalid(path, finalizer, names.qualified_name(finalizer))
    meta.standard_finalizer(errors, finalizer, path)


def status(errors: Errors, obj: Object, _old: Object) -> None:
    """Check a change through `/status`: the phase follows the deletion."""
    phase = (obj.get("status") or {}).get("phase") or ""
    deleted = (obj.get("metadata") or {}).get("deletionTimestamp")
    if not deleted and phase != "Active":
        errors.invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty")
    if deleted and phase != "Terminating":
        errors.invalid("status.Phase", phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")
