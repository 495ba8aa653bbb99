"""What claims, classes and slices of devices have in common: names, selectors, configuration, tolerations, taints.

Source: k8s.io/kubernetes/pkg/apis/resource/validation/validation.go (v1.37).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from knarr.api import names
from knarr.api.validation import meta
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.volume_sources import csi_driver_name
from knarr.lang import cel
from knarr.lang.cel.declarations import DYN

CONFIG_MAX = 32
_SELECTORS_MAX = 32
_EXPRESSION_MAX_BYTES = 10 * 1024
_PARAMETERS_MAX_BYTES = 10 * 1024
_POOL_MAX_BYTES = names.SUBDOMAIN_MAX_BYTES
_ID_MAX_BYTES = 32
_BINDING_CONDITIONS_MAX = 4
_EFFECTS = ("NoExecute", "NoSchedule", "None")
_SHOWN_KEY_MIN = 16

Check = Callable[[Errors, Any, str], None]

driver = csi_driver_name


def label(errors: Errors, name: str, path: str) -> None:
    """Check the name of a device, a request or a counter."""
    errors.all_invalid(path, name, names.dns_label(name))


def pool(errors: Errors, name: str, path: str) -> None:
    """Check the name of a pool: subdomains separated by slashes."""
    if not name:
        errors.required(path)
        return
    if len(name.encode()) > _POOL_MAX_BYTES:
        errors.too_long(path, _POOL_MAX_BYTES)
    for part in name.split("/"):
        errors.all_invalid(path, part, names.dns_subdomain(part))


def share_id(errors: Errors, value: str, path: str) -> None:
    """Check the id of a share of a device."""
    if names.uid(value):
        words = (
            "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` "
            "with lowercase hexadecimal characters"
        )
        errors.invalid(path, value, words)


def qualified_name(errors: Errors, name: str, path: str) -> None:
    """Check the name of an attribute or capacity, which may have a domain."""
    domain, slash, rest = name.partition("/")
    if not slash:
        _identifier(errors, name, path)
    elif "/" in rest:
        errors.invalid(path, name, "must not contain more than one slash")
    else:
        if domain:
            driver(errors, domain, path)
        else:
            errors.invalid(path, "", "the domain must not be empty")
        if rest:
            _identifier(errors, rest, path)
        else:
            errors.invalid(path, "", "the name must not be empty")


def fully_qualified_name(errors: Errors, name: str, path: str) -> None:
    """Check the name of an attribute that must have a domain."""
    qualified_name(errors, name, path)
    if "/" not in name:
        errors.invalid(path, name, "a fully qualified name must be a domain and a name separated by a slash")


def _identifier(errors: Errors, name: str, path: str) -> None:
    if len(name.encode()) > _ID_MAX_BYTES:
        errors.too_long(path, _ID_MAX_BYTES)
    errors.all_invalid(path, name, names.c_identifier(name))


def items(errors: Errors, values: Sequence[Any] | None, limit: int, check: Check, path: str) -> bool:
    """Check each item of a list, unless there are too many; return whether they were checked.

    Args:
        errors: Receives what is wrong.
        values: The list.
        limit: The most items; -1 for any number.
        check: Checks one.
        path: The list's field.
    """
    values = values or ()
    if 0 <= limit < len(values):
        errors.too_many(path, len(values), limit)
        return False
    for index, value in enumerate(values):
        check(errors, value, f"{path}[{index}]")
    return True


def distinct_items(
    errors: Errors,
    values: Sequence[Any] | None,
    limit: int,
    check: Check,
    path: str,
    *,
    key: Callable[[Any], Hashable] = str,
) -> None:
    """Check each item of a list as `items` does, and that no two have the same key."""
    if not items(errors, values, limit, check, path):
        return
    seen = set()
    for index, value in enumerate(values or ()):
        found = key(value)
        if found in seen:
            errors.duplicate(f"{path}[{index}]", found)
        seen.add(found)


def entries(
    errors: Errors,
    values: Mapping[str, Any] | None,
    check_key: Check,
    check: Check,
    path: str,
    *,
    limit: int,
    shown: int,
) -> None:
    """Check each entry of a map.

    Args:
        errors: Receives what is wrong.
        values: The map.
        check_key: Checks a key.
        check: Checks a value.
        path: The map's field.
        limit: The most entries; -1 for any number.
        shown: How much of a key paths show.
    """
    values = values or {}
    if 0 <= limit < len(values):
        errors.too_many(path, len(values), limit)
        return
    for key, value in values.items():
        check_key(errors, key, path)
        check(errors, value, f"{path}[{_shorten(key, shown)}]")


def _shorten(key: str, limit: int) -> str:
    limit = max(limit, _SHOWN_KEY_MIN)
    if len(key) <= limit:
        return key
    left = limit - 3
    return f"{key[: (left + 1) // 2]}...{key[len(key) - left // 2 :]}"


def selectors(errors: Errors, values: Sequence[Object] | None, path: str, *, stored: bool = False) -> None:
    """Check selectors of devices; expressions that are `stored` already are not compiled again."""

    def check(errors: Errors, selector: Object, here: str) -> None:
        if selector.get("cel") is None:
            errors.required(f"{here}.cel")
        elif not stored:
            _expression(errors, selector["cel"].get("expression") or "", f"{here}.cel.expression")

    items(errors, values, _SELECTORS_MAX, check, path)


def _expression(errors: Errors, text: str, path: str) -> None:
    if len(text.encode()) > _EXPRESSION_MAX_BYTES:
        errors.too_long(path, _EXPRESSION_MAX_BYTES)
        return
    try:
        result = _environment().compile(text).result
    except cel.CompileError as err:
        errors.invalid(path, text, f"compilation failed: {err}")
        return
    if result not in ("bool", "dyn", ""):
        errors.invalid(path, text, f"must evaluate to bool or the unknown type, not {result}")


@cache
def _environment() -> cel.Environment:
    return cel.Environment({"device": DYN})


def configuration(errors: Errors, config: Object, path: str, *, stored: bool = False) -> None:
    """Check what a driver is told about devices; the size of what is `stored` already does not matter."""
    opaque = config.get("opaque")
    if opaque is None:
        errors.required(f"{path}.opaque")
        return
    driver(errors, opaque.get("driver") or "", f"{path}.opaque.driver")
    raw(errors, opaque.get("parameters"), f"{path}.opaque.parameters", stored=stored)


def raw(errors: Errors, value: Any, path: str, *, stored: bool = False) -> None:
    """Check a value of any form, which has to be an object of moderate size."""
    if value is None:
        errors.required(path)
    elif not stored and len(msgspec.json.encode(value)) > _PARAMETERS_MAX_BYTES:
        errors.too_long(path, _PARAMETERS_MAX_BYTES)
    elif not isinstance(value, dict):
        errors.invalid(path, "<value omitted>", "must be a valid JSON object")


def toleration(errors: Errors, value: Object, path: str) -> None:
    """Check a toleration of a taint of devices."""
    key, operator, wanted = (value.get(field) or "" for field in ("key", "operator", "value"))
    if key:
        meta.label_name(errors, key, f"{path}.key")
    if operator == "Exists":
        if wanted:
            errors.invalid(f"{path}.value", wanted, "must be empty for operator `Exists`")
    elif operator == "Equal":
        errors.all_invalid(f"{path}.value", wanted, names.label_value(wanted))
    else:
        errors.one_of(f"{path}.operator", operator, ("Equal", "Exists"))
    if value.get("effect"):
        errors.one_of(f"{path}.effect", value["effect"], _EFFECTS)


def taint(errors: Errors, value: Object, path: str) -> None:
    """Check a taint of a device."""
    meta.label_name(errors, value.get("key") or "", f"{path}.key")
    text = value.get("value") or ""
    errors.all_invalid(f"{path}.value", text, names.label_value(text))
    errors.one_of(f"{path}.effect", value.get("effect"), _EFFECTS)


def binding_conditions(errors: Errors, owner: Object, path: str) -> None:
    """Check the conditions that a device waits for before its pod is bound, and those that end the waiting."""
    wanted, failing = (owner.get(field) or [] for field in ("bindingConditions", "bindingFailureConditions"))

    def check(errors: Errors, name: str, here: str) -> None:
        meta.label_name(errors, name, here)

    for field, values in (("bindingConditions", wanted), ("bindingFailureConditions", failing)):
        items(errors, values, _BINDING_CONDITIONS_MAX, check, f"{path}.{field}")
    for field, values in (("bindingConditions", wanted), ("bindingFailureConditions", failing)):
        for index, condition in enumerate(values):
            here = f"{path}.{field}[{index}]"
            if condition in values[:index]:
                errors.duplicate(here, condition)
            if values is failing and condition in wanted:
                errors.invalid(here, condition, "bindingFailureConditions must not overlap with bindingConditions")
    for field, values, other, others in (
        ("bindingConditions", wanted, "bindingFailureConditions", failing),
        ("bindingFailureConditions", failing, "bindingConditions", wanted),
    ):
        if others and not values:
            errors.invalid(f"{path}.{field}", values or None, f"{field} are required to use {other}")
