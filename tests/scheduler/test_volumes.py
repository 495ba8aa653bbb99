from typing import Any

import pytest
from lightkube.models import core_v1, meta_v1, storage_v1

from knarr.kit.clock import FakeClock
from knarr.scheduler.framework import Denied
from knarr.scheduler.plugins.node_volume_limits import NodeVolumeLimits
from knarr.scheduler.plugins.volume_binding import NO_SPACE, NOT_FOUND, OUT_OF_REACH, VolumeBinding
from knarr.scheduler.plugins.volume_restrictions import IN_USE, NO_DISK, VolumeRestrictions
from knarr.scheduler.plugins.volume_zone import VolumeZone
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.volumes import Storage
from tests.scheduler.objects import cluster, facts, node

CLASS = storage_v1.StorageClass(
    metadata=meta_v1.ObjectMeta(name="slow"), provisioner="csi.example.com", volumeBindingMode="WaitForFirstConsumer"
)


def claim(
    name: str, *, size: str = "1Gi", volume: str = "", modes: tuple[str, ...] = ("ReadWriteOnce",), **more: Any
) -> core_v1.PersistentVolumeClaim:
    annotations = more.pop("annotations", {}) | ({"pv.kubernetes.io/bind-completed": "yes"} if volume else {})
    return core_v1.PersistentVolumeClaim(
        metadata=meta_v1.ObjectMeta(name=name, namespace="default", uid=f"uid-{name}", annotations=annotations),
        spec=core_v1.PersistentVolumeClaimSpec(
            accessModes=[*modes],
            volumeName=volume or None,
            storageClassName="slow",
            resources=core_v1.VolumeResourceRequirements(requests={"storage": size}),
        ),
    )


def volume(name: str, *, size: str = "1Gi", on: str = "", **more: Any) -> core_v1.PersistentVolume:
    affinity = None
    if on:
        requirement = core_v1.NodeSelectorRequirement(key="kubernetes.io/hostname", operator="In", values=[on])
        term = core_v1.NodeSelectorTerm(matchExpressions=[requirement])
        affinity = core_v1.VolumeNodeAffinity(required=core_v1.NodeSelector([term]))
    return core_v1.PersistentVolume(
        metadata=meta_v1.ObjectMeta(name=name, labels=more.pop("labels", None)),
        spec=core_v1.PersistentVolumeSpec(
            capacity={"storage": size},
            accessModes=["ReadWriteOnce"],
            storageClassName="slow",
            nodeAffinity=affinity,
            **more,
        ),
        status=core_v1.PersistentVolumeStatus(phase="Available"),
    )


def storage(*objects: Any, provisioner: str = "csi.example.com", **more: Any) -> Storage:
    claims = {one.metadata.name: one for one in objects if isinstance(one, core_v1.PersistentVolumeClaim)}
    volumes = {one.metadata.name: one for one in objects if isinstance(one, core_v1.PersistentVolume)}
    cls = storage_v1.StorageClass(
        metadata=CLASS.metadata, provisioner=provisioner, volumeBindingMode="WaitForFirstConsumer"
    )
    return Storage(
        claim=lambda namespace, name: claims.get(name),
        volume=volumes.get,
        storage_class=lambda name: cls if name == "slow" else None,
        volumes=lambda name: [*volumes.values()],
        **more,
    )


def user(name: str, *claims: str) -> PodFacts:
    sources = [core_v1.PersistentVolumeClaimVolumeSource(claimName=one) for one in claims]
    return facts(name, volumes=[core_v1.Volume(name=f"v{n}", persistentVolumeClaim=s) for n, s in enumerate(sources)])


MADE = cluster(node("a"), node("b"))


def refused(plugin: Any, pod: PodFacts, made: Any = MADE) -> dict[str, str]:
    """Return why each node is refused."""
    rows = made.rows()
    return {
        made.names[row]: rejection.reason
        for rejection in plugin.filter(pod, made, rows)
        for row in rows[rejection.mask]
    }


def binding(store: Storage) -> VolumeBinding:
    return VolumeBinding(store, MADE, None, FakeClock())


def test_without_a_provisioner_only_nodes_with_a_volume_will_do() -> None:
    store = storage(claim("c"), volume("v", on="b"), provisioner="kubernetes.io/no-provisioner")
    assert refused(binding(store), user("p", "c")) == {"a": NOT_FOUND}


