"""Which events let a pod be tried again that a plugin has rejected."""

from typing import Any

import pytest
from lightkube.models import core_v1, meta_v1, storage_v1

from knarr.scheduler.events import Event, Kind
from knarr.scheduler.plugins import order
from tests.scheduler import objects
from tests.scheduler.objects import facts, node


def claim_of(name: str, namespace: str = "default") -> core_v1.PersistentVolumeClaim:
    return core_v1.PersistentVolumeClaim(metadata=meta_v1.ObjectMeta(name=name, namespace=namespace))


def volume(claim: str) -> core_v1.Volume:
    source = core_v1.PersistentVolumeClaimVolumeSource(claimName=claim)
    return core_v1.Volume(name="v", persistentVolumeClaim=source)


def attachment() -> storage_v1.VolumeAttachment:
    source = storage_v1.VolumeAttachmentSource(persistentVolumeName="x")
    return storage_v1.VolumeAttachment(spec=storage_v1.VolumeAttachmentSpec("a", "n", source))


def added(**more: Any) -> Event:
    return Event(Kind.NODE_ADDED, node=node("n", **more))


def updated(before: dict[str, Any], after: dict[str, Any]) -> Event:
    return Event(Kind.NODE_UPDATED, node=node("n", **after), old_node=node("n", **before))


def stored(changed: Any) -> Event:
    return Event(Kind.STORAGE, storage=changed)


def gone(**more: Any) -> Event:
    return Event(Kind.POD_GONE, pod=facts("other", **more))


TAINT = core_v1.Taint(key="k", effect="NoSchedule")
PORT = core_v1.ContainerPort(containerPort=80, hostPort=80)


@pytest.mark.parametrize(
    ("plugin", "event", "helps"),
    [
        ("NodeResourcesFit", added(cpu="4"), True),
        ("NodeResourcesFit", added(cpu="1"), False),
        ("NodeResourcesFit", updated({"cpu": "1"}, {"cpu": "4"}), True),
        ("NodeResourcesFit", updated({"cpu": "4"}, {"cpu": "4", "labels": {"a": "b"}}), False),
        ("NodeResourcesFit", gone(cpu="1"), True),
        ("NodeResourcesFit", Event(Kind.POD_ADDED, pod=facts("other")), False),
        ("NodeResourcesFit", Event(Kind.POD_UPDATED, pod=facts("o", cpu="1"), old_pod=facts("o", cpu="2")), True),
        ("NodeResourcesFit", Event(Kind.POD_UPDATED, pod=facts("o", cpu="2"), old_pod=facts("o", cpu="1")), False),
        ("NodePorts", gone(ports=[PORT]), True),
        ("NodePorts", gone(cpu="1"), False),
        ("NodePorts", updated({}, {"labels": {"a": "b"}}), False),
        ("TaintToleration", updated({"taints": [TAINT]}, {}), True),
        ("TaintToleration", updated({}, {"labels": {"a": "b"}}), False),
        ("NodeUnschedulable", updated({"unschedulable": True}, {}), True),
        ("NodeAffinity", updated({}, {"labels": {"a": "b"}}), True),
        ("NodeAffinity", updated({"cpu": "1"}, {"cpu": "2"}), False),
        ("NodeName", added(), True),
        ("NodeName", updated({}, {"labels": {"a": "b"}}), False),
        ("VolumeBinding", stored(claim_of("mine")), True),
        ("VolumeBinding", stored(claim_of("mine", "elsewhere")), False),
        ("VolumeBinding", stored(claim_of("another")), False),
        ("VolumeBinding", stored(core_v1.PersistentVolume()), True),
        ("VolumeBinding", stored(storage_v1.StorageClass(provisioner="p")), True),
        ("VolumeBinding", stored(attachment()), False),
        ("VolumeZone", stored(claim_of("mine")), True),
        ("VolumeZone", stored(attachment()), False),
        ("VolumeRestrictions", stored(claim_of("mine")), True),
        ("VolumeRestrictions", stored(core_v1.PersistentVolume()), False),
        ("VolumeRestrictions", gone(volumes=[volume("mine")]), True),
        ("VolumeRestrictions", gone(cpu="1"), False),
        ("NodeVolumeLimits", stored(attachment()), True),
        ("NodeVolumeLimits", stored(core_v1.PersistentVolume()), False),
        ("NodeVolumeLimits", gone(volumes=[volume("another")]), True),
        ("NodeVolumeLimits", gone(cpu="1"), False),
        ("SchedulingGates", added(), False),
    ],
)
def test_only_events_that_can_help_requeue_a_pod(plugin: str, event: Event, *, helps: bool) -> None:
    pod = facts("p", cpu="2", volumes=[volume("mine")], ports=[PORT])
    made = order.make(plugin, objects.TOOLS, {})
    assert (event.kind in made.events and made.may_help(event, pod)) == helps
