"""Claims of devices, their templates, and classes of devices.

Source: k8s.io/kubernetes/pkg/apis/resource/validation/validation.go (v1.37).
"""

from collections.abc import Mapping
from typing import Any

from knarr.api import names
from knarr.api.validation import addresses, meta, scheduling
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable, is_equal
from knarr.api.validation.groups import devices, resource_slices
from knarr.api.validation.resources import is_extended
from knarr.api.validation.rules import Rules

GROUP = "resource.k8s.io"
_REQUESTS_MAX = 32
_ALTERNATIVES_MAX = 8
_CONSTRAINTS_MAX = 32
_RESULTS_MAX = 32
_RESERVED_MAX = 256
_CONDITIONS_MAX = 8
_IPS_MAX = 16
_INTERFACE_MAX_BYTES = 256
_HARDWARE_MAX_BYTES = 128
_BAD_REFERENCE = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"

Names = Mapping[str, set[str]]
"""The names of the requests of a claim, each with those of its alternatives."""


def claim(errors: Errors, obj: Object) -> None:
    """Check a ResourceClaim."""
    _device_claim(errors, _of(obj, "spec", "devices"), "spec.devices")


def _claim_update(errors: Errors, obj: Object, old: Object) -> None:
    immutable(errors, "spec", obj.get("spec"), old.get("spec"))


def template(errors: Errors, obj: Object) -> None:
    """Check a ResourceClaimTemplate."""
    meta.template_metadata(errors, _of(obj, "spec").get("metadata"), "spec.metadata")
    _device_claim(errors, _of(obj, "spec", "spec", "devices"), "spec.spec.devices")


def device_class(errors: Errors, obj: Object) -> None:
    """Check a DeviceClass."""
    _class_update(errors, obj, {})


def _class_update(errors: Errors, obj: Object, old: Object) -> None:
    spec, before = _of(obj, "spec"), _of(old, "spec")
    is_stored = {field: bool(old) and is_equal(spec.get(field), before.get(field)) for field in ("selectors", "config")}
    devices.selectors(errors, spec.get("selectors"), "spec.selectors", stored=is_stored["selectors"])

    def check(errors: Errors, config: Object, here: str) -> None:
        devices.configuration(errors, config, here, stored=is_stored["config"])

    devices.items(errors, spec.get("config"), devices.CONFIG_MAX, check, "spec.config")
    name = spec.get("extendedResourceName")
    if name is not None and not is_extended(name):
        errors.invalid("spec.extendedResourceName", name, "must be a valid extended resource name")


def _device_claim(errors: Errors, wanted: Object, path: str) -> None:
    known = _request_names(wanted)
    devices.distinct_items(errors, wanted.get("requests"), _REQUESTS_MAX, _request, f"{path}.requests", key=_name)

    def constraint(errors: Errors, value: Object, here: str) -> None:
        _references(errors, value, known, here)
        given = [field for field in ("matchAttribute", "distinctAttribute") if value.get(field) is not None]
        if given:
            devices.fully_qualified_name(errors, value[given[0]], f"{here}.{given[0]}")
        else:
            words = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
            errors.required(here, words)

    def config(errors: Errors, value: Object, here: str) -> None:
        _references(errors, value, known, here)
        devices.configuration(errors, value, here)

    devices.items(errors, wanted.get("constraints"), _CONSTRAINTS_MAX, constraint, f"{path}.constraints")
    devices.items(errors, wanted.get("config"), devices.CONFIG_MAX, config, f"{path}.config")


def _request(errors: Errors, request: Object, path: str) -> None:
    devices.label(errors, _name(request), f"{path}.name")
    exactly, alternatives = request.get("exactly"), request.get("firstAvailable")
    if exactly is not None and alternatives:
        words = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"
        errors.invalid(path, None, words)
    elif exactly is not None:
        _device_request(errors, exactly, f"{path}.exactly")
    elif alternatives:
        here = f"{path}.firstAvailable"
        devices.distinct_items(errors, alternatives, _ALTERNATIVES_MAX, _alternative, here, key=_name)
    else:
        errors.required(path, "exactly one of `exactly` or `firstAvailable` is required")


def _alternative(errors: Errors, request: Object, path: str) -> None:
    devices.label(errors, _name(request), f"{path}.name")
    _device_request(errors, request, path)


def _device_request(errors: Errors, request: Object, path: str) -> None:
    name, mode, count = request.get("deviceClassName") or "", request.get("allocationMode"), request.get("count") or 0
    if name:
        errors.all_invalid(f"{path}.deviceClassName", name, names.dns_subdomain(name))
    else:
        errors.required(f"{path}.deviceClassName")
    devices.selectors(errors, request.get("selectors"), f"{path}.selectors")
    if mode == "All":
        if count:
            errors.invalid(f"{path}.count", count, "must not be specified when allocationMode is 'All'")
    elif mode == "ExactCount":
        if count <= 0:
            errors.invalid(f"{path}.count", count, "must be greater than zero")
    else:
        errors.unsupported(f"{path}.allocationMode", mode or "", ("All", "ExactCount"))
    for index, toleration in enumerate(request.get("tolerations") or ()):
        devices.toleration(errors, toleration, f"{path}.tolerations[{index}]")


def _request_names(wanted: Object) -> Names:
    return {
        _name(request): {_name(one) for one in request.get("firstAvailable") or ()}
        for request in wanted.get("requests") or ()
    }


def _references(errors: Errors, owner: Object, known: Names, path: str) -> None:
    def check(errors: Errors, name: str, here: str) -> None:
        _reference(errors, name, known, here)

    devices.distinct_items(errors, owner.get("requests"), _REQUESTS_MAX, check, f"{path}.requests")


