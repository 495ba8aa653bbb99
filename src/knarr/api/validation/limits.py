"""Limit ranges and resource quotas.

Source: ValidateLimitRange and ValidateResourceQuota in k8s.io/kubernetes/pkg/apis/core/validation/validation.go, and the
scopes of pkg/apis/core/helper (v1.37).
"""

from collections.abc import Mapping
from typing import Any

from knarr.api import amounts, names
from knarr.api.validation import resources
from knarr.api.validation.collector import IMMUTABLE, Errors, Object

_TYPES = {"Pod", "Container", "PersistentVolumeClaim"}
_BOUNDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
_NOT_FOR_PODS = "may not be specified when `type` is 'Pod'"
_SCOPES = {
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
}
_EXISTS_ONLY = _SCOPES - {"PriorityClass", "VolumeAttributesClass"}
_CONFLICTS = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_POD_QUOTA = {
    "pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
}
_STORAGE_QUOTA = {"persistentvolumeclaims", "requests.storage"}


def limit_range(errors: Errors, obj: Object) -> None:
    """Check a LimitRange."""
    seen = set()
    for index, limit in enumerate((obj.get("spec") or {}).get("limits") or ()):
        path, kind = f"spec.limits[{index}]", limit.get("type") or ""
        complaints = names.qualified_name(kind)
        errors.all_invalid(f"{path}.type", kind, complaints)
        if not complaints and "/" not in kind and kind not in _TYPES:
            errors.invalid(f"{path}.type", kind, "must be a standard limit type or fully qualified")
        if kind in seen:
            errors.duplicate(f"{path}.type", kind)
        seen.add(kind)
        _limit(errors, limit, kind, path)


def _limit(errors: Errors, limit: Object, kind: str, path: str) -> None:
    bounds: dict[str, Mapping[str, Any]] = {}
    for name in _BOUNDS:
        listed = limit.get(name) or {}
        if kind == "Pod" and name in {"default", "defaultRequest"}:
            if listed:
                errors.forbidden(f"{path}.{name}", _NOT_FOR_PODS)
            listed = {}
        bounds[name] = listed
        for resource in listed:
            here = f"{path}.{name}[{resource}]"
            if kind in {"Pod", "Container"}:
                resources.container_resource_name(errors, resource, here)
            else:
                resources.resource_name(errors, resource, here)
    if kind == "PersistentVolumeClaim" and "storage" not in {**bounds["min"], **bounds["max"]}:
        words = "either minimum or maximum storage value is required, but neither was provided"
        errors.required(f"{path}.limits", words)
    for resource in sorted({resource for listed in bounds.values() for resource in listed}):
        values = {name: listed[resource] for name, listed in bounds.items() if resource in listed}
        _order(errors, resource, values, path)


_ORDERED = (
    # (the smaller one, the larger one, the field that is named, whose value is shown, the words)
    ("min", "max", "min", "min", "min value {} is greater than max value {}"),
    (
        "min",
        "defaultRequest",
        "defaultRequest",
        "defaultRequest",
        "min value {} is greater than default request value {}",
    ),
    (
        "defaultRequest",
        "max",
        "defaultRequest",
        "defaultRequest",
        "default request value {} is greater than max value {}",
    ),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "defaultRequest",
        "default request value {} is greater than default limit value {}",
    ),
    ("min", "default", "default", "min", "min value {} is greater than default value {}"),
    ("default", "max", "default", "max", "default value {} is greater than max value {}"),
)


def _order(errors: Errors, resource: str, values: dict[str, Any], path: str) -> None:
    sizes = {name: amounts.nanos(value) for name, value in values.items()}
    for small, large, field, shown, words in _ORDERED:
        if small in sizes and large in sizes and sizes[small] > sizes[large]:
            text = words.format(values[small], values[large])
            errors.invalid(f"{path}.{field}[{resource}]", values[shown], text)
    ratio, here = values.get("maxLimitRequestRatio"), f"{path}.maxLimitRequestRatio[{resource}]"
    if ratio is not None:
        if sizes["maxLimitRequestRatio"] < amounts.NANOS:
            errors.invalid(here, ratio, f"ratio {ratio} is less than 1")
        if sizes.get("min") and "max" in sizes:
            most = sizes["max"] / sizes["min"]
            if sizes["maxLimitRequestRatio"] / amounts.NANOS > most:
                errors.invalid(here, ratio, f"ratio {ratio} is greater than max/min = {most:.6f}")
    both = "default" in sizes and "defaultRequest" in sizes
    if both and not resources.is_overcommit_allowed(resource) and sizes["default"] != sizes["defaultRequest"]:
        default, request = values["default"], values["defaultRequest"]
        words = f"default value {default} must equal to defaultRequest value {request} in {resource}"
        errors.invalid(f"{path}.defaultRequest[{resource}]", request, words)


