"""StatefulSets, DaemonSets and Jobs against the real API server in this process."""

from typing import Any

from lightkube.models import apps_v1, batch_v1, core_v1, meta_v1

from knarr.client import PatchType
from tests.controllers.lab import Lab, open_lab

LABELS = {"app": "x"}
SELECTOR = meta_v1.LabelSelector(matchLabels=LABELS)


def template(image: str = "x:1", **more: Any) -> core_v1.PodTemplateSpec:
    spec = core_v1.PodSpec(containers=[core_v1.Container(name="x", image=image)], **more)
    return core_v1.PodTemplateSpec(metadata=meta_v1.ObjectMeta(labels=LABELS), spec=spec)


def meta() -> meta_v1.ObjectMeta:
    return meta_v1.ObjectMeta(name="x", namespace="default")


async def names(lab: Lab) -> list[str]:
    return sorted((pod.metadata.name or "") for pod in await lab.pods() if pod.metadata)


async def set_image(lab: Lab, kind: type[Any], image: str) -> None:
    body = {"spec": {"template": {"spec": {"containers": [{"name": "x", "image": image}]}}}}
    await lab.client.patch(kind, "x", body, PatchType.STRATEGIC, namespace="default")


async def images(lab: Lab) -> set[str]:
    return {pod.spec.containers[0].image or "" for pod in await lab.pods() if pod.spec}


async def test_a_stateful_set_goes_up_and_down_in_order() -> None:
    async with open_lab("n1") as lab:
        lab.nodes.unready.add("x:slow")
        claim = core_v1.PersistentVolumeClaim(
            metadata=meta_v1.ObjectMeta(name="data"),
            spec=core_v1.PersistentVolumeClaimSpec(
                accessModes=["ReadWriteOnce"],
                resources=core_v1.VolumeResourceRequirements(requests={"storage": "1Gi"}),
            ),
        )
        spec = apps_v1.StatefulSetSpec(
            replicas=3, selector=SELECTOR, serviceName="x", template=template(), volumeClaimTemplates=[claim]
        )
        await lab.client.create(apps_v1.StatefulSet(metadata=meta(), spec=spec))
        seen: list[list[str]] = []

        async def ready(count: int) -> bool:
            seen.append(await names(lab))
            status = (await lab.client.get(apps_v1.StatefulSet, "x", namespace="default")).status
            return status is not None and status.readyReplicas == count == status.replicas

        await lab.until(lambda: ready(3))
        assert [one for one in (["x-0"], ["x-0", "x-1"], ["x-0", "x-1", "x-2"]) if one in seen]
        assert not any("x-2" in one and "x-1" not in one for one in seen)
        claims = (await lab.client.list(core_v1.PersistentVolumeClaim)).items
        assert sorted(one.metadata.name or "" for one in claims if one.metadata) == ["data-x-0", "data-x-1", "data-x-2"]
        await set_image(lab, apps_v1.StatefulSet, "x:2")

        async def updated() -> bool:
            status = (await lab.client.get(apps_v1.StatefulSet, "x", namespace="default")).status
            return status is not None and (
                status.observedGeneration == 2
                and status.updatedReplicas == 3
                and status.currentRevision == status.updateRevision
            )

        await lab.until(updated)
        assert await images(lab) == {"x:2"}
        await lab.client.patch(
            apps_v1.StatefulSet, "x", {"spec": {"replicas": 1}}, PatchType.MERGE, namespace="default"
        )
        await lab.until(lambda: ready(1))
        assert await names(lab) == ["x-0"]


async def test_a_daemon_set_follows_the_nodes_and_rolls() -> None:
    async with open_lab("n1", "n2") as lab:
        spec = apps_v1.DaemonSetSpec(selector=SELECTOR, template=template())
        await lab.client.create(apps_v1.DaemonSet(metadata=meta(), spec=spec))

        async def ready(count: int) -> bool:
            status = (await lab.client.get(apps_v1.DaemonSet, "x", namespace="default")).status
            return status is not None and (
                status.numberAvailable == status.updatedNumberScheduled == status.desiredNumberScheduled == count
            )

        await lab.until(lambda: ready(2))
        await lab.nodes.add("n3")
        await lab.until(lambda: ready(3))
        assert {pod.spec.nodeName for pod in await lab.pods() if pod.spec} == {"n1", "n2", "n3"}
        await set_image(lab, apps_v1.DaemonSet, "x:2")

        async def updated() -> bool:
            return await ready(3) and await images(lab) == {"x:2"}

        await lab.until(updated)
        assert len((await lab.client.list(apps_v1.ControllerRevision)).items) == 2


async def run_job(lab: Lab, **spec: Any) -> batch_v1.Job:
    image = spec.pop("image", "ok")
    job = batch_v1.Job(metadata=meta(), spec=batch_v1.JobSpec(template=template(image, restartPolicy="Never"), **spec))
    await lab.client.create(job)

    async def ended() -> batch_v1.Job | None:
        current = await lab.client.get(batch_v1.Job, "x", namespace="default")
        conditions = (current.status.conditions or ()) if current.status else ()
        return current if any(one.type in {"Complete", "Failed"} for one in conditions) else None

    found = await lab.until(ended, seconds=300)
    assert isinstance(found, batch_v1.Job)
    return found


