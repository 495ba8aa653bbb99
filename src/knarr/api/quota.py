"""What objects use of a quota, and which quotas look at them.

Amounts are whole numbers of billionths (see `api.amounts`).

Source: pkg/quota/v1/evaluator/core and k8s.io/apiserver/pkg/quota/v1/generic (v1.37).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from knarr.api import amounts, podresources
from knarr.api.podresources import Amounts

ONE = amounts.NANOS
_COMPUTE = ("cpu", "memory")
_REQUIRED = frozenset(
    {"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"},
)
_LEGACY_COUNTS = frozenset(
    {"configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services"}
)
_DEVICES_SUFFIX = ".deviceclass.resource.k8s.io/devices"
_CLAIMS = "resourceclaims.resource.k8s.io"
_ALL_DEVICES = 32
"""Most devices that a request for all of them can get."""
_CLASS_SUFFIX = ".storageclass.storage.k8s.io/"
_FINISHED = ("Succeeded", "Failed")

Object = dict[str, Any]


def usage(resource: str, obj: Object, now: datetime) -> Amounts:
    """Return what one object uses.

    Args:
        resource: Its qualified name, such as "pods" or "deployments.apps".
        obj: The object.
        now: Pods whose time of grace is over use nothing but their place.
    """
    used: Amounts = {f"count/{resource}": ONE}
    if resource == "pods":
        if not _is_over(obj, now):
            used["pods"] = ONE
            used.update(_compute(podresources.requests(obj), podresources.limits(obj)))
    elif resource == "services":
        used.update(_service(obj))
    elif resource == "persistentvolumeclaims":
        used.update(_claim(obj))
    elif resource == _CLAIMS:
        used.update(_devices(obj))
    if resource in _LEGACY_COUNTS:
        used[resource] = ONE
    return used


def is_counted(resource: str, hard: str) -> bool:
    """Return whether objects of a resource can use what a quota limits under the name `hard`."""
    if hard == f"count/{resource}" or (hard == resource and (resource in _LEGACY_COUNTS or resource == "pods")):
        return True
    if resource == "pods":
        return (
            hard in _REQUIRED
            or hard in ("ephemeral-storage", "requests.ephemeral-storage", "limits.ephemeral-storage")
            or hard.startswith(("hugepages-", "requests.hugepages-"))
            or (hard.startswith("requests.") and "/" in hard)
        )
    if resource == "services":
        return hard in ("services.nodeports", "services.loadbalancers")
    if resource == "persistentvolumeclaims":
        return hard == "requests.storage" or _CLASS_SUFFIX in hard
    if resource == _CLAIMS:
        return hard.endswith(_DEVICES_SUFFIX)
    return False


def missing(pod: Object, hard: Iterable[str]) -> str:
    """Return what a pod must specify because a quota limits it, as upstream words it; empty if nothing."""
    required = _REQUIRED & set(hard)
    at_pod_level = _names_of(pod["spec"])
    lacking: dict[str, set[str]] = {}
    for kind in ("containers", "initContainers"):
        for container in pod["spec"].get(kind) or ():
            for name in required - _names_of(container) - at_pod_level:
                lacking.setdefault(name, set()).add(container["name"])
    if not lacking:
        return ""
    words = (f"{name} for: {','.join(sorted(containers))}" for name, containers in sorted(lacking.items()))
    return f"must specify {'; '.join(words)}"


def is_in_scopes(quota: Object, resource: str, obj: Object) -> bool:
    """Return whether a quota's scopes select an object; a quota without scopes selects everything."""
    spec = quota.get("spec") or {}
    wanted: list[Object] = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    wanted += (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    if not wanted:
        return True
    if resource == "pods":
        return all(_is_pod_in(one, obj) for one in wanted)
    if resource == "persistentvolumeclaims":
        return all(_is_claim_in(one, obj) for one in wanted)
    return False


def _is_over(pod: Object, now: datetime) -> bool:
    if (pod.get("status") or {}).get("phase") in _FINISHED:
        return True
    metadata = pod["metadata"]
    deleted, grace_s = metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds")
    if not deleted or grace_s is None:
        return False
    return now > datetime.fromisoformat(deleted) + timedelta(seconds=grace_s)


def _compute(requests: Mapping[str, int], limits: Mapping[str, int]) -> Amounts:
    used: Amounts = {}
    for name, amount in requests.items():
        if name in _COMPUTE or name == "ephemeral-storage" or name.startswith("hugepages-"):
            used[name] = used[f"requests.{name}"] = amount
        elif "/" in name:
            used[f"requests.{name}"] = amount
    for name, amount in limits.items():
        if name in _COMPUTE or name == "ephemeral-storage":
            used[f"limits.{name}"] = amount
    return used


def _names_of(holder: Object) -> set[str]:
    resources = holder.get("resources") or {}
    return set(_compute(podresources.read(resources.get("requests")), podresources.read(resources.get("limits"))))


def _service(service: Object) -> Amounts:
    spec = service.get("spec") or {}
    ports = spec.get("ports") or ()
    kind = spec.get("type")
    used = {"services.nodeports": 0, "services.loadbalancers": 0}
    if kind == "NodePort":
        used["services.nodeports"] = len(ports) * ONE
    elif kind == "LoadBalancer":
        used["services.loadbalancers"] = ONE
        if spec.get("allocateLoadBalancerNodePorts") is False:
            used["services.nodeports"] = sum(ONE for port in ports if port.get("nodePort"))
        else:
            used["services.nodeports"] = len(ports) * ONE
    return used


def _claim(claim: Object) -> Amounts:
    spec = claim.get("spec") or {}
    annotations = claim["metadata"].get("annotations") or {}
    used: Amounts = {}
    requested = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    allocated = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage")
    sizes = [amounts.nanos(size) for size in (requested, allocated) if size is not None]
    if sizes:
        used["requests.storage"] = max(sizes)
    name = annotations.get("volume.beta.kubernetes.io/storage-class") or spec.get("storageClassName")
    if name:
        used[f"{name}{_CLASS_SUFFIX}persistentvolumeclaims"] = ONE
        if sizes:
            used[f"{name}{_CLASS_SUFFIX}requests.storage"] = max(sizes)
    return used


def _devices(claim: Object) -> Amounts:
    """Return how many devices of each class a claim asks for; of alternatives, the most that one asks for."""
    used: Amounts = {}
    for request in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
        exactly = request.get("exactly")
        most: Amounts = {}
        for one in [exactly] if exactly is not None else request.get("firstAvailable") or ():
            name = f"{one.get('deviceClassName') or ''}{_DEVICES_SUFFIX}"
            count = _ALL_DEVICES if one.get("allocationMode") == "All" else one.get("count") or 0
            most[name] = max(most.get(name, 0), count * ONE)
        podresources.add(used, most)
    return used


def _is_pod_in(requirement: Object, pod: Object) -> bool:
    scope: str = requirement["scopeName"]
    spec = pod["spec"]
    if scope in ("Terminating", "NotTerminating"):
        return (spec.get("activeDeadlineSeconds") is not None) == (scope == "Terminating")
    if scope in ("BestEffort", "NotBestEffort"):
        return _is_best_effort(spec) == (scope == "BestEffort")
    if scope == "PriorityClass":
        return _is_selected(requirement, spec.get("priorityClassName") or "")
    if scope == "CrossNamespacePodAffinity":
        return _has_cross_namespace_affinity(spec)
    return False


def _is_claim_in(requirement: Object, claim: Object) -> bool:
    if requirement["scopeName"] != "VolumeAttributesClass":
        return False
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    named = (
        spec.get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    classes = {str(name) for name in named if name}
    operator = requirement.get("operator")
    if operator == "NotIn":
        return not classes & {*(requirement.get("values") or ())}
    if operator == "DoesNotExist":
        return not classes
    return any(_is_selected(requirement, one) for one in classes)


def _is_selected(requirement: Object, name: str) -> bool:
    operator: str = requirement.get("operator") or ""
    values: list[str] = requirement.get("values") or []
    if operator == "In":
        return name in values
    if operator == "NotIn":
        return name not in values
    return bool(name) == (operator == "Exists")


def _is_best_effort(spec: Object) -> bool:
    holders = [spec, *(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    for holder in holders:
        for kind in ("requests", "limits"):
            listed = (holder.get("resources") or {}).get(kind) or {}
            if any(amounts.nanos(listed[name]) for name in _COMPUTE if name in listed):
                return False
    return True


def _has_cross_namespace_affinity(spec: Object) -> bool:
    for kind in ("podAffinity", "podAntiAffinity"):
        affinity = (spec.get("affinity") or {}).get(kind) or {}
        terms = list(affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [one.get("podAffinityTerm") or {} for one in preferred]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False
