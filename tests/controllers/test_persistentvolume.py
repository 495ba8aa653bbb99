from typing import Any

import pytest
from lightkube.models import core_v1, meta_v1, storage_v1

from knarr.client import PatchType
from knarr.controllers import localpath
from knarr.controllers import persistentvolume as plans
from knarr.controllers import volumematching as matching
from tests.controllers.lab import Lab, open_lab

REQUIRED = core_v1.NodeSelectorRequirement(key="zone", operator="In", values=["a"])
IN_A = core_v1.VolumeNodeAffinity(core_v1.NodeSelector([core_v1.NodeSelectorTerm(matchExpressions=[REQUIRED])]))


def claim(
    *, size: str = "5Gi", annotations: dict[str, str] | None = None, phase: str = "Pending", **spec: Any
) -> core_v1.PersistentVolumeClaim:
    given = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", **spec}
    return core_v1.PersistentVolumeClaim(
        metadata=meta_v1.ObjectMeta(name="c", namespace="default", uid="u", annotations=annotations),
        spec=core_v1.PersistentVolumeClaimSpec(
            resources=core_v1.VolumeResourceRequirements(requests={"storage": size}), **given
        ),
        status=core_v1.PersistentVolumeClaimStatus(phase=phase),
    )


def volume(
    name: str = "v", *, size: str = "10Gi", phase: str = "Available", meta: dict[str, Any] | None = None, **spec: Any
) -> core_v1.PersistentVolume:
    given = {
        "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
        "hostPath": core_v1.HostPathVolumeSource(path="/x"),
        **spec,
    }
    return core_v1.PersistentVolume(
        metadata=meta_v1.ObjectMeta(name=name, **(meta or {})),
        spec=core_v1.PersistentVolumeSpec(capacity={"storage": size}, **given),
        status=core_v1.PersistentVolumeStatus(phase=phase),
    )


def reference(uid: str | None = "u", name: str = "c") -> core_v1.ObjectReference:
    return core_v1.ObjectReference(kind="PersistentVolumeClaim", namespace="default", name=name, uid=uid)


def storage_class(
    name: str, *, waits: bool = False, default: bool = False, provisioner: str = "x.io/p"
) -> storage_v1.StorageClass:
    annotations = {matching.DEFAULT_CLASS[0]: "true"} if default else None
    mode = matching.WAITS if waits else "Immediate"
    return storage_v1.StorageClass(
        metadata=meta_v1.ObjectMeta(name=name, annotations=annotations), provisioner=provisioner, volumeBindingMode=mode
    )


@pytest.mark.parametrize(
    ("wanted", "volumes", "expected"),
    [
        ({}, [volume("big", size="20Gi"), volume("fits", size="5Gi"), volume("small", size="4Gi")], "fits"),
        ({"accessModes": ["ReadWriteMany"]}, [volume()], None),
        ({"volumeMode": "Block"}, [volume()], None),
        ({"volumeMode": "Block"}, [volume(volumeMode="Block")], "v"),
        ({"storageClassName": "fast"}, [volume()], None),
        ({"storageClassName": "fast"}, [volume(storageClassName="fast")], "v"),
        ({"selector": meta_v1.LabelSelector(matchLabels={"a": "b"})}, [volume()], None),
        ({"selector": meta_v1.LabelSelector(matchLabels={"a": "b"})}, [volume(meta={"labels": {"a": "b"}})], "v"),
        ({}, [volume(claimRef=reference("other"))], None),
        ({}, [volume("free", size="5Gi"), volume("meant", size="50Gi", claimRef=reference(None))], "meant"),
        ({}, [volume(phase="Released")], None),
        ({"volumeAttributesClassName": "gold"}, [volume()], None),
    ],
)
def test_which_volume_a_claim_gets(
    wanted: dict[str, Any], volumes: list[core_v1.PersistentVolume], expected: str | None
) -> None:
    found = matching.find(claim(**wanted), volumes, waits=False)
    assert (found.metadata.name if found and found.metadata else None) == expected


