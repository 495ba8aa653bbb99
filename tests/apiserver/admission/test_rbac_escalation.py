from typing import Any

from knarr.apiserver.admission import rbac_escalation
from knarr.apiserver.authz.rbac import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from tests.apiserver.access import user
from tests.apiserver.admission.plugins import Bench, open_bench

ANN = user("ann", "devs")
Object = dict[str, Any]
READ_PODS = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}


async def grant(bench: Bench, *rules: Object) -> None:
    await bench.add(CLUSTER_ROLES, "anns", rules=list(rules))
    role = {"kind": "ClusterRole", "name": "anns"}
    await bench.add(CLUSTER_ROLE_BINDINGS, "anns", roleRef=role, subjects=[{"kind": "User", "name": "ann"}])


def role(*rules: Object, name: str = "r", namespace: str = "ns") -> Object:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"metadata": metadata, "rules": list(rules)}


async def test_roles_beyond_ones_own_permissions() -> None:
    async with open_bench(rbac_escalation.build) as bench:
        await grant(bench, READ_PODS)
        assert await bench.create(ROLES, role(READ_PODS), who=ANN) == ""
        more = role({"verbs": ["get", "list", "create"], "apiGroups": [""], "resources": ["pods", "secrets"]})
        assert await bench.create(ROLES, more, who=ANN) == (
            'roles.rbac.authorization.k8s.io "r" is forbidden: user "ann" (groups=["devs" "system:authenticated"]) is '
            "attempting to grant RBAC permissions not currently held:\n"
            '{APIGroups:[""], Resources:["pods"], Verbs:["list" "create"]}\n'
            '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list" "create"]}'
        )
        assert await bench.create(ROLES, more) == ""
        assert await bench.update(ROLES, more, more, who=ANN) == ""
        assert "not currently held" in await bench.update(ROLES, more, role(READ_PODS), who=ANN)


async def test_escalate_verb_and_aggregation() -> None:
    async with open_bench(rbac_escalation.build) as bench:
        aggregating = {**role(namespace=""), "aggregationRule": {"clusterRoleSelectors": [{}]}}
        refused = await bench.create(CLUSTER_ROLES, aggregating, who=ANN)
        assert refused.endswith("must have cluster-admin privileges to use the aggregationRule")
        await grant(bench, {"verbs": ["escalate"], "apiGroups": ["*"], "resources": ["roles", "clusterroles"]})
        assert await bench.create(CLUSTER_ROLES, aggregating, who=ANN) == ""
        assert await bench.create(ROLES, role({**READ_PODS, "verbs": ["*"]}), who=ANN) == ""


async def test_labels_of_a_powerful_role_are_power_too() -> None:
    async with open_bench(rbac_escalation.build) as bench:
        await grant(bench, READ_PODS)
        powerful = role({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, namespace="")
        labelled = {
            **powerful,
            "metadata": {"name": "r", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        }
        assert "not currently held" in await bench.update(CLUSTER_ROLES, labelled, powerful, who=ANN)
        collected = {**powerful, "metadata": {"name": "r", "finalizers": ["example.com/a"]}}
        assert await bench.update(CLUSTER_ROLES, collected, powerful, who=ANN) == ""
        aggregating = {**role(namespace=""), "aggregationRule": {"clusterRoleSelectors": [{}]}}
        refused = await bench.update(CLUSTER_ROLES, role(namespace=""), aggregating, who=ANN)
        assert refused.endswith("must have cluster-admin privileges to use the aggregationRule")


async def test_escalate_by_name_is_for_roles_that_are_there() -> None:
    async with open_bench(rbac_escalation.build) as bench:
        rule = {"verbs": ["escalate"], "apiGroups": ["*"], "resources": ["roles"], "resourceNames": ["r"]}
        await grant(bench, rule)
        assert "not currently held" in await bench.create(ROLES, role(READ_PODS), who=ANN)
        assert await bench.update(ROLES, role(READ_PODS), role(), who=ANN) == ""
        assert "not currently held" in await bench.update(ROLES, role(READ_PODS, name="o"), role(name="o"), who=ANN)


def binding(kind: str, name: str) -> Object:
    return {"metadata": {"name": "b", "namespace": "ns"}, "roleRef": {"kind": kind, "name": name}, "subjects": []}


async def test_bindings() -> None:
    async with open_bench(rbac_escalation.build) as bench:
        bind = {"verbs": ["bind"], "apiGroups": ["*"], "resources": ["clusterroles"], "resourceNames": ["big"]}
        await grant(bench, READ_PODS, bind)
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        for name, rule in (("small", READ_PODS), ("big", everything), ("huge", everything)):
            await bench.add(CLUSTER_ROLES, name, rules=[rule])
        assert await bench.create(ROLE_BINDINGS, binding("ClusterRole", "small"), who=ANN) == ""
        assert await bench.create(ROLE_BINDINGS, binding("ClusterRole", "big"), who=ANN) == ""
        assert "not currently held" in await bench.create(ROLE_BINDINGS, binding("ClusterRole", "huge"), who=ANN)
        missing = await bench.create(ROLE_BINDINGS, binding("Role", "none"), who=ANN)
        assert missing == 'roles.rbac.authorization.k8s.io "none" not found'
