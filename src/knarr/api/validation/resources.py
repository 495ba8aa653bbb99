"""Names and amounts of compute resources: requests and limits, quotas, capacities.

Source: ValidateResourceRequirements and its kin in k8s.io/kubernetes/pkg/apis/core/validation, and pkg/apis/core/helper (v1.37).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from knarr.api import amounts, names
from knarr.api.validation.collector import NOT_NEGATIVE, POSITIVE, Errors, Object

HUGE_PAGES = "hugepages-"
_CONTAINER = {"cpu", "memory", "ephemeral-storage"}
_OBJECTS = {
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
}
_SCALED = {
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
}
_QUOTA = _CONTAINER | _OBJECTS | _SCALED
_STANDARD = _QUOTA | {"storage"}
_POD_LEVEL_SHOWN = ("cpu", HUGE_PAGES, "memory")
_RULE = Callable[[Errors, str, str], None]

is_native, is_extended = names.is_native_resource, names.is_extended_resource


def is_huge_page(name: str) -> bool:
    """Return whether a resource is huge pages of some size."""
    return name.startswith(HUGE_PAGES)


def is_overcommit_allowed(name: str) -> bool:
    """Return whether limits of a resource may exceed what there is."""
    return is_native(name) and not is_huge_page(name)


def is_integer(name: str) -> bool:
    """Return whether a resource comes in whole units only."""
    return name in _OBJECTS or is_extended(name)


def is_quota_name(name: str) -> bool:
    """Return whether a quota may name this resource without a domain."""
    return name in _QUOTA or is_huge_page(name) or name.startswith(f"requests.{HUGE_PAGES}")


def resource_name(errors: Errors, name: str, path: str) -> bool:
    """Check the name of any resource; return whether it is good."""
    complaints = names.qualified_name(name)
    errors.all_invalid(path, name, complaints)
    if complaints:
        return False
    is_standard = name in _STANDARD or is_huge_page(name) or name.startswith(f"requests.{HUGE_PAGES}")
    if "/" not in name and not is_standard:
        errors.invalid(path, name, "must be a standard resource type or fully qualified")
        return False
    return True


@lru_cache(1024)
def _is_good_for_container(name: str) -> bool:
    errors = Errors()
    _container_name(errors, name, "")
    return not errors.found


def container_resource_name(errors: Errors, name: str, path: str) -> None:
    """Check the name of a resource that a container asks for."""
    if name not in _CONTAINER and not _is_good_for_container(name):
        _container_name(errors, name, path)


def _container_name(errors: Errors, name: str, path: str) -> None:
    resource_name(errors, name, path)
    if "/" not in name:
        if name not in _CONTAINER and not is_huge_page(name):
            errors.invalid(path, name, "must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        errors.invalid(path, name, "doesn't follow extended resource name standard")


def _pod_level_name(errors: Errors, name: str, path: str) -> None:
    if resource_name(errors, name, path) and name not in {"cpu", "memory"} and not is_huge_page(name):
        errors.unsupported(path, name, _POD_LEVEL_SHOWN)


def quota_resource_name(errors: Errors, name: str, path: str) -> None:
    """Check the name of a resource that a quota limits."""
    resource_name(errors, name, path)
    if "/" not in name and not is_quota_name(name):
        errors.invalid(path, name, "must be a standard resource for quota")


def amount(errors: Errors, name: str, value: Any, path: str) -> None:
    """Check an amount of a resource: not negative, whole where only wholes exist."""
    nanos = amounts.nanos(value)
    if nanos < 0:
        errors.invalid(path, value, NOT_NEGATIVE)
    if nanos % amounts.NANOS and is_integer(name):
        errors.invalid(path, value, "must be an integer")


def positive_amount(errors: Errors, value: Any, path: str) -> bool:
    """Check that an amount is more than nothing; return whether it is."""
    if amounts.nanos(value) <= 0:
        errors.invalid(path, value, POSITIVE)
        return False
    return True


def basic_amount(errors: Errors, value: Any, path: str) -> None:
    """Check that an amount of any unit is not negative."""
    nanos = amounts.nanos(value)
    if nanos < 0:
        errors.invalid(path, nanos // amounts.NANOS, "must be a valid resource quantity")


def _huge_page_amount(errors: Errors, name: str, value: Any, path: str) -> None:
    try:
        size = amounts.nanos(name.removeprefix(HUGE_PAGES))
    except ValueError:
        size = 0
    if size <= 0 or amounts.nanos(value) % size:
        errors.invalid(path, value, f"{value} is not positive integer multiple of {name}")


def container_requirements(errors: Errors, resources: Object, claims: set[str], path: str) -> None:
    """Check `resources` of a container.

    Args:
        errors: Receives what is wrong.
        resources: limits, requests, claims.
        claims: The names in the pod's `resourceClaims`.
        path: Their field.
    """
    _requirements(errors, resources, claims, path, container_resource_name)


def pod_requirements(errors: Errors, resources: Object, path: str) -> None:
    """Check `resources` of a pod."""
    _requirements(errors, resources, set(), path, _pod_level_name)


def _requirements(errors: Errors, resources: Object, claims: set[str], path: str, rule: _RULE) -> None:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, listed in (("limits", limits), ("requests", requests)):
        for name, value in listed.items():
            # cpu and memory are what nearly every container has, and never wrong but by a sign.
            if name in _CONTAINER and amounts.nanos(value) >= 0:
                continue
            here = f"{path}.{kind}[{name}]"
            rule(errors, name, here)
            amount(errors, name, value, here)
            if is_huge_page(name):
                _huge_page_amount(errors, name, value, here)
    if rule is not container_resource_name:
        for kind, listed in (("limits", limits), ("requests", requests)):
            if "ephemeral-storage" in listed:
                rule(errors, "ephemeral-storage", f"{path}.{kind}[ephemeral-storage]")
    for name, value in requests.items():
        limit = limits.get(name)
        if limit is not None:
            if value != limit:
                difference = amounts.nanos(value) - amounts.nanos(limit)
                if difference and not is_overcommit_allowed(name):
                    errors.invalid(f"{path}.requests", value, f"must be equal to {name} limit of {limit}")
                elif difference > 0:
                    errors.invalid(f"{path}.requests", value, f"must be less than or equal to {name} limit of {limit}")
        elif not is_overcommit_allowed(name):
            errors.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
    named = limits.keys() | requests.keys()
    if any(is_huge_page(name) for name in named) and not named & {"cpu", "memory"}:
        errors.forbidden(path, "HugePages require cpu or memory")
    if resources.get("claims"):
        _claims(errors, resources["claims"], claims, f"{path}.claims")


def _claims(errors: Errors, listed: list[Object], known: set[str], path: str) -> None:
    seen: set[str] = set()
    for index, claim in enumerate(listed):
        here, name, request = f"{path}[{index}]", claim.get("name") or "", claim.get("request") or ""
        if not name:
            errors.required(here)
            continue
        if name in seen:
            errors.duplicate(here, name)
        else:
            key = f"{name}/{request}" if request else name
            if request:
                errors.all_invalid(f"{here}.request", request, names.dns_label(request))
            if key in seen:
                errors.duplicate(here, key)
            elif not request and any(one.startswith(f"{name}/") for one in seen):
                errors.duplicate(here, name)
            seen.add(key)
        if name not in known:
            words = "must be one of the names in pod.spec.resourceClaims"
            errors.not_found(here, name, f"{words}: {', '.join(sorted(known))}" if known else f"{words} which is empty")