@pytest.mark.parametrize(("zone", "expected"), [("a", True), ("b", False), (None, False)])
def test_a_claim_that_waits_gets_a_volume_that_its_node_reaches(zone: str | None, expected: bool) -> None:
    node = core_v1.Node(metadata=meta_v1.ObjectMeta(name="n", labels={"zone": zone})) if zone else None
    found = matching.find(claim(), [volume(nodeAffinity=IN_A)], waits=True, node=node)
    assert (found is not None) == expected


BOUND = {matching.BIND_COMPLETED: "yes"}
CHOSEN = {matching.SELECTED_NODE: "n"}
CLASSES = {
    "now": storage_class("now"),
    "later": storage_class("later", waits=True),
    "none": storage_class("none", provisioner="kubernetes.io/no-provisioner"),
}


@pytest.mark.parametrize(
    ("wanted", "volumes", "expected"),
    [
        ({}, [], ("Pending", None, "", ["FailedBinding"])),
        ({"storageClassName": "now"}, [], ("Pending", None, "x.io/p", ["ExternalProvisioning"])),
        ({"storageClassName": "later"}, [], ("Pending", None, "", ["WaitForFirstConsumer"])),
        ({"storageClassName": "later", "annotations": CHOSEN}, [], ("Pending", None, "x.io/p", ["ExternalProvisioning"])),
        ({"storageClassName": "missing"}, [], ("Pending", None, "", ["ProvisioningFailed"])),
        ({"storageClassName": "none"}, [], ("Pending", None, "", ["ProvisioningFailed"])),
        ({"volumeName": "v"}, [], ("Pending", None, "", [])),
        ({"volumeName": "v"}, [volume()], ("Bound", "v", "", [])),
        ({"volumeName": "v", "size": "50Gi"}, [volume()], ("Pending", None, "", ["VolumeMismatch"])),
        ({"volumeName": "v"}, [volume(claimRef=reference("z", "z"))], ("Pending", None, "", ["FailedBinding"])),
        ({"volumeName": "v", "annotations": BOUND}, [], ("Lost", None, "", ["ClaimLost"])),
        ({"annotations": BOUND}, [], ("Lost", None, "", ["ClaimLost"])),
        ({"volumeName": "v", "annotations": BOUND}, [volume(claimRef=reference("z"))], ("Lost", None, "", ["ClaimMisbound"])),
        ({"volumeName": "v", "annotations": BOUND}, [volume(claimRef=reference())], ("Bound", "v", "", [])),
    ],
)  # fmt: skip
def test_the_next_step_of_a_claim(
    wanted: dict[str, Any], volumes: list[core_v1.PersistentVolume], expected: Any
) -> None:
    step = plans.plan_claim(claim(**wanted), plans.Surroundings(volumes, CLASSES))
    bound = step.bind.metadata.name if step.bind and step.bind.metadata else None
    assert (step.phase, bound, step.provisioner, [one[1] for one in step.events]) == expected


def test_a_claim_without_a_class_gets_the_default_when_there_is_one() -> None:
    around = plans.Surroundings(classes={"std": storage_class("std", default=True)})
    assert plans.plan_claim(claim(storageClassName=None), around).default_class == "std"
    assert plans.plan_claim(claim(storageClassName=""), around).default_class == ""


OLD = {"claimRef": reference("old"), "phase": "Released"}
DELETES = {"claimRef": reference(), "persistentVolumeReclaimPolicy": "Delete"}
MADE = {"annotations": {matching.PROVISIONED_BY: "x.io/p"}}


@pytest.mark.parametrize(
    ("one", "bound_to", "expected"),
    [
        (volume(), None, ("Available", False, False, [])),
        (volume(claimRef=reference(None)), None, ("Available", False, False, [])),
        (volume(claimRef=reference()), claim(), (None, False, True, [])),
        (volume(claimRef=reference()), claim(volumeName="v"), ("Bound", False, False, [])),
        (volume(claimRef=reference()), claim(volumeName="w"), ("Available", True, False, [])),
        (volume(claimRef=reference(), phase="Bound"), None, ("Released", False, False, [])),
        (volume(claimRef=reference("old"), phase="Bound"), claim(), ("Released", False, False, [])),
        (volume(persistentVolumeReclaimPolicy="Delete", **OLD), None, ("Failed", False, False, ["VolumeFailedDelete"])),
        (volume(persistentVolumeReclaimPolicy="Delete", meta=MADE, **OLD), None, ("Released", False, False, [])),
        (volume(persistentVolumeReclaimPolicy="Recycle", **OLD), None, ("Failed", False, False, ["VolumeFailedRecycle"])),
        (volume(**DELETES, meta=MADE), claim(volumeName="w"), ("Released", False, False, [])),
    ],
)  # fmt: skip
def test_the_next_step_of_a_volume(one: Any, bound_to: Any, expected: Any) -> None:
    step = plans.plan_volume(one, bound_to)
    assert (step.phase, step.unbind, step.wake, [event[1] for event in step.events]) == expected


