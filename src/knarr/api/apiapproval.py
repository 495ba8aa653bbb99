"""Whether a definition in one of Kubernetes' own groups says who approved it.

Source: k8s.io/apiextensions-apiserver/pkg/apihelpers/helpers.go, pkg/controller/apiapproval (v1.37).
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

ANNOTATION = "api-approved.kubernetes.io"
CONDITION = "KubernetesAPIApprovalPolicyConformant"
APPROVED, BYPASSED, MISSING, INVALID = (
    "ApprovedAnnotation", "UnapprovedAnnotation", "MissingAnnotation", "InvalidAnnotation"
)  # fmt: skip
_GROUPS = ("k8s.io", "kubernetes.io")
_SEE = "see https://github.com/kubernetes/enhancements/pull/1111"


def is_protected(group: str) -> bool:
    """Return whether a group is one of the community's."""
    return any(group == one or group.endswith(f".{one}") for one in _GROUPS)


def state(crd: Mapping[str, Any]) -> tuple[str, str]:
    """Return what the annotation of a definition says: the reason for the condition, and its message."""
    text = ((crd.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION) or ""
    if not text:
        return MISSING, f'protected groups must have approval annotation "{ANNOTATION}", {_SEE}'
    if text.startswith("unapproved"):
        return BYPASSED, f'not approved: "{text}"'
    if _is_url(text):
        return APPROVED, f"approved in {text}"
    words = (
        f'protected groups must have approval annotation "{ANNOTATION}" with either a URL or a reason starting with '
    )
    return INVALID, f'{words}"unapproved", {_SEE}'


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)
