from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lightkube.models import batch_v1, core_v1, meta_v1

from knarr.controllers import job
from knarr.controllers import job_counts as counts
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
            name=uid, namespace="ns", uid=uid, finalizers=[counts.FINALIZER] if tracked else None, **meta
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
    running = pod("r", "Running", annotations={indexes.INDEX: "1"})
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


def indexed(uid: str, phase: str, index: int, failures: int = 0, **more: Any) -> core_v1.Pod:
    return pod(uid, phase, annotations={indexes.INDEX: str(index), indexes.FAILURES: str(failures)}, **more)


def names(pods: list[core_v1.Pod]) -> list[str]:
    return sorted((one.metadata.name or "") for one in pods if one.metadata)


def test_pods_that_are_too_many_go_uncounted_and_those_of_a_failed_job_count() -> None:
    running = [pod(name, "Running") for name in "abc"]
    step = job.plan(make(parallelism=1, completions=5), running, NOW)
    assert (len(step.withdraw), step.delete, step.release) == (2, [], [])
    suspended = job.plan(make(parallelism=3, completions=5, suspend=True), running, NOW)
    assert len(suspended.withdraw) == 3
    assert suspended.status.startTime is None
    late = batch_v1.JobStatus(startTime=NOW - timedelta(seconds=9))
    failed = job.plan(make(late, parallelism=3, completions=5, activeDeadlineSeconds=5), running, NOW)
    assert (names(failed.delete), names(failed.release)) == (["a", "b", "c"], ["a", "b", "c"])
    uncounted = failed.status.uncountedTerminatedPods
    assert uncounted is not None
    assert uncounted.failed == ["a", "b", "c"]


def test_an_index_that_failed_waits_for_its_own_pause_and_its_successor_knows() -> None:
    current = make(completionMode="Indexed", completions=3, parallelism=3, backoffLimitPerIndex=1)
    first = job.plan(current, [indexed("a", "Failed", 0), indexed("b", "Running", 1)], NOW)
    assert (first.create, first.release) == ([2], [])
    assert first.again_s is None or first.again_s == 10
    later = NOW + timedelta(seconds=10)
    others = [indexed("a", "Failed", 0), indexed("b", "Running", 1), indexed("c", "Running", 2)]
    second = job.plan(current, others, later)
    assert second.create == [0]
    made = job.pod_for(current, 0, second.replaced[0])
    assert made.metadata
    assert (made.metadata.annotations or {})[indexes.FAILURES] == "1"
    third = job.plan(current, [*others, indexed("d", "Running", 0, failures=1)], later)
    assert names(third.release) == ["a"]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (None, []),
        (1, ["FailureTarget=MaxFailedIndexesExceeded"]),
    ],
)
def test_indexes_that_failed_too_often_are_lost(most: int | None, expected: list[str]) -> None:
    limits = {"backoffLimitPerIndex": 0, "maxFailedIndexes": most, "backoffLimit": None}
    current = make(completionMode="Indexed", completions=4, parallelism=4, **limits)
    pods = [indexed("a", "Failed", 0), indexed("b", "Failed", 1), indexed("c", "Running", 2)]
    step = job.plan(current, pods, NOW)
    assert step.status.failedIndexes == "0,1"
    assert kinds(step) == expected
    assert step.create == ([] if expected else [3])


def test_when_all_other_indexes_are_done_lost_ones_fail_the_job() -> None:
    current = make(completionMode="Indexed", completions=2, parallelism=2, backoffLimitPerIndex=0, backoffLimit=None)
    step = job.plan(current, [indexed("a", "Failed", 0), indexed("b", "Succeeded", 1)], NOW)
    assert kinds(step) == ["FailureTarget=FailedIndexes"]
    assert (step.status.completedIndexes, step.status.failedIndexes) == ("1", "0")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"succeededCount": 1}, "Matched rules at index 0"),
        ({"succeededIndexes": "0,2"}, None),
        ({"succeededIndexes": "0-2", "succeededCount": 1}, "Matched rules at index 0"),
        ({"succeededIndexes": "1"}, "Matched rules at index 0"),
    ],
)
def test_the_success_policy_ends_a_job_early(rule: dict[str, Any], message: str | None) -> None:
    policy = batch_v1.SuccessPolicy(rules=[batch_v1.SuccessPolicyRule(**rule)])
    current = make(completionMode="Indexed", completions=3, parallelism=3, successPolicy=policy)
    pods = [indexed("a", "Running", 0), indexed("b", "Succeeded", 1), indexed("c", "Running", 2)]
    step = job.plan(current, pods, NOW)
    conditions = [(one.type, one.reason, one.message) for one in step.status.conditions or ()]
    assert conditions == ([("SuccessCriteriaMet", "SuccessPolicy", message)] if message else [])
    assert names(step.delete) == (["a", "c"] if message else [])
    assert step.status.uncountedTerminatedPods == batch_v1.UncountedTerminatedPods()


def test_an_index_that_the_policy_fails_is_lost_at_once() -> None:
    codes = batch_v1.PodFailurePolicyOnExitCodesRequirement(operator="In", values=[42])
    policy = batch_v1.PodFailurePolicy(rules=[batch_v1.PodFailurePolicyRule(action="FailIndex", onExitCodes=codes)])
    limits = {"backoffLimitPerIndex": 5, "podFailurePolicy": policy, "backoffLimit": None}
    current = make(completionMode="Indexed", completions=2, parallelism=2, **limits)
    step = job.plan(current, [indexed("a", "Failed", 0, code=42), indexed("b", "Running", 1)], NOW)
    assert step.status.failedIndexes == "0"
    assert names(step.release) == ["a"]


@pytest.mark.parametrize(("policy", "expected"), [(None, ([None], 1)), ("Failed", ([], 0))])
def test_pods_on_their_way_out_are_replaced_at_once_or_when_they_have_failed(
    policy: str | None, expected: tuple[list[None], int]
) -> None:
    going = pod("a", "Running", deletionTimestamp=NOW - timedelta(seconds=60))
    step = job.plan(make(podReplacementPolicy=policy), [going], NOW)
    uncounted = step.status.uncountedTerminatedPods
    assert uncounted is not None
    assert (step.create, len(uncounted.failed or ())) == expected
    assert step.status.terminating == 1


def test_of_pods_with_one_index_the_best_stays() -> None:
    current = make(completionMode="Indexed", completions=2, parallelism=2)
    pods = [indexed("a", "Running", 0), indexed("b", "Pending", 0), indexed("c", "Running", 7)]
    assert names(job.plan(current, pods, NOW).withdraw) == ["b", "c"]


def test_a_resumed_job_starts_anew() -> None:
    before = batch_v1.JobStatus(
        startTime=NOW - timedelta(hours=1),
        conditions=[batch_v1.JobCondition(type="Suspended", status="True", reason="JobSuspended")],
    )
    step = job.plan(make(before, activeDeadlineSeconds=60), [], NOW)
    assert step.status.startTime == NOW
    assert [one[1] for one in step.events] == ["Resumed"]
    assert [(one.type, one.status) for one in step.status.conditions or ()] == [("Suspended", "False")]
