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
