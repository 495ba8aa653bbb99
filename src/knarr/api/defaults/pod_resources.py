"""Pod-level requests and limits that follow from those of the containers.

Source: defaultPodRequests, defaultPodLimits and defaultHugePagePodLimits in pkg/apis/core/v1/defaults.go, and
k8s.io/component-helpers/resource (v1.37).
"""

from collections.abc import Iterable
from typing import Any

from knarr.api import amounts

Object = dict[str, Any]


def is_pod_level(name: str) -> bool:
    """Return whether requests and limits of this resource may stand at pod level."""
    return name in {"cpu", "memory"} or name.startswith("hugepages-")


def set_pod_level(spec: Object) -> None:
    """Fill the pod-level requests and limits of a spec that has `resources`.

    Args:
        spec: A pod spec whose containers already have their own defaults; changed in place.
    """
    resources = spec["resources"]
    _huge_page_limits(spec, resources)
    limits = resources.get("limits")
    if limits:
        requests = resources.get("requests") or {}
        for name, amount in aggregate(spec, "requests").items():
            if name not in requests and name in {"cpu", "memory"}:
                requests[name] = amount
        for name, amount in limits.items():
            if name not in requests and is_pod_level(name):
                requests[name] = amount
        if requests:
            resources["requests"] = requests
    elif resources.get("requests"):
        limits = {
            name: amount
            for name, amount in aggregate(spec, "limits").items()
            if name in {"cpu", "memory"} and _all_limit(spec, name)
        }
        if limits:
            resources["limits"] = limits


def aggregate(spec: Object, what: str) -> dict[str, str]:
    """Add up what the containers of a pod need at the same time.

    Args:
        spec: A pod spec.
        what: "requests" or "limits".

    Returns:
        For each resource the larger of: all containers and sidecars together; the neediest moment of start-up, when one
        init container runs beside the sidecars started before it.
    """
    total = _sum(_needs(container, what) for container in spec.get("containers") or ())
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        needs = _needs(container, what)
        if container.get("restartPolicy") == "Always":
            sidecars = _sum((sidecars, needs))
            at_once = sidecars
        else:
            at_once = _sum((sidecars, needs))
        for name, amount in at_once.items():
            peak[name] = max(peak.get(name, 0), amount)
    total = _sum((total, sidecars))
    for name, amount in peak.items():
        total[name] = max(total.get(name, 0), amount)
    return {name: amounts.format_like(amount, _sample(spec, what, name)) for name, amount in total.items()}


def _huge_page_limits(spec: Object, resources: Object) -> None:
    if not resources.get("limits") and not resources.get("requests"):
        return
    for name, amount in aggregate(spec, "limits").items():
        if name.startswith("hugepages-") and name not in (resources.get("requests") or {}):
            limits = resources.get("limits") or {}
            limits.setdefault(name, amount)
            resources["limits"] = limits


def _all_limit(spec: Object, name: str) -> bool:
    sidecars = [one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    containers = [*(spec.get("containers") or ()), *sidecars]
    return all(name in ((one.get("resources") or {}).get("limits") or {}) for one in containers)


def _needs(container: Object, what: str) -> dict[str, int]:
    listed = (container.get("resources") or {}).get(what) or {}
    return {name: amounts.nanos(amount) for name, amount in listed.items()}


def _sum(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, 0) + amount
    return total


def _sample(spec: Object, what: str, name: str) -> str:
    # The sum is written in the format of the first amount that went into it.
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        listed = (container.get("resources") or {}).get(what) or {}
        if name in listed:
            return str(listed[name])
    return ""
