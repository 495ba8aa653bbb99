from typing import Any

import pytest
from lightkube.models import core_v1, meta_v1

from knarr.controllers import deschedule
from knarr.controllers.deschedule_view import EVICT, MIRROR, Limits, observe
from tests.controllers.lab import open_lab
from tests.controllers.test_deployment import deployment, is_rolled_out

SELECTOR = meta_v1.LabelSelector(matchLabels={"app": "x"})


def node(name: str, *, taint: str = "", ready: bool = True, **labels: str) -> core_v1.Node:
    room = {"cpu": "4", "memory": "4Gi", "pods": "20"}
    return core_v1.Node(
        metadata=meta_v1.ObjectMeta(name=name, labels={"host": name, **labels}),
        spec=core_v1.NodeSpec(taints=[core_v1.Taint(key=taint, effect="NoSchedule")] if taint else None),
        status=core_v1.NodeStatus(
            allocatable=room, conditions=[core_v1.NodeCondition(type="Ready", status=str(ready))]
        ),
    )


def pod(
    name: str, on: str, *, cpu: str = "100m", owner: str | None = "rs", kind: str = "ReplicaSet", priority: int = 0,
    annotations: dict[str, str] | None = None, namespace: str = "ns", **spec: Any,
) -> core_v1.Pod:  # fmt: skip
    resources = core_v1.ResourceRequirements(requests={"cpu": cpu})
    references = [meta_v1.OwnerReference("apps/v1", kind, owner, owner, controller=True)] if owner else None
    return core_v1.Pod(
        metadata=meta_v1.ObjectMeta(
            name=name, namespace=namespace, labels={"app": "x"}, ownerReferences=references, annotations=annotations
        ),
        spec=core_v1.PodSpec(
            containers=[core_v1.Container(name="c", image="i", resources=resources)],
            nodeName=on,
            priority=priority,
            **spec,
        ),
    )


def named(nodes: list[core_v1.Node], pods: list[core_v1.Pod], strategy: str, limits: Limits | None = None) -> list[str]:
    view = observe(nodes, pods, limits or Limits())
    found = deschedule.plan(view, deschedule.Thresholds(), [strategy])
    return [f"{one.pod.metadata.name}>{one.taker}" for one in found if one.pod.metadata]


def required(key: str, value: str) -> core_v1.Affinity:
    requirement = core_v1.NodeSelectorRequirement(key=key, operator="In", values=[value])
    selector = core_v1.NodeSelector([core_v1.NodeSelectorTerm(matchExpressions=[requirement])])
    return core_v1.Affinity(nodeAffinity=core_v1.NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=selector))


def apart() -> core_v1.Affinity:
    term = core_v1.PodAffinityTerm(topologyKey="host", labelSelector=SELECTOR)
    return core_v1.Affinity(
        podAntiAffinity=core_v1.PodAntiAffinity(requiredDuringSchedulingIgnoredDuringExecution=[term])
    )


def test_taints_and_labels_that_came_later_drive_pods_away() -> None:
    nodes = [node("a", taint="t"), node("b", disk="ssd")]
    tolerates = [core_v1.Toleration(key="t", operator="Exists")]
    assert named(nodes, [pod("p", "a"), pod("q", "a", tolerations=tolerates)], "node-taints") == ["p>b"]
    assert named([node("a"), nodes[1]], [pod("p", "a", affinity=required("disk", "ssd"))], "node-affinity") == ["p>b"]
    assert named([node("a")], [pod("p", "a", affinity=required("disk", "ssd"))], "node-affinity") == []


def test_of_two_that_must_be_apart_the_lesser_goes() -> None:
    pods = [pod("low", "a", affinity=apart()), pod("high", "a", priority=10, affinity=apart())]
    assert named([node("a"), node("b")], pods, "anti-affinity") == ["low>b"]
    assert named([node("a"), node("b")], [*pods, pod("other", "b")], "anti-affinity") == []


def test_full_domains_give_to_empty_ones() -> None:
    constraint = core_v1.TopologySpreadConstraint(
        maxSkew=1, topologyKey="zone", whenUnsatisfiable="DoNotSchedule", labelSelector=SELECTOR
    )
    pods = [pod(f"p{number}", "a", topologySpreadConstraints=[constraint]) for number in range(4)]
    assert len(named([node("a", zone="z1"), node("b", zone="z2")], pods, "topology-spread")) == 2
    assert named([node("a", zone="z1"), node("b", zone="z1")], pods, "topology-spread") == []


def test_busy_nodes_give_to_idle_ones_until_they_are_not_busy() -> None:
    pods = [pod(f"p{number}", "a", cpu="500m", priority=number) for number in range(6)]
    nodes = [node("a"), node("b")]
    assert named(nodes, pods, "low-utilization") == ["p0>b", "p1>b"]
    assert named(nodes, pods, "low-utilization", Limits(total=1)) == ["p0>b"]
    assert named(nodes, [*pods, pod("q", "b", cpu="1")], "low-utilization") == []


def test_a_node_that_cannot_take_pods_is_no_place_to_go() -> None:
    pods = [pod(f"p{number}", "a") for number in range(4)]
    assert len(named([node("a"), node("b")], pods, "duplicates")) == 2
    assert named([node("a"), node("b", ready=False)], pods, "duplicates") == []
    assert named([node("a"), node("b", taint="t")], pods, "duplicates") == []
    assert len(named([node("a"), node("b")], pods, "duplicates", Limits(per_node=1))) == 1


@pytest.mark.parametrize(
    ("fields", "moves"),
    [
        ({}, True),
        ({"owner": None}, False),
        ({"owner": None, "annotations": {EVICT: "true"}}, True),
        ({"kind": "DaemonSet"}, False),
        ({"annotations": {MIRROR: "x"}}, False),
        ({"priority": 2_000_000_000}, False),
        ({"namespace": "kube-system"}, False),
        ({"volumes": [core_v1.Volume(name="v", emptyDir=core_v1.EmptyDirVolumeSource())]}, False),
    ],
)
def test_which_pods_may_move(fields: dict[str, Any], moves: bool) -> None:
    view = observe([node("a")], [], Limits())
    assert view.may_move(pod("p", "a", **fields)) is moves


async def test_as_a_controller_it_may_do_what_it_does() -> None:
    async with open_lab("n1", controllers=["*", "descheduler"]) as lab:
        await lab.client.create(deployment(2))
        await lab.until(lambda: is_rolled_out(lab))
        await lab.nodes.add("n2")

        async def places() -> set[str | None]:
            return {pod.spec.nodeName for pod in await lab.pods() if pod.spec}

        assert await places() == {"n1"}
        for _ in range(40):
            await lab.clock.advance(10)
        assert await places() == {"n1", "n2"}
        assert any("pod evicted from n1 node by the descheduler" in text for text in await lab.events("duplicates"))
