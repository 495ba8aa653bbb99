import pytest
from lightkube.models import meta_v1, policy_v1

from knarr.api import errors
from knarr.client import subresources
from tests.controllers.lab import open_lab
from tests.controllers.test_deployment import deployment, is_rolled_out


async def test_no_more_pods_are_evicted_than_the_budget_allows() -> None:
    async with open_lab("n1") as lab:
        spec = policy_v1.PodDisruptionBudgetSpec(
            minAvailable="60%", selector=meta_v1.LabelSelector(matchLabels={"app": "web"})
        )
        budget = policy_v1.PodDisruptionBudget(metadata=meta_v1.ObjectMeta(name="b", namespace="default"), spec=spec)
        await lab.client.create(budget)
        await lab.client.create(deployment(3))
        await lab.until(lambda: is_rolled_out(lab))

        async def allowed(count: int) -> bool:
            status = (await lab.client.get(policy_v1.PodDisruptionBudget, "b", namespace="default")).status
            return status is not None and (status.disruptionsAllowed, status.expectedPods) == (count, 3)

        await lab.until(lambda: allowed(1))
        first, second, _ = [pod.metadata.name or "" for pod in await lab.pods() if pod.metadata]
        await subresources.evict(lab.client, "default", first)
        with pytest.raises(errors.TooManyRequests):
            await subresources.evict(lab.client, "default", second)
        await lab.until(lambda: allowed(1))  # once the replacement is ready
        await subresources.evict(lab.client, "default", second)


@pytest.mark.parametrize(("policy", "goes"), [(None, False), ("IfHealthyBudget", False), ("AlwaysAllow", True)])
async def test_whether_unready_pods_may_go_while_the_budget_is_short(policy: str | None, *, goes: bool) -> None:
    async with open_lab("n1") as lab:
        spec = policy_v1.PodDisruptionBudgetSpec(
            maxUnavailable=0,
            selector=meta_v1.LabelSelector(matchLabels={"app": "web"}),
            unhealthyPodEvictionPolicy=policy,
        )
        budget = policy_v1.PodDisruptionBudget(metadata=meta_v1.ObjectMeta(name="b", namespace="default"), spec=spec)
        await lab.client.create(budget)
        lab.nodes.unready.add("web:1")
        await lab.client.create(deployment(2))

        async def counted() -> bool:
            status = (await lab.client.get(policy_v1.PodDisruptionBudget, "b", namespace="default")).status
            running = [pod for pod in await lab.pods() if pod.status and pod.status.phase == "Running"]
            return status is not None and status.expectedPods == 2 and status.currentHealthy == 0 and len(running) == 2

        await lab.until(counted)
        name = next(pod.metadata.name or "" for pod in await lab.pods() if pod.metadata)
        if goes:
            await subresources.evict(lab.client, "default", name)
            return
        with pytest.raises(errors.TooManyRequests):
            await subresources.evict(lab.client, "default", name)
