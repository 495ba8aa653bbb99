"""Whether one node accepts a pod, as daemons are concerned: selectors, affinity and taints.

Upstream counterpart: k8s.io/component-helpers/scheduling/corev1/nodeaffinity and helpers.go (v1.37).
"""

from collections.abc import Collection, Mapping, Sequence

from lightkube.models import core_v1

from knarr.control import informer, tolerations


def is_selected(spec: core_v1.PodSpec, node: core_v1.Node) -> bool:
    """Tell whether a pod's nodeSelector and required node affinity accept a node."""
    labels = (node.metadata.labels or {}) if node.metadata else {}
    if not (spec.nodeSelector or {}).items() <= labels.items():
        return False
    affinity = spec.affinity.nodeAffinity if spec.affinity else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else None
    if required is None:
        return True
    return matches(required, node)


def matches(selector: core_v1.NodeSelector, node: core_v1.Node) -> bool:
    """Tell whether one of a selector's terms accepts a node."""
    labels = (node.metadata.labels or {}) if node.metadata else {}
    return any(_accepts(term, labels, informer.key_of(node)[1]) for term in selector.nodeSelectorTerms)


def is_tolerated(accepted: Sequence[core_v1.Toleration] | None, node: core_v1.Node, effects: Collection[str]) -> bool:
    """Tell whether all taints of a node that have one of these effects are tolerated."""
    taints = (node.spec.taints or ()) if node.spec else ()
    return all(tolerations.is_tolerated(accepted, taint) for taint in taints if taint.effect in effects)


def _accepts(term: core_v1.NodeSelectorTerm, labels: Mapping[str, str], name: str) -> bool:
    if not (term.matchExpressions or term.matchFields):
        return False
    return all(_holds(one, labels) for one in term.matchExpressions or ()) and all(
        _holds(one, {"metadata.name": name}) for one in term.matchFields or ()
    )


def _holds(requirement: core_v1.NodeSelectorRequirement, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(requirement.key), requirement.values or ()
    match requirement.operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            have, than = _number(value or ""), _number(values[0] if values else "")
            return have is not None and than is not None and (have > than if operator == "Gt" else have < than)
    return False


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