async def phase_of(lab: Lab, kind: Any, name: str, namespace: str = "") -> str:
    found = await lab.client.get(kind, name, namespace=namespace)
    return (found.status.phase if found.status else None) or ""


async def test_a_claim_is_bound_to_a_volume_that_is_there_and_lets_it_go() -> None:
    async with open_lab() as lab:
        await lab.client.create(volume(meta={}, phase=""))
        await lab.until(lambda: is_phase(lab, core_v1.PersistentVolume, "v", "Available"))
        await lab.client.create(claim())
        await lab.until(lambda: is_phase(lab, core_v1.PersistentVolumeClaim, "c", "Bound"))
        bound = await lab.client.get(core_v1.PersistentVolumeClaim, "c", namespace="default")
        assert bound.spec and bound.status and bound.metadata
        assert (bound.spec.volumeName, bound.status.capacity) == ("v", {"storage": "10Gi"})
        assert bound.status.accessModes == ["ReadWriteOnce", "ReadOnlyMany"]
        assert matching.annotation(bound, matching.BOUND_BY_CONTROLLER) == "yes"
        assert await phase_of(lab, core_v1.PersistentVolume, "v") == "Bound"
        await lab.client.delete(core_v1.PersistentVolumeClaim, "c", namespace="default")
        await lab.until(lambda: is_phase(lab, core_v1.PersistentVolume, "v", "Released"))
        await lab.client.patch(core_v1.PersistentVolume, "v", {"spec": {"claimRef": None}}, PatchType.MERGE)
        await lab.until(lambda: is_phase(lab, core_v1.PersistentVolume, "v", "Available"))


async def is_phase(lab: Lab, kind: Any, name: str, phase: str) -> bool:
    namespace = "default" if kind is core_v1.PersistentVolumeClaim else ""
    return await phase_of(lab, kind, name, namespace) == phase


async def test_a_pod_gets_a_folder_on_its_node_which_goes_with_the_claim() -> None:
    async with open_lab("n1") as lab:
        await lab.client.create(claim(storageClassName=None, size="1Gi"))
        await lab.settle(1)
        assert await phase_of(lab, core_v1.PersistentVolumeClaim, "c", "default") == "Pending"
        assert "waiting for first consumer to be created before binding" in await lab.events("WaitForFirstConsumer")
        source = core_v1.PersistentVolumeClaimVolumeSource(claimName="c")
        pod = core_v1.Pod(
            metadata=meta_v1.ObjectMeta(name="p", namespace="default"),
            spec=core_v1.PodSpec(
                containers=[core_v1.Container(name="x", image="x")],
                volumes=[core_v1.Volume(name="d", persistentVolumeClaim=source)],
            ),
        )
        await lab.client.create(pod)

        async def runs() -> bool:
            return await phase_of(lab, core_v1.Pod, "p", "default") == "Running"

        await lab.until(runs)
        [made] = (await lab.client.list(core_v1.PersistentVolume)).items
        assert made.spec and made.spec.local and made.metadata
        assert made.spec.local.path == f"/var/lib/knarr/lab/storage/{made.metadata.name}_default_c"
        assert localpath.FINALIZER in (made.metadata.finalizers or ())
        await lab.client.delete(core_v1.Pod, "p", namespace="default")
        await lab.client.delete(core_v1.PersistentVolumeClaim, "c", namespace="default")

        async def gone() -> bool:
            return not (await lab.client.list(core_v1.PersistentVolume)).items

        await lab.until(gone)
