from typing import Any

import pytest
from lightkube.models import core_v1, resource_v1

from tests.controllers.lab import Lab, open_lab
from tests.scheduler.test_scheduler import node_of, pod

DRIVER = "gpu.example.com"


def device_slice(node: str, *models: str) -> dict[str, Any]:
    devices = [
        {
            "name": f"d{number}",
            "attributes": {"model": {"string": model}, "driver": {"version": "1.4.0"}},
            "capacity": {"memory": {"value": f"{8 * (number + 1)}Gi"}},
        }
        for number, model in enumerate(models)
    ]
    pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": f"{node}-gpus"},
        "spec": {"driver": DRIVER, "nodeName": node, "pool": pool, "devices": devices},
    }


def claim(name: str, expression: str = "", count: int = 1, **more: Any) -> dict[str, Any]:
    exactly: dict[str, Any] = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": count}
    if expression:
        exactly["selectors"] = [{"cel": {"expression": expression}}]
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"devices": {"requests": [{"name": "r", "exactly": exactly}], **more}},
    }


def user(name: str, claim_name: str) -> core_v1.Pod:
    return pod(name, resourceClaims=[core_v1.PodResourceClaim(name="gpu", resourceClaimName=claim_name)])


async def offer(lab: Lab, *slices: dict[str, Any]) -> None:
    selector = {"cel": {"expression": f'device.driver == "{DRIVER}"'}}
    cls = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": "gpu"},
        "spec": {"selectors": [selector]},
    }
    for one in (cls, *slices):
        await lab.client.create(one)


@pytest.mark.parametrize(
    ("expression", "count", "node"),
    [
        (f'device.attributes["{DRIVER}"].model == "big"', 1, "n2"),
        (f'device.capacity["{DRIVER}"].memory.compareTo(quantity("12Gi")) >= 0', 1, "n2"),
        (f'device.attributes["{DRIVER}"].driver.isLessThan(semver("2.0.0"))', 2, "n2"),
    ],
)
async def test_a_pod_goes_where_its_devices_are(expression: str, count: int, node: str) -> None:
    async with open_lab("n1", "n2") as lab:
        await offer(lab, device_slice("n1", "small"), device_slice("n2", "small", "big"))
        await lab.client.create(claim("c", expression, count))
        await lab.client.create(user("p", "c"))

        async def placed() -> bool:
            return await node_of(lab, "p") == node

        await lab.until(placed)
        found = await lab.client.get(resource_v1.ResourceClaim, "c", namespace="default")
        assert found.status and found.status.allocation and found.status.allocation.devices
        results = found.status.allocation.devices.results or []
        assert [(one.pool, one.request) for one in results] == [(node, "r")] * count
        assert [one.name for one in found.status.reservedFor or []] == ["p"]


async def test_a_device_is_given_once_and_its_lack_is_told() -> None:
    async with open_lab("n1", "n2") as lab:
        await offer(lab, device_slice("n1", "small"))
        for name in ("one", "two"):
            await lab.client.create(claim(name))
            await lab.client.create(user(name, name))

        async def told() -> list[str]:
            return await lab.events("FailedScheduling")

        [message] = await lab.until(told)
        assert message.startswith(
            "0/2 nodes are available: 2 cannot allocate all claims. no new claims to deallocate, "
        )
        placed = sorted([await node_of(lab, "one"), await node_of(lab, "two")])
        assert placed == ["", "n1"]
        await lab.client.create(device_slice("n2", "small"))

        async def both() -> bool:
            return sorted([await node_of(lab, "one"), await node_of(lab, "two")]) == ["n1", "n2"]

        await lab.until(both)


async def test_devices_of_a_claim_agree_on_an_attribute() -> None:
    async with open_lab("n1", "n2") as lab:
        await offer(lab, device_slice("n1", "small", "big"), device_slice("n2", "big", "small", "big"))
        constraint = [{"matchAttribute": f"{DRIVER}/model"}]
        await lab.client.create(claim("c", count=2, constraints=constraint))
        await lab.client.create(user("p", "c"))

        async def placed() -> bool:
            return await node_of(lab, "p") == "n2"

        await lab.until(placed)
        found = await lab.client.get(resource_v1.ResourceClaim, "c", namespace="default")
        assert found.status and found.status.allocation and found.status.allocation.devices
        assert [one.device for one in found.status.allocation.devices.results or []] == ["d0", "d2"]
