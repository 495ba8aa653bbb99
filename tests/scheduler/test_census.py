"""Counts that follow each pod equal those that are made anew by looking at all pods."""

from random import Random

from lightkube.models import meta_v1

from knarr.control import selectors
from knarr.scheduler import census, podfacts
from knarr.scheduler.cluster import Cluster
from tests.scheduler.objects import node, pod

SELECTORS = (
    None,
    meta_v1.LabelSelector(),
    meta_v1.LabelSelector(matchLabels={"app": "a"}),
    meta_v1.LabelSelector(matchLabels={"app": "b", "tier": "front"}),
    meta_v1.LabelSelector(matchExpressions=[meta_v1.LabelSelectorRequirement(key="tier", operator="Exists")]),
    meta_v1.LabelSelector(
        matchLabels={"app": "a"},
        matchExpressions=[meta_v1.LabelSelectorRequirement(key="tier", operator="NotIn", values=["front"])],
    ),
)
NAMESPACES = (None, frozenset(("default",)), frozenset(("default", "other")), frozenset[str]())


def plainly(cluster: Cluster, sorts: list[census.Sort], *, with_terminating: bool) -> list[int]:
    """Count by looking at all pods."""
    return [
        sum(
            all(
                (places is None or one.namespace in places) and selectors.matches(selector, one.labels)
                for places, selector in sorts
            )
            and (with_terminating or not one.is_terminating)
            for one in pods.values()
        )
        for pods in cluster.pods
    ]


def random_facts(name: str, random: Random) -> podfacts.PodFacts:
    labels = {"app": random.choice("abc")}
    if random.random() < 0.5:
        labels["tier"] = random.choice(("front", "back"))
    made = pod(name, namespace=random.choice(("default", "other", "third")), labels=labels)
    assert made.metadata
    if random.random() < 0.2:
        made.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"  # type: ignore[assignment]
    return podfacts.of(made)


def test_counts_are_those_of_looking_at_all_pods_whatever_came_and_went() -> None:
    random = Random(1)
    cluster = Cluster()
    for number in range(5):
        cluster.set_node(node(f"n{number}"))
    asked = [[(where, what)] for where in NAMESPACES for what in SELECTORS]
    asked.append([(None, SELECTORS[2]), (frozenset(("default",)), SELECTORS[4])])
    for step in range(600):
        uid = f"p{random.randrange(60)}"
        if random.random() < 0.3:
            cluster.remove_pod(f"uid-{uid}")
        else:
            cluster.add_pod(random_facts(uid, random), f"n{random.randrange(20)}")
        sorts = random.choice(asked)
        for with_terminating in (True, False):
            counted = cluster.count(*sorts, with_terminating=with_terminating)
            assert list(counted) == plainly(cluster, sorts, with_terminating=with_terminating), step


def test_the_longest_unasked_census_makes_place_and_is_right_when_asked_again() -> None:
    cluster = Cluster()
    cluster.set_node(node("n"))
    first: census.Sort = (None, SELECTORS[2])
    assert cluster.count(first).sum() == 0
    for number in range(census.LIMIT):
        cluster.count((frozenset((f"ns{number}",)), SELECTORS[1]))
    cluster.add_pod(podfacts.of(pod("p", labels={"app": "a"})), "n")
    assert cluster.count(first).sum() == 1
