"""Labels of nodes that are no longer the ones to select by.

Source: k8s.io/kubernetes/pkg/api/node/util.go (v1.37).
"""

from collections.abc import Mapping
from typing import Any, Final

from knarr.api import names

Object = dict[str, Any]

DEPRECATED: Final[Mapping[str, str]] = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}


def of_term(term: Object, path: str, *, check_values: bool) -> list[str]:
    """Return the warnings about one term of a NodeSelector.

    Args:
        term: The term.
        path: Its field.
        check_values: Whether values that no label can have are worth a warning.
    """
    found = []
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        here, key = f"{path}.matchExpressions[{index}]", expression.get("key") or ""
        if key in DEPRECATED:
            found.append(f"{here}.key: {key} is {DEPRECATED[key]}")
        if check_values:
            for position, value in enumerate(expression.get("values") or ()):
                found += [
                    f"{here}.values[{position}]: {value} is invalid, {complaint}"
                    for complaint in names.label_value(value)
                ]
    return found


def of_selector(selector: Object | None, path: str) -> list[str]:
    """Return the warnings about a LabelSelector of nodes."""
    selector = selector or {}
    found = [
        f"{path}.matchExpressions[{index}].key: {expression.get('key')} is {DEPRECATED[expression['key']]}"
        for index, expression in enumerate(selector.get("matchExpressions") or ())
        if expression.get("key") in DEPRECATED
    ]
    labels = selector.get("matchLabels") or {}
    return found + [f"{path}.matchLabels.{key}: {DEPRECATED[key]}" for key in labels if key in DEPRECATED]
