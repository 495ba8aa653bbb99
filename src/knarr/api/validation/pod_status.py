"""Changes of a pod's status.

Source: ValidatePodStatusUpdate in k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

from collections.abc import Sequence

from knarr.api import names
from knarr.api.validation import addresses, containers, pods
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable

_SYSTEM_CONDITIONS = {"PodScheduled", "Ready", "Initialized"}
_HEALTH = ("Healthy", "Unhealthy", "Unknown")


def update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change through `/status`."""
    spec, before, status, was = (one.get(part) or {} for part in ("spec", "status") for one in (obj, old))
    pods.annotation_changes(errors, obj, old)
    for index, condition in enumerate(status.get("conditions") or ()):
        kind = condition.get("type") or ""
        if kind not in _SYSTEM_CONDITIONS:
            errors.all_invalid(f"metadata.conditions[{index}].Type", kind, names.qualified_name(kind))
    if spec.get("nodeName") != before.get("nodeName"):
        errors.forbidden("status.nodeName", "may not be changed directly")
    nominated = status.get("nominatedNodeName")
    if nominated and nominated != was.get("nominatedNodeName"):
        errors.all_invalid("status.nominatedNodeName", nominated, names.dns_subdomain(nominated))
    immutable(errors, "status.qosClass", status.get("qosClass"), was.get("qosClass"))
    policy = before.get("restartPolicy") or "Always"
    overrides = {
        one.get("name") or "": one for one in (*_listed(before, "containers"), *_listed(before, "initContainers"))
    }
    for kind, default in (
        ("containerStatuses", policy),
        ("initContainerStatuses", policy),
        ("ephemeralContainerStatuses", "Never"),
    ):
        _transitions(errors, status.get(kind) or (), was.get(kind) or (), default, overrides, f"status.{kind}")
    _claims(errors, status, spec)
    _ips(errors, status, "podIPs")
    _ips(errors, status, "hostIPs")
    hosts = status.get("hostIPs") or ()
    if hosts and (status.get("hostIP") or "") != hosts[0].get("ip"):
        errors.invalid("status.hostIPs[0].ip", hosts[0].get("ip") or "", "must be equal to `hostIP`")
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        _allocated(errors, status, spec, kind)


def _listed(spec: Object, kind: str) -> Sequence[Object]:
    return spec.get(kind) or ()


def _transitions(
    errors: Errors,
    statuses: Sequence[Object],
    old: Sequence[Object],
    policy: str,
    overrides: dict[str, Object],
    path: str,
) -> None:
    if policy == "Always":
        return
    now = {status.get("name"): status for status in statuses}
    for index, was in enumerate(old):
        terminated = (was.get("state") or {}).get("terminated")
        if terminated is None or was.get("name") not in now:
            continue
        container = overrides.get(was.get("name") or "") or {}
        own = container.get("restartPolicy") or policy
        if containers.is_sidecar(container) or container.get("restartPolicyRules") or own == "Always":
            continue
        if terminated.get("exitCode") and own == "OnFailure":
            continue
        if (now[was.get("name")].get("state") or {}).get("terminated") is None:
            errors.forbidden(f"{path}[{index}].state", "may not be transitioned to non-terminated state")


def _claims(errors: Errors, status: Object, spec: Object) -> None:
    known = {claim.get("name") for claim in spec.get("resourceClaims") or ()}
    seen = set()
    for index, claim in enumerate(status.get("resourceClaimStatuses") or ()):
        here, name = f"status.resourceClaimStatuses[{index}].name", claim.get("name") or ""
        if name not in known:
            errors.invalid(here, name, "must match the name of an entry in `spec.resourceClaims`")
        if name in seen:
            errors.duplicate(here, name)
        seen.add(name)
        if claim.get("resourceClaimName") is not None:
            errors.all_invalid(here, claim["resourceClaimName"], names.dns_subdomain(claim["resourceClaimName"]))


def _ips(errors: Errors, status: Object, field: str) -> None:
    listed = status.get(field) or []
    path = f"status.{field}"
    texts = [one.get("ip") or "" for one in listed]
    for index, text in enumerate(texts):
        addresses.check(errors, text, f"{path}[{index}]")
    if len(texts) > 1:
        addresses.check_one_per_family(errors, texts, path, "IP", listed)
        for index, text in enumerate(texts):
            if text in texts[:index]:
                errors.duplicate(f"{path}[{index}]", {"IP": text})


def _allocated(errors: Errors, status: Object, spec: Object, kind: str) -> None:
    field = f"{kind[:-1]}Statuses"
    named = {container.get("name"): container for container in _listed(spec, kind)}
    for index, one in enumerate(status.get(field) or ()):
        listed = one.get("allocatedResourcesStatus") or ()
        path = f"status.{field}[{index}].allocatedResourcesStatus"
        if kind == "ephemeralContainers":
            if listed:
                errors.forbidden(path, "must not be specified in container status")
            continue
        for position, allocated in enumerate(listed):
            container = named.get(one.get("name"))
            if container is not None:
                _allocated_name(errors, allocated.get("name") or "", container, f"{path}[{position}].name")
            seen = set()
            for number, resource in enumerate(allocated.get("resources") or ()):
                here = f"{path}[{position}].resources[{number}]"
                errors.one_of(f"{here}.health", resource.get("health"), _HEALTH, required=False)
                if resource.get("resourceID") in seen:
                    errors.duplicate(f"{here}.resourceID", resource.get("resourceID"))
                seen.add(resource.get("resourceID"))


def _allocated_name(errors: Errors, name: str, container: Object, path: str) -> None:
    wanted = container.get("resources") or {}
    if not name.startswith("claim:"):
        if name not in (wanted.get("requests") or {}):
            errors.invalid(path, name, "must match one of the container's resource requests")
        return
    claims = wanted.get("claims") or ()
    known = {f"claim:{one.get('name')}" + (f"/{one['request']}" if one.get("request") else "") for one in claims}
    if name not in known:
        words = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>'"
        errors.invalid(path, name, f"{words} or 'claim:<claimName>' if request is empty")