async def test_a_job_completes() -> None:
    async with open_lab("n1") as lab:
        lab.nodes.exit_codes["ok"] = 0
        job = await run_job(lab, completions=3, parallelism=2)
        assert job.status
        assert job.status.succeeded == 3
        assert not job.status.failed
        assert job.status.completionTime
        assert [one.type for one in job.status.conditions or ()] == ["SuccessCriteriaMet", "Complete"]
        assert await lab.events("Completed") == ["Job completed"]


async def test_an_indexed_job_gives_each_pod_its_index() -> None:
    async with open_lab("n1") as lab:
        lab.nodes.exit_codes["ok"] = 0
        job = await run_job(lab, completions=4, parallelism=4, completionMode="Indexed")
        assert job.status
        assert job.status.completedIndexes == "0-3"
        pods = await lab.pods()
        assert sorted(pod.spec.hostname or "" for pod in pods if pod.spec) == ["x-0", "x-1", "x-2", "x-3"]


async def test_a_job_that_keeps_failing_gives_up_with_longer_and_longer_pauses() -> None:
    async with open_lab("n1") as lab:
        lab.nodes.exit_codes["bad"] = 1
        before = lab.clock.monotonic_s()
        job = await run_job(lab, image="bad", backoffLimit=2)
        assert job.status
        assert job.status.failed == 3
        conditions = [(one.type, one.reason) for one in job.status.conditions or ()]
        assert conditions == [("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded")]
        assert lab.clock.monotonic_s() - before > 30


async def test_a_finished_job_goes_when_its_time_is_over() -> None:
    async with open_lab("n1") as lab:
        lab.nodes.exit_codes["ok"] = 0
        await run_job(lab, ttlSecondsAfterFinished=20)

        async def gone() -> bool:
            return not (await lab.client.list(batch_v1.Job)).items and not (await lab.client.list(core_v1.Pod)).items

        await lab.until(gone, seconds=90)


async def test_a_pod_that_a_job_has_left_behind_does_not_wait_to_be_counted() -> None:
    async with open_lab("n1") as lab:
        spec = batch_v1.JobSpec(template=template("x", restartPolicy="Never"), parallelism=2)
        await lab.client.create(batch_v1.Job(metadata=meta(), spec=spec))
        await lab.settle(2)
        first, second = await names(lab)
        # As upstream's tests do: without its labels a pod is let go, without its owner and its labels it never was the Job's.
        change: dict[str, Any] = {"metadata": {"labels": None}}
        await lab.client.patch(core_v1.Pod, first, change, PatchType.MERGE, namespace="default")
        change = {"metadata": {"labels": None, "ownerReferences": None}}
        await lab.client.patch(core_v1.Pod, second, change, PatchType.MERGE, namespace="default")

        async def free(name: str) -> bool:
            found = (await lab.client.get(core_v1.Pod, name, namespace="default")).metadata
            return found is not None and not found.ownerReferences and not found.finalizers

        await lab.until(lambda: free(first))
        await lab.until(lambda: free(second))


async def test_a_pod_that_a_job_adopts_waits_to_be_counted() -> None:
    async with open_lab("n1") as lab:
        spec = batch_v1.JobSpec(template=template("x", restartPolicy="Never"))
        await lab.client.create(batch_v1.Job(metadata=meta(), spec=spec))
        await lab.settle(2)
        [name] = await names(lab)
        change = {"metadata": {"ownerReferences": None, "finalizers": None}}
        await lab.client.patch(core_v1.Pod, name, change, PatchType.MERGE, namespace="default")

        async def adopted() -> bool:
            found = (await lab.client.get(core_v1.Pod, name, namespace="default")).metadata
            return bool(found and found.ownerReferences and found.finalizers == ["batch.kubernetes.io/job-tracking"])

        await lab.until(adopted)
        await lab.settle(2)
        assert await names(lab) == [name]


async def test_a_suspended_job_waits() -> None:
    async with open_lab("n1") as lab:
        job = batch_v1.Job(
            metadata=meta(), spec=batch_v1.JobSpec(template=template("x", restartPolicy="Never"), suspend=True)
        )
        await lab.client.create(job)
        await lab.settle(2)
        assert await names(lab) == []
        await lab.client.patch(batch_v1.Job, "x", {"spec": {"suspend": False}}, PatchType.MERGE, namespace="default")

        async def runs() -> bool:
            return len(await names(lab)) == 1

        await lab.until(runs)
        await lab.client.patch(batch_v1.Job, "x", {"spec": {"suspend": True}}, PatchType.MERGE, namespace="default")

        async def stopped() -> bool:
            return not (await lab.client.list(core_v1.Pod)).items

        await lab.until(stopped)


