"""PodDisruptionBudgets.

Source: k8s.io/kubernetes/pkg/apis/policy/validation/validation.go (v1.37).
"""

from collections.abc import Mapping

from knarr.api.validation import meta, selectors
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.groups import counts
from knarr.api.validation.rules import Rules

_UNHEALTHY_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


def pod_disruption_budget(errors: Errors, obj: Object) -> None:
    """Check a PodDisruptionBudget."""
    spec = obj.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        errors.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for field in ("minAvailable", "maxUnavailable"):
        value = spec.get(field)
        if value is not None:
            counts.positive(errors, value, f"spec.{field}")
            counts.at_most_all(errors, value, f"spec.{field}")
    selectors.check(errors, spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in _UNHEALTHY_POLICIES:
        errors.unsupported("spec.unhealthyPodEvictionPolicy", policy, _UNHEALTHY_POLICIES)


def status(errors: Errors, obj: Object, _old: Object) -> None:
    """Check the status of a PodDisruptionBudget."""
    values = obj.get("status") or {}
    meta.conditions(errors, values.get("conditions"), "status.conditions")
    errors.not_negatives(values, "status", "disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


RULES: Mapping[tuple[str, str], Rules] = {
    ("policy", "PodDisruptionBudget"): Rules(pod_disruption_budget, status=status),
}
