from typing import Any

import pytest

from knarr.api import quota as quota_usage
from knarr.apiserver.admission import resource_quota
from tests.apiserver.admission.plugins import Bench, open_bench, pod

Object = dict[str, Any]


def sized(name: str = "p", **requests: str) -> Object:
    return pod(name, {"name": "c", "resources": {"requests": requests}})


async def store(bench: Bench, resource: str, obj: Object) -> None:
    obj["metadata"].setdefault("uid", obj["metadata"]["name"])
    await bench.registry.create(resource, obj)


async def test_count_of_pods() -> None:
    async with open_bench(resource_quota.build) as bench:
        await bench.add("resourcequotas", "q", "ns", spec={"hard": {"pods": "1"}})
        first = pod("a")
        assert await bench.create("pods", first) == ""
        await store(bench, "pods", first)
        assert await bench.create("pods", pod("b")) == (
            'pods "b" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1'
        )
        await bench.registry.delete("pods", "ns", "a")
        assert await bench.create("pods", pod("b")) == ""


async def test_admitted_but_not_yet_stored_counts_for_a_while() -> None:
    async with open_bench(resource_quota.build) as bench:
        await bench.add("resourcequotas", "q", "ns", spec={"hard": {"pods": "1"}})
        assert await bench.create("pods", pod("a"), dry_run=True) == ""
        assert await bench.create("pods", pod("a")) == ""
        assert "exceeded quota" in await bench.create("pods", pod("b"))
        await bench.clock.advance(resource_quota.PROMISE_S)
        assert await bench.create("pods", pod("b")) == ""


async def test_finished_pods_use_nothing() -> None:
    async with open_bench(resource_quota.build) as bench:
        await bench.add("resourcequotas", "q", "ns", spec={"hard": {"pods": "1", "count/pods": "2"}})
        await store(bench, "pods", {**pod("done"), "status": {"phase": "Succeeded"}})
        first = pod("a")
        assert await bench.create("pods", first) == ""
        await store(bench, "pods", first)
        refusal = await bench.create("pods", pod("b"))
        assert refusal.endswith(
            "requested: count/pods=1,pods=1, used: count/pods=2,pods=1, limited: count/pods=2,pods=1"
        )


COMPUTE: list[tuple[Object, Object, str]] = [
    ({"requests.cpu": "1"}, sized(cpu="1"), ""),
    (
        {"requests.cpu": "1"},
        sized(cpu="1500m"),
        "exceeded quota: q, requested: requests.cpu=1500m, used: requests.cpu=0, limited: requests.cpu=1",
    ),
    (
        {"memory": "1Gi"},
        sized(memory="1536Mi"),
        "exceeded quota: q, requested: memory=1536Mi, used: memory=0, limited: memory=1Gi",
    ),
    ({"limits.cpu": "1", "limits.memory": "1Gi"}, sized(cpu="1"),
     "failed quota: q: must specify limits.cpu for: c; limits.memory for: c"),
    ({"requests.example.com/gpu": "1"}, sized(**{"example.com/gpu": "2"}),
     "exceeded quota: q, requested: requests.example.com/gpu=2, used: requests.example.com/gpu=0, limited: "
     "requests.example.com/gpu=1"),
    ({"services": "0"}, sized(cpu="1"), ""),
]  # fmt: skip


@pytest.mark.parametrize(("hard", "given", "refusal"), COMPUTE)
async def test_compute_resources(hard: Object, given: Object, refusal: str) -> None:
    async with open_bench(resource_quota.build) as bench:
        await bench.add("resourcequotas", "q", "ns", spec={"hard": hard})
        found = await bench.create("pods", given)
        assert found == (f'pods "p" is forbidden: {refusal}' if refusal else "")


SCOPES: list[tuple[Object, Object, bool]] = [
    ({"scopes": ["BestEffort"]}, pod(), True),
    ({"scopes": ["BestEffort"]}, sized(cpu="1"), False),
    ({"scopes": ["NotBestEffort"]}, sized(cpu="1"), True),
    ({"scopes": ["Terminating"]}, pod(activeDeadlineSeconds=5), True),
    ({"scopes": ["NotTerminating"]}, pod(activeDeadlineSeconds=5), False),
    (
        {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}},
        pod(priorityClassName="high"),
        True,
    ),
    (
        {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}},
        pod(),
        False,
    ),
]