def resource_quota(errors: Errors, obj: Object) -> None:
    """Check a ResourceQuota."""
    _quota_spec(errors, obj.get("spec") or {})
    _quota_status(errors, obj)


def resource_quota_update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of a ResourceQuota, whose scopes stay."""
    spec = obj.get("spec") or {}
    _quota_spec(errors, spec)
    scopes = spec.get("scopes") or []
    if set(scopes) != set((old.get("spec") or {}).get("scopes") or ()):
        errors.invalid("spec.scopes", scopes, IMMUTABLE)


def resource_quota_status(errors: Errors, obj: Object, _old: Object) -> None:
    """Check the status of a ResourceQuota."""
    _quota_status(errors, obj)


def _quota_status(errors: Errors, obj: Object) -> None:
    for field in ("hard", "used"):
        _quota_amounts(errors, (obj.get("status") or {}).get(field) or {}, f"status.{field}")


def _quota_amounts(errors: Errors, listed: Mapping[str, Any], path: str) -> None:
    for name, value in listed.items():
        resources.quota_resource_name(errors, name, f"{path}[{name}]")
        resources.amount(errors, name, value, f"{path}[{name}]")


def _quota_spec(errors: Errors, spec: Object) -> None:
    hard, scopes = spec.get("hard") or {}, spec.get("scopes") or []
    _quota_amounts(errors, hard, "spec.hard")
    for scope in scopes:
        if scope not in _SCOPES:
            errors.invalid("spec.scopes", scopes, "unsupported scope")
        _scope_fits(errors, scope, hard, "spec.scopes", scopes)
    _no_conflict(errors, set(scopes), "spec.scopes", scopes)
    if spec.get("scopeSelector") is not None:
        _scope_selector(errors, spec, hard, "spec.scopeSelector.matchExpressions")


def _scope_fits(errors: Errors, scope: str, hard: Mapping[str, Any], path: str, shown: Any) -> None:
    for name in sorted(hard):
        if resources.is_quota_name(name) and not _is_scoped(scope, name):
            errors.invalid(path, shown, "unsupported scope applied to resource")


def _is_scoped(scope: str, resource: str) -> bool:
    if scope == "BestEffort":
        return resource == "pods"
    if scope == "VolumeAttributesClass":
        return resource in _STORAGE_QUOTA
    return scope not in _SCOPES or resource in _POD_QUOTA


def _no_conflict(errors: Errors, scopes: set[str], path: str, shown: Any) -> None:
    for pair in _CONFLICTS:
        if pair <= scopes:
            errors.invalid(path, shown, "conflicting scopes")


def _scope_selector(errors: Errors, spec: Object, hard: Mapping[str, Any], path: str) -> None:
    selector = spec["scopeSelector"]
    seen = set()
    for expression in selector.get("matchExpressions") or ():
        scope, operator = expression.get("scopeName") or "", expression.get("operator") or ""
        values = expression.get("values") or []
        seen.add(scope)
        if scope not in _SCOPES:
            errors.invalid(f"{path}.scopeName", scope, "unsupported scope")
        _scope_fits(errors, scope, hard, path, selector)
        if scope in _EXISTS_ONLY and operator != "Exists":
            words = (
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
                "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
                "ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            errors.invalid(f"{path}.operator", operator, words)
        if operator in {"In", "NotIn"}:
            if not values:
                words = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                errors.required(f"{path}.values", words)
        elif operator in {"Exists", "DoesNotExist"}:
            if values:
                words = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                errors.invalid(f"{path}.values", values, words)
        else:
            errors.invalid(f"{path}.operator", operator, "not a valid selector operator")
    _no_conflict(errors, seen, path, spec.get("scopes") or [])
