"""Deployments, ReplicaSets, StatefulSets, DaemonSets and ControllerRevisions.

Source: k8s.io/kubernetes/pkg/apis/apps/validation/validation.go and pkg/registry/apps/*/strategy.go (v1.37).
"""

from collections.abc import Mapping
from typing import Any

from knarr.api.validation import meta, podspecs, replication, selectors
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable, is_equal
from knarr.api.validation.groups import counts
from knarr.api.validation.rules import Rules

_MISMATCH = "`selector` does not match template `labels`"
_STATEFUL_SET_CHANGES = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)


def template_labels(template: Object) -> dict[str, str] | None:
    """Return the labels that pods of a template get, as messages show them: in order, None for none."""
    labels: dict[str, str] = (template.get("metadata") or {}).get("labels") or {}
    return dict(sorted(labels.items())) or None


def _selector(errors: Errors, spec: Object, kind: str, complaint: str) -> bool:
    """Check the selector of a workload; return whether it can be evaluated."""
    selector = spec.get("selector")
    if selector is None:
        errors.required("spec.selector")
    else:
        selectors.check(errors, selector, "spec.selector")
        if selectors.is_empty(selector):
            errors.invalid("spec.selector", selector, f"empty selector is invalid for {kind}")
        if not selectors.is_valid(selector):
            errors.invalid("spec.selector", selector, complaint)
            return False
    return True


def _matches(errors: Errors, spec: Object) -> None:
    selector, labels = spec.get("selector"), template_labels(spec.get("template") or {})
    if not (selector is not None and selectors.is_empty(selector)) and not selectors.matches(selector, labels):
        errors.invalid("spec.template.metadata.labels", labels, _MISMATCH)


def _always_restarting_template(errors: Errors, spec: Object) -> None:
    template = spec.get("template") or {}
    _matches(errors, spec)
    podspecs.pod_template(errors, template, "spec.template")
    replication.always_restarting(errors, template.get("spec") or {}, "spec.template.spec", "ReplicaSet")


def _selector_stays(errors: Errors, obj: Object, old: Object) -> None:
    immutable(errors, "spec.selector", (obj.get("spec") or {}).get("selector"), (old.get("spec") or {}).get("selector"))


def _collision_count_grows(errors: Errors, obj: Object, old: Object) -> None:
    count = (obj.get("status") or {}).get("collisionCount")
    before = (old.get("status") or {}).get("collisionCount")
    if before is not None and (count is None or count < before):
        errors.invalid("status.collisionCount", count or 0, "cannot be decremented")


