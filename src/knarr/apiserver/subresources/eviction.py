"""eviction: a deletion of a pod that heeds the pod's disruption budget.

Source: pkg/registry/core/pod/storage/eviction.go (v1.37).
"""

from typing import Any

from knarr.api import errors, labels
from knarr.apiserver import intake, objects, options, responses
from knarr.apiserver.admission.chain import CREATE, AdmissionRequest
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.subresources.binding import success
from knarr.apiserver.verbs import delete, writing
from knarr.kit.http.messages import Response

Object = dict[str, Any]

MAX_DISRUPTED_PODS = 2000
_BUDGETS = "poddisruptionbudgets.policy"
_RETRY_AFTER_S = 10
_NOT_RUNNING = {"Succeeded", "Failed", "Pending"}


async def serve(parts: Parts, call: Call, target: Target) -> Response:
    """Evict a pod; answer with a Status."""
    write = options.write_options(call.values, "CreateOptions")
    eviction = intake.read(parts, call, target, write.field_validation)
    metadata = objects.metadata_of(eviction)
    if metadata.get("name") and metadata["name"] != target.name:
        raise errors.BadRequest("name in URL does not match name in Eviction object")
    request = AdmissionRequest(
        CREATE,
        target.resource,
        target.subresource,
        target.namespace,
        target.name,
        eviction,
        None,
        call.user,
        write.dry_run,
        warnings=call.warnings,
        annotations=call.annotations,
    )
    await parts.chain.admit(request)
    await parts.chain.validate(request)
    pod = parts.registry.get("pods", target.namespace, target.name)
    if pod is None:
        raise target.not_found()
    given = _delete_options(eviction, dry_run=write.dry_run)
    if not _is_ignorable(pod):
        await _take_from_budget(parts, pod, dry_run=given.dry_run)
    pods = Target(target.resource, target.stored, "", target.namespace, target.name)
    await delete.delete(parts, call, pods, given)
    return await responses.send_object(call, success(), 201)


def _delete_options(eviction: Object, *, dry_run: bool) -> delete.DeleteOptions:
    raw = eviction.get("deleteOptions") or {}
    preconditions = raw.get("preconditions") or {}
    return delete.DeleteOptions(
        raw.get("gracePeriodSeconds"),
        raw.get("propagationPolicy") or "",
        raw.get("orphanDependents"),
        preconditions.get("uid") or "",
        preconditions.get("resourceVersion") or "",
        dry_run or bool(raw.get("dryRun")),
        raw,
    )


def _is_ignorable(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp")) or (pod.get("status") or {}).get("phase") in _NOT_RUNNING


async def _take_from_budget(parts: Parts, pod: Object, *, dry_run: bool) -> None:
    """Count the pod against its budget, if it has one.

    Raises:
        TooManyRequests: the budget allows no disruption now.
        InternalError: more than one budget matches.
    """
    namespace = pod["metadata"]["namespace"]
    matching = [budget for budget in parts.registry.list(_BUDGETS, namespace) if _selects(budget, pod)]
    if not matching:
        return
    if len(matching) > 1:
        raise errors.InternalError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    resource = parts.registry.resource(_BUDGETS)
    budget = Target(resource, resource, "status", namespace, matching[0]["metadata"]["name"])
    if _may_go_unhealthy(matching[0], pod):
        return
    name, now = pod["metadata"]["name"], parts.now()
    await writing.adjust(parts, budget, lambda found: take(found, name, now), dry_run=dry_run)


def take(budget: Object, pod_name: str, now: str) -> None:
    """Count one more disruption in a budget.

    Raises:
        TooManyRequests: it allows none now, or does not know yet.
        Forbidden: its status makes no sense.
    """
    name, status = budget["metadata"]["name"], budget.setdefault("status", {})
    if (status.get("observedGeneration") or 0) < (budget["metadata"].get("generation") or 0):
        words = f"The disruption budget {name} is still being processed by the server."
        raise _too_many("Cannot evict pod as it would violate the pod's disruption budget.", words, _RETRY_AFTER_S)
    allowed = status.get("disruptionsAllowed") or 0
    if allowed < 0:
        raise errors.Forbidden("policy", "poddisruptionbudget", name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or {}) > MAX_DISRUPTED_PODS:
        raise errors.Forbidden(
            "policy",
            "poddisruptionbudget",
            name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        )
    if allowed == 0:
        words = (
            f"The disruption budget {name} needs {status.get('desiredHealthy') or 0} healthy pods and has "
            f"{status.get('currentHealthy') or 0} currently"
        )
        raise _too_many("Cannot evict pod as it would violate the pod's disruption budget.", words)
    status["disruptionsAllowed"] = allowed - 1
    status.setdefault("disruptedPods", {})[pod_name] = now


def _too_many(message: str, why: str, retry_after_s: int = 0) -> errors.TooManyRequests:
    causes = [{"reason": "DisruptionBudget", "message": why}]
    return errors.TooManyRequests(message, retry_after_s=retry_after_s, details={"causes": causes})


def _selects(budget: Object, pod: Object) -> bool:
    selector = labels.from_object((budget.get("spec") or {}).get("selector"))
    return selector.matches(pod["metadata"].get("labels"))


def _may_go_unhealthy(budget: Object, pod: Object) -> bool:
    """Return whether a pod that is not ready may go without being counted."""
    status, spec = budget.get("status") or {}, budget.get("spec") or {}
    conditions = (pod.get("status") or {}).get("conditions") or []
    if any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions):
        return False
    if spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    desired = status.get("desiredHealthy") or 0
    return 0 < desired <= (status.get("currentHealthy") or 0)
