from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lightkube.models import batch_v1, core_v1, meta_v1

from knarr.controllers import job
from knarr.controllers import job_indexes as indexes

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def make(status: batch_v1.JobStatus | None = None, **spec: Any) -> batch_v1.Job:
    template = core_v1.PodTemplateSpec(spec=core_v1.PodSpec(containers=[core_v1.Container(name="c")]))
    return batch_v1.Job(
        metadata=meta_v1.ObjectMeta(name="j", namespace="ns", uid="job"),
        spec=batch_v1.JobSpec(template=template, **{"backoffLimit": 6, **spec}),
        status=status or batch_v1.JobStatus(startTime=NOW),
    )


def pod(uid: str, phase: str, *, ended_s: float = 0, code: int = 1, tracked: bool = True, **meta: Any) -> core_v1.Pod:
    finished = NOW - timedelta(seconds=ended_s)
    state = core_v1.ContainerState(terminated=core_v1.ContainerStateTerminated(exitCode=code, finishedAt=finished))
    statuses = [core_v1.ContainerStatus(name="c", image="", imageID="", ready=False, restartCount=0, state=state)]
    return core_v1.Pod(
        metadata=meta_v1.ObjectMeta(
            name=uid, namespace="ns", uid=uid, finalizers=[job.FINALIZER] if tracked else None, **meta
        ),
        spec=core_v1.PodSpec(containers=[]),
        status=core_v1.PodStatus(phase=phase, containerStatuses=statuses if phase in ("Failed", "Succeeded") else None),
    )


def kinds(step: job.Plan) -> list[str]:
    return [f"{one.type}={one.reason}" for one in step.status.conditions or ()]


def test_a_finished_pod_is_noted_then_released_then_counted() -> None:
    first = job.plan(make(completions=2, parallelism=1), [pod("a", "Succeeded")], NOW)
    assert first.status.succeeded is None
    assert first.status.uncountedTerminatedPods == batch_v1.UncountedTerminatedPods(succeeded=["a"])
    assert [one.metadata.name for one in first.release if one.metadata] == ["a"]
    assert first.create == [None]
    second = job.plan(make(first.status, completions=2, parallelism=1), [pod("a", "Succeeded", tracked=False)], NOW)
    assert second.status.succeeded == 1
    assert second.status.uncountedTerminatedPods == batch_v1.UncountedTerminatedPods()
    assert job.plan(make(second.status, completions=2, parallelism=1), [], NOW).status.succeeded == 1


@pytest.mark.parametrize(("failures", "delay_s"), [(1, 10), (2, 20), (3, 40), (8, 600)])
def test_after_failures_the_next_pod_waits(failures: int, delay_s: float) -> None:
    pods = [pod(f"p{number}", "Failed", ended_s=number) for number in range(failures)]
    step = job.plan(make(backoffLimit=20), pods, NOW)
    assert step.create == []
    assert step.again_s == delay_s
    assert job.plan(make(backoffLimit=20), pods, NOW + timedelta(seconds=delay_s)).create == [None]


def test_a_deadline_ends_what_runs() -> None:
    status = batch_v1.JobStatus(startTime=NOW - timedelta(seconds=31))
    step = job.plan(make(status, activeDeadlineSeconds=30), [pod("a", "Running")], NOW)
    assert kinds(step) == ["FailureTarget=DeadlineExceeded"]
    assert [one.metadata.name for one in step.delete if one.metadata] == ["a"]
    late = make(batch_v1.JobStatus(startTime=NOW), activeDeadlineSeconds=30)
    assert job.plan(late, [pod("a", "Running")], NOW).again_s == 30


@pytest.mark.parametrize(
    ("action", "code", "expected"),
    [("FailJob", 42, (1, ["FailureTarget=PodFailurePolicy"])), ("Ignore", 42, (0, [])), ("FailJob", 1, (1, []))],
)
def test_the_failure_policy_decides(action: str, code: int, expected: tuple[int, list[str]]) -> None:
    codes = batch_v1.PodFailurePolicyOnExitCodesRequirement(operator="In", values=[42])
    rule = batch_v1.PodFailurePolicyRule(action=action, onExitCodes=codes)
    policy = batch_v1.PodFailurePolicy(rules=[rule])
    step = job.plan(make(podFailurePolicy=policy), [pod("a", "Failed", code=code)], NOW)
    uncounted = step.status.uncountedTerminatedPods
    assert uncounted is not None
    assert (len(uncounted.failed or ()), kinds(step)) == expected
    assert len(step.release) == 1


def test_indexes_that_are_done_or_running_are_not_made_again() -> None:
    status = batch_v1.JobStatus(startTime=NOW, completedIndexes="0,3")
    running = pod("r", "Running", annotations={job.INDEX: "1"})
    step = job.plan(make(status, completionMode="Indexed", completions=6, parallelism=3), [running], NOW)
    assert step.create == [2, 4]
    made = job.pod_for(make(completionMode="Indexed"), 2)
    assert made.metadata and made.spec
    assert made.metadata.generateName == "j-2-"
    assert made.spec.containers[0].env is not None


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([1], "1"), ([1, 2], "1,2"), ([0, 1, 2, 5, 7, 8], "0-2,5,7,8")]
)
def test_sets_of_indexes(numbers: list[int], text: str) -> None:
    assert indexes.format_set(numbers) == text
    assert indexes.parse_set(text) == set(numbers)
