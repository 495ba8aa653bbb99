from datetime import UTC, datetime
from typing import Any

import pytest
from lightkube.models import apps_v1, core_v1, meta_v1
from msgspec.structs import replace

from knarr.controllers import history
from knarr.controllers import statefulset as sts

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make(replicas: int, image: str = "x:1", **spec: Any) -> apps_v1.StatefulSet:
    template = core_v1.PodTemplateSpec(
        metadata=meta_v1.ObjectMeta(labels={"app": "x"}),
        spec=core_v1.PodSpec(containers=[core_v1.Container(name="c", image=image)]),
    )
    return apps_v1.StatefulSet(
        metadata=meta_v1.ObjectMeta(name="x", namespace="ns", uid="u", generation=1),
        spec=apps_v1.StatefulSetSpec(
            replicas=replicas,
            selector=meta_v1.LabelSelector(matchLabels={"app": "x"}),
            serviceName="x",
            template=template,
            **spec,
        ),
    )


def observe(made: apps_v1.StatefulSet, *pods: core_v1.Pod, before: apps_v1.StatefulSet | None = None) -> sts.Observed:
    update = history.plan(made, [], 0).current
    current = history.plan(before, [], 0).current if before else update
    return sts.Observed(made, pods, current, update, NOW)


def pod(made: apps_v1.StatefulSet, ordinal: int, *, ready: bool = True, going: bool = False) -> core_v1.Pod:
    built = sts.pod_for(observe(made), ordinal)
    assert built.metadata
    condition = core_v1.PodCondition(type="Ready", status="True" if ready else "False", lastTransitionTime=NOW)
    meta = replace(built.metadata, deletionTimestamp=NOW if going else None)
    return replace(built, metadata=meta, status=core_v1.PodStatus(phase="Running", conditions=[condition]))


def names(actions: list[sts.Action]) -> list[str]:
    found = []
    for one in actions:
        if isinstance(one, sts.Claim):
            found.append(f"Claim {one.ordinal}")
        elif one.pod.metadata:
            found.append(f"{type(one).__name__} {one.pod.metadata.name}")
    return found


def rolling(**fields: Any) -> apps_v1.StatefulSetUpdateStrategy:
    return apps_v1.StatefulSetUpdateStrategy(
        type="RollingUpdate", rollingUpdate=apps_v1.RollingUpdateStatefulSetStrategy(**fields)
    )


def test_in_order_one_waits_for_the_one_before() -> None:
    made = make(3)
    assert names(sts.plan(observe(made))) == ["Create x-0"]
    assert names(sts.plan(observe(made, pod(made, 0, ready=False)))) == []
    assert names(sts.plan(observe(made, pod(made, 0)))) == ["Create x-1"]


def test_in_parallel_nobody_waits() -> None:
    made = make(3, podManagementPolicy="Parallel")
    assert names(sts.plan(observe(made, pod(made, 1, ready=False)))) == ["Create x-0", "Create x-2"]
    fewer = make(1, podManagementPolicy="Parallel")
    pods = [pod(made, ordinal) for ordinal in range(3)]
    assert names(sts.plan(observe(fewer, *pods))) == ["Delete x-2", "Delete x-1"]


def test_shrinking_takes_the_highest_and_waits_for_it() -> None:
    made = make(1)
    pods = [pod(made, ordinal) for ordinal in range(3)]
    assert names(sts.plan(observe(made, *pods))) == ["Delete x-2"]
    assert names(sts.plan(observe(made, pods[0], pods[1], pod(made, 2, going=True)))) == []


def test_an_update_goes_from_the_highest_down_to_the_partition() -> None:
    old = make(3)
    pods = [pod(old, ordinal) for ordinal in range(3)]
    new = make(3, "x:2", updateStrategy=rolling(partition=1))
    assert names(sts.plan(observe(new, *pods, before=old))) == ["Delete x-2"]
    observed = observe(new, pods[0], pods[1], pod(new, 2), before=old)
    assert names(sts.plan(observed)) == ["Delete x-1"]
    updated = observe(new, pods[0], pod(new, 1), pod(new, 2), before=old)
    assert names(sts.plan(updated)) == []
    below = sts.pod_for(updated, 0)
    assert below.spec
    assert below.spec.containers[0].image == "x:1"


def test_on_delete_leaves_updates_to_people() -> None:
    old = make(2)
    new = make(2, "x:2", updateStrategy=apps_v1.StatefulSetUpdateStrategy(type="OnDelete"))
    assert sts.plan(observe(new, pod(old, 0), pod(old, 1), before=old)) == []


def test_ordinals_may_start_elsewhere_and_finished_pods_are_made_anew() -> None:
    made = make(1, ordinals=apps_v1.StatefulSetOrdinals(start=5))
    assert names(sts.plan(observe(made))) == ["Create x-5"]
    failed = replace(pod(made, 5), status=core_v1.PodStatus(phase="Failed"))
    assert names(sts.plan(observe(made, failed))) == ["Delete x-5"]


