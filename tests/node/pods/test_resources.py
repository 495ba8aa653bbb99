from fractions import Fraction
from typing import Any

import pytest

from knarr.node.cgroups import Limits
from knarr.node.pods.resources import container_resources, oom_score, pod_limits, pod_requests, qos_class
from tests.node.pods.builders import pod

BOTH = {"cpu": "500m", "memory": "64Mi"}


def one(**resources: Any) -> dict[str, Any]:
    return {"name": "c", "resources": resources}


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([one()], "BestEffort"),
        ([one(requests={"cpu": "0"})], "BestEffort"),
        ([one(requests={"cpu": "1m"})], "Burstable"),
        ([one(limits=BOTH)], "Guaranteed"),
        ([one(limits=BOTH, requests=BOTH)], "Guaranteed"),
        ([one(limits=BOTH, requests={"cpu": "100m", "memory": "64Mi"})], "Burstable"),
        ([one(limits=BOTH), {"name": "d"}], "Burstable"),
        ([one(limits={"example.com/gpu": "1"})], "BestEffort"),
    ],
)
def test_qos_class(containers: list[Any], expected: str) -> None:
    assert qos_class(pod(containers=containers)) == expected


def test_container_resources_in_cgroup_figures() -> None:
    made = pod(containers=[one(limits=BOTH, requests={"cpu": "250m"})])
    found = container_resources(made, made.spec.containers[0], memory_capacity_bytes=1 << 30, unified=True)  # type: ignore[union-attr]
    assert (found.cpu_shares, found.cpu_quota_us, found.memory_limit_bytes) == (256, 50_000, 64 << 20)
    assert found.unified == {"memory.oom.group": "1"}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, 1000),
        ({"limits": BOTH}, -997),
        ({"requests": {"memory": "512Mi"}}, 500),
        ({"requests": {"memory": "1Mi"}}, 999),
    ],
)
def test_oom_score(resources: Any, expected: int) -> None:
    made = pod(containers=[one(**resources)])
    assert oom_score(made, made.spec.containers[0], memory_capacity_bytes=1 << 30) == expected  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([one()], Limits(cpu_shares=2)),
        ([one(limits=BOTH)], Limits(cpu_shares=512, cpu_quota_us=50_000, memory_bytes=64 << 20)),
        ([one(limits=BOTH), {"name": "d"}], Limits(cpu_shares=512)),
    ],
)
def test_pod_limits(containers: list[Any], expected: Limits) -> None:
    assert pod_limits(pod(containers=containers)) == expected


def test_pod_requests_are_the_largest_moment() -> None:
    def need(name: str, cpu: str, **rest: Any) -> dict[str, Any]:
        return {"name": name, "resources": {"requests": {"cpu": cpu}}, **rest}

    made = pod(
        initContainers=[need("i", "2"), need("side", "500m", restartPolicy="Always"), need("j", "1")],
        containers=[need("c", "300m")],
        overhead={"cpu": "100m"},
    )
    assert pod_requests(made, "cpu") == Fraction(21, 10)
