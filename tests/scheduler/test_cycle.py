from dataclasses import replace
from random import Random

import pytest
from lightkube.models import core_v1, meta_v1

from knarr.scheduler import cycle
from knarr.scheduler.cluster import Cluster
from knarr.scheduler.plugins import order
from knarr.scheduler.podfacts import PodFacts
from tests.scheduler import objects
from tests.scheduler.objects import cluster, facts, node

KIND = meta_v1.LabelSelector(matchLabels={"app": "kind"})
NAMESPACES = {"default": {"team": "a"}, "other": {"team": "b"}}
PROFILE = order.default(replace(objects.TOOLS, namespaces=lambda: NAMESPACES, selector_of=lambda pod: KIND))


def decide(pod: PodFacts, made: Cluster) -> str:
    """Return the node's name, or the message."""
    decided = cycle.decide(pod, made, PROFILE, Random(1))
    return decided.node if isinstance(decided, cycle.Placed) else decided.message()


def term(key: str, **labels: str) -> core_v1.PodAffinityTerm:
    return core_v1.PodAffinityTerm(topologyKey=key, labelSelector=meta_v1.LabelSelector(matchLabels=labels))


def away(*terms: core_v1.PodAffinityTerm) -> core_v1.Affinity:
    return core_v1.Affinity(
        podAntiAffinity=core_v1.PodAntiAffinity(requiredDuringSchedulingIgnoredDuringExecution=[*terms])
    )


def near(*terms: core_v1.PodAffinityTerm) -> core_v1.Affinity:
    return core_v1.Affinity(podAffinity=core_v1.PodAffinity(requiredDuringSchedulingIgnoredDuringExecution=[*terms]))


def test_without_nodes_it_says_so() -> None:
    assert decide(facts("p"), cluster()) == "no nodes available to schedule pods"


def test_reasons_are_counted_and_sorted_as_text() -> None:
    made = cluster(
        node("small", cpu="500m", memory="1Mi"),
        node("tainted", taints=[core_v1.Taint(key="k", effect="NoSchedule")]),
        node("cordoned", unschedulable=True),
        node("full", pods="0"),
    )
    assert decide(facts("p", cpu="1", memory="2Mi"), made) == (
        "0/4 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 Too many pods, "
        "1 node(s) had untolerated taint(s), 1 node(s) were unschedulable."
    )


@pytest.mark.parametrize(
    ("taint", "toleration", "fits"),
    [
        ({"key": "k", "value": "v"}, {"key": "k", "operator": "Equal", "value": "v"}, True),
        ({"key": "k", "value": "v"}, {"key": "k", "operator": "Equal", "value": "w"}, False),
        ({"key": "k"}, {"operator": "Exists"}, True),
        ({"key": "k"}, {"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "k", "value": "7"}, {"key": "k", "operator": "Gt", "value": "5"}, True),
        ({"key": "k", "value": "4"}, {"key": "k", "operator": "Gt", "value": "5"}, False),
    ],
)
def test_taints_and_tolerations(taint: dict[str, str], toleration: dict[str, str], *, fits: bool) -> None:
    made = cluster(node("n", taints=[core_v1.Taint(effect="NoSchedule", **taint)]))
    pod = facts("p", tolerations=[core_v1.Toleration(**toleration)])
    assert (decide(pod, made) == "n") is fits


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [
        ("In", ["ssd"], "a"),
        ("NotIn", ["ssd"], "b"),
        ("Exists", None, "a"),
        ("DoesNotExist", None, "b"),
        ("In", ["tape"], "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."),
    ],
)
def test_required_node_affinity(operator: str, values: list[str] | None, expected: str) -> None:
    made = cluster(node("a", labels={"disk": "ssd"}), node("b"))
    requirement = core_v1.NodeSelectorRequirement(key="disk", operator=operator, values=values)
    selector = core_v1.NodeSelector(nodeSelectorTerms=[core_v1.NodeSelectorTerm(matchExpressions=[requirement])])
    affinity = core_v1.Affinity(
        nodeAffinity=core_v1.NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=selector)
    )
    assert decide(facts("p", affinity=affinity), made) == expected


def test_numbers_in_labels_compare_as_numbers() -> None:
    made = cluster(node("a", labels={"gen": "9"}), node("b", labels={"gen": "10"}), node("c", labels={"gen": "x"}))
    requirement = core_v1.NodeSelectorRequirement(key="gen", operator="Gt", values=["9"])
    selector = core_v1.NodeSelector(nodeSelectorTerms=[core_v1.NodeSelectorTerm(matchExpressions=[requirement])])
    affinity = core_v1.Affinity(
        nodeAffinity=core_v1.NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=selector)
    )
    assert decide(facts("p", affinity=affinity), made) == "b"


def test_a_daemon_pod_finds_its_node_by_name_field() -> None:
    made = cluster(node("a"), node("b"))
    requirement = core_v1.NodeSelectorRequirement(key="metadata.name", operator="In", values=["b"])
    selector = core_v1.NodeSelector(nodeSelectorTerms=[core_v1.NodeSelectorTerm(matchFields=[requirement])])
    affinity = core_v1.Affinity(
        nodeAffinity=core_v1.NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=selector)
    )
    assert decide(facts("p", affinity=affinity), made) == "b"