async def test_a_cron_job_runs_each_minute_and_keeps_a_short_history() -> None:
    async with open_lab("n1") as lab:
        lab.nodes.exit_codes["ok"] = 0
        job_spec = batch_v1.JobSpec(template=template("ok", restartPolicy="Never"))
        spec = batch_v1.CronJobSpec(
            schedule="* * * * *",
            jobTemplate=batch_v1.JobTemplateSpec(spec=job_spec),
            successfulJobsHistoryLimit=2,
        )
        await lab.client.create(batch_v1.CronJob(metadata=meta(), spec=spec))
        await lab.settle(245)
        jobs = (await lab.client.list(batch_v1.Job)).items
        assert len(jobs) == 2
        assert len(await lab.events("SawCompletedJob")) >= 1
        current = await lab.client.get(batch_v1.CronJob, "x", namespace="default")
        assert current.status and current.status.lastSuccessfulTime and current.status.lastScheduleTime
        assert not current.status.active
        body = {"spec": {"suspend": True}}
        await lab.client.patch(batch_v1.CronJob, "x", body, PatchType.MERGE, namespace="default")
        before = current.status.lastScheduleTime
        await lab.settle(120)
        current = await lab.client.get(batch_v1.CronJob, "x", namespace="default")
        assert current.status
        assert current.status.lastScheduleTime == before


async def test_daemon_pods_that_fail_at_once_are_made_anew_less_and_less_often() -> None:
    async with open_lab("n1") as lab:
        lab.nodes.exit_codes["x:1"] = 1
        spec = apps_v1.DaemonSetSpec(selector=SELECTOR, template=template())
        await lab.client.create(apps_v1.DaemonSet(metadata=meta(), spec=spec))
        await lab.settle(70)
        made = await lab.events("SuccessfulCreate")
        assert 5 <= len(made) <= 8  # after 1, 2, 4, 8, 16, 32 seconds


async def test_an_indexed_job_whose_index_keeps_failing_loses_only_that_index() -> None:
    async with open_lab("n1") as lab:
        lab.nodes.exit_codes |= {"ok": 0, "bad": 1}
        spec = batch_v1.JobSpec(
            template=template("ok", restartPolicy="Never"),
            completionMode="Indexed", completions=3, parallelism=3, backoffLimitPerIndex=1,
        )  # fmt: skip
        lab.nodes.fails = lambda pod: (
            (pod.metadata.annotations or {}).get("batch.kubernetes.io/job-completion-index") == "1"
        )
        await lab.client.create(batch_v1.Job(metadata=meta(), spec=spec))

        async def failed() -> batch_v1.Job | None:
            current = await lab.client.get(batch_v1.Job, "x", namespace="default")
            conditions = (current.status.conditions or ()) if current.status else ()
            return current if any(one.type == "Failed" for one in conditions) else None

        current = await lab.until(failed, seconds=120)
        status = current.status
        assert (status.completedIndexes, status.failedIndexes, status.failed) == ("0,2", "1", 2)
        assert await lab.events("FailedIndexes") == ["Job has failed indexes"]


async def test_a_job_of_another_controller_is_left_alone() -> None:
    async with open_lab("n1") as lab:
        spec = batch_v1.JobSpec(template=template("ok", restartPolicy="Never"), managedBy="example.com/other")
        await lab.client.create(batch_v1.Job(metadata=meta(), spec=spec))
        await lab.settle(3)
        assert await names(lab) == []
        assert (await lab.client.get(batch_v1.Job, "x", namespace="default")).status in (None, batch_v1.JobStatus())


async def test_claims_of_pods_that_are_scaled_away_go_when_the_policy_says_so() -> None:
    async with open_lab("n1") as lab:
        claim = core_v1.PersistentVolumeClaim(
            metadata=meta_v1.ObjectMeta(name="data"),
            spec=core_v1.PersistentVolumeClaimSpec(
                accessModes=["ReadWriteOnce"],
                resources=core_v1.VolumeResourceRequirements(requests={"storage": "1Gi"}),
            ),
        )
        policy = apps_v1.StatefulSetPersistentVolumeClaimRetentionPolicy(whenDeleted="Delete", whenScaled="Delete")
        spec = apps_v1.StatefulSetSpec(
            replicas=2,
            selector=SELECTOR,
            serviceName="x",
            template=template(),
            volumeClaimTemplates=[claim],
            persistentVolumeClaimRetentionPolicy=policy,
        )
        await lab.client.create(apps_v1.StatefulSet(metadata=meta(), spec=spec))

        async def claims(count: int) -> bool:
            ready = [one for one in (await lab.pods()) if one.status and one.status.phase == "Running"]
            return len((await lab.client.list(core_v1.PersistentVolumeClaim)).items) == count == len(ready)

        await lab.until(lambda: claims(2))
        body = {"spec": {"replicas": 1}}
        await lab.client.patch(apps_v1.StatefulSet, "x", body, PatchType.MERGE, namespace="default")
        await lab.until(lambda: claims(1))
        body = {"spec": {"replicas": 2}}
        await lab.client.patch(apps_v1.StatefulSet, "x", body, PatchType.MERGE, namespace="default")
        await lab.until(lambda: claims(2))
        await lab.client.delete(apps_v1.StatefulSet, "x", namespace="default")
        await lab.until(lambda: claims(0))
        assert not (await lab.client.list(core_v1.PersistentVolume)).items
