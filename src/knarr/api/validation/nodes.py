"""Nodes.

Source: ValidateNode and ValidateNodeUpdate in k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

from knarr.api import names
from knarr.api.validation import addresses, resources, scheduling
from knarr.api.validation.collector import Errors, Object

_ONCE = 'node updates may not change {} except from "" to valid'
_SOURCE_FIELDS = ("namespace", "name", "kubeletConfigKey")


def create(errors: Errors, obj: Object) -> None:
    """Check a new node."""
    spec = obj.get("spec") or {}
    scheduling.taints(errors, spec.get("taints") or (), "metadata.taints")
    _amounts(errors, obj)
    blocks = spec.get("podCIDRs") or []
    path = "spec.podCIDRs"
    for index, block in enumerate(blocks):
        addresses.check_block(errors, block, f"{path}[{index}]")
    if len(blocks) > 1:
        addresses.check_one_per_family(errors, blocks, path, "CIDR", blocks)
        for index, block in enumerate(blocks):
            if block in blocks[:index]:
                errors.duplicate(f"{path}[{index}]", block)


def _amounts(errors: Errors, obj: Object) -> None:
    status = obj.get("status") or {}
    for field in ("capacity", "allocatable"):
        for name, value in (status.get(field) or {}).items():
            resources.amount(errors, name, value, f"status.{field}.{name}")


def update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of a node or of its status."""
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    _amounts(errors, obj)
    seen: list[Object] = []
    for index, address in enumerate((obj.get("status") or {}).get("addresses") or ()):
        if address in seen:
            shown = {"Type": address.get("type") or "", "Address": address.get("address") or ""}
            errors.duplicate(f"status.addresses[{index}]", shown)
        seen.append(address)
    if before.get("podCIDRs") and before["podCIDRs"] != spec.get("podCIDRs"):
        errors.forbidden("spec.podCIDRs", _ONCE.format("podCIDR"))
    if before.get("providerID") and before["providerID"] != spec.get("providerID"):
        errors.forbidden("spec.providerID", _ONCE.format("providerID"))
    if spec.get("configSource") is not None:
        _config_source(errors, spec["configSource"], "spec.configSource")
    scheduling.taints(errors, spec.get("taints") or (), "metadata.taints")
    if (spec.get("externalID") or "") != (before.get("externalID") or ""):
        errors.forbidden("spec.externalID", "may not be updated")


def _config_source(errors: Errors, source: Object, path: str) -> None:
    reference = source.get("configMap")
    if reference is None:
        errors.invalid(path, source, "exactly one reference subfield must be non-nil")
        return
    here = f"{path}.configMap"
    for field in ("uid", "resourceVersion"):
        if reference.get(field):
            errors.forbidden(f"{here}.{field}", f"{field} must not be set in spec")
    rules = (names.dns_label, names.dns_subdomain, names.config_map_key)
    for field, rule in zip(_SOURCE_FIELDS, rules, strict=True):
        value = reference.get(field) or ""
        if value:
            errors.all_invalid(f"{here}.{field}", value, rule(value))
        else:
            errors.required(f"{here}.{field}", f"{field} must be set")
