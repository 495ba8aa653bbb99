"""Selectors of a new pod that depend on its own labels: the keys it names become requirements.

Source: mutatePodAffinity and mutateTopologySpreadConstraints in k8s.io/kubernetes/pkg/registry/core/pod/strategy.go (v1.37).
"""

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]

_OPERATORS = (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))


def merge_label_keys(pod: Object) -> None:
    """Add the labels that affinity terms and spread constraints name by their keys to their selectors."""
    spec, labels = pod.get("spec") or {}, (pod.get("metadata") or {}).get("labels") or {}
    for owner in (*_terms(spec), *(spec.get("topologySpreadConstraints") or ())):
        selector = owner.get("labelSelector")
        if selector is None:  # selects nothing, whatever is added
            continue
        added = [
            {"key": key, "operator": operator, "values": [labels[key]]}
            for field, operator in _OPERATORS
            for key in owner.get(field) or ()
            if key in labels
        ]
        if added:
            selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), *added]


def _terms(spec: Object) -> Iterator[Object]:
    for kind in ("podAffinity", "podAntiAffinity"):
        affinity = (spec.get("affinity") or {}).get(kind) or {}
        for weighted in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            yield weighted.get("podAffinityTerm") or {}
        yield from affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
