"""Pods: phase, quality of service and selectors at birth, and the time a running one gets to end.

Source: pkg/registry/core/pod/strategy.go (v1.37).
"""

from typing import Any

from knarr.api import qos
from knarr.apiserver.strategies import apparmor, podselectors
from knarr.apiserver.strategies.strategy import Context, Strategy

Object = dict[str, Any]

DEFAULT_GRACE_S = 30
_FINISHED = {"Succeeded", "Failed"}


def grace_s(pod: Object, asked_s: int | None) -> int:
    """Return how many seconds a pod gets to end: none if nothing runs."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if asked_s is None:
        given = spec.get("terminationGracePeriodSeconds")
        asked_s = DEFAULT_GRACE_S if given is None else int(given)
    if not spec.get("nodeName") or status.get("phase") in _FINISHED:
        return 0
    return 1 if asked_s < 0 else asked_s


def _prepare_create(context: Context, pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    status: Object = {"phase": "Pending", "qosClass": qos.compute(spec)}
    if spec.get("schedulingGates"):
        gated = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": None,
            "lastTransitionTime": context.parts.now(),
        }
        status["conditions"] = [gated]
    pod["status"] = status
    podselectors.merge_label_keys(pod)
    context.warnings.extend(apparmor.fill_profiles(pod))


def _prepare_status(context: Context, pod: Object, old: Object) -> None:
    pod["spec"] = old["spec"]
    metadata, before = pod["metadata"], old["metadata"]
    for name in ("deletionTimestamp", "ownerReferences"):
        if name in before:
            metadata[name] = before[name]
        else:
            metadata.pop(name, None)
    status = pod.setdefault("status", {})
    if not status.get("qosClass"):
        status["qosClass"] = (old.get("status") or {}).get("qosClass") or qos.compute(pod["spec"])
    _keep_observed_generations(status, old.get("status") or {})
    _fill_addresses(status)


def _keep_observed_generations(status: Object, before: Object) -> None:
    """Keep observedGeneration where a writer that does not know of it leaves it out; types may repeat."""
    if not status.get("observedGeneration") and before.get("observedGeneration"):
        status["observedGeneration"] = before["observedGeneration"]
    known: dict[Any, list[int]] = {}
    for condition in before.get("conditions") or ():
        known.setdefault(condition.get("type"), []).append(condition.get("observedGeneration") or 0)
    for condition in status.get("conditions") or ():
        generations = known.get(condition.get("type"))
        generation = generations.pop(0) if generations else 0
        if generation and not condition.get("observedGeneration"):
            condition["observedGeneration"] = generation


def _fill_addresses(status: Object) -> None:
    # podIP and podIPs (hostIP and hostIPs) are two views of one list; the singular one came first.
    for one, many in (("podIP", "podIPs"), ("hostIP", "hostIPs")):
        first, all_of_them = status.get(one), status.get(many)
        if first and not all_of_them:
            status[many] = [{"ip": first}]
        elif all_of_them and not first:
            status[one] = all_of_them[0].get("ip", "")


PODS = Strategy(
    prepare_create=_prepare_create,
    prepare_status=_prepare_status,
    grace_s=grace_s,
    has_generation=True,
    returns_deleted=True,
)