def test_two_claims_do_not_get_the_same_volume() -> None:
    store = storage(
        claim("c1"), claim("c2", size="2Gi"), volume("v1", on="a", size="2Gi"), volume("v2", on="b"),
        volume("v3", on="b", size="2Gi"), provisioner="kubernetes.io/no-provisioner",
    )  # fmt: skip
    assert refused(binding(store), user("p", "c1", "c2")) == {"a": NOT_FOUND}


def test_what_is_reserved_for_one_pod_is_not_there_for_another() -> None:
    store = storage(claim("c1"), claim("c2"), volume("v", on="b"), provisioner="kubernetes.io/no-provisioner")
    plugin = binding(store)
    assert plugin.reserve(user("p", "c1"), "b", {}) is None
    assert refused(plugin, user("q", "c2")) == {"a": NOT_FOUND, "b": NOT_FOUND}
    plugin.unreserve(user("p", "c1"), "b", {})
    assert refused(plugin, user("q", "c2")) == {"a": NOT_FOUND}


def test_where_there_is_no_space_no_volume_is_made() -> None:
    driver = storage_v1.CSIDriver(spec=storage_v1.CSIDriverSpec(storageCapacity=True))
    capacity = storage_v1.CSIStorageCapacity(
        storageClassName="slow",
        capacity="5Gi",
        nodeTopology=meta_v1.LabelSelector(matchLabels={"kubernetes.io/hostname": "a"}),
    )
    store = storage(claim("c", size="3Gi"), driver=lambda name: driver, capacities=lambda: [capacity])
    assert refused(binding(store), user("p", "c")) == {"b": NO_SPACE}


def test_a_volume_that_is_being_made_ties_the_pod_to_its_node() -> None:
    store = storage(claim("c", annotations={"volume.kubernetes.io/selected-node": "b"}))
    assert refused(binding(store), user("p", "c")) == {"a": NOT_FOUND}


def test_bound_volumes_are_reached_from_their_nodes_and_zones() -> None:
    store = storage(claim("c", volume="v"), volume("v", on="b", labels={"topology.kubernetes.io/zone": "z1__z2"}))
    assert refused(binding(store), user("p", "c")) == {"a": OUT_OF_REACH}
    zones = cluster(
        node("a", labels={"topology.kubernetes.io/zone": "z1"}), node("b", labels={"topology.kubernetes.io/zone": "z3"}),
        node("c"),
    )  # fmt: skip
    assert refused(VolumeZone(store), user("p", "c"), zones) == {"b": "node(s) had no available volume zone"}


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ((), 'persistentvolumeclaim "c" not found'),
        ((claim("c"),), None),
    ],
)
def test_missing_claims_reject_the_pod_as_a_whole(objects: tuple[Any, ...], reason: str | None) -> None:
    said = binding(storage(*objects)).prefilter(user("p", "c"), MADE, {})
    assert (said.reason if isinstance(said, Denied) else None) == reason


def test_a_claim_for_one_pod_and_a_disk_for_one_node() -> None:
    store = storage(claim("c", modes=("ReadWriteOncePod",)))
    busy = cluster(node("a"), node("b"), a=[user("old", "c")])
    assert refused(VolumeRestrictions(store), user("p", "c"), busy) == {"a": IN_USE, "b": IN_USE}
    disk = core_v1.Volume(name="d", awsElasticBlockStore=core_v1.AWSElasticBlockStoreVolumeSource(volumeID="vol-1"))
    busy = cluster(node("a"), node("b"), a=[facts("old", volumes=[disk])])
    assert refused(VolumeRestrictions(store), facts("p", volumes=[disk]), busy) == {"a": NO_DISK}


def test_nodes_take_as_many_csi_volumes_as_they_say() -> None:
    def csi(name: str) -> core_v1.PersistentVolume:
        return volume(name, csi=core_v1.CSIPersistentVolumeSource(driver="csi.example.com", volumeHandle=name))

    said = storage_v1.CSINode(
        metadata=meta_v1.ObjectMeta(name="a"),
        spec=storage_v1.CSINodeSpec(
            drivers=[
                storage_v1.CSINodeDriver(
                    name="csi.example.com", nodeID="a", allocatable=storage_v1.VolumeNodeResources(count=1)
                )
            ]
        ),
    )
    store = storage(
        claim("c1", volume="v1"), claim("c2", volume="v2"), csi("v1"), csi("v2"),
        csi_node=lambda name: said if name == "a" else None,
    )  # fmt: skip
    busy = cluster(node("a"), node("b"), a=[user("old", "c1")])
    assert refused(NodeVolumeLimits(store), user("p", "c2"), busy) == {"a": "node(s) exceed max volume count"}
    assert refused(NodeVolumeLimits(store), user("p", "c1"), busy) == {}
