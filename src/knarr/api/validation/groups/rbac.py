"""Roles and bindings.

Source: k8s.io/kubernetes/pkg/apis/rbac/validation/validation.go (v1.37).
"""

from collections.abc import Mapping

from knarr.api import names
from knarr.api.validation import selectors
from knarr.api.validation.collector import IMMUTABLE, Errors, Object
from knarr.api.validation.rules import Rules

GROUP = "rbac.authorization.k8s.io"


def role(errors: Errors, obj: Object) -> None:
    """Check a Role."""
    for index, rule in enumerate(obj.get("rules") or ()):
        _rule(errors, rule, f"rules[{index}]", namespaced=True)


def cluster_role(errors: Errors, obj: Object) -> None:
    """Check a ClusterRole."""
    for index, rule in enumerate(obj.get("rules") or ()):
        _rule(errors, rule, f"rules[{index}]", namespaced=False)
    aggregation = obj.get("aggregationRule")
    if aggregation is not None:
        path, listed = "aggregationRule.clusterRoleSelectors", aggregation.get("clusterRoleSelectors") or ()
        if not listed:
            errors.required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")
        for index, selector in enumerate(listed):
            selectors.check(errors, selector, f"{path}[{index}]")


def _rule(errors: Errors, rule: Object, path: str, *, namespaced: bool) -> None:
    if not rule.get("verbs"):
        errors.required(f"{path}.verbs", "verbs must contain at least one value")
    urls = rule.get("nonResourceURLs")
    if urls:
        here = f"{path}.nonResourceURLs"
        if namespaced:
            errors.invalid(here, urls, "namespaced rules cannot apply to non-resource URLs")
        if any(rule.get(field) for field in ("apiGroups", "resources", "resourceNames")):
            errors.invalid(here, urls, "rules cannot apply to both regular resources and non-resource URLs")
        return
    if not rule.get("apiGroups"):
        errors.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        errors.required(f"{path}.resources", "resource rules must supply at least one resource")


def role_binding(errors: Errors, obj: Object) -> None:
    """Check a RoleBinding."""
    _binding(errors, obj, ("Role", "ClusterRole"), namespaced=True)


def cluster_role_binding(errors: Errors, obj: Object) -> None:
    """Check a ClusterRoleBinding."""
    _binding(errors, obj, ("ClusterRole",), namespaced=False)


def _binding(errors: Errors, obj: Object, kinds: tuple[str, ...], *, namespaced: bool) -> None:
    reference = obj.get("roleRef") or {}
    group, kind, name = (reference.get(field) or "" for field in ("apiGroup", "kind", "name"))
    if group != GROUP:
        errors.unsupported("roleRef.apiGroup", group, (GROUP,))
    if kind not in kinds:
        errors.unsupported("roleRef.kind", kind, kinds)
    if name:
        errors.all_invalid("roleRef.name", name, names.path_segment(name))
    else:
        errors.required("roleRef.name")
    for index, subject in enumerate(obj.get("subjects") or ()):
        _subject(errors, subject, f"subjects[{index}]", namespaced=namespaced)


def _subject(errors: Errors, subject: Object, path: str, *, namespaced: bool) -> None:
    kind, name, group = (subject.get(field) or "" for field in ("kind", "name", "apiGroup"))
    if not name:
        errors.required(f"{path}.name")
    if kind == "ServiceAccount":
        if name:
            errors.all_invalid(f"{path}.name", name, names.dns_subdomain(name))
        if group:
            errors.unsupported(f"{path}.apiGroup", group, ("",))
        if not namespaced and not subject.get("namespace"):
            errors.required(f"{path}.namespace")
    elif kind in {"User", "Group"}:
        if not name:
            errors.invalid(f"{path}.name", name, f"{kind.lower()} name cannot be empty")
        if group != GROUP:
            errors.unsupported(f"{path}.apiGroup", group, (GROUP,))
    else:
        errors.unsupported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))


def _reference_stays(errors: Errors, obj: Object, old: Object) -> None:
    reference, before = obj.get("roleRef") or {}, old.get("roleRef") or {}
    if reference != before:
        shown = {field: reference.get(field[0].lower() + field[1:]) or "" for field in ("Kind", "Name")}
        errors.invalid("roleRef", {"APIGroup": reference.get("apiGroup") or "", **shown}, IMMUTABLE)


def _role_binding_update(errors: Errors, obj: Object, old: Object) -> None:
    role_binding(errors, obj)
    _reference_stays(errors, obj, old)


def _cluster_role_binding_update(errors: Errors, obj: Object, old: Object) -> None:
    cluster_role_binding(errors, obj)
    _reference_stays(errors, obj, old)


RULES: Mapping[tuple[str, str], Rules] = {
    (GROUP, "ClusterRole"): Rules(cluster_role, name=names.name_is_path_segment),
    (GROUP, "ClusterRoleBinding"): Rules(
        cluster_role_binding, _cluster_role_binding_update, name=names.name_is_path_segment
    ),
    (GROUP, "Role"): Rules(role, name=names.name_is_path_segment),
    (GROUP, "RoleBinding"): Rules(role_binding, _role_binding_update, name=names.name_is_path_segment),
}
