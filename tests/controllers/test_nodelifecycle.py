import pytest
from lightkube.models import core_v1, meta_v1

from knarr.controllers import nodelifecycle, nodes


def node(zone: str, *, ready: bool) -> core_v1.Node:
    condition = core_v1.NodeCondition(type="Ready", status="True" if ready else "Unknown")
    return core_v1.Node(
        metadata=meta_v1.ObjectMeta(labels={"topology.kubernetes.io/zone": zone} if zone else {}),
        status=core_v1.NodeStatus(conditions=[condition]),
    )


@pytest.mark.parametrize(
    ("ready", "unready", "others", "expected"),
    [
        (0, 1, 0, False),  # the only node: the fault is as likely here
        (1, 1, 0, True),
        (2, 3, 0, False),  # most of a small zone
        (3, 2, 0, True),
        (0, 3, 1, True),  # a whole zone, while another works
        (0, 3, 0, False),
        (30, 40, 0, True),  # a large zone
    ],
)
def test_evictions_stop_while_too_much_is_down(ready: int, unready: int, others: int, *, expected: bool) -> None:
    everyone = [node("a", ready=True) for _ in range(ready)] + [node("a", ready=False) for _ in range(unready)]
    everyone += [node("b", ready=True) for _ in range(others)]
    assert nodelifecycle.may_evict(everyone, ":a") is expected


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
