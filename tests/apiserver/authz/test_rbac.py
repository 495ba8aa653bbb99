"""RBAC: rules, bindings, reasons, the bootstrap policy."""

import pytest

from knarr.api.user import User
from knarr.apiserver.authz import bootstrap
from knarr.apiserver.authz.authorizer import Authorizer, forbidden
from knarr.apiserver.authz.rbac import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Rbac
from knarr.apiserver.authz.rules import Rule, compact, uncovered
from knarr.kit.clock import FakeClock
from tests.apiserver.access import add, ask, open_registry, user

RULE = Rule(("get", "list"), ("", "apps"), ("pods", "pods/log", "*/scale"))

ALLOWS = [
    (RULE, "get pods ns/x", True),
    (RULE, "list pods.apps ns/", True),
    (RULE, "watch pods ns/", False),
    (RULE, "get pods/log ns/x", True),
    (RULE, "get pods/exec ns/x", False),
    (RULE, "get deployments.apps/scale ns/x", True),
    (RULE, "get deployments.apps ns/x", False),
    (RULE, "get pods.batch ns/x", False),
    (RULE, "get /api", False),
    (Rule(("*",), ("*",), ("*",)), "escalate roles.rbac.authorization.k8s.io/anything ns/x", True),
    (Rule(("*",), ("*",), ("*",)), "get /api", False),
    (Rule(("get",), ("",), ("secrets",), ("one",)), "get secrets ns/one", True),
    (Rule(("get",), ("",), ("secrets",), ("one",)), "get secrets ns/two", False),
    (Rule(("list",), ("",), ("secrets",), ("one",)), "list secrets ns/", False),
    (Rule(("get",), urls=("/api/*", "/version")), "get /api/v1", True),
    (Rule(("get",), urls=("/api/*", "/version")), "get /api", False),
    (Rule(("get",), urls=("/api/*", "/version")), "get /version", True),
    (Rule(("get",), urls=("/api/*",)), "post /api/v1", False),
    (Rule(("get",), urls=("*",)), "get /anything", True),
]


@pytest.mark.parametrize(("rule", "asked", "expected"), ALLOWS)
def test_rule_allows(rule: Rule, asked: str, expected: bool) -> None:
    assert rule.is_allowing(ask(asked)) is expected