def test_a_pod_has_its_identity_and_its_claims() -> None:
    claim = core_v1.PersistentVolumeClaim(metadata=meta_v1.ObjectMeta(name="data"))
    made = make(1, volumeClaimTemplates=[claim])
    built = sts.pod_for(observe(made), 0)
    assert built.metadata and built.metadata.labels and built.spec
    assert (built.metadata.name, built.spec.hostname, built.spec.subdomain) == ("x-0", "x-0", "x")
    assert built.metadata.labels["apps.kubernetes.io/pod-index"] == "0"
    [volume] = built.spec.volumes or []
    assert volume.persistentVolumeClaim and volume.persistentVolumeClaim.claimName == "data-x-0"
    [made_claim] = sts.claims_for(made, 0)
    assert made_claim.metadata and made_claim.metadata.name == "data-x-0"


DATA = core_v1.PersistentVolumeClaim(
    metadata=meta_v1.ObjectMeta(name="data"),
    spec=core_v1.PersistentVolumeClaimSpec(resources=core_v1.VolumeResourceRequirements(requests={"storage": "1Gi"})),
)


def claim(made: apps_v1.StatefulSet, ordinal: int, **meta: Any) -> core_v1.PersistentVolumeClaim:
    [built] = sts.claims_for(made, ordinal)
    assert built.metadata
    return replace(built, metadata=replace(built.metadata, **meta))


def test_a_pod_waits_for_a_claim_that_is_going_and_gets_one_that_is_missing() -> None:
    made = make(1, volumeClaimTemplates=[DATA])
    observed = observe(made)
    going = claim(made, 0, deletionTimestamp=NOW)
    assert names(sts.plan(replace_claims(observed, going))) == []
    owned = claim(made, 0, ownerReferences=[meta_v1.OwnerReference("v1", "Pod", "x-0", "earlier")])
    assert names(sts.plan(replace_claims(observed, owned))) == []
    assert names(sts.plan(replace_claims(observed, claim(made, 0)))) == ["Create x-0"]
    pending = pod(made, 0, ready=False)
    assert pending.status
    pending.status.phase = "Pending"
    assert names(sts.plan(observe(made, pending))) == ["Claim 0"]


def replace_claims(observed: sts.Observed, *claims: core_v1.PersistentVolumeClaim) -> sts.Observed:
    known = {(one.metadata.name or ""): one for one in claims if one.metadata}
    return sts.Observed(observed.stateful_set, observed.pods, observed.current, observed.update, NOW, known)


def test_a_pod_gets_its_labels_back() -> None:
    made = make(1)
    changed = pod(made, 0)
    assert changed.metadata and changed.metadata.labels
    del changed.metadata.labels[sts.POD_NAME_LABEL]
    [action] = sts.plan(observe(made, changed))
    assert action == sts.Restore(changed, {sts.POD_NAME_LABEL: "x-0"})


@pytest.mark.parametrize(
    ("deleted", "scaled", "condemned", "expected"),
    [
        ("Retain", "Retain", False, []),
        ("Retain", "Retain", True, []),
        ("Delete", "Retain", False, ["StatefulSet"]),
        ("Delete", "Retain", True, ["StatefulSet"]),
        ("Retain", "Delete", False, []),
        ("Retain", "Delete", True, ["Pod"]),
        ("Delete", "Delete", False, ["StatefulSet"]),
        ("Delete", "Delete", True, ["Pod"]),
    ],
)
def test_who_owns_a_claim(deleted: str, scaled: str, condemned: bool, expected: list[str]) -> None:
    policy = apps_v1.StatefulSetPersistentVolumeClaimRetentionPolicy(whenDeleted=deleted, whenScaled=scaled)
    made = make(1, volumeClaimTemplates=[DATA], persistentVolumeClaimRetentionPolicy=policy)
    gone = pod(made, 1) if condemned else None
    for before in ([], [meta_v1.OwnerReference("apps/v1", "StatefulSet", "x", "u", controller=True)]):
        found = sts.claim_owners(made, claim(made, 0, ownerReferences=before), condemned=gone)
        assert [one.kind for one in found] == expected


@pytest.mark.parametrize(("unavailable", "expected"), [(None, ["x-3"]), (2, ["x-3", "x-2"]), ("50%", ["x-3", "x-2"])])
def test_an_update_takes_as_many_as_may_be_unavailable(unavailable: Any, expected: list[str]) -> None:
    before = make(4)
    made = make(4, image="x:2", updateStrategy=rolling(maxUnavailable=unavailable))
    old = [pod(before, ordinal) for ordinal in range(4)]
    assert names(sts.plan(observe(made, *old, before=before))) == [f"Delete {name}" for name in expected]
