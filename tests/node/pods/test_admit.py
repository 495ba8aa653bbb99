from fractions import Fraction
from typing import Any

import msgspec
import pytest
from lightkube.models import core_v1

from knarr.node.pods.admit import admit
from tests.node.pods.builders import pod

ALLOCATABLE = {"cpu": Fraction(2), "memory": Fraction(1 << 30), "pods": Fraction(3)}
NODE = msgspec.convert({"metadata": {"name": "n1", "labels": {"disk": "ssd", "size": "5"}}}, core_v1.Node)


def sized(**requests: str) -> core_v1.Pod:
    return pod(containers=[{"name": "c", "resources": {"requests": requests}}])


def reason(new: core_v1.Pod, *others: core_v1.Pod) -> str:
    found = admit(new, others, allocatable=ALLOCATABLE, node=NODE)
    return found.reason if found is not None else ""


def test_resources() -> None:
    assert reason(sized(cpu="2")) == ""
    assert reason(sized(cpu="1500m"), sized(cpu="1")) == "OutOfcpu"
    assert reason(sized(memory="2Gi")) == "OutOfmemory"
    assert reason(sized(), sized(), sized(), sized()) == "OutOfpods"


def test_extended_resources_are_those_of_the_node() -> None:
    node = msgspec.convert(
        {"metadata": {"name": "n1"}, "status": {"allocatable": {"example.com/dongle": "3"}}}, core_v1.Node
    )
    for amounts, others, expected in (
        ("2", (), ""),
        ("2", (sized(**{"example.com/dongle": "2"}),), "OutOfexample.com/dongle"),
    ):
        found = admit(sized(**{"example.com/dongle": amounts}), others, allocatable=ALLOCATABLE, node=node)
        assert (found.reason if found is not None else "") == expected
    assert admit(sized(**{"example.com/other": "9"}), (), allocatable=ALLOCATABLE, node=node) is None


def test_message_has_the_figures() -> None:
    found = admit(sized(cpu="3"), [], allocatable=ALLOCATABLE, node=None)
    assert found is not None
    assert "Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000" in found.message


def with_port(number: int, **more: str) -> core_v1.Pod:
    return pod(containers=[{"name": "c", "ports": [{"containerPort": 80, "hostPort": number, **more}]}])


@pytest.mark.parametrize(
    ("new", "other", "fits"),
    [
        (with_port(80), with_port(80), False),
        (with_port(80), with_port(81), True),
        (with_port(80), with_port(80, protocol="UDP"), True),
        (with_port(80, hostIP="127.0.0.1"), with_port(80), False),
        (with_port(80, hostIP="127.0.0.1"), with_port(80, hostIP="127.0.0.2"), True),
        (pod(containers=[{"name": "c", "ports": [{"containerPort": 80}]}]), with_port(80), True),
    ],
)
def test_host_ports(new: core_v1.Pod, other: core_v1.Pod, fits: bool) -> None:
    assert reason(new, other) == ("" if fits else "NodePorts")


def affine(*expressions: dict[str, Any]) -> core_v1.Pod:
    term = {"matchExpressions": list(expressions)}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return pod(affinity={"nodeAffinity": required})


@pytest.mark.parametrize(
    ("new", "fits"),
    [
        (pod(nodeSelector={"disk": "ssd"}), True),
        (pod(nodeSelector={"disk": "hdd"}), False),
        (affine({"key": "disk", "operator": "In", "values": ["ssd"]}), True),
        (affine({"key": "disk", "operator": "NotIn", "values": ["ssd"]}), False),
        (affine({"key": "gpu", "operator": "Exists"}), False),
        (affine({"key": "gpu", "operator": "DoesNotExist"}), True),
        (affine({"key": "size", "operator": "Gt", "values": ["4"]}), True),
        (affine({"key": "size", "operator": "Lt", "values": ["4"]}), False),
    ],
)
def test_node_affinity(new: core_v1.Pod, fits: bool) -> None:
    assert reason(new) == ("" if fits else "NodeAffinity")
