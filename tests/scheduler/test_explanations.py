from knarr.kit.clock import FakeClock
from knarr.scheduler.explain import Explanation, Group
from knarr.scheduler.explanations import GROUPS, NODES, PAUSE_S, Explanations, to_json
from knarr.scheduler.podfacts import PodFacts
from tests.scheduler import objects


async def test_equal_pods_share_an_explanation_and_a_flood_gets_few() -> None:
    clock, asked = FakeClock(), list[str]()

    def explain(pod: PodFacts) -> Explanation:
        asked.append(pod.name)
        return Explanation(1, (), None, ())

    explanations = Explanations(explain, clock)
    first = explanations.text(objects.facts("a", cpu="1"), "m")
    assert first and explanations.text(objects.facts("b", cpu="1"), "m") == first
    assert explanations.text(objects.facts("c", cpu="2"), "m") == ""
    assert asked == ["a"]
    await clock.advance(PAUSE_S)
    assert explanations.text(objects.facts("c", cpu="2"), "m")
    assert asked == ["a", "c"]


def test_a_large_cluster_gives_a_short_explanation_that_counts_all() -> None:
    names = [f"n{number}" for number in range(5000)]
    groups = [Group((("P", f"reason {number}"),), (), names) for number in range(100)]
    told = to_json(Explanation(5000, (), None, groups))
    assert len(told["groups"]) == GROUPS
    assert all((one["count"], len(one["nodes"])) == (5000, NODES) for one in told["groups"])