UNCOVERED = [
    ((), ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},), ['{APIGroups:[""], Resources:["pods"], Verbs:["get"]}']),
    ((Rule(("*",), ("*",), ("*",)),), ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},), []),
    (
        (Rule(("get",), ("",), ("pods",)),),
        ({"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]},),
        ['{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}'],
    ),
    (
        (Rule(("get",), ("",), ("pods",), ("one",)),),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},),
        ['{APIGroups:[""], Resources:["pods"], Verbs:["get"]}'],
    ),
    (
        (Rule(("get",), ("",), ("pods",)),),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["one"]},),
        [],
    ),
    (
        (Rule(("get",), urls=("/api/*",)),),
        ({"verbs": ["get"], "nonResourceURLs": ["/api/v1", "/metrics"]},),
        ['{NonResourceURLs:["/metrics"], Verbs:["get"]}'],
    ),
    (
        (Rule(("get",), ("",), ("*",)),),
        ({"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]},),
        ['{APIGroups:[""], Resources:["pods"], Verbs:["*"]}'],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("owned", "wanted", "missing"), UNCOVERED)
def test_uncovered_permissions(
    owned: tuple[Rule, ...], wanted: tuple[dict[str, object], ...], missing: list[str]
) -> None:
    found = uncovered(owned, [Rule.read(rule) for rule in wanted])
    assert [str(rule) for rule in compact(found)] == missing


async def test_decisions_follow_roles_and_bindings() -> None:
    async with open_registry(FakeClock()) as registry:
        rbac = Rbac(registry)
        authorizer = Authorizer((rbac,), rbac)
        ann = user("ann", "devs")
        asked = ask("list pods ns/")
        assert not authorizer.authorize(ann, asked).allowed

        await add(registry, ROLES, "reader", "ns", rules=[RULE.to_object()])
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
        subjects = [{"kind": "Group", "name": "devs", "apiGroup": "rbac.authorization.k8s.io"}]
        await add(registry, ROLE_BINDINGS, "devs-read", "ns", roleRef=role, subjects=subjects)
        decision = authorizer.authorize(ann, asked)
        assert decision.allowed
        assert decision.reason == 'RBAC: allowed by RoleBinding "devs-read/ns" of Role "reader" to Group "devs"'
        assert not authorizer.authorize(ann, ask("list pods other/")).allowed
        assert not authorizer.authorize(ann, ask("list pods")).allowed

        await registry.delete(ROLES, "ns", "reader")
        gone = authorizer.authorize(ann, asked)
        assert not gone.allowed
        assert gone.reason == 'RBAC: role.rbac.authorization.k8s.io "reader" not found'
        await registry.delete(ROLE_BINDINGS, "ns", "devs-read")
        assert authorizer.authorize(ann, asked).reason == ""


async def test_service_account_subject_and_changed_subjects() -> None:
    async with open_registry(FakeClock()) as registry:
        rbac = Rbac(registry)
        await add(registry, CLUSTER_ROLES, "reader", rules=[RULE.to_object()])
        binding = await add(
            registry,
            CLUSTER_ROLE_BINDINGS,
            "bots",
            roleRef={"kind": "ClusterRole", "name": "reader"},
            subjects=[{"kind": "ServiceAccount", "name": "bot", "namespace": "ns"}],
        )
        bot = user("system:serviceaccount:ns:bot")
        decision = rbac.authorize(bot, ask("get pods other/x"))
        assert decision.reason.endswith('ClusterRoleBinding "bots" of ClusterRole "reader" to ServiceAccount "bot/ns"')
        await registry.update(CLUSTER_ROLE_BINDINGS, {**binding, "subjects": []})
        assert not rbac.authorize(bot, ask("get pods other/x")).allowed


DEFAULTS = [
    (user("system:kube-scheduler"), "create pods/binding ns/x", True),
    (user("system:kube-controller-manager"), "list secrets ns/", True),
    (user("system:kube-proxy"), "watch endpointslices.discovery.k8s.io", True),
    (user("anybody"), "get /apis", True),
    (user("anybody"), "get /metrics", False),
    (user("anybody"), "create selfsubjectaccessreviews.authorization.k8s.io", True),
    (user("anybody"), "list pods ns/", False),
    (User("system:anonymous", ("system:unauthenticated",)), "get /livez", True),
    (User("system:anonymous", ("system:unauthenticated",)), "get /version", True),
    (User("system:anonymous", ("system:unauthenticated",)), "get /api", False),
    (user("system:serviceaccount:kube-system:deployment-controller"), "create replicasets.apps ns/", True),
    (user("system:serviceaccount:kube-system:deployment-controller"), "create pods ns/", False),
    (user("system:serviceaccount:kube-system:horizontal-pod-autoscaler"), "update foos.example.com/scale ns/x", True),
    (user("system:serviceaccount:ns:x", "system:serviceaccounts"), "get /openid/v1/jwks", True),
    (user("root", "system:masters"), "delete namespaces kube-system", True),
]


async def test_bootstrap_policy() -> None:
    async with open_registry(clock := FakeClock()) as registry:
        rbac = Rbac(registry)
        await bootstrap.reconcile(registry, now=clock.now())
        authorizer = Authorizer((rbac,), rbac)
        for who, asked, expected in DEFAULTS:
            assert authorizer.authorize(who, ask(asked)).allowed is expected, f"{who.name} {asked}"


async def test_bootstrap_completes_what_lacks_and_keeps_what_was_added() -> None:
    async with open_registry(clock := FakeClock()) as registry:
        await bootstrap.reconcile(registry, now=clock.now())
        revision = registry.store.revision
        await bootstrap.reconcile(registry, now=clock.now())
        assert registry.store.revision == revision

        role = registry.get(CLUSTER_ROLES, "", "system:kube-dns")
        assert role is not None
        extra = {"verbs": ["get"], "apiGroups": ["x"], "resources": ["y"]}
        await registry.update(CLUSTER_ROLES, {**role, "rules": [extra]})
        frozen = registry.get(CLUSTER_ROLES, "", "system:heapster")
        assert frozen is not None
        annotations = {"rbac.authorization.kubernetes.io/autoupdate": "false"}
        metadata = {**frozen["metadata"], "annotations": annotations}
        await registry.update(CLUSTER_ROLES, {**frozen, "metadata": metadata, "rules": []})
        await bootstrap.reconcile(registry, now=clock.now())
        role = registry.get(CLUSTER_ROLES, "", "system:kube-dns")
        assert role is not None
        assert role["rules"][0] == extra
        wanted = Rule(("list", "watch"), ("",), ("endpoints", "services"))
        assert not uncovered([Rule.read(rule) for rule in role["rules"]], [wanted])
        frozen = registry.get(CLUSTER_ROLES, "", "system:heapster")
        assert frozen is not None
        assert frozen["rules"] == []


FORBIDDEN = [
    ("list pods y/", 'pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "y"'),
    (
        "get pods/log y/z",
        'pods "z" is forbidden: User "x" cannot get resource "pods/log" in API group "" in the namespace "y"',
    ),
    (
        "list deployments.apps",
        'deployments.apps is forbidden: User "x" cannot list resource "deployments" in API group "apps" at the cluster '
        "scope",
    ),
    ("get /metrics", 'forbidden: User "x" cannot get path "/metrics"'),
]


@pytest.mark.parametrize(("asked", "message"), FORBIDDEN)
def test_forbidden_message(asked: str, message: str) -> None:
    assert forbidden(user("x"), ask(asked), "").message == message
