"""Roles' bindings.

Source: k8s.io/kubernetes/pkg/apis/rbac/v1/defaults.go (v1.37).
"""

from typing import Any

GROUP = "rbac.authorization.k8s.io"


def binding(obj: dict[str, Any]) -> None:
    """Set the API groups in a RoleBinding or ClusterRoleBinding."""
    role = obj.get("roleRef")
    if role is not None and not role.get("apiGroup"):
        role["apiGroup"] = GROUP
    for subject in obj.get("subjects") or ():
        if not subject.get("apiGroup") and subject.get("kind") in {"User", "Group"}:
            subject["apiGroup"] = GROUP
