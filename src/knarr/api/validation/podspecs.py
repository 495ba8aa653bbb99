"""Pod specs, in pods and in the templates of workloads.

Source: ValidatePodSpec and ValidatePodTemplateSpec in k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from knarr.api import amounts, names
from knarr.api.validation import addresses, containers, meta, resources, scheduling, security, volumes, windows
from knarr.api.validation.collector import Errors, Object

MIRROR = "kubernetes.io/config.mirror"
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_INT32_MAX = (1 << 31) - 1
_NAMESERVERS = 3
_SEARCH_PATHS = 32
_SEARCH_CHARS = 2048
_HOSTNAME_MAX = 64
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_OS_NAMES = ("linux", "windows")
_KINDS = ("initContainers", "containers", "ephemeralContainers")


def pod_template(errors: Errors, template: Object, path: str) -> None:
    """Check the template of a workload's pods.

    Args:
        errors: Receives what is wrong.
        template: metadata and spec.
        path: Its field, such as "spec.template".
    """
    about, spec = template.get("metadata") or {}, template.get("spec") or {}
    notes = about.get("annotations") or {}
    meta.labels(errors, about.get("labels"), f"{path}.labels")
    meta.annotations(errors, notes, f"{path}.annotations")
    annotations(errors, notes, spec, f"{path}.annotations")
    check(errors, spec, f"{path}.spec")
    security.agreement(errors, notes, spec, all_containers(spec, f"{path}.spec"), f"{path}.spec")
    if spec.get("ephemeralContainers"):
        words = "ephemeral containers not allowed in pod template"
        errors.forbidden(f"{path}.spec.ephemeralContainers", words)


def all_containers(spec: Object, path: str) -> list[tuple[str, Object]]:
    """List the containers of every sort, each with its field."""
    return [
        (f"{path}.{kind}[{index}]", container)
        for kind in _KINDS
        for index, container in enumerate(spec.get(kind) or ())
    ]


def annotations(errors: Errors, notes: Mapping[str, str], spec: Object, path: str) -> None:
    """Check the annotations that mean something to pods."""
    if MIRROR in notes and not spec.get("nodeName"):
        words = "must set spec.nodeName if mirror pod annotation is set"
        errors.invalid(f"{path}[{MIRROR}]", notes[MIRROR], words)
    cost = notes.get(_DELETION_COST)
    if cost is not None and not _is_int32(cost):
        errors.invalid(f"{path}[{_DELETION_COST}]", cost, "must be a 32bit integer")
    if notes:
        named = {container.get("name") or "" for _, container in all_containers(spec, "")}
        security.annotations(errors, dict(notes), named, path)


def _is_int32(text: str) -> bool:
    return re.fullmatch("0|-?[1-9][0-9]*", text) is not None and -_INT32_MAX - 1 <= int(text) <= _INT32_MAX


def check(errors: Errors, spec: Object, path: str, *, pod_name: str = "", is_pod: bool = False) -> None:
    """Check a pod spec.

    Args:
        errors: Receives what is wrong.
        spec: The spec, with its defaults.
        path: Its field.
        pod_name: The pod's name; "" in a template.
        is_pod: Whether this is a pod and no template.
    """
    get = spec.get
    grace = get("terminationGracePeriodSeconds")
    if grace is None:
        errors.required(f"{path}.terminationGracePeriodSeconds")
    valid = volumes.check(errors, get("volumes") or (), pod_name, f"{path}.volumes", is_pod=is_pod)
    claimed = {claim["name"] for claim in get("resourceClaims") or () if claim.get("name")}
    if claimed or get("resourceClaims"):
        _resource_claims(errors, spec["resourceClaims"], f"{path}.resourceClaims")
    around = containers.Surroundings(
        volumes=valid,
        claims=claimed,
        grace_s=grace,
        restart_policy=get("restartPolicy") or "",
        is_host_user=get("hostUsers") is not False,
        os=(get("os") or {}).get("name") or "",
    )
    _containers(errors, spec, around, path)
    if get("resources") is not None:
        _pod_resources(errors, spec, f"{path}.resources")
    if get("hostNetwork"):
        _host_network(errors, spec, path, is_pod=is_pod)
    errors.one_of(f"{path}.restartPolicy", get("restartPolicy"), containers.RESTART_POLICIES)
    errors.one_of(f"{path}.dnsPolicy", get("dnsPolicy"), _DNS_POLICIES)
    meta.labels(errors, get("nodeSelector"), f"{path}.nodeSelector")
    if get("securityContext"):
        security.of_pod(errors, spec, f"{path}.securityContext")
    _optional(errors, spec, path)
    windows.host_process(errors, spec, all_containers(spec, path), path)
    if get("hostUsers") is False:
        for field, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
            if get(field):
                errors.forbidden(f"{path}.{shown}", "when `pod.Spec.HostUsers` is false")
    _names(errors, spec, path)
    if get("os") is not None:
        _os(errors, spec, path)


def _containers(errors: Errors, spec: Object, around: containers.Surroundings, path: str) -> None:
    regular, init = spec.get("containers") or (), spec.get("initContainers") or ()
    containers.regular(errors, regular, around, f"{path}.containers")
    if init:
        containers.init(errors, init, regular, around, f"{path}.initContainers")
    ephemeral = spec.get("ephemeralContainers")
    if ephemeral:
        containers.ephemeral(errors, ephemeral, [*regular, *init], around, f"{path}.ephemeralContainers")


def _optional(errors: Errors, spec: Object, path: str) -> None:
    if spec.get("dnsPolicy") == "None" or spec.get("dnsConfig"):
        _dns(errors, spec, f"{path}.dnsConfig")
    for field, rule in _PARTS.items():
        value = spec.get(field)
        if value:
            rule(errors, value, f"{path}.{field}")


def _names(errors: Errors, spec: Object, path: str) -> None:
    for field, rule in _NAMED.items():
        value = spec.get(field)
        if value:
            complaints = rule(value)
            if complaints:
                errors.all_invalid(f"{path}.{field}", value, complaints)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _INT32_MAX:
        errors.invalid(f"{path}.activeDeadlineSeconds", deadline, names.format_range(1, _INT32_MAX))
    policy = spec.get("preemptionPolicy")
    if policy is not None:
        errors.one_of(f"{path}.preemptionPolicy", policy, ("PreemptLowerPriority", "Never"))
    override = spec.get("hostnameOverride")
    if override is not None:
        _hostname_override(errors, spec, override, path)


def _hostname_override(errors: Errors, spec: Object, value: str, path: str) -> None:
    here = f"{path}.hostnameOverride"
    if spec.get("setHostnameAsFQDN"):
        errors.forbidden(here, "may not be specified when setHostnameAsFQDN is true")
    if spec.get("hostNetwork"):
        errors.forbidden(here, "may not be specified when hostNetwork is true")
    if len(value.encode()) > _HOSTNAME_MAX:
        errors.too_long(here, _HOSTNAME_MAX)
    errors.all_invalid(here, value, names.dns_subdomain(value))


def _resource_claims(errors: Errors, claims: list[Object], path: str) -> None:
    seen = set()
    for index, claim in enumerate(claims):
        here, name = f"{path}[{index}]", claim.get("name") or ""
        if not name:
            errors.required(f"{here}.name")
        elif name in seen:
            errors.duplicate(f"{here}.name", name)
        else:
            errors.all_invalid(f"{here}.name", name, names.dns_label(name))
            seen.add(name)
        given = [field for field in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(field) is not None]
        if len(given) > 1:
            words = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            errors.invalid(here, claim, words)
        if not given:
            errors.invalid(here, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")
        for field in given:
            errors.all_invalid(f"{here}.{field}", claim[field], names.dns_subdomain(claim[field]))


def _pod_resources(errors: Errors, spec: Object, path: str) -> None:
    own = spec["resources"]
    if own.get("claims"):
        errors.forbidden(f"{path}.claims", "claims cannot be set for Resources at pod-level")
    resources.pod_requirements(errors, own, path)
    requests, limits = own.get("requests") or {}, own.get("limits") or {}
    for name, (total, shown) in _total_requests(spec).items():
        if name in {"cpu", "memory"} or resources.is_huge_page(name):
            mine = requests.get(name, "0")
            if total > amounts.nanos(mine):
                words = f"must be greater than or equal to aggregate container requests of {shown}"
                errors.invalid(f"{path}.requests[{name}]", mine, words)
    for index, container in enumerate(spec.get("containers") or ()):
        for name, limit in ((container.get("resources") or {}).get("limits") or {}).items():
            if name in limits and amounts.nanos(limit) > amounts.nanos(limits[name]):
                words = f"must be less than or equal to pod limits of {limits[name]}"
                errors.invalid(f"{path}.containers[{index}][{name}].limits", limit, words)


def _total_requests(spec: Object) -> dict[str, tuple[int, str]]:
    # Regular containers and sidecars run side by side; an init container beside the sidecars before it.
    totals: dict[str, int] = {}
    samples: dict[str, str] = {}
    sidecars: dict[str, int] = {}
    peaks: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        for name, amount in _requests(container).items():
            samples.setdefault(name, str(amount))
            if containers.is_sidecar(container):
                sidecars[name] = sidecars.get(name, 0) + amounts.nanos(amount)
            peak = sidecars.get(name, 0) + (0 if containers.is_sidecar(container) else amounts.nanos(amount))
            peaks[name] = max(peaks.get(name, 0), peak)
    for container in spec.get("containers") or ():
        for name, amount in _requests(container).items():
            samples.setdefault(name, str(amount))
            totals[name] = totals.get(name, 0) + amounts.nanos(amount)
    for name in samples:
        totals[name] = max(totals.get(name, 0) + sidecars.get(name, 0), peaks.get(name, 0))
    return {name: (total, amounts.format_like(total, samples[name])) for name, total in totals.items()}


def _requests(container: Object) -> dict[str, Any]:
    return (container.get("resources") or {}).get("requests") or {}


def _host_network(errors: Errors, spec: Object, path: str, *, is_pod: bool) -> None:
    for index, container in enumerate(spec.get("containers") or ()):
        for position, port in enumerate(container.get("ports") or ()):
            on_host = port.get("hostPort") or 0
            if (is_pod or on_host) and on_host != port.get("containerPort"):
                here = f"{path}.containers[{index}].ports[{position}].hostPort"
                errors.invalid(here, on_host, "must match `containerPort` when `hostNetwork` is true")


def _dns(errors: Errors, spec: Object, path: str) -> None:
    config = spec.get("dnsConfig")
    servers = (config or {}).get("nameservers") or []
    if spec.get("dnsPolicy") == "None":
        if config is None:
            errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
            return
        if not servers:
            words = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            errors.required(f"{path}.nameservers", words)
            return
    config = config or {}
    if len(servers) > _NAMESERVERS:
        errors.invalid(f"{path}.nameservers", servers, f"must not have more than {_NAMESERVERS} nameservers")
    for index, server in enumerate(servers):
        addresses.check(errors, server, f"{path}.nameservers[{index}]")
    searches = config.get("searches") or []
    if len(searches) > _SEARCH_PATHS:
        errors.invalid(f"{path}.searches", searches, f"must not have more than {_SEARCH_PATHS} search paths")
    if len(" ".join(searches)) > _SEARCH_CHARS:
        words = f"must not have more than {_SEARCH_CHARS} characters (including spaces) in the search list"
        errors.invalid(f"{path}.searches", searches, words)
    for index, search in enumerate(searches):
        if search != ".":
            domain = search.removesuffix(".")
            errors.all_invalid(f"{path}.searches[{index}]", domain, names.dns_subdomain_with_underscore(domain))
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            errors.required(f"{path}.options[{index}]", "must not be empty")


def _gates(errors: Errors, gates: list[Object], path: str) -> None:
    seen = set()
    for index, gate in enumerate(gates):
        name = gate.get("name") or ""
        errors.all_invalid(f"{path}[{index}]", name, names.qualified_name(name))
        if name in seen:
            errors.duplicate(f"{path}[{index}]", name)
        seen.add(name)


def _readiness(errors: Errors, gates: list[Object], path: str) -> None:
    for index, gate in enumerate(gates):
        kind = gate.get("conditionType") or ""
        errors.all_invalid(f"{path}[{index}].conditionType", kind, names.qualified_name(kind))


def _host_aliases(errors: Errors, aliases: list[Object], path: str) -> None:
    for index, alias in enumerate(aliases):
        addresses.check(errors, alias.get("ip") or "", f"{path}[{index}].ip")
        for position, name in enumerate(alias.get("hostnames") or ()):
            errors.all_invalid(f"{path}[{index}].hostnames[{position}]", name, names.dns_subdomain(name))


def _overhead(errors: Errors, amounts_of: Object, path: str) -> None:
    resources.container_requirements(errors, {"limits": amounts_of}, set(), path)


def _scheduling_group(errors: Errors, group: Object, path: str) -> None:
    name = group.get("podGroupName")
    if not name:
        errors.required(f"{path}.podGroupName")
    else:
        errors.all_invalid(f"{path}.podGroupName", name, names.dns_subdomain(name))


def _os(errors: Errors, spec: Object, path: str) -> None:
    name = spec["os"].get("name") or ""
    if not name:
        errors.required(f"{path}.os.name", "cannot be empty")
    elif name not in _OS_NAMES:
        errors.unsupported(f"{path}.os", name, _OS_NAMES)
    elif name == "linux":
        windows.for_linux(errors, spec, all_containers(spec, path), path)
    else:
        windows.for_windows(errors, spec, all_containers(spec, path), path)


_PARTS: dict[str, Callable[[Errors, Any, str], None]] = {
    "affinity": scheduling.affinity,
    "readinessGates": _readiness,
    "schedulingGates": _gates,
    "topologySpreadConstraints": scheduling.spread_constraints,
    "tolerations": scheduling.tolerations,
    "hostAliases": _host_aliases,
    "overhead": _overhead,
    "schedulingGroup": _scheduling_group,
}
_NAMED: dict[str, Callable[[str], names.Complaints]] = {
    "serviceAccountName": names.dns_subdomain,
    "nodeName": names.dns_subdomain,
    "hostname": names.dns_label,
    "subdomain": names.dns_label,
    "priorityClassName": names.dns_subdomain,
    "runtimeClassName": names.dns_subdomain,
}
