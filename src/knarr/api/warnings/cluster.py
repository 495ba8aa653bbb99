"""Warnings about Nodes, ServiceAccounts and RuntimeClasses.

Source: k8s.io/kubernetes/pkg/registry/core/{node,serviceaccount}/strategy.go, pkg/api/node/util.go (v1.37).
"""

from typing import Any

from knarr.api.warnings import nodelabels

Object = dict[str, Any]

_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"


def node(obj: Object, _old: Object | None) -> list[str]:
    """Return the warnings about fields of a Node that mean nothing any more."""
    spec = obj.get("spec") or {}
    found = ["spec.configSource: the feature is removed"] if spec.get("configSource") is not None else []
    if spec.get("externalID"):
        found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
    return found


def service_account(obj: Object, old: Object | None) -> list[str]:
    """Return the warning about a deprecated annotation of a ServiceAccount, when it is added."""
    now, before = (((one or {}).get("metadata") or {}).get("annotations") or {} for one in (obj, old))
    if _MOUNTABLE not in now or _MOUNTABLE in before:
        return []
    words = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
    return [f"metadata.annotations[{_MOUNTABLE}]: {words}"]


def runtime_class(obj: Object, _old: Object | None) -> list[str]:
    """Return the warnings about the nodes that a RuntimeClass selects."""
    selector = (obj.get("scheduling") or {}).get("nodeSelector") or {}
    known = nodelabels.DEPRECATED
    return [f"scheduling.nodeSelector: {known[key]}" for key in selector if key in known]
