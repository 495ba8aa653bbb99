"""Jobs: pods that run to their end, as often as asked for.

What it observes: the Job and its pods. Finished pods are counted exactly once: each has a finalizer, its uid is noted in the status
before the finalizer goes, and moves to the counters when it has gone. The plan says all of it: status, pods to make, delete and let go.

Upstream counterpart: pkg/controller/job (job_controller.go, indexed_job_utils.go, pod_failure_policy.go, backoff_utils.go).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lightkube.models import batch_v1, core_v1
from msgspec.structs import replace

from knarr.control import owners
from knarr.controllers import job_indexes as indexes
from knarr.controllers import pods as podinfo
from knarr.kit.backoff import Curve

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
BACKOFF = Curve(first_s=10.0, limit_s=600.0)
BURST = 500

COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
SUCCESS_MET, FAILURE_TARGET = "SuccessCriteriaMet", "FailureTarget"
REACHED = ("CompletionsReached", "Reached expected number of succeeded pods")
LIMIT_EXCEEDED = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
DEADLINE_EXCEEDED = ("DeadlineExceeded", "Job was active longer than specified deadline")


@dataclass(slots=True)
class Plan:
    """The next step.

    Attributes:
        status: To be written first, if it differs.
        create: A pod for each entry: its index, or None.
        delete: Pods that go.
        release: Pods that have been counted: their finalizer goes.
        again_s: When to look again.
        events: Type, reason, message.
    """

    status: batch_v1.JobStatus
    create: list[int | None] = field(default_factory=list)
    delete: list[core_v1.Pod] = field(default_factory=list)
    release: list[core_v1.Pod] = field(default_factory=list)
    again_s: float | None = None
    events: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Count:
    """What has become of pods, those not yet in the counters included."""

    succeeded: int = 0
    failed: int = 0
    new_succeeded: list[str] = field(default_factory=list)
    new_failed: list[str] = field(default_factory=list)
    completed: set[int] = field(default_factory=set)
    release: list[core_v1.Pod] = field(default_factory=list)
    verdict: tuple[str, str] | None = None

    @property
    def all_succeeded(self) -> int:
        """Pods that succeeded."""
        return self.succeeded + len(self.new_succeeded)

    @property
    def all_failed(self) -> int:
        """Pods that failed."""
        return self.failed + len(self.new_failed)


def plan(job: batch_v1.Job, pods: Sequence[core_v1.Pod], now: datetime) -> Plan:
    """Decide the next step of a Job.

    Args:
        job: As last seen, not being deleted.
        pods: Those it controls.
        now: The wall time.
    """
    status = job.status or batch_v1.JobStatus()
    if is_finished(job):
        return Plan(status, release=[pod for pod in pods if is_tracked(pod)])
    assert job.spec
    now = now.replace(microsecond=0)
    count = _count(job, pods)
    active = [pod for pod in pods if podinfo.is_active(pod)]
    going = [pod for pod in pods if podinfo.is_terminating(pod)]
    step = Plan(status, release=count.release)
    conditions = list(status.conditions or ())
    start = status.startTime or (None if job.spec.suspend else now)
    verdict = _verdict(job, count, active, start, conditions, now)
    if verdict is not None:
        kind, reason, message = verdict
        conditions = set_condition(conditions, kind, reason, message, now)
        step.delete = active
        active = []
    elif job.spec.suspend:
        step.delete = active
        active = []
        conditions = _suspend(conditions, step, now)
        start = None
    else:
        conditions = _resume(conditions, step, now)
        if status.startTime is None or find(status.conditions, SUSPENDED) != find(conditions, SUSPENDED):
            start = now
        _manage(job, pods, active, going, count, step, now)
        step.again_s = _sooner(step.again_s, _until_deadline(job, start, now))
    completion = status.completionTime
    if verdict is not None and not (step.delete or going or count.new_succeeded or count.new_failed or count.release):
        conditions, completion = _finish(verdict, conditions, step, now)
    step.status = batch_v1.JobStatus(
        active=len(active) or None,
        ready=sum(podinfo.is_ready(pod) for pod in active),
        terminating=len(going) + len(step.delete),
        succeeded=(len(count.completed) if _is_indexed(job) else count.succeeded) or None,
        failed=count.failed or None,
        completedIndexes=indexes.format_set(count.completed) or None if _is_indexed(job) else None,
        startTime=start,
        completionTime=completion,
        conditions=conditions or None,
        uncountedTerminatedPods=batch_v1.UncountedTerminatedPods(
            succeeded=sorted(count.new_succeeded) or None, failed=sorted(count.new_failed) or None
        ),
    )
    return step


def pod_for(job: batch_v1.Job, index: int | None) -> core_v1.Pod:
    """Build a pod of a Job; with an index it is told which part of the work is its own."""
    assert job.metadata and job.spec
    pod = podinfo.from_template(
        job.spec.template,
        namespace=job.metadata.namespace or "",
        generate_name=f"{job.metadata.name}-" if index is None else f"{job.metadata.name}-{index}-",
        owner=owners.controller_reference(job),
    )
    assert pod.metadata and pod.spec
    meta = replace(pod.metadata, finalizers=[*(pod.metadata.finalizers or ()), FINALIZER])
    if index is None:
        return replace(pod, metadata=meta)
    meta = replace(
        meta,
        annotations={**(meta.annotations or {}), INDEX: str(index)},
        labels={**(meta.labels or {}), INDEX: str(index)},
    )
    spec = replace(
        pod.spec,
        hostname=f"{job.metadata.name}-{index}",
        containers=[_with_index(container) for container in pod.spec.containers],
        initContainers=[_with_index(container) for container in pod.spec.initContainers or ()] or None,
    )
    return replace(pod, metadata=meta, spec=spec)


def is_finished(job: batch_v1.Job) -> bool:
    """Tell whether a Job is complete or has failed."""
    conditions = (job.status.conditions or ()) if job.status else ()
    return any(one.type in {COMPLETE, FAILED} and one.status == "True" for one in conditions)


def is_tracked(pod: core_v1.Pod) -> bool:
    """Tell whether a pod has not been counted yet."""
    return bool(pod.metadata and FINALIZER in (pod.metadata.finalizers or ()))


def index_of(pod: core_v1.Pod) -> int | None:
    """Return the index of a pod, or None."""
    text = ((pod.metadata.annotations or {}).get(INDEX, "")) if pod.metadata else ""
    return int(text) if text.isdigit() else None


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
    """Return the conditions with one as said; what stands already keeps its times."""
    standing = next((one for one in conditions if one.type == kind), None)
    if standing is not None and standing.status == status:
        return [*conditions]
    fresh = batch_v1.JobCondition(
        type=kind, status=status, reason=reason, message=message, lastProbeTime=now, lastTransitionTime=now
    )
    return [*(one for one in conditions if one.type != kind), fresh]


def _count(job: batch_v1.Job, pods: Sequence[core_v1.Pod]) -> _Count:
    status = job.status or batch_v1.JobStatus()
    count = _Count(status.succeeded or 0, status.failed or 0)
    tracked = {_uid(pod): pod for pod in pods if is_tracked(pod)}
    uncounted = status.uncountedTerminatedPods or batch_v1.UncountedTerminatedPods()
    for uid in uncounted.succeeded or ():
        if uid in tracked:
            count.new_succeeded.append(uid)
            count.release.append(tracked[uid])
        else:
            count.succeeded += 1
    for uid in uncounted.failed or ():
        if uid in tracked:
            count.new_failed.append(uid)
            count.release.append(tracked[uid])
        else:
            count.failed += 1
    known = {*(uncounted.succeeded or ()), *(uncounted.failed or ())}
    count.completed = indexes.parse_set(status.completedIndexes or "")
    for uid, pod in tracked.items():
        if uid in known:
            continue
        if podinfo.phase(pod) == "Succeeded":
            _count_success(job, pod, count)
        elif _has_failed(job, pod):
            _count_failure(job, pod, count)
    return count


def _count_success(job: batch_v1.Job, pod: core_v1.Pod, count: _Count) -> None:
    assert job.spec
    if not _is_indexed(job):
        count.new_succeeded.append(_uid(pod))
    else:
        index = index_of(pod)
        if index is not None and index < (job.spec.completions or 0):
            count.completed.add(index)
    count.release.append(pod)


def _count_failure(job: batch_v1.Job, pod: core_v1.Pod, count: _Count) -> None:
    action, message = _apply_policy(job, pod)
    if action == "FailJob":
        count.verdict = ("PodFailurePolicy", message)
    if action != "Ignore":
        count.new_failed.append(_uid(pod))
    count.release.append(pod)


def _has_failed(job: batch_v1.Job, pod: core_v1.Pod) -> bool:
    assert job.spec
    if podinfo.phase(pod) == "Failed":
        return True
    only_failed = job.spec.podReplacementPolicy == "Failed" or job.spec.podFailurePolicy is not None
    return not only_failed and pod.metadata is not None and pod.metadata.deletionTimestamp is not None


def _verdict(
    job: batch_v1.Job,
    count: _Count,
    active: Sequence[core_v1.Pod],
    start: datetime | None,
    conditions: Sequence[batch_v1.JobCondition],
    now: datetime,
) -> tuple[str, str, str] | None:
    """Return how the Job ends: which condition says so first, and why. None while it goes on."""
    assert job.spec
    for kind in (FAILURE_TARGET, SUCCESS_MET):
        standing = find(conditions, kind)
        if standing is not None:
            return kind, standing.reason or "", standing.message or ""
    limit = 6 if job.spec.backoffLimit is None else job.spec.backoffLimit
    if count.verdict is not None:
        return FAILURE_TARGET, *count.verdict
    if count.all_failed > limit or _restarted_too_often(job, active, limit):
        return FAILURE_TARGET, *LIMIT_EXCEEDED
    left_s = _until_deadline(job, start, now)
    if left_s is not None and left_s <= 0 and not job.spec.suspend:
        return FAILURE_TARGET, *DEADLINE_EXCEEDED
    succeeded = len(count.completed) if _is_indexed(job) else count.all_succeeded
    enough = job.spec.completions
    is_complete = (succeeded > 0 and not active) if enough is None else succeeded >= enough
    return (SUCCESS_MET, *REACHED) if is_complete else None


def _finish(
    verdict: tuple[str, str, str], conditions: list[batch_v1.JobCondition], step: Plan, now: datetime
) -> tuple[list[batch_v1.JobCondition], datetime | None]:
    kind, reason, message = verdict
    if kind == SUCCESS_MET:
        step.events.append(("Normal", "Completed", "Job completed"))
        return set_condition(conditions, COMPLETE, reason, message, now), now
    step.events.append(("Warning", reason, message))
    return set_condition(conditions, FAILED, reason, message, now), None


def _suspend(conditions: list[batch_v1.JobCondition], step: Plan, now: datetime) -> list[batch_v1.JobCondition]:
    if find(conditions, SUSPENDED) is None:
        step.events.append(("Normal", "Suspended", "Job suspended"))
    return set_condition(conditions, SUSPENDED, "JobSuspended", "Job suspended", now)


def _resume(conditions: list[batch_v1.JobCondition], step: Plan, now: datetime) -> list[batch_v1.JobCondition]:
    if find(conditions, SUSPENDED) is None:
        return conditions
    step.events.append(("Normal", "Resumed", "Job resumed"))
    return set_condition(conditions, SUSPENDED, "JobResumed", "Job resumed", now, status="False")


def _manage(
    job: batch_v1.Job,
    pods: Sequence[core_v1.Pod],
    active: list[core_v1.Pod],
    going: Sequence[core_v1.Pod],
    count: _Count,
    step: Plan,
    now: datetime,
) -> None:
    """Bring the number of running pods to where it should be."""
    assert job.spec
    parallelism = 1 if job.spec.parallelism is None else job.spec.parallelism
    succeeded = len(count.completed) if _is_indexed(job) else count.all_succeeded
    if job.spec.completions is None:
        wanted = len(active) if succeeded else parallelism
    else:
        wanted = max(0, min(job.spec.completions - succeeded, parallelism))
    present = len(active) + (len(going) if _waits_for_terminating(job) else 0)
    if len(active) > wanted:
        surplus = podinfo.deletion_order(active, related={})[: len(active) - wanted]
        step.delete += surplus
        for pod in surplus:
            active.remove(pod)
        return
    missing = min(wanted - present, BURST)
    if missing <= 0:
        return
    delay_s = _backoff_s(pods, now)
    if delay_s > 0:
        step.again_s = delay_s
        return
    if _is_indexed(job):
        taken = count.completed | {index for pod in active if (index := index_of(pod)) is not None}
        if _waits_for_terminating(job):
            taken |= {index for pod in going if (index := index_of(pod)) is not None}
        step.create += indexes.first_missing(taken, missing, job.spec.completions or 0)
    else:
        step.create += [None] * missing


def _backoff_s(pods: Sequence[core_v1.Pod], now: datetime) -> float:
    """Return how long to wait before the next pod: longer after each failure in a row."""
    ended = sorted((at, podinfo.phase(pod)) for pod in pods if (at := _ended(pod)) is not None)
    failures = 0
    for _, phase in reversed(ended):
        if phase == "Succeeded":
            break
        failures += 1
    if not failures:
        return 0.0
    return max(0.0, BACKOFF.delay_s(failures) - (now - ended[-1][0]).total_seconds())


def _ended(pod: core_v1.Pod) -> datetime | None:
    if podinfo.phase(pod) not in {"Succeeded", "Failed"}:
        return None
    statuses = (pod.status.containerStatuses or ()) if pod.status else ()
    times = [one.state.terminated.finishedAt for one in statuses if one.state and one.state.terminated]
    known = [time for time in times if time is not None]
    if known:
        return max(known)
    ready = podinfo.condition(pod, "Ready")
    return ready.lastTransitionTime if ready is not None else None


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


def _apply_policy(job: batch_v1.Job, pod: core_v1.Pod) -> tuple[str, str]:
    """Return what the pod failure policy says of a failed pod, and why."""
    assert job.spec and pod.metadata
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    for number, rule in enumerate((job.spec.podFailurePolicy.rules if job.spec.podFailurePolicy else None) or ()):
        if rule.onExitCodes is not None:
            found = _exit_code(rule.onExitCodes, pod)
            if found is not None:
                container, code = found
                text = f"Container {container} for pod {name} failed with exit code {code} matching {rule.action} rule at index {number}"
                return rule.action, text
        for pattern in rule.onPodConditions or ():
            current = podinfo.condition(pod, pattern.type)
            if current is not None and current.status == (pattern.status or "True"):
                text = f"Pod {name} has condition {pattern.type} matching {rule.action} rule at index {number}"
                return rule.action, text
    return "Count", ""


def _exit_code(
    requirement: batch_v1.PodFailurePolicyOnExitCodesRequirement, pod: core_v1.Pod
) -> tuple[str, int] | None:
    statuses = [*(pod.status.containerStatuses or ()), *(pod.status.initContainerStatuses or ())] if pod.status else []
    for one in statuses:
        if requirement.containerName and one.name != requirement.containerName:
            continue
        ended = one.state.terminated if one.state else None
        if ended is None or ended.exitCode == 0:
            continue
        if (ended.exitCode in requirement.values) == (requirement.operator == "In"):
            return one.name, ended.exitCode
    return None


def _with_index(container: core_v1.Container) -> core_v1.Container:
    if any(one.name == INDEX_VARIABLE for one in container.env or ()):
        return container
    source = core_v1.EnvVarSource(fieldRef=core_v1.ObjectFieldSelector(fieldPath=f"metadata.labels['{INDEX}']"))
    return replace(container, env=[*(container.env or ()), core_v1.EnvVar(name=INDEX_VARIABLE, valueFrom=source)])


def _waits_for_terminating(job: batch_v1.Job) -> bool:
    assert job.spec
    return job.spec.podReplacementPolicy == "Failed"


def _is_indexed(job: batch_v1.Job) -> bool:
    assert job.spec
    return job.spec.completionMode == "Indexed"


def _uid(pod: core_v1.Pod) -> str:
    return (pod.metadata.uid or "") if pod.metadata else ""


def _sooner(left: float | None, right: float | None) -> float | None:
    return min((one for one in (left, right) if one is not None), default=None)
