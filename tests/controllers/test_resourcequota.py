from lightkube.models import core_v1, meta_v1

from knarr.controllers import resourcequota
from tests.controllers.lab import open_lab


def test_resources_are_found_by_what_is_limited() -> None:
    names = [one.qualified for one in resourcequota.resources_of(["requests.cpu", "count/deployments.apps", "secrets"])]
    assert sorted(names) == ["deployments.apps", "pods", "secrets"]


async def test_the_status_follows_what_is_in_use() -> None:
    async with open_lab("n1") as lab:
        hard = {"pods": "5", "requests.cpu": "2", "configmaps": "10", "count/services": "3"}
        quota = core_v1.ResourceQuota(
            metadata=meta_v1.ObjectMeta(name="q", namespace="default"), spec=core_v1.ResourceQuotaSpec(hard=hard)
        )
        await lab.client.create(quota)

        async def used() -> dict[str, str]:
            current = await lab.client.get(core_v1.ResourceQuota, "q", namespace="default")
            return (current.status.used or {}) if current.status else {}

        async def settled() -> bool:
            return await used() == {"pods": "0", "requests.cpu": "0", "configmaps": "1", "count/services": "1"}

        await lab.until(settled)
        resources = core_v1.ResourceRequirements(requests={"cpu": "250m"})
        pod = core_v1.Pod(
            metadata=meta_v1.ObjectMeta(name="p", namespace="default"),
            spec=core_v1.PodSpec(containers=[core_v1.Container(name="c", image="x", resources=resources)]),
        )
        await lab.client.create(pod)

        async def counted() -> bool:
            return await used() == {"pods": "1", "requests.cpu": "250m", "configmaps": "1", "count/services": "1"}

        await lab.until(counted)
        await lab.client.delete(core_v1.Pod, "p", namespace="default")
        await lab.until(settled)
