"""Role-based access control, answered from an index by subject that follows every change of roles and bindings.

Upstream counterpart: plugin/pkg/auth/authorizer/rbac/rbac.go and pkg/registry/rbac/validation (v1.37).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from knarr.api import errors
from knarr.api.user import User
from knarr.apiserver.authn import claims
from knarr.apiserver.authz.authorizer import Decision, Rules
from knarr.apiserver.authz.rules import Rule
from knarr.apiserver.registry import Registry
from knarr.apiserver.requestinfo import RequestInfo

GROUP = "rbac.authorization.k8s.io"
ROLES, CLUSTER_ROLES = f"roles.{GROUP}", f"clusterroles.{GROUP}"
ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS = f"rolebindings.{GROUP}", f"clusterrolebindings.{GROUP}"
_CACHED = 8192

Object = dict[str, Any]
_Subject = tuple[str, str]  # ("User" or "Group", name)
_RoleKey = tuple[str, str]  # (namespace or "" for a ClusterRole, name)


@dataclass(frozen=True, slots=True)
class _Grant:
    """One subject of one binding."""

    namespace: str
    role: _RoleKey
    words: str


class Rbac:
    """The RBAC authorizer.

    Args:
        registry: Has roles and bindings.
    """

    def __init__(self, registry: Registry) -> None:
        self._roles: dict[_RoleKey, tuple[Rule, ...]] = {}
        self._grants: dict[_Subject, dict[tuple[str, str], list[_Grant]]] = {}
        self._decisions: dict[tuple[Any, ...], Decision] = {}
        for resource in (ROLES, CLUSTER_ROLES):
            for role in registry.list(resource):
                self._on_role(None, role)
            registry.subscribe(resource, self._on_role)
        for resource in (ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS):
            for binding in registry.list(resource):
                self._on_binding(None, binding)
            registry.subscribe(resource, self._on_binding)

    def authorize(self, user: User, info: RequestInfo) -> Decision:
        """Allow what one of the user's roles allows."""
        # Everything that rules look at; forgotten as a whole when a role or binding changes.
        key = (
            user.name, user.groups, info.verb, info.group, info.resource, info.subresource, info.namespace, info.name,
            info.path if not info.is_resource_request else None,
        )  # fmt: skip
        known = self._decisions.get(key)
        if known is None:
            if len(self._decisions) >= _CACHED:
                self._decisions.clear()
            known = self._decisions[key] = self._decide(user, info)
        return known

    def rules_for(self, user: User, namespace: str) -> Rules:
        """Return the user's rules in a namespace, and everywhere."""
        rules, missing = self.policy_rules(user, namespace)
        return Rules(
            [rule.to_object() for rule in rules if rule.resources],
            [rule.to_object() for rule in rules if rule.urls],
            bool(missing),
            _format_problems(missing),
        )

    def policy_rules(self, user: User, namespace: str) -> tuple[list[Rule], list[str]]:
        """Return the user's rules in a namespace and everywhere, and which roles are bound but missing."""
        rules: list[Rule] = []
        missing: list[str] = []
        for grant in self._grants_of(user, namespace):
            found = self._roles.get(grant.role)
            if found is None:
                missing.append(_not_found(grant.role))
            else:
                rules += found
        return rules, list(dict.fromkeys(missing))

    def rules_of(self, role_ref: Object, namespace: str) -> tuple[Rule, ...]:
        """Return the rules of the role that a binding in a namespace refers to.

        Raises:
            NotFound: There is no such role.
        """
        key = _role_key(role_ref, namespace)
        rules = self._roles.get(key)
        if rules is None:
            raise errors.NotFound(GROUP, "roles" if key[0] else "clusterroles", key[1])
        return rules

    def _decide(self, user: User, info: RequestInfo) -> Decision:
        missing: list[str] = []
        for grant in self._grants_of(user, info.namespace):
            rules = self._roles.get(grant.role)
            if rules is None:
                missing.append(_not_found(grant.role))
            elif any(rule.is_allowing(info) for rule in rules):
                return Decision(True, f"RBAC: allowed by {grant.words}")
        problems = _format_problems(list(dict.fromkeys(missing)))
        return Decision(False, f"RBAC: {problems}" if problems else "")

    def _grants_of(self, user: User, namespace: str) -> Iterator[_Grant]:
        subjects = [("User", user.name), *(("Group", group) for group in user.groups)]
        held = [self._grants[subject] for subject in subjects if subject in self._grants]
        for scope in ("", namespace) if namespace else ("",):
            for bindings in held:
                for (where, _), grants in bindings.items():
                    if where == scope:
                        yield from grants

    def _on_role(self, old: Object | None, new: Object | None) -> None:
        self._decisions.clear()
        role = new or old
        assert role is not None
        key = (role["metadata"].get("namespace", ""), role["metadata"]["name"])
        if new is None:
            self._roles.pop(key, None)
        else:
            self._roles[key] = tuple(Rule.read(rule) for rule in new.get("rules") or ())

    def _on_binding(self, old: Object | None, new: Object | None) -> None:
        self._decisions.clear()
        if old is not None:
            key = _key(old)
            for subject in old.get("subjects") or ():
                bindings = self._grants.get(_subject_of(subject, key[0]), {})
                bindings.pop(key, None)
        if new is not None:
            key = _key(new)
            for subject in new.get("subjects") or ():
                bindings = self._grants.setdefault(_subject_of(subject, key[0]), {})
                grant = _Grant(key[0], _role_key(new["roleRef"], key[0]), _describe(new, subject))
                bindings.setdefault(key, []).append(grant)


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _role_key(role_ref: Object, namespace: str) -> _RoleKey:
    return (namespace if role_ref.get("kind") == "Role" else "", role_ref["name"])


def _subject_of(subject: Object, namespace: str) -> _Subject:
    if subject.get("kind") == "ServiceAccount":
        return "User", claims.user_name(subject.get("namespace") or namespace, subject["name"])
    return subject.get("kind", ""), subject["name"]


def _describe(binding: Object, subject: Object) -> str:
    namespace, name = _key(binding)
    role, kind = binding["roleRef"], "RoleBinding" if namespace else "ClusterRoleBinding"
    shown = f"{name}/{namespace}" if namespace else name
    whom = subject["name"]
    if subject.get("kind") == "ServiceAccount":
        whom = f"{whom}/{subject.get('namespace') or namespace}"
    return f'{kind} "{shown}" of {role["kind"]} "{role["name"]}" to {subject["kind"]} "{whom}"'


def _not_found(role: _RoleKey) -> str:
    return f'{"role" if role[0] else "clusterrole"}.{GROUP} "{role[1]}" not found'


def _format_problems(problems: list[str]) -> str:
    return problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]" if problems else ""
