from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lightkube.models import core_v1, discovery_v1, meta_v1

from knarr.controllers import endpointslice
from knarr.controllers.endpointslice_hints import Triggers

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
NODES = {
    name: core_v1.Node(metadata=meta_v1.ObjectMeta(name=name, labels={endpointslice.ZONE: zone}))
    for name, zone in (("n1", "a"), ("n2", "b"))
}


def service(**spec: Any) -> core_v1.Service:
    given = {
        "ports": [core_v1.ServicePort(name="http", port=80, targetPort=8080)],
        "selector": {"app": "x"},
        "ipFamilies": ["IPv4"],
        **spec,
    }
    meta = meta_v1.ObjectMeta(name="web", namespace="ns", uid="s", creationTimestamp=NOW)
    return core_v1.Service(metadata=meta, spec=core_v1.ServiceSpec(**given))


def pod(
    number: int, *, node: str = "n1", ready: bool = True, at: datetime = NOW, ips: tuple[str, ...] = ()
) -> core_v1.Pod:
    addresses = ips or (f"10.0.{number // 250}.{number % 250}",)
    condition = core_v1.PodCondition(type="Ready", status=str(ready), lastTransitionTime=at)
    return core_v1.Pod(
        metadata=meta_v1.ObjectMeta(name=f"p{number}", namespace="ns", uid=f"p{number}"),
        spec=core_v1.PodSpec(containers=[], nodeName=node),
        status=core_v1.PodStatus(
            phase="Running", podIPs=[core_v1.PodIP(ip=ip) for ip in addresses], conditions=[condition]
        ),
    )


def made(actions: list[endpointslice.Action]) -> list[discovery_v1.EndpointSlice]:
    slices = [one.slice for one in actions if not isinstance(one, endpointslice.Delete)]
    for number, one in enumerate(slices):
        assert one.metadata
        one.metadata.name = one.metadata.name or f"slice-{number}"
    return slices


def endpoints(one: discovery_v1.EndpointSlice) -> list[discovery_v1.Endpoint]:
    return one.endpoints or []


@pytest.mark.parametrize(
    ("distribution", "ready", "expected"),
    [
        (None, True, None),
        ("PreferClose", True, (["a"], None)),
        ("PreferSameZone", True, (["a"], None)),
        ("PreferSameNode", True, (["a"], ["n1"])),
        ("PreferSameZone", False, None),
    ],
)
def test_endpoints_are_for_those_who_are_near(distribution: str | None, ready: bool, expected: Any) -> None:
    [one] = made(endpointslice.plan(service(trafficDistribution=distribution), [pod(1, ready=ready)], NODES, []))
    hints = endpoints(one)[0].hints
    found = None
    if hints is not None:
        zones = [zone.name for zone in hints.forZones or ()]
        found = (zones, [node.name for node in hints.forNodes] if hints.forNodes else None)
    assert found == expected


def test_a_pod_of_a_node_that_is_not_there_is_left_out() -> None:
    pods = [pod(1), pod(2, node="gone")]
    [one] = made(endpointslice.plan(service(), pods, NODES, []))
    assert [endpoint.addresses for endpoint in endpoints(one)] == [["10.0.0.1"]]
    [one] = made(endpointslice.plan(service(publishNotReadyAddresses=True), pods, NODES, []))
    assert len(endpoints(one)) == 2


def test_both_families_have_slices_of_their_own() -> None:
    two = service(ipFamilies=["IPv4", "IPv6"])
    slices = made(endpointslice.plan(two, [pod(1, ips=("10.0.0.1", "fd00::1")), pod(2)], NODES, []))
    assert {one.addressType: len(endpoints(one)) for one in slices} == {"IPv4": 2, "IPv6": 1}


def test_new_endpoints_go_where_they_cost_fewest_writes() -> None:
    pods = [pod(number) for number in range(150)]
    full, half = made(endpointslice.plan(service(), pods, NODES, []))
    assert (len(endpoints(full)), len(endpoints(half))) == (100, 50)
    [action] = endpointslice.plan(service(), [*pods, pod(200)], NODES, [full, half])
    assert isinstance(action, endpointslice.Update)
    assert len(endpoints(action.slice)) == 51
    # One of the full slice goes, and one comes: the slice that is written anyway takes it.
    [action] = endpointslice.plan(service(), [*pods[1:], pod(200)], NODES, [full, half])
    assert len(endpoints(action.slice)) == 100
    # More than fit into any one slice open a new one.
    many = [pod(number) for number in range(300, 360)]
    [action] = endpointslice.plan(service(), [*pods, *many], NODES, [full, half])
    assert isinstance(action, endpointslice.Create)
    assert len(endpoints(action.slice)) == 60


def test_slices_say_when_the_change_began() -> None:
    triggers = Triggers()
    later = NOW + timedelta(seconds=5)
    first = triggers.next(service(), [pod(1, at=later)])
    assert first == NOW
    [one] = made(endpointslice.plan(service(), [pod(1)], NODES, [], first))
    assert one.metadata
    assert one.metadata.annotations == {endpointslice.LAST_CHANGE: "2026-01-01T12:00:00Z"}
    assert triggers.next(service(), [pod(1, at=later)]) is None
    assert triggers.next(service(), [pod(1, at=later), pod(2, at=later)]) == later
    assert triggers.next(service(), [pod(1, at=later + timedelta(seconds=1)), pod(2, at=later)]) == later + timedelta(
        seconds=1
    )
