"""CronJobs: a Job each time that the schedule says so.

What it observes: the CronJob and the Jobs that it made. The plan says which Job is due, which run no more, and which are old enough to go.

Upstream counterpart: pkg/controller/cronjob (cronjob_controllerv2.go, utils.go).
"""

import contextlib
import zoneinfo
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from lightkube.models import batch_v1, core_v1, meta_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.client import DeleteOptions
from knarr.control import Context, informer, loop, owners
from knarr.controllers import batches, job, statuses
from knarr.lang import cron

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MISSED_LIMIT = 100
"""From this many missed times on, the clock or the schedule is suspect."""


@dataclass(slots=True)
class Plan:
    """The next step.

    Attributes:
        status: To be written if it differs.
        create: The Job that is due, its name and labels set.
        delete: Jobs that go: replaced ones and old ones.
        events: Type, reason, message.
        again_s: Seconds until the next time; None for never.
    """

    status: batch_v1.CronJobStatus
    create: batch_v1.Job | None = None
    delete: list[batch_v1.Job] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    again_s: float | None = None


def plan(cron_job: batch_v1.CronJob, jobs: Sequence[batch_v1.Job], now: datetime) -> Plan:
    """Decide the next step of a CronJob.

    Args:
        cron_job: As last seen, not being deleted.
        jobs: Those it made.
        now: The wall time.
    """
    assert cron_job.spec and cron_job.metadata
    running = [one for one in jobs if not job.is_finished(one)]
    step = Plan(_status(cron_job, jobs, running))
    step.delete = _old(cron_job, jobs)
    _tell_ended(cron_job, jobs, step)
    if cron_job.spec.suspend:
        return step
    zone = _zone(cron_job, step)
    schedule = _schedule(cron_job, step) if zone is not None else None
    if zone is None or schedule is None:
        return step
    due, missed = due_time(cron_job, schedule, zone, now)
    following = schedule.next_after(now, zone)
    step.again_s = (following - now).total_seconds() + 0.1 if following else None
    if due is None:
        return step
    if missed > MISSED_LIMIT:
        text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        step.events.append(("Warning", "TooManyMissedTimes", text))
    deadline_s = cron_job.spec.startingDeadlineSeconds
    if deadline_s is not None and due + timedelta(seconds=deadline_s) < now:
        step.events.append(
            ("Warning", "MissSchedule", f"Missed scheduled time to start a job: {due:%a, %d %b %Y %H:%M:%S %z}")
        )
        return step
    name = f"{cron_job.metadata.name}-{int(due.timestamp()) // 60}"
    made = next((one for one in jobs if informer.key_of(one)[1] == name), None)
    if made is not None:  # but the status was not written
        if made in running and not _is_listed(step.status, made):
            step.status.active = [*(step.status.active or ()), _reference(made)]
        step.status.lastScheduleTime = due
        return step
    listed = [one for one in running if _is_listed(cron_job.status, one)]
    if listed and cron_job.spec.concurrencyPolicy == "Forbid":
        text = "Not starting job because prior execution is running and concurrency policy is Forbid"
        step.events.append(("Normal", "JobAlreadyActive", text))
        return step
    if cron_job.spec.concurrencyPolicy == "Replace":
        step.delete += listed
        step.status.active = None
    step.create = job_for(cron_job, name, due, zone)
    step.status.lastScheduleTime = due
    return step


