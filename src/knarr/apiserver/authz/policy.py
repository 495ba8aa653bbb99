"""The notation of the bootstrap tables, and what they are turned into.

Words in a table are separated by spaces; "core" is the API group "".
"""

from dataclasses import dataclass, field
from typing import Any

from knarr.apiserver.authz.rules import Rule

GROUP = "rbac.authorization.k8s.io"
AUTO_UPDATE = "rbac.authorization.kubernetes.io/autoupdate"
LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"

READ = "get list watch"
WRITE = "create delete deletecollection patch update"
READ_WRITE = "create delete deletecollection get list patch update watch"

Object = dict[str, Any]


def _words(text: str) -> tuple[str, ...]:
    return tuple(sorted(text.split()))


def rule(verbs: str, groups: str, resources: str, *, names: str = "") -> Rule:
    """Make a rule about resources."""
    listed = tuple(sorted("" if group == "core" else group for group in groups.split()))
    return Rule(_words(verbs), listed, _words(resources), _words(names))


def urls(paths: str) -> Rule:
    """Make a rule that allows to get paths."""
    return Rule(("get",), urls=_words(paths))


EVENTS = rule("create patch update", "core events.k8s.io", "events")
"""Writing events, as nearly every component does."""


@dataclass(frozen=True, slots=True)
class Role:
    """A ClusterRole, or a Role if it has a namespace.

    Attributes:
        name: Its name.
        rules: Its rules; none where they are aggregated.
        aggregates: Its rules are those of all roles that go into this one.
        into: Its rules go into the roles that aggregate this.
        namespace: Of a Role.
    """

    name: str
    rules: tuple[Rule, ...] = ()
    aggregates: str = ""
    into: str = ""
    namespace: str = ""

    def to_object(self) -> Object:
        """Return the ClusterRole or Role."""
        labels = {**LABELS, **({f"{_AGGREGATE}{self.into}": "true"} if self.into else {})}
        role: Object = {
            "apiVersion": f"{GROUP}/v1",
            "kind": "Role" if self.namespace else "ClusterRole",
            "metadata": _metadata(self.name, self.namespace, labels),
            "rules": [one.to_object() for one in self.rules],
        }
        if self.aggregates:
            selector = {"matchLabels": {f"{_AGGREGATE}{self.aggregates}": "true"}}
            role["aggregationRule"] = {"clusterRoleSelectors": [selector]}
        return role


@dataclass(frozen=True, slots=True)
class Binding:
    """A ClusterRoleBinding, or a RoleBinding if it has a namespace.

    Attributes:
        role: The name of the role, and of the binding unless `name` says otherwise.
        groups: Separated by spaces.
        users: Likewise.
        accounts: Service accounts of kube-system, likewise.
        namespace: Of a RoleBinding; its role is of the same namespace.
        name: Of the binding.
    """

    role: str
    groups: str = ""
    users: str = ""
    accounts: str = ""
    namespace: str = ""
    name: str = ""

    def to_object(self) -> Object:
        """Return the ClusterRoleBinding or RoleBinding."""
        subjects = [
            {"kind": kind, "apiGroup": GROUP, "name": name}
            for kind, names in (("Group", self.groups), ("User", self.users))
            for name in names.split()
        ]
        subjects += [
            {"kind": "ServiceAccount", "name": name, "namespace": "kube-system"} for name in self.accounts.split()
        ]
        kind = "Role" if self.namespace else "ClusterRole"
        binding: Object = {
            "apiVersion": f"{GROUP}/v1",
            "kind": f"{kind}Binding",
            "metadata": _metadata(self.name or self.role, self.namespace, dict(LABELS)),
        }
        if subjects:
            binding["subjects"] = subjects
        binding["roleRef"] = {"apiGroup": GROUP, "kind": kind, "name": self.role}
        return binding


@dataclass(frozen=True, slots=True)
class Policy:
    """Roles and bindings that every cluster has."""

    roles: tuple[Role, ...] = field(default=())
    bindings: tuple[Binding, ...] = field(default=())


def _metadata(name: str, namespace: str, labels: dict[str, str]) -> Object:
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = labels
    metadata["annotations"] = {AUTO_UPDATE: "true"}
    return metadata
