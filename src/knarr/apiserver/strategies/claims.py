"""Claims of devices: administrators' access is for namespaces that are marked for it.

Source: AuthorizedForAdmin in k8s.io/kubernetes/pkg/apis/resource/validation, pkg/registry/resource/* (v1.37).
"""

from typing import Any

from knarr.api import errors, field
from knarr.apiserver.strategies.strategy import Context, Strategy

Object = dict[str, Any]

ADMIN_LABEL = "resource.kubernetes.io/admin-access"


def _create_claim(context: Context, claim: Object) -> None:
    _check(context, claim, _requests(claim.get("spec") or {}))


def _create_template(context: Context, template: Object) -> None:
    _check(context, template, _requests((template.get("spec") or {}).get("spec") or {}))


def _claim_status(context: Context, claim: Object, old: Object) -> None:
    claim["spec"] = old.get("spec") or {}
    if (old.get("status") or {}).get("allocation") is None:
        devices = ((claim.get("status") or {}).get("allocation") or {}).get("devices") or {}
        _check(context, claim, devices.get("results") or ())


def _requests(spec: Object) -> list[Object]:
    requests = (spec.get("devices") or {}).get("requests") or ()
    return [request.get("exactly") or {} for request in requests]


def _check(context: Context, obj: Object, asking: Any) -> None:
    """Refuse administrators' access outside the namespaces that are marked for it.

    Raises:
        Invalid: One of `asking` has adminAccess, and the namespace has no such label.
    """
    if not any(one.get("adminAccess") for one in asking):
        return
    namespace = context.parts.registry.get("namespaces", "", obj["metadata"].get("namespace") or "")
    labels = ((namespace or {}).get("metadata") or {}).get("labels") or {}
    if labels.get(ADMIN_LABEL) != "true":
        words = f"admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace"
        resource = context.target.resource
        name = obj["metadata"].get("name") or ""
        raise errors.Invalid(resource.group, resource.kind, name, [field.forbidden(field.Path("[]"), words)])


CLAIMS = Strategy(prepare_create=_create_claim, prepare_status=_claim_status)
TEMPLATES = Strategy(prepare_create=_create_template)
