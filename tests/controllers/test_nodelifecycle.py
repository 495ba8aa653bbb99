from datetime import UTC, datetime

import pytest
from lightkube.models import core_v1, meta_v1

from knarr.controllers import nodelifecycle, nodes, nodezones

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def node(zone: str, *, ready: bool) -> core_v1.Node:
    condition = core_v1.NodeCondition(type="Ready", status="True" if ready else "Unknown")
    return core_v1.Node(
        metadata=meta_v1.ObjectMeta(labels={"topology.kubernetes.io/zone": zone} if zone else {}),
        status=core_v1.NodeStatus(conditions=[condition]),
    )


@pytest.mark.parametrize(
    ("ready", "unready", "others", "expected"),
    [
        (0, 1, 0, None),  # the only node: the fault is as likely here
        (1, 1, 0, nodezones.RATE),
        (2, 3, 0, 0.0),  # most of a small zone
        (3, 2, 0, nodezones.RATE),
        (0, 3, 1, nodezones.RATE),  # a whole zone, while another works
        (0, 3, 0, None),
        (30, 40, 0, nodezones.SLOW_RATE),  # a large zone
    ],
)
def test_evictions_are_slower_or_stop_while_too_much_is_down(
    ready: int, unready: int, others: int, expected: float | None
) -> None:
    everyone = [node("a", ready=True) for _ in range(ready)] + [node("a", ready=False) for _ in range(unready)]
    everyone += [node("b", ready=True) for _ in range(others)]
    zones = nodezones.Zones()
    for number, one in enumerate(everyone):
        zones.note(f"n{number}", one)
    assert zones.rate(":a") == expected


def test_only_a_change_that_matters_for_evictions_is_told() -> None:
    zones = nodezones.Zones()
    for number in range(10):
        zones.note(f"n{number}", node("a", ready=True))
    assert not zones.note("n0", node("a", ready=True))
    assert [zones.note(f"n{number}", node("a", ready=False)) for number in range(6)] == [False] * 5 + [True]
    assert zones.rate(":a") == 0.0
    assert zones.note("n0", node("a", ready=True))
    assert zones.rate(":a") == nodezones.RATE
    for number in range(10):
        zones.note(f"n{number}", None)
    zones.note("n0", node("a", ready=False))
    assert zones.rate(":a") is None


@pytest.mark.parametrize(
    ("eviction", "standing", "expected"),
    [("BEGIN", False, True), ("HOLD", False, False), ("HOLD", True, True), ("WITHDRAW", True, False)],
)
def test_what_becomes_of_no_execute(eviction: str, standing: bool, expected: bool) -> None:
    one = node("a", ready=False)
    held = [core_v1.Taint(key=nodelifecycle.UNREACHABLE, effect="NoExecute")]
    one.spec = core_v1.NodeSpec(taints=held if standing else None)
    found = nodelifecycle.taints(one, NOW, eviction=nodelifecycle.Eviction[eviction])
    assert any(taint.effect == "NoExecute" for taint in found) == expected


def test_nodes_of_a_zone_are_evicted_from_one_after_the_other() -> None:
    pace = nodezones.Pace()
    assert pace.wait_s("a", 0.1, 100.0) == 0
    assert pace.wait_s("a", 0.1, 104.0) == pytest.approx(6)
    assert pace.wait_s("b", 0.1, 104.0) == 0
    assert pace.wait_s("a", 0.1, 110.0) == 0


@pytest.mark.parametrize(
    ("operator", "values", "matches"),
    [
        ("In", ["ssd", "nvme"], True),
        ("NotIn", ["ssd"], False),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
        ("Gt", ["1"], False),
    ],
)
def test_node_affinity_of_daemons(operator: str, values: list[str] | None, *, matches: bool) -> None:
    one = core_v1.Node(metadata=meta_v1.ObjectMeta(name="n", labels={"disk": "ssd"}))
    requirement = core_v1.NodeSelectorRequirement(key="disk", operator=operator, values=values)
    selector = core_v1.NodeSelector(nodeSelectorTerms=[core_v1.NodeSelectorTerm(matchExpressions=[requirement])])
    affinity = core_v1.Affinity(
        nodeAffinity=core_v1.NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=selector)
    )
    assert nodes.is_selected(core_v1.PodSpec(containers=[], affinity=affinity), one) is matches
