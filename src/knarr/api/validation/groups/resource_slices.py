"""Slices of devices: what drivers say that nodes have.

Source: k8s.io/kubernetes/pkg/apis/resource/validation/validation.go (v1.37).
"""

import re
from typing import Any

from knarr.api import amounts, names
from knarr.api.validation import scheduling
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable, is_equal
from knarr.api.validation.groups import devices

_DEVICES_MAX = 128
_DEVICES_MAX_ADVANCED = 64
_TAINTS_MAX = 16
_COUNTER_SETS_MAX = 8
_COUNTERS_MAX = 32
_CONSUMPTIONS_MAX = 2
_ENTRIES_MAX = 32
_VALUES_MAX = 48
_VALUE_MAX_BYTES = 64
_KEY_SHOWN = 63 + 1 + 32
_OPTIONS_MAX = 10
_SCALARS = ("bool", "int", "string", "version")
_LISTS = ("bools", "ints", "strings", "versions")
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)
_ONE_PLACE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_ONE_PLACE_EACH = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required "
    "when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
)
_NOT_TRUE = "must be either unset or set to true"


def create(errors: Errors, obj: Object) -> None:
    """Check a new ResourceSlice."""
    _spec(errors, obj.get("spec") or {}, None)


def update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of a ResourceSlice, which stays with its driver, pool and node."""
    _spec(errors, obj.get("spec") or {}, old.get("spec") or {})


def _spec(errors: Errors, spec: Object, old: Object | None) -> None:
    pool = spec.get("pool") or {}
    devices.driver(errors, spec.get("driver") or "", "spec.driver")
    devices.pool(errors, pool.get("name") or "", "spec.pool.name")
    if (pool.get("resourceSliceCount") or 0) <= 0:
        words = "must be greater than zero"
        errors.invalid("spec.pool.resourceSliceCount", pool.get("resourceSliceCount") or 0, words)
    if (pool.get("generation") or 0) < 0:
        errors.invalid("spec.pool.generation", pool["generation"], "must be greater than or equal to zero")
    if old is not None:
        immutable(errors, "spec.pool.name", pool.get("name"), (old.get("pool") or {}).get("name"))
        immutable(errors, "spec.driver", spec.get("driver"), old.get("driver"))
        immutable(errors, "spec.nodeName", spec.get("nodeName"), old.get("nodeName"))
    _place(errors, spec)
    if spec.get("sharedCounters") is not None and spec.get("devices") is not None:
        errors.invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed")
    known = {one.get("name"): one for one in (old or {}).get("devices") or ()}

    def device(errors: Errors, value: Object, here: str) -> None:
        _device(errors, value, known.get(value.get("name")), here, per_device=bool(spec.get("perDeviceNodeSelection")))

    listed = spec.get("devices") or []
    limit = _DEVICES_MAX_ADVANCED if any(map(_is_advanced, listed)) else _DEVICES_MAX
    devices.distinct_items(errors, listed, limit, device, "spec.devices", key=_name)
    counters = spec.get("sharedCounters")
    devices.distinct_items(errors, counters, _COUNTER_SETS_MAX, _counter_set, "spec.sharedCounters", key=_name)


def _place(errors: Errors, spec: Object) -> None:
    given = []
    node, selector = spec.get("nodeName"), spec.get("nodeSelector")
    if node is not None:
        if node:
            given.append("`nodeName`")
            errors.all_invalid("spec.nodeName", node, names.dns_subdomain(node))
        else:
            errors.invalid("spec.nodeName", node, "must be either unset or set to a non-empty string")
    if selector is not None:
        given.append("`nodeSelector`")
        scheduling.node_selector(errors, selector, "spec.nodeSelector")
        terms = selector.get("nodeSelectorTerms") or []
        if len(terms) != 1:
            path = "spec.nodeSelector.nodeSelectorTerms"
            errors.invalid(path, terms or None, "must have exactly one node selector term")
    for field in ("allNodes", "perDeviceNodeSelection"):
        if spec.get(field):
            given.append(f"`{field}`")
        elif spec.get(field) is not None:
            errors.invalid(f"spec.{field}", False, _NOT_TRUE)
    if not given:
        errors.required("spec", _ONE_PLACE)
    elif len(given) > 1:
        errors.invalid("spec", f"{{{', '.join(given)}}}", f"{_ONE_PLACE}, but multiple fields are set")


def _is_advanced(device: Object) -> bool:
    if device.get("taints") or device.get("consumesCounters"):
        return True
    attributes = (device.get("attributes") or {}).values()
    return any(attribute.get(field) is not None for attribute in attributes for field in _LISTS)


def _device(errors: Errors, device: Object, old: Object | None, path: str, *, per_device: bool) -> None:
    devices.label(errors, _name(device), f"{path}.name")
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    if len(attributes) + len(capacity) > _ENTRIES_MAX:
        words = f"the total number of attributes and capacities must not exceed {_ENTRIES_MAX}"
        errors.invalid(path, len(attributes) + len(capacity), words)
    values = sum(max(1, sum(len(one.get(field) or ()) for field in _LISTS)) for one in attributes.values())
    if values > _VALUES_MAX:
        errors.invalid(path, values, f"the total number of attribute values must not exceed {_VALUES_MAX}")
    here = f"{path}.attributes"
    devices.entries(errors, attributes, devices.qualified_name, _attribute, here, limit=-1, shown=_KEY_SHOWN)
    if old is None or not is_equal(old.get("capacity"), device.get("capacity")):
        check = _shared_capacity if device.get("allowMultipleAllocations") else _whole_capacity
        here = f"{path}.capacity"
        devices.entries(errors, capacity, devices.qualified_name, check, here, limit=-1, shown=_KEY_SHOWN)
    if old is None or not is_equal(old.get("taints"), device.get("taints")):
        devices.items(errors, device.get("taints"), _TAINTS_MAX, devices.taint, f"{path}.taints")
    devices.distinct_items(
        errors,
        device.get("consumesCounters"),
        _CONSUMPTIONS_MAX,
        _consumption,
        f"{path}.consumesCounters",
        key=lambda one: one.get("counterSet") or "",
    )
    _device_place(errors, device, path, per_device=per_device)
    devices.binding_conditions(errors, device, path)


def _device_place(errors: Errors, device: Object, path: str, *, per_device: bool) -> None:
    fields = ("nodeName", "nodeSelector", "allNodes")
    if not per_device:
        if any(device.get(field) is not None for field in fields):
            words = (
                "`nodeName`, `nodeSelector` and `allNodes` can only be set "
                "if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
            )
            errors.invalid(path, None, words)
        return
    given = [f"`{field}`" for field in fields if device.get(field)]
    node = device.get("nodeName")
    if node:
        errors.all_invalid(f"{path}.nodeName", node, names.dns_subdomain(node))
    elif node is not None:
        errors.invalid(f"{path}.nodeName", node, "must not be empty")
    if device.get("nodeSelector") is not None:
        scheduling.node_selector(errors, device["nodeSelector"], f"{path}.nodeSelector")
    if device.get("allNodes") is False:
        errors.invalid(f"{path}.allNodes", False, _NOT_TRUE)
    if not given:
        errors.required(path, _ONE_PLACE_EACH)
    elif len(given) > 1:
        errors.invalid(path, f"{{{', '.join(given)}}}", _ONE_PLACE_EACH)


def _attribute(errors: Errors, attribute: Object, path: str) -> None:
    given = [field for field in (*_SCALARS, *_LISTS) if attribute.get(field) is not None]
    for field in given:
        value, here = attribute[field], f"{path}.{field}"
        check = {"s": _text, "v": _version}.get(field[0])
        if field in _LISTS:
            if not value:
                errors.invalid(here, value, "must not be empty if specified")
            for index, item in enumerate(value if check is not None else ()):
                check(errors, item, f"{here}[{index}]")  # type: ignore[misc]
        elif check is not None:
            check(errors, value, here)
    if len(given) != 1:
        errors.invalid(path, attribute if given else "", "exactly one value must be specified")


def _text(errors: Errors, value: str, path: str) -> None:
    if len(value.encode()) > _VALUE_MAX_BYTES:
        errors.too_long(path, _VALUE_MAX_BYTES)


def _version(errors: Errors, value: str, path: str) -> None:
    if not _SEMVER.fullmatch(value):
        errors.invalid(path, value, "must be a string compatible with semver.org spec 2.0.0")
    _text(errors, value, path)


def _whole_capacity(errors: Errors, capacity: Object, path: str) -> None:
    if capacity.get("requestPolicy") is not None:
        errors.forbidden(f"{path}.requestPolicy", "allowMultipleAllocations must be true")


def _shared_capacity(errors: Errors, capacity: Object, path: str) -> None:
    policy, path = capacity.get("requestPolicy"), f"{path}.requestPolicy"
    if policy is None:
        return
    values, limits, default = policy.get("validValues") or [], policy.get("validRange"), policy.get("default")
    if values and limits is not None:
        words = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        errors.forbidden(path, words)
        return
    field = "validValues" if values else "validRange"
    if (values or limits is not None) and default is None:
        errors.required(f"{path}.default", f"required when {field} is defined")
    elif values:
        _options(errors, values, default, capacity.get("value") or "0", f"{path}.validValues")
    elif limits is not None:
        _range(errors, limits, default, capacity.get("value") or "0", f"{path}.validRange")


def _options(errors: Errors, values: list[Any], default: Any, most: Any, path: str) -> None:
    sizes = [amounts.nanos(value) for value in values]
    for index in range(1, len(sizes)):
        if sizes[index - 1] > sizes[index]:
            errors.invalid(f"{path}[{index}]", values[index], "values must be sorted in ascending order")

    def option(errors: Errors, value: Any, here: str) -> None:
        if amounts.nanos(value) > amounts.nanos(most):
            errors.invalid(here, value, f"option is larger than capacity value: {most}")

    devices.distinct_items(errors, values, _OPTIONS_MAX, option, path, key=_shown_amount)
    if len(values) <= _OPTIONS_MAX and amounts.nanos(default) not in sizes:
        errors.invalid(path, default, "default value is not valid according to the requestPolicy")


def _shown_amount(value: Any) -> str:
    return amounts.format_like(amounts.nanos(value), "1")


def _range(errors: Errors, limits: Object, default: Any, most: Any, path: str) -> None:
    low, high, step = (limits.get(field) for field in ("min", "max", "step"))
    if low is None:
        errors.required(f"{path}.min", "required when validRange is defined")
        return
    at, least = amounts.nanos(default), amounts.nanos(low)
    if least > amounts.nanos(most):
        errors.invalid(f"{path}.min", low, f"min is larger than capacity value: {most}")
    if at < least:
        errors.invalid(f"{path}.default", default, f"default is less than min: {low}")
    if high is not None:
        if least > amounts.nanos(high):
            errors.invalid(f"{path}.max", low, f"min is larger than max: {high}")
        if amounts.nanos(high) > amounts.nanos(most):
            errors.invalid(f"{path}.max", high, f"max is larger than capacity value: {most}")
        if at > amounts.nanos(high):
            errors.invalid(f"{path}.default", default, f"default is more than max: {high}")
    if step is not None:
        _step(errors, step, low, (default, high), most, f"{path}.step")


def _step(errors: Errors, step: Any, low: Any, ends: tuple[Any, Any], most: Any, path: str) -> None:
    size, least = amounts.nanos(step), amounts.nanos(low)
    if size <= 0:
        errors.invalid(path, step, "must be greater than zero")
        return
    if least + size > amounts.nanos(most):
        added = amounts.format_like(least + size, str(low))
        errors.invalid(path, step, f"one step {added} is larger than capacity value: {most}")
    for value in ends:
        if value is not None and (amounts.nanos(value) - least) % size:
            errors.invalid(path, value, f"value is not a multiple of a given step ({step}) from ({low})")


def _counter_set(errors: Errors, counters: Object, path: str) -> None:
    _counters(errors, counters, "name", path)


def _consumption(errors: Errors, consumption: Object, path: str) -> None:
    _counters(errors, consumption, "counterSet", path)


def _counters(errors: Errors, owner: Object, field: str, path: str) -> None:
    if owner.get(field):
        devices.label(errors, owner[field], f"{path}.{field}")
    else:
        errors.required(f"{path}.{field}")
    here = f"{path}.counters"
    if owner.get("counters"):
        limit = _COUNTERS_MAX
        devices.entries(errors, owner["counters"], devices.label, _nothing, here, limit=limit, shown=63)
    else:
        errors.required(here)


def _nothing(_errors: Errors, _value: Any, _path: str) -> None:
    """Any quantity is a counter."""


def _name(value: Object) -> str:
    return value.get("name") or ""
