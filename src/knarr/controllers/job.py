"""Jobs: pods that run to their end, as often as asked for.

What it observes: the Job and its pods. The plan says all that is to be done: status, pods to make, delete and let go. How pods are counted
is `job_counts`; what the policies say, `job_policies`; which index a pod stands for, `job_indexes`.

Upstream counterpart: pkg/controller/job/job_controller.go (v1.37).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lightkube.models import batch_v1, core_v1
from msgspec.structs import replace

from knarr.control import owners
from knarr.controllers import job_counts as counts
from knarr.controllers import job_indexes as indexes
from knarr.controllers import job_policies as policies
from knarr.controllers import pods as podinfo

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
CONTROLLER = "kubernetes.io/job-controller"
"""What `spec.managedBy` says of Jobs that are ours."""
BURST = 500
BACKOFF_LIMIT = 6
NAME_LIMIT = 58
"""Of a generated name, before its random part."""

COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
SUCCESS_MET, FAILURE_TARGET = "SuccessCriteriaMet", "FailureTarget"
REACHED = ("CompletionsReached", "Reached expected number of succeeded pods")
LIMIT_EXCEEDED = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
DEADLINE_EXCEEDED = ("DeadlineExceeded", "Job was active longer than specified deadline")
TOO_MANY_FAILED_INDEXES = (
    "MaxFailedIndexesExceeded",
    "Job has exceeded the specified maximal number of failed indexes",
)
FAILED_INDEXES = ("FailedIndexes", "Job has failed indexes")


@dataclass(slots=True)
class Plan:
    """The next step.

    Attributes:
        status: To be written if it differs, after `delete` and `withdraw` and before the rest.
        create: A pod for each entry: its index, or None.
        delete: Pods that go because the Job ends; they are counted.
        withdraw: Pods that go because there are too many; they are not counted.
        release: Pods that have been noted: their finalizer goes.
        replaced: For indexes with a failure limit, the pod that a new one replaces.
        failures: Failures in a row, to be remembered once the status is written.
        again_s: When to look again.
        events: Type, reason, message.
    """

    status: batch_v1.JobStatus
    create: list[int | None] = field(default_factory=list)
    delete: list[core_v1.Pod] = field(default_factory=list)
    withdraw: list[core_v1.Pod] = field(default_factory=list)
    release: list[core_v1.Pod] = field(default_factory=list)
    replaced: dict[int, core_v1.Pod] = field(default_factory=dict)
    failures: policies.Failures = field(default_factory=policies.Failures)
    again_s: float | None = None
    events: list[tuple[str, str, str]] = field(default_factory=list)


def plan(
    job: batch_v1.Job, pods: Sequence[core_v1.Pod], now: datetime, failures: policies.Failures | None = None
) -> Plan:
    """Decide the next step of a Job.

    Args:
        job: As last seen, not being deleted.
        pods: Those it controls.
        now: The wall time.
        failures: In a row, as the last plan gave them; None works them out from the pods.
    """
    status = job.status or batch_v1.JobStatus()
    if is_finished(job):
        return Plan(status, release=[pod for pod in pods if counts.is_tracked(pod)])
    assert job.spec
    now = now.replace(microsecond=0)
    seen = counts.observe(job, pods)
    step = Plan(status, failures=_failures(job, pods, seen, failures))
    active = [pod for pod in pods if podinfo.is_active(pod)]
    going = [pod for pod in pods if podinfo.is_terminating(pod)]
    conditions = list(status.conditions or ())
    is_resumed = find(conditions, SUSPENDED) is not None and not job.spec.suspend
    start = now if is_resumed else status.startTime or (None if job.spec.suspend else now)
    if job.spec.backoffLimitPerIndex is not None and seen.failed_indexes is not None:
        settled = seen.completed | seen.failed_indexes | indexes.indexes_of(active)
        step.replaced = indexes.to_be_replaced([*_failed(job, pods)], settled)
    verdict = _verdict(job, pods, seen, active, start, conditions, now)
    if verdict is not None:
        step.delete, active = active, []
    else:
        _manage(job, active, going, seen, step, now)
        active = [pod for pod in active if pod not in step.withdraw]
        if _is_complete(job, seen, active):
            verdict = (SUCCESS_MET, *REACHED)
        elif job.spec.suspend:
            conditions, start = _suspend(conditions, step, now), None
        else:
            conditions = _resume(conditions, step, now)
            step.again_s = _sooner(step.again_s, _until_deadline(job, start, now))
    if verdict is not None:
        conditions = set_condition(conditions, *verdict, now)
    delayed = {counts.uid_of(pod) for pod in step.replaced.values()}
    is_failure = verdict is not None and verdict[0] == FAILURE_TARGET
    counts.track(job, pods, seen, is_over=verdict is not None, is_failure=is_failure, delayed=delayed)
    step.release = seen.release
    completion = status.completionTime
    if verdict is not None and not (
        step.delete or step.withdraw or going or step.release or seen.noted_succeeded or seen.noted_failed
    ):
        conditions, completion = _finish(job, seen, verdict, conditions, step, now)
    step.status = _status(job, seen, active, len(going) + len(step.delete) + len(step.withdraw), conditions)
    step.status.startTime, step.status.completionTime = start, completion
    return step


def pod_for(job: batch_v1.Job, index: int | None, replaced: core_v1.Pod | None = None) -> core_v1.Pod:
    """Build a pod of a Job; with an index it is told which part of the work is its own.

    Args:
        job: The Job.
        index: Of an indexed Job.
        replaced: The failed pod of the same index that it follows, if failures of indexes are counted.
    """
    assert job.metadata and job.spec
    name = job.metadata.name or ""
    pod = podinfo.from_template(
        job.spec.template,
        namespace=job.metadata.namespace or "",
        generate_name=f"{name}-" if index is None else f"{name[: NAME_LIMIT - len(str(index)) - 2]}-{index}-",
        owner=owners.controller_reference(job),
    )
    assert pod.metadata and pod.spec
    finalizers = [one for one in pod.metadata.finalizers or () if one != counts.FINALIZER]
    meta = replace(pod.metadata, finalizers=[*finalizers, counts.FINALIZER])
    if index is None:
        return replace(pod, metadata=meta)
    told = {indexes.INDEX: str(index)}
    failures = indexes.failure_annotations(job, replaced) if job.spec.backoffLimitPerIndex is not None else {}
    meta = replace(
        meta, annotations={**(meta.annotations or {}), **told, **failures}, labels={**(meta.labels or {}), **told}
    )
    spec = replace(
        pod.spec,
        hostname=f"{name}-{index}",
        containers=[_with_index(container) for container in pod.spec.containers],
        initContainers=[_with_index(container) for container in pod.spec.initContainers or ()] or None,
    )
    return replace(pod, metadata=meta, spec=spec)


def is_finished(job: batch_v1.Job) -> bool:
    """Tell whether a Job is complete or has failed."""
    conditions = (job.status.conditions or ()) if job.status else ()
    return any(one.type in {COMPLETE, FAILED} and one.status == "True" for one in conditions)


def is_ours(job: batch_v1.Job) -> bool:
    """Tell whether a Job is looked after by this controller and not by one that `managedBy` names."""
    assert job.spec
    return job.spec.managedBy in (None, "", CONTROLLER)


def find(conditions: Iterable[batch_v1.JobCondition] | None, kind: str) -> batch_v1.JobCondition | None:
    """Return the condition of a type if it is true."""
    return next((one for one in conditions or () if one.type == kind and one.status == "True"), None)


def set_condition(
    conditions: Sequence[batch_v1.JobCondition],
    kind: str,
    reason: str,
    message: str,
    now: datetime,
    status: str = "True",
) -> list[batch_v1.JobCondition]:
    """Return the conditions with one as said; what stands already keeps its times, and its place."""
    standing = next((one for one in conditions if one.type == kind), None)
    if standing is not None and (standing.status, standing.reason, standing.message) == (status, reason, message):
        return [*conditions]
    fresh = batch_v1.JobCondition(
        type=kind, status=status, reason=reason, message=message, lastProbeTime=now, lastTransitionTime=now
    )
    if standing is not None:
        return [fresh if one is standing else one for one in conditions]
    return [*conditions, fresh]


def _failed(job: batch_v1.Job, pods: Iterable[core_v1.Pod]) -> list[core_v1.Pod]:
    return [pod for pod in pods if counts.is_tracked(pod) and counts.has_failed(job, pod)]


def _failures(
    job: batch_v1.Job, pods: Sequence[core_v1.Pod], seen: counts.Counts, before: policies.Failures | None
) -> policies.Failures:
    if before is not None:
        return before.with_finished(seen.new_succeeded, seen.new_failed)
    succeeded = [pod for pod in pods if podinfo.phase(pod) == "Succeeded"]
    return policies.Failures().with_finished(succeeded, [pod for pod in pods if counts.has_failed(job, pod)])


def _verdict(
    job: batch_v1.Job,
    pods: Sequence[core_v1.Pod],
    seen: counts.Counts,
    active: Sequence[core_v1.Pod],
    start: datetime | None,
    conditions: Sequence[batch_v1.JobCondition],
    now: datetime,
) -> tuple[str, str, str] | None:
    """Return how the Job ends: which condition says so first, and why. None while it goes on."""
    assert job.spec
    for kind in (SUCCESS_MET, FAILURE_TARGET):
        standing = find(conditions, kind)
        if standing is not None:
            return kind, standing.reason or "", standing.message or ""
    refused = policies.failing(job, (pod for pod in pods if counts.has_failed(job, pod)))
    if refused is not None:
        return FAILURE_TARGET, "PodFailurePolicy", refused
    limit = job.spec.backoffLimit
    if limit is None:
        limit = BACKOFF_LIMIT if job.spec.backoffLimitPerIndex is None else 2**31 - 1
    if seen.all_failed(job) > limit or _restarted_too_often(job, active, limit):
        return FAILURE_TARGET, *LIMIT_EXCEEDED
    left_s = _until_deadline(job, start, now)
    if left_s is not None and left_s <= 0 and not job.spec.suspend:
        return FAILURE_TARGET, *DEADLINE_EXCEEDED
    return _verdict_of_indexes(job, seen) if counts.is_indexed(job) else None


def _verdict_of_indexes(job: batch_v1.Job, seen: counts.Counts) -> tuple[str, str, str] | None:
    assert job.spec
    completions, most = job.spec.completions or 0, job.spec.maxFailedIndexes
    lost = len(seen.failed_indexes or ())
    if most is not None and lost > most:
        return FAILURE_TARGET, *TOO_MANY_FAILED_INDEXES
    if lost and lost + len(seen.completed) >= completions:
        return FAILURE_TARGET, *FAILED_INDEXES
    rules = job.spec.successPolicy.rules if job.spec.successPolicy else ()
    required = [frozenset(indexes.parse_set(rule.succeededIndexes or "", completions)) for rule in rules]
    met = policies.met_rule(job, seen.completed, required)
    return (SUCCESS_MET, "SuccessPolicy", met) if met is not None else None


def _is_complete(job: batch_v1.Job, seen: counts.Counts, active: Sequence[core_v1.Pod]) -> bool:
    assert job.spec
    succeeded, enough = seen.all_succeeded(job), job.spec.completions
    return not active and (succeeded > 0 if enough is None else succeeded >= enough)


def _manage(
    job: batch_v1.Job,
    active: Sequence[core_v1.Pod],
    going: Sequence[core_v1.Pod],
    seen: counts.Counts,
    step: Plan,
    now: datetime,
) -> None:
    """Bring the number of running pods to where it should be."""
    assert job.spec
    wanted = _wanted(job, len(active), seen.all_succeeded(job))
    useless = indexes.duplicates(active, job.spec.completions or 0) if counts.is_indexed(job) else []
    surplus = max(0, len(active) - wanted - len(useless))
    rest = podinfo.deletion_order([pod for pod in active if pod not in useless], related={})
    step.withdraw = [*useless, *rest[:surplus]]
    if not job.spec.suspend:
        step.withdraw = step.withdraw[:BURST]
    if step.withdraw or job.spec.suspend:
        return
    waited_for = going if counts.replaces_only_failed(job) else ()
    missing = min(wanted - len(active) - len(waited_for), BURST)
    if missing <= 0:
        return
    delay_s = step.failures.wait_s(now) if job.spec.backoffLimitPerIndex is None else 0.0
    if delay_s > 0:
        step.again_s = delay_s
    elif not counts.is_indexed(job):
        step.create = [None] * missing
    else:
        taken = seen.completed | (seen.failed_indexes or set()) | indexes.indexes_of([*active, *waited_for])
        _create_indexes(indexes.first_missing(taken, missing, job.spec.completions or 0), step, now)


def _create_indexes(pending: Sequence[int], step: Plan, now: datetime) -> None:
    """Create the pods of indexes; one that failed waits for its own pause."""
    waits = dict.fromkeys(pending, 0.0)
    for index, pod in step.replaced.items():
        if index in waits:
            failures = indexes.all_failures_of(pod) + 1
            waits[index] = policies.remaining_s(failures, policies.ended_at(pod), now)
    step.create = [index for index in pending if waits[index] <= 0]
    step.again_s = _sooner(step.again_s, min((wait for wait in waits.values() if wait > 0), default=None))


def _wanted(job: batch_v1.Job, active: int, succeeded: int) -> int:
    assert job.spec
    if job.spec.suspend:
        return 0
    parallelism = 1 if job.spec.parallelism is None else job.spec.parallelism
    if job.spec.completions is None:  # once one has succeeded, whoever runs may end, but none is added
        return active if succeeded else parallelism
    return max(0, min(job.spec.completions - succeeded, parallelism))


def _finish(
    job: batch_v1.Job,
    seen: counts.Counts,
    verdict: tuple[str, str, str],
    conditions: list[batch_v1.JobCondition],
    step: Plan,
    now: datetime,
) -> tuple[list[batch_v1.JobCondition], datetime | None]:
    kind, reason, message = verdict
    if kind != SUCCESS_MET:
        step.events.append(("Warning", reason, message))
        return set_condition(conditions, FAILED, reason, message, now), None
    assert job.spec
    if job.spec.completions is not None and seen.all_succeeded(job) > job.spec.completions:
        text = "Too many succeeded pods running after completion count reached"
        step.events.append(("Warning", "TooManySucceededPods", text))
    step.events.append(("Normal", "Completed", "Job completed"))
    return set_condition(conditions, COMPLETE, reason, message, now), now


def _status(
    job: batch_v1.Job,
    seen: counts.Counts,
    active: Sequence[core_v1.Pod],
    terminating: int,
    conditions: list[batch_v1.JobCondition],
) -> batch_v1.JobStatus:
    is_indexed = counts.is_indexed(job)
    return batch_v1.JobStatus(
        active=len(active) or None,
        ready=sum(podinfo.is_ready(pod) for pod in active),
        terminating=terminating,
        succeeded=(len(seen.completed) if is_indexed else seen.succeeded) or None,
        failed=seen.failed or None,
        completedIndexes=indexes.format_set(seen.completed) or None if is_indexed else None,
        failedIndexes=None if seen.failed_indexes is None else indexes.format_set(seen.failed_indexes),
        conditions=conditions or None,
        uncountedTerminatedPods=batch_v1.UncountedTerminatedPods(
            succeeded=sorted(seen.noted_succeeded) or None, failed=sorted(seen.noted_failed) or None
        ),
    )


def _suspend(conditions: list[batch_v1.JobCondition], step: Plan, now: datetime) -> list[batch_v1.JobCondition]:
    if find(conditions, SUSPENDED) is None:
        step.events.append(("Normal", "Suspended", "Job suspended"))
    return set_condition(conditions, SUSPENDED, "JobSuspended", "Job suspended", now)


def _resume(conditions: list[batch_v1.JobCondition], step: Plan, now: datetime) -> list[batch_v1.JobCondition]:
    if find(conditions, SUSPENDED) is None:
        return conditions
    step.events.append(("Normal", "Resumed", "Job resumed"))
    return set_condition(conditions, SUSPENDED, "JobResumed", "Job resumed", now, status="False")


def _restarted_too_often(job: batch_v1.Job, active: Sequence[core_v1.Pod], limit: int) -> bool:
    assert job.spec and job.spec.template
    spec = job.spec.template.spec
    if spec is None or spec.restartPolicy != "OnFailure":
        return False
    restarts = sum(
        one.restartCount
        for pod in active
        if pod.status
        for one in [*(pod.status.initContainerStatuses or ()), *(pod.status.containerStatuses or ())]
    )
    return bool(restarts > 0 if limit == 0 else restarts >= limit)


def _until_deadline(job: batch_v1.Job, start: datetime | None, now: datetime) -> float | None:
    assert job.spec
    if job.spec.activeDeadlineSeconds is None or start is None:
        return None
    return job.spec.activeDeadlineSeconds - (now - start).total_seconds()


def _with_index(container: core_v1.Container) -> core_v1.Container:
    if any(one.name == INDEX_VARIABLE for one in container.env or ()):
        return container
    path = f"metadata.labels['{indexes.INDEX}']"
    source = core_v1.EnvVarSource(fieldRef=core_v1.ObjectFieldSelector(fieldPath=path))
    return replace(container, env=[*(container.env or ()), core_v1.EnvVar(name=INDEX_VARIABLE, valueFrom=source)])


def _sooner(left: float | None, right: float | None) -> float | None:
    return min((one for one in (left, right) if one is not None), default=None)
