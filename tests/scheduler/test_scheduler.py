"""The scheduler against the real API server in this process."""

import json

from lightkube.models import core_v1, meta_v1, scheduling_v1
from msgspec.structs import replace

from knarr.client import PatchType
from knarr.scheduler.telling import WHY
from tests.controllers.lab import Lab, open_lab
from tests.scheduler import objects


def pod(name: str, **more: object) -> core_v1.Pod:
    made = objects.pod(name, **more)  # type: ignore[arg-type]
    assert made.metadata
    return replace(made, metadata=replace(made.metadata, uid=None))


async def node_of(lab: Lab, name: str) -> str:
    found = await lab.client.get(core_v1.Pod, name, namespace="default")
    return (found.spec.nodeName or "") if found.spec else ""


async def condition(lab: Lab, name: str) -> core_v1.PodCondition | None:
    found = await lab.client.get(core_v1.Pod, name, namespace="default")
    conditions = (found.status.conditions or ()) if found.status else ()
    return next((one for one in conditions if one.type == "PodScheduled"), None)


async def test_a_pod_that_fits_nowhere_is_told_why_and_placed_when_there_is_room() -> None:
    async with open_lab("n1") as lab:
        await lab.client.create(pod("big", cpu="20"))

        async def told() -> bool:
            found = await condition(lab, "big")
            return found is not None and found.reason == "Unschedulable"

        await lab.until(told)
        message = (
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, "
            "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        )
        found = await condition(lab, "big")
        assert found is not None
        assert (found.status, found.message) == ("False", message)
        assert await lab.events("FailedScheduling") == [message]
        (event,) = [one for one in (await lab.client.list(core_v1.Event)).items if one.reason == "FailedScheduling"]
        assert json.loads((event.metadata.annotations or {})[WHY]) == {
            "total": 1,
            "fits": [],
            "whole": None,
            "groups": [
                {
                    "reasons": [{"plugin": "NodeResourcesFit", "reason": "Insufficient cpu"}],
                    "remedies": ["it had 20 cpu in all (it has 8)"],
                    "count": 1,
                    "nodes": ["n1"],
                }
            ],
        }
        await lab.nodes.add("n2", cpu="32")

        async def placed() -> bool:
            return await node_of(lab, "big") == "n2"

        await lab.until(placed)
        assert "Successfully assigned default/big to n2" in await lab.events("Scheduled")


async def test_room_made_by_a_deletion_is_used() -> None:
    async with open_lab("n1") as lab:
        await lab.client.create(pod("first", cpu="6"))

        async def runs(name: str) -> bool:
            return await node_of(lab, name) == "n1"

        await lab.until(lambda: runs("first"))
        await lab.client.create(pod("second", cpu="6"))
        await lab.settle(3)
        assert await node_of(lab, "second") == ""
        await lab.client.delete(core_v1.Pod, "first", namespace="default")
        await lab.until(lambda: runs("second"))


async def test_gates_cordons_and_other_schedulers() -> None:
    async with open_lab("n1") as lab:
        gate = core_v1.PodSchedulingGate(name="example.com/hold")
        await lab.client.create(pod("gated", schedulingGates=[gate]))
        await lab.client.create(pod("foreign", schedulerName="another"))
        await lab.settle(2)
        assert await node_of(lab, "gated") == await node_of(lab, "foreign") == ""
        assert await lab.events("FailedScheduling") == []
        await lab.client.patch(core_v1.Node, "n1", {"spec": {"unschedulable": True}}, PatchType.MERGE)
        await lab.settle(1)
        body = {"spec": {"schedulingGates": None}}
        await lab.client.patch(core_v1.Pod, "gated", body, PatchType.MERGE, namespace="default")
        await lab.settle(2)
        assert await node_of(lab, "gated") == ""
        await lab.client.patch(core_v1.Node, "n1", {"spec": {"unschedulable": None}}, PatchType.MERGE)

        async def placed() -> bool:
            return await node_of(lab, "gated") == "n1"

        await lab.until(placed)


async def test_an_important_pod_displaces_a_lesser_one() -> None:
    async with open_lab("n1") as lab:
        for name, value in (("low", 10), ("high", 1000)):
            made = scheduling_v1.PriorityClass(metadata=meta_v1.ObjectMeta(name=name), value=value)
            await lab.client.create(made)
        await lab.client.create(pod("lesser", cpu="6", priorityClassName="low"))

        async def runs(name: str) -> bool:
            return await node_of(lab, name) == "n1"

        await lab.until(lambda: runs("lesser"))
        await lab.client.create(pod("important", cpu="6", priorityClassName="high"))
        await lab.until(lambda: runs("important"))
        [message] = await lab.events("Preempted")
        assert message.startswith("Preempted by pod ") and message.endswith(" on node n1")
        names = [one.metadata.name for one in (await lab.client.list(core_v1.Pod)).items if one.metadata]
        assert names == ["important"]


async def test_a_pod_waits_for_its_claims() -> None:
    async with open_lab("n1", "n2") as lab:
        source = core_v1.PersistentVolumeClaimVolumeSource(claimName="data")
        await lab.client.create(pod("p", volumes=[core_v1.Volume(name="v", persistentVolumeClaim=source)]))

        async def told(reason: str) -> bool:
            found = await condition(lab, "p")
            return found is not None and (found.message or "").startswith(f"0/2 nodes are available: {reason}. ")

        await lab.until(lambda: told('persistentvolumeclaim "data" not found'))
        claim = core_v1.PersistentVolumeClaim(
            metadata=meta_v1.ObjectMeta(name="data", namespace="default"),
            spec=core_v1.PersistentVolumeClaimSpec(
                accessModes=["ReadWriteOnce"],
                resources=core_v1.VolumeResourceRequirements(requests={"storage": "1Gi"}),
                storageClassName="",
            ),
        )
        await lab.client.create(claim)
        await lab.until(lambda: told("pod has unbound immediate PersistentVolumeClaims"))
        requirement = core_v1.NodeSelectorRequirement(key="kubernetes.io/hostname", operator="In", values=["n2"])
        selector = core_v1.NodeSelector([core_v1.NodeSelectorTerm(matchExpressions=[requirement])])
        volume = core_v1.PersistentVolume(
            metadata=meta_v1.ObjectMeta(name="pv"),
            spec=core_v1.PersistentVolumeSpec(
                capacity={"storage": "1Gi"},
                accessModes=["ReadWriteOnce"],
                hostPath=core_v1.HostPathVolumeSource(path="/tmp/v"),
                nodeAffinity=core_v1.VolumeNodeAffinity(required=selector),
            ),
        )
        await lab.client.create(volume)
        body = {"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {"volumeName": "pv"}}
        kind = core_v1.PersistentVolumeClaim
        await lab.client.patch(kind, "data", body, PatchType.MERGE, namespace="default")

        async def placed() -> bool:
            return await node_of(lab, "p") == "n2"

        await lab.until(placed)
