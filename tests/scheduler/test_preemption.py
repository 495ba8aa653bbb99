from random import Random

from lightkube.models import core_v1, meta_v1, policy_v1

from knarr.scheduler import cycle, preemption
from knarr.scheduler.cluster import Cluster
from knarr.scheduler.plugins import order
from knarr.scheduler.podfacts import PodFacts
from tests.scheduler import objects
from tests.scheduler.objects import cluster, facts, node

PROFILE = order.default(objects.TOOLS)


def plan(pod: PodFacts, made: Cluster, *budgets: policy_v1.PodDisruptionBudget) -> preemption.Candidate | str:
    decided = cycle.decide(pod, made, PROFILE, Random(1))
    assert isinstance(decided, cycle.Unplaced)
    before = made.requested.copy()
    found = preemption.plan(pod, decided, made, PROFILE, budgets)
    assert (made.requested == before).all()
    return found if isinstance(found, preemption.Candidate) else found.message


def names(found: preemption.Candidate | str) -> list[str]:
    assert isinstance(found, preemption.Candidate)
    return [victim.name for victim in found.victims]


def test_as_few_as_possible_go_and_the_least_important() -> None:
    made = cluster(node("n", cpu="4"), n=[facts("low", cpu="2", priority=1), facts("mid", cpu="2", priority=5)])
    assert names(plan(facts("p", cpu="2", priority=10), made)) == ["low"]


def test_equal_priority_is_never_displaced() -> None:
    made = cluster(node("n", cpu="4"), n=[facts("old", cpu="4", priority=10)])
    assert plan(facts("p", cpu="2", priority=10), made) == (
        "0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )


def test_what_cannot_be_helped_is_told() -> None:
    taint = core_v1.Taint(key="k", effect="NoSchedule")
    made = cluster(node("small", cpu="1"), node("tainted", taints=[taint]))
    assert plan(facts("p", cpu="2", priority=10), made) == (
        "0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    assert plan(facts("p", cpu="2", preemptionPolicy="Never"), made) == "not eligible due to preemptionPolicy=Never."


def test_the_node_with_the_cheaper_victims_is_chosen() -> None:
    made = cluster(
        node("a", cpu="2"),
        node("b", cpu="2"),
        a=[facts("a1", cpu="2", priority=5)],
        b=[facts("b1", cpu="1", priority=1), facts("b2", cpu="1", priority=1)],
    )
    assert names(plan(facts("p", cpu="2", priority=10), made)) == ["b1", "b2"]


def test_a_budget_shifts_the_choice() -> None:
    made = cluster(
        node("a", cpu="2"),
        node("b", cpu="2"),
        a=[facts("a1", cpu="2", priority=1, labels={"app": "x"})],
        b=[facts("b1", cpu="2", priority=5)],
    )
    budget = policy_v1.PodDisruptionBudget(
        metadata=meta_v1.ObjectMeta(name="pdb", namespace="default"),
        spec=policy_v1.PodDisruptionBudgetSpec(selector=meta_v1.LabelSelector(matchLabels={"app": "x"})),
        status=policy_v1.PodDisruptionBudgetStatus(0, 0, 0, 0),
    )
    assert names(plan(facts("p", cpu="2", priority=10), made)) == ["a1"]
    assert names(plan(facts("p", cpu="2", priority=10), made, budget)) == ["b1"]