def test_host_ports_collide_on_the_same_address_only() -> None:
    def web(name: str, ip: str) -> PodFacts:
        return facts(name, ports=[core_v1.ContainerPort(containerPort=80, hostPort=80, hostIP=ip)])

    made = cluster(node("n"), n=[web("old", "10.0.0.1")])
    assert decide(web("p", "10.0.0.2"), made) == "n"
    assert decide(web("p", ""), made).endswith("1 node(s) didn't have free ports for the requested pod ports.")


def test_the_emptier_node_is_preferred() -> None:
    made = cluster(node("busy"), node("idle"), busy=[facts("old", cpu="3", memory="6Gi")])
    assert decide(facts("p", cpu="500m", memory="1Gi"), made) == "idle"


def test_a_node_that_has_the_image_is_preferred() -> None:
    image = core_v1.ContainerImage(names=["big:latest"], sizeBytes=900 * 1024 * 1024)
    made = cluster(node("a"), node("b", images=[image]), node("c"))
    assert decide(facts("p", image="big"), made) == "b"


def test_pods_are_kept_apart_from_both_sides() -> None:
    guarded = facts("old", labels={"app": "db"}, affinity=away(term("kubernetes.io/hostname", app="web")))
    made = cluster(node("a"), a=[guarded])
    assert decide(facts("p", labels={"app": "web"}), made).endswith(
        "1 node(s) didn't satisfy existing pods anti-affinity rules."
    )
    apart = facts("p", labels={"app": "api"}, affinity=away(term("kubernetes.io/hostname", app="db")))
    assert decide(apart, made).endswith("1 node(s) didn't match pod anti-affinity rules.")


def test_pods_are_brought_together_by_zone() -> None:
    made = cluster(
        node("a", labels={"zone": "1"}),
        node("b", labels={"zone": "2"}),
        node("c"),
        a=[facts("db", labels={"app": "db"})],
    )
    assert decide(facts("p", affinity=near(term("zone", app="db"))), made) == "a"
    lonely = facts("p", affinity=near(term("zone", app="none")))
    assert decide(lonely, made).endswith("3 node(s) didn't match pod affinity rules.")


def test_the_first_of_a_group_may_start_it() -> None:
    made = cluster(node("a", labels={"zone": "1"}), node("b"))
    assert decide(facts("p", labels={"app": "x"}, affinity=near(term("zone", app="x"))), made) == "a"


def spread(kind: str = "DoNotSchedule", **more: int) -> list[core_v1.TopologySpreadConstraint]:
    selector = meta_v1.LabelSelector(matchLabels={"app": "x"})
    return [
        core_v1.TopologySpreadConstraint(
            maxSkew=1, topologyKey="zone", whenUnsatisfiable=kind, labelSelector=selector, **more
        )
    ]


def test_spread_over_zones() -> None:
    made = cluster(
        node("a", labels={"zone": "1"}), node("b", labels={"zone": "2"}), node("c"), a=[facts("o", labels={"app": "x"})]
    )
    pod = facts("p", labels={"app": "x"}, topologySpreadConstraints=spread())
    assert decide(pod, made) == "b"
    soft = facts("p", labels={"app": "x"}, topologySpreadConstraints=spread("ScheduleAnyway"))
    assert decide(soft, made) == "b"
    made.remove_node("b")
    made.add_pod(facts("o2", labels={"app": "x"}), "a")
    few = facts("p", labels={"app": "x"}, topologySpreadConstraints=spread(minDomains=2))
    assert decide(few, made) == (
        "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, "
        "1 node(s) didn't match pod topology spread constraints (missing required label)."
    )


def test_a_node_that_comes_back_under_the_same_name_is_as_new() -> None:
    made = cluster(node("n", labels={"disk": "ssd"}), n=[facts("old", cpu="4")])
    made.remove_node("n")
    assert len(made) == 0
    made.remove_pod("uid-old")
    made.set_node(node("n"))
    assert decide(facts("p", cpu="4"), made) == "n"
    assert decide(facts("p", nodeSelector={"disk": "ssd"}), made).endswith("node affinity/selector.")


def test_extended_resources_count() -> None:
    made = cluster(node("n", extra={"example.com/gpu": "1"}), n=[facts("old", requests={"example.com/gpu": "1"})])
    assert decide(facts("p", requests={"example.com/gpu": "1"}), made) == (
        "0/1 nodes are available: 1 Insufficient example.com/gpu."
    )
    assert decide(facts("p", requests={"nobody.has/it": "1"}), made).endswith("1 Insufficient nobody.has/it.")


def test_pods_of_a_kind_spread_over_nodes_without_being_told_to() -> None:
    made = cluster(node("a"), node("b"), a=[facts("o", labels={"app": "kind"})], b=[facts("x", cpu="1", memory="1Gi")])
    assert decide(facts("p", labels={"app": "kind"}), made) == "b"