@pytest.mark.parametrize(("scope", "given", "is_limited"), SCOPES)
async def test_scopes(scope: Object, given: Object, is_limited: bool) -> None:
    async with open_bench(resource_quota.build) as bench:
        await bench.add("resourcequotas", "q", "ns", spec={"hard": {"pods": "0"}, **scope})
        assert ("exceeded quota" in await bench.create("pods", given)) is is_limited


async def test_other_objects_and_growth() -> None:
    async with open_bench(resource_quota.build) as bench:
        hard = {"configmaps": "1", "count/deployments.apps": "0", "services.nodeports": "1", "requests.storage": "2Gi"}
        await bench.add("resourcequotas", "q", "ns", spec={"hard": hard})
        config = {"metadata": {"name": "a", "namespace": "ns"}}
        assert await bench.create("configmaps", config) == ""
        await store(bench, "configmaps", config)
        assert "used: configmaps=1" in await bench.create("configmaps", {"metadata": {"name": "b"}})
        assert "count/deployments.apps=1" in await bench.create("deployments.apps", {"metadata": {"name": "d"}})
        service: Object = {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{}, {}]}}
        assert "services.nodeports=2" in await bench.create("services", service)
        claim: Object = {
            "metadata": {"name": "c", "namespace": "ns"},
            "spec": {"resources": {"requests": {"storage": "1Gi"}}},
        }
        assert await bench.create("persistentvolumeclaims", claim) == ""
        await store(bench, "persistentvolumeclaims", claim)
        old = bench.registry.get("persistentvolumeclaims", "ns", "c")
        assert old is not None
        bigger = {**old, "spec": {"resources": {"requests": {"storage": "3Gi"}}}}
        assert await bench.update("persistentvolumeclaims", bigger, old) == (
            'persistentvolumeclaims "c" is forbidden: exceeded quota: q, requested: requests.storage=2Gi, used: '
            "requests.storage=1Gi, limited: requests.storage=2Gi"
        )
        fitting = {**old, "spec": {"resources": {"requests": {"storage": "2Gi"}}}}
        assert await bench.update("persistentvolumeclaims", fitting, old) == ""


def claim(name: str, *requests: Object) -> Object:
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {"devices": {"requests": list(requests)}}}


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        ({"name": "a", "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 3}}, "3"),
        ({"name": "a", "exactly": {"deviceClassName": "gpu", "allocationMode": "All"}}, "32"),
        ({"name": "a", "firstAvailable": [{"name": "x", "deviceClassName": "gpu", "count": 4},
                                          {"name": "y", "deviceClassName": "gpu", "count": 2}]}, "4"),
        ({"name": "a", "exactly": {"deviceClassName": "gpu", "count": 2}}, ""),
        ({"name": "a", "exactly": {"deviceClassName": "nic", "count": 9}}, ""),
    ],
)  # fmt: skip
async def test_devices_by_class(request_: Object, asked: str) -> None:
    async with open_bench(resource_quota.build) as bench:
        key = "gpu.deviceclass.resource.k8s.io/devices"
        await bench.add("resourcequotas", "q", "ns", spec={"hard": {key: "2"}})
        refused = await bench.create("resourceclaims.resource.k8s.io", claim("c", request_))
        if asked:
            assert refused.endswith(f"exceeded quota: q, requested: {key}={asked}, used: {key}=0, limited: {key}=2")
        else:
            assert refused == ""


@pytest.mark.parametrize(
    ("requirement", "claim_", "is_in"),
    [
        ({"operator": "In", "values": ["gold"]}, {"spec": {"volumeAttributesClassName": "gold"}}, True),
        ({"operator": "In", "values": ["gold"]}, {"status": {"currentVolumeAttributesClassName": "gold"}}, True),
        ({"operator": "In", "values": ["gold"]},
         {"status": {"modifyVolumeStatus": {"targetVolumeAttributesClassName": "gold"}}}, True),
        ({"operator": "NotIn", "values": ["gold"]}, {"status": {"currentVolumeAttributesClassName": "gold"}}, False),
        ({"operator": "Exists"}, {"spec": {}}, False),
        ({"operator": "DoesNotExist"}, {"spec": {}}, True),
    ],
)  # fmt: skip
def test_claims_by_their_classes(requirement: Object, claim_: Object, is_in: bool) -> None:
    scope = {"scopeName": "VolumeAttributesClass", **requirement}
    quota = {"spec": {"scopeSelector": {"matchExpressions": [scope]}}}
    assert quota_usage.is_in_scopes(quota, "persistentvolumeclaims", claim_) is is_in
