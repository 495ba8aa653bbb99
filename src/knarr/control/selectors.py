"""Label selectors as typed objects carry them, matched against labels.

Source: k8s.io/apimachinery/pkg/apis/meta/v1 LabelSelectorAsSelector (v1.37): none matches nothing, an empty one everything.
"""

from collections.abc import Mapping

from lightkube.models import meta_v1

Labels = Mapping[str, str]


def matches(selector: meta_v1.LabelSelector | None, labels: Labels | None) -> bool:
    """Tell whether a selector matches labels."""
    if selector is None:
        return False
    labels = labels or {}
    if any(labels.get(key) != value for key, value in (selector.matchLabels or {}).items()):
        return False
    return all(_holds(one, labels) for one in selector.matchExpressions or ())


def is_empty(selector: meta_v1.LabelSelector | None) -> bool:
    """Tell whether a selector asks for nothing."""
    return selector is None or not (selector.matchLabels or selector.matchExpressions)


def subset(wanted: Labels | None, labels: Labels | None) -> bool:
    """Tell whether all of `wanted` is among `labels`."""
    return (wanted or {}).items() <= (labels or {}).items()


def _holds(requirement: meta_v1.LabelSelectorRequirement, labels: Labels) -> bool:
    present = requirement.key in labels
    match requirement.operator:
        case "In":
            return present and labels[requirement.key] in (requirement.values or ())
        case "NotIn":
            return not present or labels[requirement.key] not in (requirement.values or ())
        case "Exists":
            return present
        case "DoesNotExist":
            return not present
    return False
