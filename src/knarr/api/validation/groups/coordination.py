"""Leases.

Source: k8s.io/kubernetes/pkg/apis/coordination/validation/validation.go (v1.37).
"""

from collections.abc import Mapping

from knarr.api import names
from knarr.api.validation.collector import NOT_NEGATIVE, Errors, Object
from knarr.api.validation.rules import Rules

_STRATEGIES = ("OldestEmulationVersion",)


def lease(errors: Errors, obj: Object) -> None:
    """Check a Lease."""
    spec = obj.get("spec") or {}
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if duration is not None and duration <= 0:
        errors.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")
    if transitions is not None and transitions < 0:
        errors.invalid("spec.leaseTransitions", transitions, NOT_NEGATIVE)
    strategy = spec.get("strategy")
    if strategy is not None:
        if "/" in strategy:
            errors.all_invalid("spec.strategy.strategy", strategy, names.qualified_name(strategy))
        elif strategy not in _STRATEGIES:
            errors.unsupported("spec.strategy.strategy", strategy, _STRATEGIES)
    if spec.get("preferredHolder") and not strategy:
        errors.forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined")


RULES: Mapping[tuple[str, str], Rules] = {("coordination.k8s.io", "Lease"): Rules(lease)}
