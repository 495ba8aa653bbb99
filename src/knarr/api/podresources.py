"""What a pod asks for as a whole: sums over containers, what init containers need before, overhead.

Amounts are whole numbers of billionths (see `api.amounts`).

Source: k8s.io/component-helpers/resource/helpers.go (v1.37).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from knarr.api import amounts

Object = dict[str, Any]
Amounts = dict[str, int]
_POD_LEVEL = ("cpu", "memory")


def read(resources: Mapping[str, Any] | None) -> Amounts:
    """Return a resource list as amounts."""
    return {name: amounts.nanos(value) for name, value in (resources or {}).items()}


def requests(pod: Object) -> Amounts:
    """Return what a pod requests."""
    return _total(pod, "requests")


def limits(pod: Object) -> Amounts:
    """Return the limits of a pod; the overhead counts only for what has a limit."""
    return _total(pod, "limits")


def add(totals: Amounts, more: Mapping[str, int], sign: int = 1) -> None:
    """Add `more` to `totals` in place."""
    for name, amount in more.items():
        totals[name] = totals.get(name, 0) + sign * amount


def _total(pod: Object, kind: str) -> Amounts:
    spec = pod["spec"]
    total: Amounts = {}
    for container in spec.get("containers") or ():
        add(total, read((container.get("resources") or {}).get(kind)))
    _raise_by_init(total, spec.get("initContainers") or (), kind)
    at_pod_level = read((spec.get("resources") or {}).get(kind))
    total.update((name, value) for name, value in at_pod_level.items() if name in _POD_LEVEL or "hugepages-" in name)
    for name, amount in read(spec.get("overhead")).items():
        if kind == "requests" or name in total:
            add(total, {name: amount})
    return total


def _raise_by_init(total: Amounts, containers: Iterable[Object], kind: str) -> None:
    # Init containers run one after another, beside the restartable ones that started before them.
    running: Amounts = {}
    peak: Amounts = {}
    for container in containers:
        needed = read((container.get("resources") or {}).get(kind))
        if container.get("restartPolicy") == "Always":
            add(total, needed)
            add(running, needed)
            needed = dict(running)
        else:
            add(needed, running)
        for name, amount in needed.items():
            peak[name] = max(peak.get(name, 0), amount)
    for name, amount in peak.items():
        total[name] = max(total.get(name, 0), amount)
