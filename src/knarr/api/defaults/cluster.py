"""The small kinds of the core group: namespaces, nodes, secrets, quotas.

Source: k8s.io/kubernetes/pkg/apis/core/v1/defaults.go (v1.37).
"""

from typing import Any

from knarr.api.defaults import quantities

Object = dict[str, Any]

NAME_LABEL = "kubernetes.io/metadata.name"


def namespace(obj: Object) -> None:
    """Set the defaults of a Namespace, among them the label with its own name."""
    metadata = obj.setdefault("metadata", {})
    name = metadata.get("name")
    if name:
        labels = metadata.get("labels")
        if labels is None:
            labels = metadata["labels"] = {}
        labels[NAME_LABEL] = name
    status = obj.setdefault("status", {})
    if not status.get("phase"):
        status["phase"] = "Active"


def node(obj: Object) -> None:
    """Set the defaults of a Node."""
    status = obj.get("status")
    if status:
        if status.get("allocatable") is None and status.get("capacity") is not None:
            status["allocatable"] = dict(status["capacity"])
        quantities.round_up(status.get("capacity"))
        quantities.round_up(status.get("allocatable"))


def secret(obj: Object) -> None:
    """Set the defaults of a Secret."""
    if not obj.get("type"):
        obj["type"] = "Opaque"


def resource_quota(obj: Object) -> None:
    """Round the amounts of a ResourceQuota."""
    quantities.round_up((obj.get("spec") or {}).get("hard"))
    status = obj.get("status") or {}
    quantities.round_up(status.get("hard"))
    quantities.round_up(status.get("used"))


def limit_range(obj: Object) -> None:
    """Set the defaults of a LimitRange: for containers, unset defaults follow from the bounds."""
    for item in (obj.get("spec") or {}).get("limits") or ():
        if item.get("type") == "Container":
            default = item.get("default") or {}
            request = item.get("defaultRequest") or {}
            for source, target in ((item.get("max"), default), (default, request), (item.get("min"), request)):
                for name, amount in (source or {}).items():
                    target.setdefault(name, amount)
            for field, values in (("default", default), ("defaultRequest", request)):
                if values:
                    item[field] = values
        for field in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
            quantities.round_up(item.get(field))
