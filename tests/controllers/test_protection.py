"""Claims and volumes in use outlive their deletion; aggregated roles collect rules."""

from datetime import UTC, datetime

from lightkube.models import core_v1, meta_v1, rbac_v1

from knarr.controllers import clusterroleaggregation, pvcprotection, pvprotection

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def claim(*, deleted: bool, finalizers: list[str]) -> core_v1.PersistentVolumeClaim:
    metadata = meta_v1.ObjectMeta(name="c", namespace="ns", finalizers=finalizers)
    metadata.deletionTimestamp = NOW if deleted else None
    return core_v1.PersistentVolumeClaim(metadata=metadata)


def pod(node: str | None, volume: core_v1.Volume) -> core_v1.Pod:
    spec = core_v1.PodSpec(containers=[], nodeName=node, volumes=[volume])
    return core_v1.Pod(metadata=meta_v1.ObjectMeta(name="p", namespace="ns"), spec=spec)


USING = core_v1.Volume(name="v", persistentVolumeClaim=core_v1.PersistentVolumeClaimVolumeSource(claimName="c"))


def test_claim_in_use_stays() -> None:
    ours = pvcprotection.FINALIZER
    assert pvcprotection.plan_finalizers(claim(deleted=False, finalizers=["x"]), []) == ["x", ours]
    going = claim(deleted=True, finalizers=["x", ours])
    assert pvcprotection.plan_finalizers(going, [pod("n", USING)]) == ["x", ours]
    assert pvcprotection.plan_finalizers(going, [pod(None, USING)]) == ["x"]
    assert pvcprotection.plan_finalizers(going, []) == ["x"]
    ephemeral = core_v1.Volume(name="v", ephemeral=core_v1.EphemeralVolumeSource())
    assert pvcprotection.claims_of(pod("n", ephemeral)) == ["p-v"]


def test_bound_volume_stays() -> None:
    ours = pvprotection.FINALIZER
    metadata = meta_v1.ObjectMeta(name="v", finalizers=[ours], deletionTimestamp=NOW)
    bound = core_v1.PersistentVolumeStatus(phase="Bound")
    assert pvprotection.plan_finalizers(core_v1.PersistentVolume(metadata=metadata, status=bound)) == [ours]
    free = core_v1.PersistentVolumeStatus(phase="Released")
    assert pvprotection.plan_finalizers(core_v1.PersistentVolume(metadata=metadata, status=free)) == []


def role(name: str, labels: dict[str, str], *verbs: str) -> rbac_v1.ClusterRole:
    rules = [rbac_v1.PolicyRule(verbs=[verb], apiGroups=[""], resources=["pods"]) for verb in verbs]
    return rbac_v1.ClusterRole(metadata=meta_v1.ObjectMeta(name=name, labels=labels), rules=rules)


def test_aggregated_rules_are_those_of_the_selected_roles_each_once() -> None:
    target = role("view", {"to": "edit"})
    selectors = [meta_v1.LabelSelector(matchLabels={"to": "view"})]
    target.aggregationRule = rbac_v1.AggregationRule(clusterRoleSelectors=selectors)
    roles = [
        target,
        role("b", {"to": "view"}, "list", "get"),
        role("a", {"to": "view"}, "get"),
        role("c", {}, "delete"),
    ]
    rules = clusterroleaggregation.plan_rules(target, roles)
    assert [rule.verbs for rule in rules] == [["get"], ["list"]]
