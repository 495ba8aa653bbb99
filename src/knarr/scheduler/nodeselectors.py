"""Node selectors, evaluated for many nodes at once.

Source: k8s.io/component-helpers/scheduling/corev1/nodeaffinity (v1.37).
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from lightkube.models import core_v1

from knarr.scheduler.cluster import ABSENT, Cluster, Ids, Mask, Rows

NAME_FIELD = "metadata.name"


def matches(cluster: Cluster, rows: Rows, spec: core_v1.PodSpec) -> Mask:
    """Tell which rows a pod's nodeSelector and required node affinity accept."""
    mask = np.ones(len(rows), np.bool_)
    for key, value in (spec.nodeSelector or {}).items():
        mask &= cluster.label_ids(key)[rows] == cluster.value_id(value)
    affinity = spec.affinity.nodeAffinity if spec.affinity else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else None
    if required is not None:
        mask &= matches_any(cluster, rows, required.nodeSelectorTerms)
    return mask


def matches_any(cluster: Cluster, rows: Rows, terms: Iterable[core_v1.NodeSelectorTerm]) -> Mask:
    """Tell which rows at least one term accepts."""
    mask = np.zeros(len(rows), np.bool_)
    for term in terms:
        mask |= matches_term(cluster, rows, term)
    return mask


def matches_term(cluster: Cluster, rows: Rows, term: core_v1.NodeSelectorTerm) -> Mask:
    """Tell which rows fulfil all of a term; an empty term accepts none."""
    if not (term.matchExpressions or term.matchFields):
        return np.zeros(len(rows), np.bool_)
    mask = np.ones(len(rows), np.bool_)
    for one in term.matchExpressions or ():
        mask &= _holds(cluster, cluster.label_ids(one.key)[rows], one)
    for one in term.matchFields or ():
        named = [cluster.index[name] for name in one.values or () if name in cluster.index]
        is_named = np.isin(rows, named)
        mask &= is_named if one.operator == "In" else ~is_named
    return mask


def _holds(cluster: Cluster, ids: Ids, requirement: core_v1.NodeSelectorRequirement) -> Mask:
    values = requirement.values or ()
    match requirement.operator:
        case "In":
            return np.isin(ids, [cluster.value_id(value) for value in values])
        case "NotIn":
            return ~np.isin(ids, [cluster.value_id(value) for value in values])
        case "Exists":
            return np.asarray(ids != ABSENT)
        case "DoesNotExist":
            return np.asarray(ids == ABSENT)
        case "Gt":
            return _compare(cluster, ids, values, lambda have, than: have > than)
        case "Lt":
            return _compare(cluster, ids, values, lambda have, than: have < than)
    return np.zeros(len(ids), np.bool_)


def _compare(cluster: Cluster, ids: Ids, values: Sequence[str], holds: Callable[[int, int], bool]) -> Mask:
    than = _number(values[0]) if len(values) == 1 else None
    if than is None:
        return np.zeros(len(ids), np.bool_)
    good = []
    for number in np.unique(ids):
        have = _number(cluster.values[number]) if number != ABSENT else None
        if have is not None and holds(have, than):
            good.append(number)
    return np.isin(ids, good)


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
