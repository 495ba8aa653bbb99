"""PriorityClasses.

Source: k8s.io/kubernetes/pkg/apis/scheduling/validation/validation.go and helpers.go (v1.37).
"""

from collections.abc import Mapping

from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable
from knarr.api.validation.rules import Rules

USER_VALUE_MAX = 1_000_000_000
_SYSTEM_PREFIX = "system-"
_SYSTEM_VALUES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_POLICIES = ("PreemptLowerPriority", "Never")


def priority_class(errors: Errors, obj: Object) -> None:
    """Check a PriorityClass."""
    name, value = (obj.get("metadata") or {}).get("name") or "", obj.get("value") or 0
    if name.startswith(_SYSTEM_PREFIX):
        complaint = _system_complaint(name, value, is_default=bool(obj.get("globalDefault")))
        if complaint:
            words = "priority class names with 'system-' prefix are reserved for system use only. error:"
            errors.forbidden("metadata.name", f"{words} {complaint}")
    elif value > USER_VALUE_MAX:
        errors.forbidden("value", f"maximum allowed value of a user defined priority is {USER_VALUE_MAX}")
    errors.one_of("preemptionPolicy", obj.get("preemptionPolicy"), _POLICIES)


def _system_complaint(name: str, value: int, *, is_default: bool) -> str:
    expected = _SYSTEM_VALUES.get(name)
    if expected is None:
        return f"{name} is not a known system priority class"
    if value != expected:
        return f"value of {name} PriorityClass must be {expected}"
    return f"globalDefault of {name} PriorityClass must be false" if is_default else ""


def priority_class_update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of a PriorityClass, whose value and policy stay."""
    if (obj.get("value") or 0) != (old.get("value") or 0):
        errors.forbidden("value", "may not be changed in an update.")
    immutable(errors, "preemptionPolicy", obj.get("preemptionPolicy"), old.get("preemptionPolicy"))


RULES: Mapping[tuple[str, str], Rules] = {
    ("scheduling.k8s.io", "PriorityClass"): Rules(priority_class, priority_class_update),
}
