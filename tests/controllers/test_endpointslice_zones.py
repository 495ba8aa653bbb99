from collections import Counter
from random import Random

import pytest
from lightkube.models import core_v1, discovery_v1, meta_v1

from knarr.controllers import endpointslice
from knarr.controllers import endpointslice_zones as zones
from tests.controllers.test_endpointslice import endpoints, made, pod, service


def node(
    name: str, zone: str, *, cpu: str = "4", ready: str = "True", labels: dict[str, str] | None = None
) -> core_v1.Node:
    return core_v1.Node(
        metadata=meta_v1.ObjectMeta(name=name, labels={**({zones.ZONE: zone} if zone else {}), **(labels or {})}),
        status=core_v1.NodeStatus(
            allocatable={"cpu": cpu}, conditions=[core_v1.NodeCondition(type="Ready", status=ready)]
        ),
    )


def endpoint(number: int, zone: str, *, ready: bool = True) -> discovery_v1.Endpoint:
    conditions = discovery_v1.EndpointConditions(ready=ready)
    return discovery_v1.Endpoint(addresses=[f"10.0.0.{number:03}"], conditions=conditions, zone=zone or None)


def spread(**counts: int) -> list[discovery_v1.Endpoint]:
    places = [zone for zone, count in counts.items() for _ in range(count)]
    return [endpoint(number, zone) for number, zone in enumerate(places)]


def test_shares_are_those_of_the_cpu_of_ready_workers() -> None:
    nodes = [
        node("a1", "a", cpu="2"), node("b1", "b", cpu="4"), node("b2", "b", cpu="2"), node("c1", "c", ready="False"),
        node("m", "m", labels={"node-role.kubernetes.io/control-plane": ""}),
    ]  # fmt: skip
    assert zones.ratios(nodes) == {"a": 0.25, "b": 0.75}


@pytest.mark.parametrize(
    ("nodes", "found", "reason"),
    [
        ([("a", "4"), ("", "4")], spread(a=9), zones.INSUFFICIENT_NODE_INFO),
        ([("a", "4"), ("b", "0")], spread(a=9), zones.INSUFFICIENT_NODE_INFO),
        ([], spread(a=9), zones.INSUFFICIENT_NODE_INFO),
        ([("a", "4"), ("a", "4")], spread(a=9), zones.ONE_ZONE),
        ([("a", "4"), ("b", "4"), ("c", "4")], spread(a=1, b=1), f"{zones.TOO_FEW} (2 endpoints, 3 zones)"),
        ([("a", "4"), ("b", "4"), ("c", "4")], spread(a=2, b=1, c=1), f"{zones.OVERLOADED} (4 endpoints, 3 zones)"),
        ([("a", "4"), ("b", "4")], [endpoint(1, "a"), endpoint(2, "b"), endpoint(3, ""), endpoint(4, "a")], zones.NO_ZONE),
    ],
)  # fmt: skip
def test_where_nothing_is_fair_there_are_no_hints(
    nodes: list[tuple[str, str]], found: list[discovery_v1.Endpoint], reason: str
) -> None:
    shares = zones.ratios([node(f"n{number}", zone, cpu=cpu) for number, (zone, cpu) in enumerate(nodes)])
    assert zones.allocate(found, shares, {}) == zones.Allocation({}, reason)


def test_zones_with_too_many_endpoints_give_to_those_with_too_few() -> None:
    shares = {"a": 0.5, "b": 0.5}
    given = zones.allocate(spread(a=8, b=2), shares, {}).zones
    assert Counter(given.values()) == {"a": 5, "b": 5}
    assert Counter(zones.allocate(spread(a=6), shares, {}).zones.values()) == {"a": 3, "b": 3}
    # The endpoints of a zone that has no node that counts are for the others.
    assert Counter(zones.allocate(spread(a=3, b=3, c=6), shares, {}).zones.values()) == {"a": 6, "b": 6}


def test_hints_that_are_fair_stay_though_a_pod_comes() -> None:
    shares = {"a": 0.5, "b": 0.5}
    found = spread(a=8, b=4)
    before = zones.allocate(found, shares, {}).zones
    after = zones.allocate([*found, endpoint(99, "b")], shares, before).zones
    assert {address: after[address] for address in before} == before
    assert after["10.0.0.099"] == "b"


def test_whatever_there_is_each_zone_has_its_share_or_there_are_no_hints() -> None:
    random = Random(1)
    for _ in range(500):
        weights = {zone: random.randint(1, 8) for zone in "abcd"[: random.randint(2, 4)]}
        shares = {zone: weight / sum(weights.values()) for zone, weight in weights.items()}
        found = [endpoint(number, random.choice("abcd")) for number in range(random.randint(1, 40))]
        given = zones.allocate(found, shares, {})
        if given.reason:
            assert not given.zones
            continue
        counts = Counter(given.zones.values())
        assert counts.total() == len(found)
        for zone, share in shares.items():
            assert counts[zone] >= 1
            assert share * len(found) / counts[zone] <= 1.7, (shares, counts)


def test_slices_carry_the_hints_and_other_wishes_do_not_count() -> None:
    nodes = {"n1": node("n1", "a"), "n2": node("n2", "b")}
    web = service(trafficDistribution="PreferSameNode")
    assert web.metadata
    web.metadata.annotations = {zones.MODES[0]: "Auto"}
    assert zones.is_wanted(web)
    pods = [pod(number, node="n1" if number < 5 else "n2") for number in range(6)]
    pods.append(pod(9, node="n2", ready=False))
    allocated = endpointslice.allocate(web, pods, nodes, [])
    (one,) = made(endpointslice.plan(web, pods, nodes, [], allocated=allocated))
    told = [found.hints.forZones[0].name if found.hints and found.hints.forZones else "" for found in endpoints(one)]
    assert Counter(told) == {"a": 3, "b": 3, "": 1}
    assert all(found.hints is None or found.hints.forNodes is None for found in endpoints(one))
    again = endpointslice.allocate(web, pods, nodes, [one])
    assert endpointslice.plan(web, pods, nodes, [one], allocated=again) == []
