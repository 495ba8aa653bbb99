"""Attaching, expanding, ephemeral volumes and the protection of attribute classes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lightkube.models import core_v1, meta_v1, storage_v1

from knarr.client import PatchType
from knarr.controllers import attachdetach, ephemeralvolume, vacprotection
from tests.controllers.lab import open_lab

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def volume(mode: str = "ReadWriteOnce") -> core_v1.PersistentVolume:
    csi = core_v1.CSIPersistentVolumeSource(driver="d.io", volumeHandle="h")
    return core_v1.PersistentVolume(
        metadata=meta_v1.ObjectMeta(name="pv"),
        spec=core_v1.PersistentVolumeSpec(capacity={"storage": "1Gi"}, accessModes=[mode], csi=csi),
    )


def node(name: str, *, uses: bool = False, unready_s: float | None = None, taint: str = "") -> core_v1.Node:
    ready = core_v1.NodeCondition(type="Ready", status="True")
    if unready_s is not None:
        since = NOW - timedelta(seconds=unready_s)
        ready = core_v1.NodeCondition(type="Ready", status="Unknown", lastTransitionTime=since)
    names = [attachdetach.unique_name(volume())] if uses else None
    return core_v1.Node(
        metadata=meta_v1.ObjectMeta(name=name),
        spec=core_v1.NodeSpec(taints=[core_v1.Taint(key=taint, effect="NoExecute")] if taint else None),
        status=core_v1.NodeStatus(conditions=[ready], volumesInUse=names),
    )


def use(on: str, one: core_v1.PersistentVolume) -> attachdetach.Use:
    return attachdetach.Use(one, on, [core_v1.Pod(metadata=meta_v1.ObjectMeta(name="p"))])


@pytest.mark.parametrize(
    ("mode", "used_on", "attached_to", "expected"),
    [
        ("ReadWriteOnce", ["a"], [], (["a"], [], 0)),
        ("ReadWriteOnce", ["a"], ["a"], ([], [], 0)),
        ("ReadWriteOnce", ["b"], ["a"], ([], ["a"], 1)),
        ("ReadWriteMany", ["a", "b"], ["a"], (["b"], [], 0)),
        ("ReadWriteOnce", [], ["gone"], ([], ["gone"], 0)),
        ("ReadWriteOnce", ["gone"], [], ([], [], 0)),
    ],
)
def test_volumes_are_attached_where_they_are_used(
    mode: str, used_on: list[str], attached_to: list[str], expected: Any
) -> None:
    one = volume(mode)
    attachments = [attachdetach.attachment_for(use(on, one)) for on in attached_to]
    nodes = {name: node(name) for name in "ab"}
    step = attachdetach.plan([use(on, one) for on in used_on], attachments, nodes, {"pv": one}, NOW)
    assert ([u.node for u in step.attach], [a.spec.nodeName for a in step.detach], len(step.told)) == expected


@pytest.mark.parametrize(
    ("holder", "expected"),
    [
        (node("a"), True),
        (node("a", uses=True), False),
        (node("a", uses=True, unready_s=60), False),
        (node("a", uses=True, unready_s=361), True),
        (node("a", uses=True, taint=attachdetach.OUT_OF_SERVICE), True),
    ],
)
def test_a_node_that_still_uses_a_volume_keeps_it_for_a_while(holder: core_v1.Node, expected: bool) -> None:
    one = volume()
    step = attachdetach.plan([], [attachdetach.attachment_for(use("a", one))], {"a": holder}, {"pv": one}, NOW)
    assert bool(step.detach) == expected


async def test_a_csi_volume_is_attached_for_its_pod_and_detached_after() -> None:
    async with open_lab("n1") as lab:
        one = volume()
        assert one.spec
        one.spec.claimRef = core_v1.ObjectReference(namespace="default", name="c")
        await lab.client.create(one)
        spec = core_v1.PersistentVolumeClaimSpec(
            accessModes=["ReadWriteOnce"],
            storageClassName="",
            resources=core_v1.VolumeResourceRequirements(requests={"storage": "1Gi"}),
        )
        meta = meta_v1.ObjectMeta(name="c", namespace="default")
        await lab.client.create(core_v1.PersistentVolumeClaim(metadata=meta, spec=spec))
        source = core_v1.PersistentVolumeClaimVolumeSource(claimName="c")
        pod = core_v1.PodSpec(
            containers=[core_v1.Container(name="x", image="x")],
            volumes=[core_v1.Volume(name="v", persistentVolumeClaim=source)],
        )
        await lab.client.create(core_v1.Pod(metadata=meta_v1.ObjectMeta(name="p", namespace="default"), spec=pod))

        async def attachments() -> list[str]:
            return [
                one.metadata.name or ""
                for one in (await lab.client.list(storage_v1.VolumeAttachment)).items
                if one.metadata
            ]

        [name] = await lab.until(attachments)
        body = {"status": {"attached": True}}
        await lab.client.patch(storage_v1.VolumeAttachment, name, body, PatchType.MERGE, subresource="status")

        async def told() -> bool:
            status = (await lab.client.get(core_v1.Node, "n1")).status
            return status is not None and [one.name for one in status.volumesAttached or ()] == [
                "kubernetes.io/csi/d.io^h"
            ]

        await lab.until(told)
        await lab.client.delete(core_v1.Pod, "p", namespace="default")

        async def detached() -> bool:
            return not await attachments()

        await lab.until(detached)


def pod_with_ephemeral() -> core_v1.Pod:
    spec = core_v1.PersistentVolumeClaimSpec(
        accessModes=["ReadWriteOnce"], resources=core_v1.VolumeResourceRequirements(requests={"storage": "1Gi"})
    )
    template = core_v1.PersistentVolumeClaimTemplate(spec=spec, metadata=meta_v1.ObjectMeta(labels={"a": "b"}))
    source = core_v1.EphemeralVolumeSource(volumeClaimTemplate=template)
    return core_v1.Pod(
        metadata=meta_v1.ObjectMeta(name="p", namespace="default", uid="pod"),
        spec=core_v1.PodSpec(
            containers=[core_v1.Container(name="x", image="x")],
            volumes=[core_v1.Volume(name="scratch", ephemeral=source)],
        ),
    )


def test_a_claim_of_that_name_which_is_not_the_pods_is_left_alone() -> None:
    pod = pod_with_ephemeral()
    missing, foreign = ephemeralvolume.plan(pod, [])
    assert [one.metadata.name for one in missing if one.metadata] == ["p-scratch"]
    assert ephemeralvolume.plan(pod, missing) == ([], [])
    other = core_v1.PersistentVolumeClaim(metadata=meta_v1.ObjectMeta(name="p-scratch", namespace="default"))
    assert ephemeralvolume.plan(pod, [other]) == ([], ["p-scratch"])
    assert foreign == []


async def test_an_ephemeral_volume_is_made_grows_and_goes_with_its_pod() -> None:
    async with open_lab("n1") as lab:
        await lab.client.create(pod_with_ephemeral())

        async def bound(size: str) -> bool:
            claim = await lab.client.get(core_v1.PersistentVolumeClaim, "p-scratch", namespace="default")
            return claim.status is not None and claim.status.capacity == {"storage": size}

        await lab.until(lambda: bound("1Gi"))
        body = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
        await lab.client.patch(core_v1.PersistentVolumeClaim, "p-scratch", body, PatchType.MERGE, namespace="default")
        await lab.until(lambda: bound("2Gi"))
        await lab.client.delete(core_v1.Pod, "p", namespace="default")

        async def gone() -> bool:
            return not (await lab.client.list(core_v1.PersistentVolume)).items

        await lab.until(gone)


@pytest.mark.parametrize(
    ("going", "is_used", "has", "expected"),
    [(False, False, False, True), (True, True, True, True), (True, False, True, False), (True, False, False, False)],
)
def test_an_attributes_class_in_use_stays(going: bool, is_used: bool, has: bool, expected: bool) -> None:
    meta = meta_v1.ObjectMeta(
        name="gold",
        finalizers=[vacprotection.FINALIZER] if has else None,
        deletionTimestamp=NOW if going else None,
    )
    one = storage_v1.VolumeAttributesClass(driverName="d.io", metadata=meta)
    assert (vacprotection.FINALIZER in vacprotection.plan_finalizers(one, is_used=is_used)) == expected
