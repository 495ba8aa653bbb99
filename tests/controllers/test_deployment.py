"""Deployments against the real API server in this process."""

from typing import Any

from lightkube.models import apps_v1, core_v1, meta_v1

from knarr.client import PatchType
from tests.controllers.lab import Lab, open_lab


def deployment(replicas: int = 3, **spec: Any) -> apps_v1.Deployment:
    labels = {"app": "web"}
    template = core_v1.PodTemplateSpec(
        metadata=meta_v1.ObjectMeta(labels=labels),
        spec=core_v1.PodSpec(containers=[core_v1.Container(name="web", image="web:1")]),
    )
    return apps_v1.Deployment(
        metadata=meta_v1.ObjectMeta(name="web", namespace="default"),
        spec=apps_v1.DeploymentSpec(
            replicas=replicas, selector=meta_v1.LabelSelector(matchLabels=labels), template=template, **spec
        ),
    )


async def get(lab: Lab) -> apps_v1.Deployment:
    return await lab.client.get(apps_v1.Deployment, "web", namespace="default")


async def is_rolled_out(lab: Lab) -> bool:
    """Tell what `kubectl rollout status` waits for."""
    current = await get(lab)
    assert current.metadata and current.spec
    status = current.status or apps_v1.DeploymentStatus()
    wanted = current.spec.replicas
    return (status.observedGeneration or 0) >= (current.metadata.generation or 0) and (
        status.updatedReplicas == status.replicas == status.availableReplicas == wanted
    )


async def set_image(lab: Lab, image: str) -> None:
    body = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}}
    await lab.client.patch(apps_v1.Deployment, "web", body, PatchType.STRATEGIC, namespace="default")


def condition(current: apps_v1.Deployment, kind: str) -> tuple[str | None, str | None]:
    conditions = (current.status.conditions or []) if current.status else []
    found = next((one for one in conditions if one.type == kind), None)
    return (found.status, found.reason) if found else (None, None)


async def test_a_deployment_runs_and_is_told_of() -> None:
    async with open_lab("n1", "n2") as lab:
        await lab.client.create(deployment())
        await lab.until(lambda: is_rolled_out(lab))
        current = await get(lab)
        assert condition(current, "Available") == ("True", "MinimumReplicasAvailable")
        await lab.settle()
        assert condition(await get(lab), "Progressing") == ("True", "NewReplicaSetAvailable")
        pods = await lab.pods()
        assert {pod.spec.nodeName for pod in pods if pod.spec} == {"n1", "n2"}
        assert len(await lab.events("Scheduled")) == 3
        [told] = await lab.events("ScalingReplicaSet")
        assert told.startswith("Scaled up replica set web-") and told.endswith(" from 0 to 3")
        assert len(await lab.events("SuccessfulCreate")) == 3


async def test_a_new_image_rolls_through_within_its_bounds_and_can_be_undone() -> None:
    async with open_lab("n1") as lab:
        await lab.client.create(deployment(4))
        await lab.until(lambda: is_rolled_out(lab))
        await set_image(lab, "web:2")
        seen = []

        async def done() -> bool:
            seen.append(len(await lab.pods()))
            return await is_rolled_out(lab)

        await lab.until(done)
        assert max(seen) <= 5  # surge of 25 %
        images = {pod.spec.containers[0].image for pod in await lab.pods() if pod.spec}
        assert images == {"web:2"}
        sets = (await lab.client.list(apps_v1.ReplicaSet, namespace="default")).items
        revisions = {
            (one.metadata.annotations or {})["deployment.kubernetes.io/revision"] for one in sets if one.metadata
        }
        assert revisions == {"1", "2"}
        await set_image(lab, "web:1")
        await lab.until(lambda: is_rolled_out(lab))
        await lab.settle()
        current = await get(lab)
        assert current.metadata
        assert (current.metadata.annotations or {})["deployment.kubernetes.io/revision"] == "3"
        assert len((await lab.client.list(apps_v1.ReplicaSet, namespace="default")).items) == 2


async def test_recreate_waits_until_the_last_old_pod_is_gone() -> None:
    async with open_lab("n1") as lab:
        await lab.client.create(deployment(2, strategy=apps_v1.DeploymentStrategy(type="Recreate")))
        await lab.until(lambda: is_rolled_out(lab))
        await set_image(lab, "web:2")
        mixed = []

        async def done() -> bool:
            images = {pod.spec.containers[0].image for pod in (await lab.client.list(core_v1.Pod)).items if pod.spec}
            mixed.append(images == {"web:1", "web:2"})
            return await is_rolled_out(lab)

        await lab.until(done)
        assert not any(mixed)