def due_time(
    cron_job: batch_v1.CronJob, schedule: cron.Schedule, zone: tzinfo, now: datetime
) -> tuple[datetime | None, int]:
    """Return the latest time that has come and has not been met, and how many have been missed.

    Source: mostRecentScheduleTime.
    """
    assert cron_job.spec and cron_job.metadata
    earliest = (
        (cron_job.status.lastScheduleTime if cron_job.status else None) or cron_job.metadata.creationTimestamp or now
    )
    deadline_s = cron_job.spec.startingDeadlineSeconds
    if deadline_s is not None:
        earliest = max(earliest, now - timedelta(seconds=deadline_s))
    first = schedule.next_after(earliest, zone)
    if first is None or first > now:
        return None, 0
    second = schedule.next_after(first, zone)
    if second is None or second > now:
        return first, 1
    # Jump near the end instead of going through years of minutes.
    step_s = max(60.0, (second - first).total_seconds())
    missed = int((now - first).total_seconds() // step_s) + 1
    latest = first
    probe = max(first, now - timedelta(seconds=2 * step_s))
    while (following := schedule.next_after(probe, zone)) is not None and following <= now:
        latest = probe = following
    return latest, missed


def job_for(cron_job: batch_v1.CronJob, name: str, due: datetime, zone: tzinfo) -> batch_v1.Job:
    """Build the Job of a time."""
    assert cron_job.spec and cron_job.metadata
    template = cron_job.spec.jobTemplate
    meta = template.metadata or meta_v1.ObjectMeta()
    stamp = due.astimezone(zone).isoformat().replace("+00:00", "Z")
    return batch_v1.Job(
        metadata=meta_v1.ObjectMeta(
            name=name,
            namespace=cron_job.metadata.namespace,
            labels=meta.labels,
            annotations={**(meta.annotations or {}), SCHEDULED_AT: stamp},
            ownerReferences=[owners.controller_reference(cron_job)],
        ),
        spec=template.spec,
    )


class Reconciler:
    """Takes the steps of CronJobs.

    Args:
        context: Client, informers, clock and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder
        self._cron_jobs = context.informers.of(batch_v1.CronJob)
        self._jobs = context.informers.of(batch_v1.Job)
        self._jobs.add_index(owners.INDEX, owners.by_controller)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Delete old Jobs, make the one that is due, then tell the status."""
        cron_job = self._cron_jobs.get(request.namespace, request.name)
        if cron_job is None or cron_job.metadata is None or cron_job.metadata.deletionTimestamp is not None:
            return loop.Result()
        jobs = self._jobs.by_index(owners.INDEX, cron_job.metadata.uid or "")
        step = plan(cron_job, jobs, self._clock.now())
        for type_, reason, message in step.events:
            self._recorder.event(cron_job, type_, reason, message)
        for one in step.delete:
            namespace, name = informer.key_of(one)
            options = DeleteOptions(propagation="Background", uid=(one.metadata.uid or "") if one.metadata else "")
            with contextlib.suppress(errors.NotFound, errors.Conflict):
                await self._client.delete(batch_v1.Job, name, namespace=namespace, options=options)
                self._recorder.normal(cron_job, "SuccessfulDelete", f"Deleted job {name}")
        if step.create is not None:
            await self._create(cron_job, step)
        if not statuses.is_same(step.status, cron_job.status):
            with contextlib.suppress(errors.NotFound):
                await self._client.update(replace(cron_job, status=step.status), subresource="status")
        return loop.Result(requeue_after_s=step.again_s)

    async def _create(self, cron_job: batch_v1.CronJob, step: Plan) -> None:
        assert step.create is not None
        try:
            made = await self._client.create(step.create)
        except errors.AlreadyExists:
            return
        except errors.StatusError as err:
            if batches.is_namespace_going(err):
                return
            self._recorder.warning(cron_job, "FailedCreate", f"Error creating job: {err}")
            raise
        self._recorder.normal(cron_job, "SuccessfulCreate", f"Created job {informer.key_of(made)[1]}")
        step.status.active = [*(step.status.active or ()), _reference(made)]


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("cronjob", Reconciler(context), context)
    controller.watch(batch_v1.CronJob, loop.itself)
    controller.watch(batch_v1.Job, _request_of_job)
    return controller


def _status(
    cron_job: batch_v1.CronJob, jobs: Sequence[batch_v1.Job], running: Sequence[batch_v1.Job]
) -> batch_v1.CronJobStatus:
    before = cron_job.status or batch_v1.CronJobStatus()
    ended = [one.status.completionTime for one in jobs if one.status and one.status.completionTime]
    known = [time for time in (before.lastSuccessfulTime, *ended) if time is not None]
    alive = {one.metadata.uid for one in running if one.metadata}
    return batch_v1.CronJobStatus(
        active=[reference for reference in before.active or () if reference.uid in alive] or None,
        lastScheduleTime=before.lastScheduleTime,
        lastSuccessfulTime=max(known, default=None),
    )


def _tell_ended(cron_job: batch_v1.CronJob, jobs: Sequence[batch_v1.Job], step: Plan) -> None:
    """Tell of Jobs that the status still calls active and that are not, and of running ones that it does not know."""
    by_uid = {(one.metadata.uid or "") if one.metadata else "": one for one in jobs}
    for reference in (cron_job.status.active or ()) if cron_job.status else ():
        found = by_uid.get(reference.uid or "")
        if found is None:
            step.events.append(("Normal", "MissingJob", f"Active job went missing: {reference.name}"))
        elif job.is_finished(found):
            conditions = (found.status.conditions or ()) if found.status else ()
            kind = job.COMPLETE if job.find(conditions, job.COMPLETE) else job.FAILED
            step.events.append(("Normal", "SawCompletedJob", f"Saw completed job: {reference.name}, condition: {kind}"))
    for one in jobs:
        if not job.is_finished(one) and not _is_listed(cron_job.status, one):
            text = f"Saw a job that the controller did not create or forgot: {informer.key_of(one)[1]}"
            step.events.append(("Warning", "UnexpectedJob", text))


def _is_listed(status: batch_v1.CronJobStatus | None, one: batch_v1.Job) -> bool:
    uid = one.metadata.uid if one.metadata else None
    return any(reference.uid == uid for reference in ((status.active or ()) if status else ()))


def _old(cron_job: batch_v1.CronJob, jobs: Sequence[batch_v1.Job]) -> list[batch_v1.Job]:
    """Return the oldest finished Jobs beyond what is to be kept."""
    assert cron_job.spec
    found: list[batch_v1.Job] = []
    limits = (
        (job.COMPLETE, cron_job.spec.successfulJobsHistoryLimit, 3),
        (job.FAILED, cron_job.spec.failedJobsHistoryLimit, 1),
    )
    for kind, limit, default in limits:
        ended = [one for one in jobs if job.find((one.status.conditions or ()) if one.status else (), kind)]
        ended.sort(key=_started)
        found += ended[: max(0, len(ended) - (default if limit is None else limit))]
    return [one for one in found if one.metadata and not one.metadata.deletionTimestamp]


def _zone(cron_job: batch_v1.CronJob, step: Plan) -> tzinfo | None:
    assert cron_job.spec
    name = cron_job.spec.timeZone
    if not name:
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):  # OSError: the name of a folder, such as "Europe"
        text = f'invalid timeZone: "{name}": unknown time zone {name}'
        step.events.append(("Warning", "UnknownTimeZone", text))
        return None


