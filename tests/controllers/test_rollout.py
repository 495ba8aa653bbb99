import random

from hypothesis import given
from hypothesis import strategies as st

from knarr.controllers import rollout
from knarr.controllers.rollout import Counts


def counts(name: str, desired: int, available: int | None = None, created: str = "") -> Counts:
    return Counts(name, desired, desired, desired if available is None else available, created=created or name)


def test_percentages_round_so_that_a_rollout_can_always_move() -> None:
    assert rollout.limits(10, "25%", "25%") == rollout.Limits(10, surge=3, unavailable=2)
    assert rollout.limits(1, "25%", "25%") == rollout.Limits(1, surge=1, unavailable=0)
    assert rollout.limits(10, 0, "1%") == rollout.Limits(10, surge=0, unavailable=1)
    assert rollout.limits(2, 0, 5) == rollout.Limits(2, surge=0, unavailable=2)


def test_the_new_set_grows_first_within_the_surge() -> None:
    bounds = rollout.Limits(4, 1, 1)
    assert rollout.plan_rolling(counts("new", 0), [counts("old", 4)], bounds) == {"new": 1}
    assert rollout.plan_rolling(counts("new", 1, 0), [counts("old", 4)], bounds) == {"old": 3}
    assert rollout.plan_rolling(counts("new", 1, 0), [counts("old", 3)], bounds) == {"new": 2}


def test_unavailable_old_pods_go_first() -> None:
    bounds = rollout.Limits(4, 1, 1)
    planned = rollout.plan_rolling(counts("new", 2, 0), [counts("a", 1, 0), counts("b", 3, 3)], rollout.Limits(4, 2, 1))
    assert planned == {"a": 0}
    assert rollout.plan_rolling(counts("new", 4, 4), [counts("a", 1, 0)], bounds) == {"a": 0}


def test_recreate_waits_until_old_pods_are_gone() -> None:
    new = counts("new", 0)
    assert rollout.plan_recreate(new, [counts("old", 2)], 3, old_pods_running=True) == {"old": 0}
    assert rollout.plan_recreate(new, [counts("old", 0)], 3, old_pods_running=True) == {}
    assert rollout.plan_recreate(new, [counts("old", 0)], 3, old_pods_running=False) == {"new": 3}


def test_scaling_in_the_middle_of_a_rollout_is_proportional() -> None:
    bounds = rollout.Limits(20, 0, 1)
    new = Counts("new", 4, 4, 4, created="2", wanted_then=10, max_then=10)
    old = Counts("old", 6, 6, 6, created="1", wanted_then=10, max_then=10)
    assert rollout.plan_scale(new, [old], bounds, is_rolling=True) == {"old": 12, "new": 8}


def test_scaling_with_one_active_set_sizes_that_one() -> None:
    assert rollout.plan_scale(counts("new", 3), [counts("old", 0)], rollout.Limits(5, 1, 0), is_rolling=True) == {
        "new": 5
    }
    assert rollout.plan_scale(None, [], rollout.Limits(5, 1, 0), is_rolling=True) == {}


@given(
    replicas=st.integers(1, 20), surge=st.integers(0, 5), unavailable=st.integers(0, 5), start=st.integers(0, 20),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_rolling_update_keeps_its_bounds_and_ends(
    replicas: int, surge: int, unavailable: int, start: int, seed: int
) -> None:
    bounds = rollout.limits(replicas, surge, unavailable)
    chance = random.Random(seed)
    new, old = {"desired": 0, "available": 0}, {"desired": start, "available": start}

    def as_counts(name: str, one: dict[str, int]) -> Counts:
        return Counts(name, one["desired"], one["desired"], one["available"], created=name)

    for _ in range(1000):
        if new["desired"] == replicas and not old["desired"] and new["available"] == replicas:
            return
        sizes = rollout.plan_rolling(as_counts("new", new), [as_counts("old", old)], bounds)
        before = new["available"] + old["available"]
        for name, one in (("new", new), ("old", old)):
            one["desired"] = sizes.get(name, one["desired"])
            one["available"] = min(one["available"], one["desired"])
        if start <= replicas + bounds.surge:
            assert new["desired"] + old["desired"] <= replicas + bounds.surge
        after = new["available"] + old["available"]
        assert after >= min(before, replicas - bounds.unavailable)
        for one in (new, old):
            if one["available"] < one["desired"] and chance.random() < 0.5:
                one["available"] += 1
    raise AssertionError(f"did not end: {new} {old}")
