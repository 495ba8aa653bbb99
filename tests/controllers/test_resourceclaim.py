from typing import Any

import pytest
from lightkube.models import core_v1, meta_v1, resource_v1

from knarr.client import PatchType
from knarr.controllers import resourceclaim
from tests.controllers.lab import open_lab


def pod(name: str, phase: str = "Running") -> core_v1.Pod:
    return core_v1.Pod(metadata=meta_v1.ObjectMeta(name=name, uid=name), status=core_v1.PodStatus(phase=phase))


def consumer(uid: str, resource: str = "pods", group: str | None = None) -> resource_v1.ResourceClaimConsumerReference:
    return resource_v1.ResourceClaimConsumerReference(name=uid, resource=resource, uid=uid, apiGroup=group)


@pytest.mark.parametrize(
    ("consumers", "pods", "expected"),
    [
        ([consumer("a"), consumer("b")], {"a": pod("a")}, ["a"]),
        ([consumer("a")], {"a": pod("a", "Succeeded")}, []),
        ([consumer("g", "podgroups", "scheduling.k8s.io")], {}, ["g"]),
    ],
)
def test_a_claim_is_reserved_while_it_is_needed(consumers: Any, pods: Any, expected: list[str]) -> None:
    spec = resource_v1.ResourceClaimSpec()
    claim = resource_v1.ResourceClaim(spec=spec, status=resource_v1.ResourceClaimStatus(reservedFor=consumers))
    assert [one.uid for one in resourceclaim.reserved(claim, pods)] == expected


async def test_a_pod_gets_its_claim_which_goes_when_the_pod_is_done() -> None:
    async with open_lab() as lab:
        request = resource_v1.DeviceRequest(
            name="gpu", exactly=resource_v1.ExactDeviceRequest(deviceClassName="gpu.example.com")
        )
        spec = resource_v1.ResourceClaimSpec(devices=resource_v1.DeviceClaim(requests=[request]))
        template = resource_v1.ResourceClaimTemplate(
            metadata=meta_v1.ObjectMeta(name="t", namespace="default"),
            spec=resource_v1.ResourceClaimTemplateSpec(spec=spec),
        )
        made = core_v1.Pod(
            metadata=meta_v1.ObjectMeta(name="p", namespace="default"),
            spec=core_v1.PodSpec(
                containers=[core_v1.Container(name="x", image="x")],
                resourceClaims=[core_v1.PodResourceClaim(name="gpu", resourceClaimTemplateName="t")],
            ),
        )
        await lab.client.create(made)

        async def failed() -> list[str]:
            return await lab.events("FailedResourceClaimCreation")

        [message, *_] = await lab.until(failed)
        assert message == 'PodResourceClaim gpu: resourceclaimtemplates.resource.k8s.io "t" not found'
        await lab.client.create(template)

        async def stated() -> str | None:
            found = await lab.client.get(core_v1.Pod, "p", namespace="default")
            told = (found.status.resourceClaimStatuses if found.status else None) or ()
            return next((one.resourceClaimName for one in told), None)

        name = await lab.until(stated)
        claim = await lab.client.get(resource_v1.ResourceClaim, name, namespace="default")
        assert claim.metadata and claim.metadata.annotations == {resourceclaim.POD_CLAIM: "gpu"}
        body = {"status": {"phase": "Succeeded"}}
        await lab.client.patch(core_v1.Pod, "p", body, PatchType.MERGE, namespace="default", subresource="status")

        async def gone() -> bool:
            return not (await lab.client.list(resource_v1.ResourceClaim)).items

        await lab.until(gone)