def deployment(errors: Errors, obj: Object) -> None:
    """Check a Deployment."""
    spec = obj.get("spec") or {}
    errors.not_negative("spec.replicas", spec.get("replicas"))
    if _selector(errors, spec, "deployment", "invalid label selector"):
        _always_restarting_template(errors, spec)
    _deployment_strategy(errors, spec.get("strategy") or {})
    errors.not_negatives(spec, "spec", "minReadySeconds", "revisionHistoryLimit")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None:
        errors.not_negative("spec.progressDeadlineSeconds", deadline)
        if deadline <= (spec.get("minReadySeconds") or 0):
            errors.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _deployment_strategy(errors: Errors, strategy: Object) -> None:
    kind, rolling, path = strategy.get("type") or "", strategy.get("rollingUpdate"), "spec.strategy"
    if kind == "Recreate":
        if rolling is not None:
            errors.forbidden(f"{path}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif kind == "RollingUpdate":
        if rolling is None:
            errors.required(f"{path}.rollingUpdate", "this should be defaulted and never be nil")
        else:
            _rolling_deployment(errors, rolling, f"{path}.rollingUpdate")
    else:
        errors.unsupported(path, _strategy(strategy), ("Recreate", "RollingUpdate"))


def _rolling_deployment(errors: Errors, rolling: Object, path: str) -> None:
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    counts.positive(errors, unavailable, f"{path}.maxUnavailable")
    counts.positive(errors, surge, f"{path}.maxSurge")
    if counts.number(unavailable) == 0 and counts.number(surge) == 0:
        errors.invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    counts.at_most_all(errors, unavailable, f"{path}.maxUnavailable")


def _strategy(strategy: Object) -> dict[str, Any]:
    """Return a strategy as messages show it: with the names of the internal type."""
    return {"Type": strategy.get("type") or "", "RollingUpdate": strategy.get("rollingUpdate")}


def _deployment_update(errors: Errors, obj: Object, old: Object) -> None:
    deployment(errors, obj)
    _selector_stays(errors, obj, old)


def deployment_status(errors: Errors, obj: Object, old: Object) -> None:
    """Check the numbers in the status of a Deployment."""
    status = obj.get("status") or {}
    errors.not_negatives(
        status,
        "status",
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "collisionCount",
    )
    _at_most_replicas(errors, status, "updatedReplicas", "readyReplicas", "availableReplicas")
    _available_are_ready(errors, status, "readyReplicas")
    _collision_count_grows(errors, obj, old)


def _at_most_replicas(errors: Errors, status: Object, *fields: str) -> None:
    for field in fields:
        value = status.get(field) or 0
        if value > (status.get("replicas") or 0):
            errors.invalid(f"status.{field}", value, "cannot be greater than status.replicas")


def _available_are_ready(errors: Errors, status: Object, shown: str) -> None:
    available = status.get("availableReplicas") or 0
    if available > (status.get("readyReplicas") or 0):
        errors.invalid("status.availableReplicas", available, f"cannot be greater than {shown}")


def replica_set(errors: Errors, obj: Object) -> None:
    """Check a ReplicaSet."""
    spec = obj.get("spec") or {}
    errors.not_negatives(spec, "spec", "replicas", "minReadySeconds")
    if _selector(errors, spec, "deployment", "invalid label selector"):
        _always_restarting_template(errors, spec)


def _replica_set_update(errors: Errors, obj: Object, old: Object) -> None:
    replica_set(errors, obj)
    _selector_stays(errors, obj, old)


def stateful_set(errors: Errors, obj: Object) -> None:
    """Check a StatefulSet, whose pods are only checked when they are made: their volumes are not known before."""
    spec = obj.get("spec") or {}
    policy = spec.get("podManagementPolicy") or ""
    if not policy:
        errors.required("spec.podManagementPolicy")
    elif policy not in {"OrderedReady", "Parallel"}:
        errors.invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
    _stateful_set_strategy(errors, spec.get("updateStrategy") or {})
    retention: Object | None = spec.get("persistentVolumeClaimRetentionPolicy")
    for when in ("whenDeleted", "whenScaled"):
        if retention is None:
            break
        value = retention.get(when) or ""
        if value not in {"Retain", "Delete"}:
            here = f"spec.persistentVolumeClaimRetentionPolicy.{when}"
            errors.unsupported(here, value, ("Retain", "Delete"))
    errors.not_negatives(spec, "spec", "replicas", "minReadySeconds", "revisionHistoryLimit")
    errors.not_negative("spec.ordinals.start", (spec.get("ordinals") or {}).get("start"))
    template = spec.get("template") or {}
    if _selector(errors, spec, "statefulset", ""):
        _matches(errors, spec)
        about = template.get("metadata") or {}
        notes = about.get("annotations") or {}
        meta.labels(errors, about.get("labels"), "spec.template.labels")
        meta.annotations(errors, notes, "spec.template.annotations")
        podspecs.annotations(errors, notes, template.get("spec") or {}, "spec.template.annotations")
    replication.always_restarting(errors, template.get("spec") or {}, "spec.template.spec", "StatefulSet")


def _stateful_set_strategy(errors: Errors, strategy: Object) -> None:
    kind, rolling, path = strategy.get("type") or "", strategy.get("rollingUpdate"), "spec.updateStrategy"
    if not kind:
        errors.required(path)
    elif kind == "OnDelete":
        if rolling is not None:
            words = "only allowed for updateStrategy 'RollingUpdate'"
            errors.invalid(f"{path}.rollingUpdate", rolling, words)
    elif kind == "RollingUpdate":
        if rolling is not None:
            here = f"{path}.rollingUpdate.maxUnavailable"
            errors.not_negative(f"{path}.rollingUpdate.partition", rolling.get("partition"))
            value = rolling.get("maxUnavailable")
            if value is not None:
                counts.positive(errors, value, here)
                if counts.number(value) == 0:
                    errors.invalid(here, value, "cannot be 0")
                counts.at_most_all(errors, value, here)
    else:
        errors.invalid(path, _strategy(strategy), "must be 'RollingUpdate' or 'OnDelete'")


def _stateful_set_update(errors: Errors, obj: Object, old: Object) -> None:
    stateful_set(errors, obj)
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    fixed, were = (
        {key: value for key, value in one.items() if key not in _STATEFUL_SET_CHANGES} for one in (spec, before)
    )
    if not is_equal(_without_claim_status(fixed), _without_claim_status(were)):
        *listed, last = (f"'{field}'" for field in _STATEFUL_SET_CHANGES)
        words = "updates to statefulset spec for fields other than"
        errors.forbidden("spec", f"{words} {', '.join(listed)} and {last} are forbidden")


def _without_claim_status(spec: Object) -> Object:
    claims = spec.get("volumeClaimTemplates")
    if not claims:
        return spec
    return {**spec, "volumeClaimTemplates": [{**claim, "status": None} for claim in claims]}


def stateful_set_status(errors: Errors, obj: Object, old: Object) -> None:
    """Check the numbers in the status of a StatefulSet."""
    status = obj.get("status") or {}
    counted = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    errors.not_negatives(status, "status", "replicas", *counted, "observedGeneration", "collisionCount")
    _at_most_replicas(errors, status, *counted)
    _available_are_ready(errors, status, "status.readyReplicas")
    _collision_count_grows(errors, obj, old)


def daemon_set(errors: Errors, obj: Object) -> None:
    """Check a DaemonSet."""
    spec = obj.get("spec") or {}
    selector, template = spec.get("selector"), spec.get("template") or {}
    selectors.check(errors, selector, "spec.selector")
    labels = template_labels(template)
    if selectors.is_valid(selector) and not selectors.matches(selector, labels):
        errors.invalid("spec.template.metadata.labels", labels, _MISMATCH)
    if selector is not None and selectors.is_empty(selector):
        errors.invalid("spec.selector", selector, "empty selector is invalid for daemonset")
    podspecs.pod_template(errors, template, "spec.template")
    replication.always_restarting(errors, template.get("spec") or {}, "spec.template.spec", "DaemonSet")
    errors.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    _daemon_set_strategy(errors, spec.get("updateStrategy") or {})
    errors.not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))


