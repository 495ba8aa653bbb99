"""The quality-of-service class of a pod, from its requests and limits.

Source: k8s.io/kubernetes/pkg/apis/core/helper/qos (v1.37).
"""

from typing import Any

from knarr.api import amounts

BEST_EFFORT = "BestEffort"
BURSTABLE = "Burstable"
GUARANTEED = "Guaranteed"
_COMPUTE = ("cpu", "memory")


def compute(spec: dict[str, Any]) -> str:
    """Return the class of a pod with this spec.

    Args:
        spec: The pod spec, with its defaults; requests and limits of the pod itself go before those of its containers.
    """
    own = spec.get("resources") or {}
    if _amounts(own, "requests") or _amounts(own, "limits"):
        return _of([own])
    return _of(
        [one.get("resources") or {} for kind in ("containers", "initContainers") for one in spec.get(kind) or ()]
    )


def _of(all_resources: list[dict[str, Any]]) -> str:
    wanted = [(_amounts(one, "requests"), _amounts(one, "limits")) for one in all_resources]
    if not any(requests or limits for requests, limits in wanted):
        return BEST_EFFORT
    for requests, limits in wanted:
        if set(limits) != set(_COMPUTE) or any(requests.get(name, limits[name]) != limits[name] for name in _COMPUTE):
            return BURSTABLE
    return GUARANTEED


def _amounts(resources: dict[str, Any], kind: str) -> dict[str, int]:
    listed = {name: amounts.nanos(value) for name, value in (resources.get(kind) or {}).items() if name in _COMPUTE}
    return {name: amount for name, amount in listed.items() if amount > 0}
