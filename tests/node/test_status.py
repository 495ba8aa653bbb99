from datetime import UTC, datetime
from typing import Any

import pytest

from knarr.node.heartbeat import status_patch
from knarr.node.machine import Machine
from knarr.node.runtime.runtime import Condition, Image, Version
from knarr.node.status import Identity, Reading, is_ready, is_settled, node_labels, node_status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MACHINE = Machine(2, 8 << 30, 100 << 30, {"2Mi": 0}, "m", "s", "b", "6.1", "Debian", "amd64")
IDENTITY = Identity("n1", ("192.0.2.1",), 10250, MACHINE, labels={"x": "y"})
READY = (Condition("RuntimeReady", ready=True), Condition("NetworkReady", ready=True))


def status(**reading: Any) -> Any:
    return node_status(
        IDENTITY, Reading(Version("containerd", "1.6.20"), **{"runtime": READY, **reading}), None, now=NOW
    )


def test_what_the_node_is() -> None:
    found = status(images=(Image("1", ("small",), (), 1), Image("2", ("big",), ("big@sha256:0",), 2)))
    assert found.capacity == {
        "cpu": "2",
        "ephemeral-storage": "104857600Ki",
        "hugepages-2Mi": "0",
        "memory": "8388608Ki",
        "pods": "110",
    }
    assert found.allocatable["memory"] == "8286208Ki"
    assert [(a.type, a.address) for a in found.addresses] == [("InternalIP", "192.0.2.1"), ("Hostname", "n1")]
    assert found.daemonEndpoints.kubeletEndpoint.Port == 10250
    assert found.nodeInfo.containerRuntimeVersion == "containerd://1.6.20"
    assert [image.names for image in found.images] == [["big@sha256:0", "big"], ["small"]]


def test_pods_may_use_the_extended_resources_that_somebody_advertises() -> None:
    before = status()
    assert is_settled(before)
    before.capacity |= {"example.com/dongle": "4", "kubernetes.io/odd": "1", "cpu": "64"}
    assert not is_settled(before)
    after = node_status(IDENTITY, Reading(Version("containerd", "1.6.20"), READY), before, now=NOW)
    assert is_settled(after)
    assert after.capacity is not None
    assert after.allocatable is not None
    for amounts in (after.capacity, after.allocatable):
        assert amounts["example.com/dongle"] == "4"
        assert amounts["cpu"] == "2"
        assert "kubernetes.io/odd" not in amounts


def test_resources_that_are_gone_are_taken_out() -> None:
    before, after = status(), status()
    before.allocatable["example.com/dongle"] = "4"
    assert status_patch(before, after)["allocatable"]["example.com/dongle"] is None
    assert status_patch(after, after) == {}


def test_labels() -> None:
    labels = node_labels(IDENTITY)
    assert labels["kubernetes.io/hostname"] == "n1"
    assert labels["kubernetes.io/arch"] == "amd64"
    assert labels["x"] == "y"


@pytest.mark.parametrize(
    ("reading", "kind", "value", "reason", "message"),
    [
        ({}, "Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ({"runtime": ()}, "Ready", "False", "KubeletNotReady", "container runtime is down"),
        (
            {"runtime": (READY[0], Condition("NetworkReady", ready=False, reason="R", message="M"))},
            "Ready",
            "False",
            "KubeletNotReady",
            "container runtime network not ready: NetworkReady=false reason:R message:M",
        ),
        ({}, "MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        (
            {"memory_bytes": 1},
            "MemoryPressure",
            "True",
            "KubeletHasInsufficientMemory",
            "kubelet has insufficient memory available",
        ),
        ({}, "DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ({"storage_share": 0.05}, "DiskPressure", "True", "KubeletHasDiskPressure", "kubelet has disk pressure"),
        ({}, "PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ({"pids": 5}, "PIDPressure", "True", "KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
    ],
)
def test_conditions(reading: Any, kind: str, value: str, reason: str, message: str) -> None:
    (found,) = [c for c in status(**reading).conditions if c.type == kind]
    assert (found.status, found.reason, found.message) == (value, reason, message)


def test_transition_is_remembered() -> None:
    first = status()
    later = NOW.replace(hour=1)
    reading = Reading(Version("containerd", "1"), ())
    second = node_status(IDENTITY, reading, first, now=later)
    times = {c.type: c.lastTransitionTime for c in second.conditions or []}
    assert (times["Ready"], times["DiskPressure"]) == (later, NOW)
    assert (is_ready(first), is_ready(second)) == (True, False)