async def test_a_rollout_that_hangs_misses_its_deadline_and_recovers() -> None:
    async with open_lab("n1") as lab:
        await lab.client.create(deployment(2, progressDeadlineSeconds=20))
        await lab.until(lambda: is_rolled_out(lab))
        lab.nodes.unready.add("web:bad")
        await set_image(lab, "web:bad")

        async def overdue() -> bool:
            return condition(await get(lab), "Progressing") == ("False", "ProgressDeadlineExceeded")

        await lab.until(overdue, seconds=60)
        assert (await get(lab)).status.availableReplicas == 2  # type: ignore[union-attr]
        await set_image(lab, "web:1")
        await lab.until(lambda: is_rolled_out(lab))


async def test_scale_pause_and_delete() -> None:
    async with open_lab("n1") as lab:
        await lab.client.create(deployment(1))
        await lab.until(lambda: is_rolled_out(lab))
        merge = PatchType.MERGE
        await lab.client.patch(apps_v1.Deployment, "web", {"spec": {"paused": True}}, merge, namespace="default")
        await set_image(lab, "web:2")
        await lab.client.patch(apps_v1.Deployment, "web", {"spec": {"replicas": 3}}, merge, namespace="default")

        async def scaled() -> bool:
            return len(await lab.pods()) == 3

        await lab.until(scaled)
        assert {pod.spec.containers[0].image for pod in await lab.pods() if pod.spec} == {"web:1"}
        assert condition(await get(lab), "Progressing") == ("Unknown", "DeploymentPaused")
        await lab.client.patch(apps_v1.Deployment, "web", {"spec": {"paused": False}}, merge, namespace="default")
        await lab.until(lambda: is_rolled_out(lab))
        assert {pod.spec.containers[0].image for pod in await lab.pods() if pod.spec} == {"web:2"}
        await lab.client.delete(apps_v1.Deployment, "web", namespace="default")

        async def gone() -> bool:
            left = (await lab.client.list(apps_v1.ReplicaSet)).items
            return not left and not (await lab.client.list(core_v1.Pod)).items

        await lab.until(gone, seconds=90)


async def test_a_replica_set_of_the_name_but_of_another_template_is_got_around() -> None:
    async with open_lab("n1") as lab:
        made = deployment(1)
        await lab.client.create(made)
        await lab.until(lambda: is_rolled_out(lab))
        (mine,) = (await lab.client.list(apps_v1.ReplicaSet, namespace="default")).items
        assert mine.metadata and mine.spec
        await lab.client.delete(apps_v1.Deployment, "web", namespace="default")

        async def gone() -> bool:
            return not (await lab.client.list(apps_v1.ReplicaSet, namespace="default")).items

        await lab.until(gone)
        # Whoever takes the name that the hash gives forces another hash.
        labels = {"app": "stranger"}
        template = core_v1.PodTemplateSpec(
            metadata=meta_v1.ObjectMeta(labels=labels),
            spec=core_v1.PodSpec(containers=[core_v1.Container(name="c", image="web:2")]),
        )
        spec = apps_v1.ReplicaSetSpec(replicas=0, selector=meta_v1.LabelSelector(matchLabels=labels), template=template)
        meta = meta_v1.ObjectMeta(name=mine.metadata.name, namespace="default")
        await lab.client.create(apps_v1.ReplicaSet(metadata=meta, spec=spec))
        await lab.client.create(deployment(1))
        await lab.until(lambda: is_rolled_out(lab))
        status = (await get(lab)).status
        assert status is not None
        assert status.collisionCount == 1
        names = {one.metadata.name for one in (await lab.client.list(apps_v1.ReplicaSet, namespace="default")).items}
        assert len(names) == 2
        assert mine.metadata.name in names


async def test_pods_on_their_way_out_are_told_of() -> None:
    async with open_lab("n1") as lab:
        await lab.client.create(deployment(2))
        await lab.until(lambda: is_rolled_out(lab))
        pod = next(iter(await lab.pods()))
        assert pod.metadata
        hold = {"metadata": {"finalizers": ["example.com/hold"]}}
        await lab.client.patch(core_v1.Pod, pod.metadata.name or "", hold, PatchType.MERGE, namespace="default")
        await lab.client.delete(core_v1.Pod, pod.metadata.name or "", namespace="default")

        async def counts(going: int) -> bool:
            status = (await get(lab)).status or apps_v1.DeploymentStatus()
            return (status.terminatingReplicas, status.replicas, status.availableReplicas) == (going, 2, 2)

        await lab.until(lambda: counts(1))
        free = {"metadata": {"finalizers": None}}
        await lab.client.patch(core_v1.Pod, pod.metadata.name or "", free, PatchType.MERGE, namespace="default")
        await lab.until(lambda: counts(0))