def _reference(errors: Errors, name: str, known: Names, path: str) -> None:
    parts = name.split("/")
    if len(parts) > 2:
        errors.invalid(path, name, _BAD_REFERENCE)
        return
    for part in parts:
        devices.label(errors, part, path)
    if parts[0] not in known or (len(parts) == 2 and parts[1] not in known[parts[0]]):
        errors.invalid(path, name, _BAD_REFERENCE)


def claim_status(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of a ResourceClaim's status: what was allocated stays, and who uses it needs an allocation."""
    status, before = _of(obj, "status"), _of(old, "status")
    reserved, allocation = status.get("reservedFor") or [], status.get("allocation")
    known = _request_names(_of(obj, "spec", "devices"))

    def uid(consumer: Object) -> str:
        return consumer.get("uid") or ""

    devices.distinct_items(errors, reserved, _RESERVED_MAX, _consumer, "status.reservedFor", key=uid)
    allocated = {_shared_id(one) for one in _of(allocation or {}, "devices").get("results") or ()}

    def device(errors: Errors, value: Object, here: str) -> None:
        _device_status(errors, value, allocated, here)

    devices.distinct_items(errors, status.get("devices"), -1, device, "status.devices", key=_shared_id)
    if reserved:
        if allocation is None:
            errors.forbidden("status.reservedFor", "may not be specified when `allocated` is not set")
        elif obj["metadata"].get("deletionTimestamp") and any(
            one not in (before.get("reservedFor") or ()) for one in reserved
        ):
            words = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
            errors.forbidden("status.reservedFor", words)
    if allocation is not None:
        if before.get("allocation") is not None:
            immutable(errors, "status.allocation", allocation, before["allocation"])
        else:
            _allocation(errors, allocation, known, "status.allocation")


def _consumer(errors: Errors, consumer: Object, path: str) -> None:
    for field in ("resource", "name", "uid"):
        if not consumer.get(field):
            errors.required(f"{path}.{field}")


def _allocation(errors: Errors, allocation: Object, known: Names, path: str) -> None:
    def result(errors: Errors, value: Object, here: str) -> None:
        _reference(errors, value.get("request") or "", known, f"{here}.request")
        _device_id(errors, value, here)
        devices.binding_conditions(errors, value, here)
        for index, toleration in enumerate(value.get("tolerations") or ()):
            devices.toleration(errors, toleration, f"{here}.tolerations[{index}]")

    def config(errors: Errors, value: Object, here: str) -> None:
        errors.one_of(f"{here}.source", value.get("source"), ("FromClaim", "FromClass"))
        _references(errors, value, known, here)
        devices.configuration(errors, value, here)

    of = _of(allocation, "devices")
    devices.items(errors, of.get("results"), _RESULTS_MAX, result, f"{path}.devices.results")
    devices.items(errors, of.get("config"), 2 * devices.CONFIG_MAX, config, f"{path}.devices.config")
    if allocation.get("nodeSelector") is not None:
        scheduling.node_selector(errors, allocation["nodeSelector"], f"{path}.nodeSelector")


def _device_id(errors: Errors, value: Object, path: str) -> None:
    devices.driver(errors, value.get("driver") or "", f"{path}.driver")
    devices.pool(errors, value.get("pool") or "", f"{path}.pool")
    devices.label(errors, value.get("device") or "", f"{path}.device")
    if value.get("shareID") is not None:
        devices.share_id(errors, value["shareID"], f"{path}.shareID")


def _device_status(errors: Errors, value: Object, allocated: set[str], path: str) -> None:
    _device_id(errors, value, path)
    if _shared_id(value) not in allocated:
        errors.invalid(path, _shared_id(value), "must be an allocated device in the claim")
    conditions = value.get("conditions") or []
    if len(conditions) > _CONDITIONS_MAX:
        errors.too_many(f"{path}.conditions", len(conditions), _CONDITIONS_MAX)
    meta.conditions(errors, conditions, f"{path}.conditions")
    if value.get("data") is not None:
        devices.raw(errors, value["data"], f"{path}.data")
    network = value.get("networkData") or {}
    for field, limit in (("interfaceName", _INTERFACE_MAX_BYTES), ("hardwareAddress", _HARDWARE_MAX_BYTES)):
        if len((network.get(field) or "").encode()) > limit:
            errors.too_long(f"{path}.networkData.{field}", limit)
    devices.distinct_items(errors, network.get("ips"), _IPS_MAX, addresses.check_interface, f"{path}.networkData.ips")


def _shared_id(value: Object) -> str:
    """Return the name of a device, or of a share of it, as Go prints it."""
    whole = "/".join(value.get(field) or "" for field in ("driver", "pool", "device"))
    return f"{whole}/{value['shareID']}" if value.get("shareID") is not None else whole


def _name(request: Object) -> str:
    return request.get("name") or ""


def _of(obj: Object, *fields: str) -> Object:
    found: Any = obj
    for field in fields:
        found = found.get(field) or {}
    return found  # type: ignore[no-any-return]


RULES: Mapping[tuple[str, str], Rules] = {
    (GROUP, "DeviceClass"): Rules(device_class, _class_update),
    (GROUP, "ResourceClaim"): Rules(claim, _claim_update, claim_status),
    (GROUP, "ResourceClaimTemplate"): Rules(template, _claim_update),
    (GROUP, "ResourceSlice"): Rules(resource_slices.create, resource_slices.update),
}