def _daemon_set_strategy(errors: Errors, strategy: Object) -> None:
    kind, rolling, path = strategy.get("type") or "", strategy.get("rollingUpdate"), "spec.updateStrategy"
    if kind == "OnDelete":
        return
    if kind != "RollingUpdate":
        errors.unsupported(path, _strategy(strategy), ("RollingUpdate", "OnDelete"))
        return
    if rolling is None:
        errors.required(f"{path}.rollingUpdate")
        return
    fields = {name: rolling.get(name) for name in ("maxUnavailable", "maxSurge")}
    for check in (counts.positive, counts.at_most_all):
        for name, value in fields.items():
            check(errors, value, f"{path}.rollingUpdate.{name}")
    unavailable, surge = (counts.number(value) for value in fields.values())
    if unavailable and surge:
        words = "may not be set when maxUnavailable is non-zero"
        errors.invalid(f"{path}.rollingUpdate.maxSurge", fields["maxSurge"], words)
    elif not unavailable and not surge:
        errors.required(f"{path}.rollingUpdate.maxUnavailable", "cannot be 0 when maxSurge is 0")


def _daemon_set_update(errors: Errors, obj: Object, old: Object) -> None:
    daemon_set(errors, obj)
    _selector_stays(errors, obj, old)


def daemon_set_status(errors: Errors, obj: Object, old: Object) -> None:
    """Check the numbers in the status of a DaemonSet."""
    errors.not_negatives(
        obj.get("status") or {},
        "status",
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    )
    _collision_count_grows(errors, obj, old)


def controller_revision(errors: Errors, obj: Object) -> None:
    """Check a ControllerRevision."""
    if obj.get("data") is None:
        errors.required("data", "data is mandatory")
    errors.not_negative("revision", obj.get("revision"))


def _controller_revision_update(errors: Errors, obj: Object, old: Object) -> None:
    controller_revision(errors, obj)
    immutable(errors, "data", obj.get("data"), old.get("data"))


RULES: Mapping[tuple[str, str], Rules] = {
    ("apps", "ControllerRevision"): Rules(controller_revision, _controller_revision_update),
    ("apps", "DaemonSet"): Rules(daemon_set, _daemon_set_update, daemon_set_status),
    ("apps", "Deployment"): Rules(deployment, _deployment_update, deployment_status),
    ("apps", "ReplicaSet"): Rules(replica_set, _replica_set_update, replication.status),
    ("apps", "StatefulSet"): Rules(stateful_set, _stateful_set_update, stateful_set_status),
}
