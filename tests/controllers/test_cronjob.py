from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lightkube.models import batch_v1, core_v1, meta_v1

from knarr.controllers import cronjob

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def make(status: batch_v1.CronJobStatus | None = None, **spec: Any) -> batch_v1.CronJob:
    template = core_v1.PodTemplateSpec(spec=core_v1.PodSpec(containers=[core_v1.Container(name="c")]))
    given = {
        "schedule": "0 * * * *",
        "jobTemplate": batch_v1.JobTemplateSpec(spec=batch_v1.JobSpec(template=template)),
        **spec,
    }
    created = NOON - timedelta(days=2)
    meta = meta_v1.ObjectMeta(name="c", namespace="ns", uid="cron", creationTimestamp=created)
    return batch_v1.CronJob(metadata=meta, spec=batch_v1.CronJobSpec(**given), status=status)


def last(hours: float) -> batch_v1.CronJobStatus:
    return batch_v1.CronJobStatus(lastScheduleTime=NOON - timedelta(hours=hours))


def made(name: str, *, ended: str = "", hours: float = 0) -> batch_v1.Job:
    at = NOON - timedelta(hours=hours)
    conditions = [batch_v1.JobCondition(type=ended, status="True")] if ended else None
    completion = at if ended == "Complete" else None
    status = batch_v1.JobStatus(startTime=at, conditions=conditions, completionTime=completion)
    return batch_v1.Job(metadata=meta_v1.ObjectMeta(name=name, namespace="ns", uid=name), status=status)


def reasons(step: cronjob.Plan) -> list[str]:
    return [reason for _, reason, _ in step.events]


@pytest.mark.parametrize(
    ("spec", "hours", "created", "told"),
    [
        ({}, 1, NOON, []),
        ({}, 0, None, []),
        ({}, 3, NOON, []),
        ({"suspend": True}, 3, None, []),
        ({"schedule": "* * * * *"}, 3, NOON, ["TooManyMissedTimes"]),
        ({"schedule": "* * * * *", "startingDeadlineSeconds": 200}, 3, NOON, []),
        ({"timeZone": "Mars/Olympus"}, 1, None, ["UnknownTimeZone"]),
        ({"schedule": "nonsense"}, 1, None, ["UnparseableSchedule"]),
        ({"schedule": "CRON_TZ=UTC 0 * * * *"}, 1, NOON, ["UnsupportedSchedule"]),
        ({"schedule": "0 21 * * *", "timeZone": "Asia/Tokyo"}, 1, NOON, []),
        ({"schedule": "0 21 * * *"}, 1, None, []),
    ],
)
def test_which_job_is_due(spec: dict[str, Any], hours: float, created: datetime | None, told: list[str]) -> None:
    step = cronjob.plan(make(last(hours), **spec), [], NOON)
    assert reasons(step) == told
    assert (step.create is not None) == (created is not None)
    if step.create is not None and created is not None:
        assert step.create.metadata
        assert step.create.metadata.name == f"c-{int(created.timestamp()) // 60}"


def test_a_job_is_told_for_which_time_it_was_made_in_its_zone() -> None:
    step = cronjob.plan(make(last(1), timeZone="Asia/Tokyo", schedule="0 21 * * *"), [], NOON)
    assert step.create and step.create.metadata
    assert (step.create.metadata.annotations or {})[cronjob.SCHEDULED_AT] == "2026-01-01T21:00:00+09:00"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("Allow", (True, [], [])),
        ("Forbid", (False, [], ["JobAlreadyActive"])),
        ("Replace", (True, ["old"], [])),
    ],
)
def test_what_becomes_of_a_job_that_still_runs(policy: str, expected: tuple[bool, list[str], list[str]]) -> None:
    status = last(1)
    status.active = [core_v1.ObjectReference(name="old", uid="old")]
    step = cronjob.plan(make(status, concurrencyPolicy=policy), [made("old")], NOON)
    assert (
        step.create is not None,
        [one.metadata.name for one in step.delete if one.metadata],
        reasons(step),
    ) == expected


def test_a_time_that_is_missed_by_more_than_the_deadline_is_left_out() -> None:
    current = make(last(1), startingDeadlineSeconds=10)
    assert cronjob.plan(current, [], NOON + timedelta(seconds=5)).create is not None
    assert cronjob.plan(current, [], NOON + timedelta(seconds=15)).create is None


def test_the_oldest_finished_jobs_go() -> None:
    jobs = [made(f"good-{hours}", ended="Complete", hours=hours) for hours in range(5)]
    jobs += [made(f"bad-{hours}", ended="Failed", hours=hours) for hours in range(3)]
    step = cronjob.plan(make(last(0)), jobs, NOON)
    assert sorted(one.metadata.name or "" for one in step.delete if one.metadata) == [
        "bad-1",
        "bad-2",
        "good-3",
        "good-4",
    ]
    assert step.status.lastSuccessfulTime == NOON