def _schedule(cron_job: batch_v1.CronJob, step: Plan) -> cron.Schedule | None:
    assert cron_job.spec
    text = cron_job.spec.schedule
    if "TZ" in text:
        told = (
            f'CRON_TZ or TZ used in schedule "{text}" is not officially supported, '
            "see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        )
        step.events.append(("Warning", "UnsupportedSchedule", told))
    try:
        return cron.parse(text)
    except ValueError as err:
        named = f"TZ={cron_job.spec.timeZone} {text}" if cron_job.spec.timeZone else text
        step.events.append(("Warning", "UnparseableSchedule", f'unparseable schedule: "{named}" : {err}'))
        return None


def _reference(one: batch_v1.Job) -> core_v1.ObjectReference:
    assert one.metadata
    meta = one.metadata
    return core_v1.ObjectReference(
        apiVersion="batch/v1",
        kind="Job",
        name=meta.name,
        namespace=meta.namespace,
        uid=meta.uid,
    )


def _started(one: batch_v1.Job) -> tuple[bool, float, str]:
    """Order Jobs by when they started, those that never did last."""
    start = one.status.startTime if one.status else None
    return start is None, start.timestamp() if start else 0.0, informer.key_of(one)[1]


def _request_of_job(one: batch_v1.Job) -> Iterable[loop.Request]:
    reference = owners.controller_of(one)
    if reference is None or reference.kind != "CronJob":
        return ()
    return (loop.Request(informer.key_of(one)[0], reference.name),)
