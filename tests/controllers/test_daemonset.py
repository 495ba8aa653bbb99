from datetime import UTC, datetime
from typing import Any

from lightkube.models import apps_v1, core_v1, meta_v1
from msgspec.structs import replace

from knarr.controllers import daemonset

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make(**strategy: Any) -> apps_v1.DaemonSet:
    template = core_v1.PodTemplateSpec(spec=core_v1.PodSpec(containers=[core_v1.Container(name="c")]))
    update = apps_v1.DaemonSetUpdateStrategy(
        type="RollingUpdate", rollingUpdate=apps_v1.RollingUpdateDaemonSet(**strategy) if strategy else None
    )
    spec = apps_v1.DaemonSetSpec(
        selector=meta_v1.LabelSelector(matchLabels={"a": "b"}), template=template, updateStrategy=update
    )
    return apps_v1.DaemonSet(metadata=meta_v1.ObjectMeta(name="d", namespace="ns", uid="d"), spec=spec)


def node(name: str, *taints: tuple[str, str]) -> core_v1.Node:
    spec = core_v1.NodeSpec(taints=[core_v1.Taint(key=key, effect=effect) for key, effect in taints] or None)
    return core_v1.Node(metadata=meta_v1.ObjectMeta(name=name), spec=spec)


def pod(where: str, digest: str = "new", *, ready: bool = True) -> core_v1.Pod:
    built = daemonset.pod_for(make(), where, digest)
    condition = core_v1.PodCondition(type="Ready", status="True" if ready else "False", lastTransitionTime=NOW)
    return replace(built, status=core_v1.PodStatus(phase="Running", conditions=[condition]))


def plan(made: apps_v1.DaemonSet, nodes: list[core_v1.Node], *pods: core_v1.Pod) -> tuple[list[str], list[str]]:
    by_node: dict[str, list[core_v1.Pod]] = {}
    for one in pods:
        by_node.setdefault(daemonset.target_node(one), []).append(one)
    planned = daemonset.plan(daemonset.Observed(made, nodes, by_node, "new", NOW))
    gone = [
        f"{daemonset.target_node(one)}/{(one.metadata.labels or {})[daemonset.HASH]}"
        for one in planned.delete
        if one.metadata
    ]
    return [*planned.create], gone


def test_a_pod_on_every_node_that_it_fits() -> None:
    nodes = [
        node("a"),
        node("cordoned", ("node.kubernetes.io/unschedulable", "NoSchedule")),
        node("tainted", ("x", "NoSchedule")),
        node("hot", ("x", "NoExecute")),
    ]
    assert plan(make(), nodes) == (["a", "cordoned"], [])
    assert plan(make(), nodes, pod("a"), pod("cordoned"), pod("tainted"), pod("hot")) == ([], ["hot/new"])


def test_old_pods_go_as_far_as_the_unavailable_ones_allow() -> None:
    nodes = [node("a"), node("b"), node("c")]
    assert plan(make(maxUnavailable=1), nodes, pod("a", "old"), pod("b", "old"), pod("c", "old")) == ([], ["a/old"])
    assert plan(make(maxUnavailable=2), nodes, pod("a", "old"), pod("b", "old"), pod("c", "old"))[1] == [
        "a/old",
        "b/old",
    ]
    waiting = (pod("a", ready=False), pod("b", "old"), pod("c", "old"))
    assert plan(make(maxUnavailable=1), nodes, *waiting) == ([], [])
    broken = (pod("a", ready=False), pod("b", "old", ready=False), pod("c", "old"))
    assert plan(make(maxUnavailable=1), nodes, *broken) == ([], ["b/old"])


def test_with_a_surge_the_new_pod_comes_before_the_old_one_goes() -> None:
    nodes = [node("a"), node("b")]
    made = make(maxSurge=1, maxUnavailable=0)
    assert plan(made, nodes, pod("a", "old"), pod("b", "old")) == (["a"], [])
    assert plan(made, nodes, pod("a", "old"), pod("a", ready=False), pod("b", "old")) == ([], [])
    assert plan(made, nodes, pod("a", "old"), pod("a"), pod("b", "old")) == ([], ["a/old"])
    assert plan(made, nodes, pod("a"), pod("b", "old")) == (["b"], [])
