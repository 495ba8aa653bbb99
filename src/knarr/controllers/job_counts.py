"""How many pods of a Job have succeeded and failed, each counted exactly once.

Each pod has a finalizer. When it has finished its uid is noted in the status before the finalizer goes, and moves to the counters when
the finalizer has gone; a crash in between loses nothing and counts nothing twice.

Upstream counterpart: pkg/controller/job (trackJobStatusAndRemoveFinalizers in job_controller.go; v1.37).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from lightkube.models import batch_v1, core_v1

from knarr.controllers import job_indexes as indexes
from knarr.controllers import job_policies as policies
from knarr.controllers import pods as podinfo

FINALIZER = "batch.kubernetes.io/job-tracking"
UNCOUNTED_LIMIT = 500
"""At most this many uids are noted at once, so that the status stays small."""


@dataclass(slots=True)
class Counts:
    """What has become of a Job's pods.

    Attributes:
        succeeded: Counted for good.
        failed: Counted for good.
        noted_succeeded: Uids that are noted in the status; their pods still have the finalizer.
        noted_failed: The same for failures.
        new_succeeded: Pods that have succeeded and are not noted yet.
        new_failed: Pods that have failed and are not noted yet.
        completed: Indexes that have succeeded.
        failed_indexes: Indexes that have failed for good; None without a limit for each index.
        release: Pods whose finalizer may go.
    """

    succeeded: int = 0
    failed: int = 0
    noted_succeeded: list[str] = field(default_factory=list)
    noted_failed: list[str] = field(default_factory=list)
    new_succeeded: list[core_v1.Pod] = field(default_factory=list)
    new_failed: list[core_v1.Pod] = field(default_factory=list)
    completed: set[int] = field(default_factory=set)
    failed_indexes: set[int] | None = None
    release: list[core_v1.Pod] = field(default_factory=list)

    def all_succeeded(self, job: batch_v1.Job) -> int:
        """Return how many have succeeded: indexes of an indexed Job, else pods."""
        if is_indexed(job):
            return len(self.completed)
        return self.succeeded + len(self.noted_succeeded) + len(self.new_succeeded)

    def all_failed(self, job: batch_v1.Job) -> int:
        """Return how many pods have failed, those left out that the failure policy ignores."""
        new = sum(_counts(job, pod) for pod in self.new_failed)
        return self.failed + len(self.noted_failed) + new


def observe(job: batch_v1.Job, pods: Sequence[core_v1.Pod]) -> Counts:
    """Count what has become of pods so far; nothing is noted or released yet."""
    assert job.spec
    status = job.status or batch_v1.JobStatus()
    uncounted = status.uncountedTerminatedPods or batch_v1.UncountedTerminatedPods()
    tracked = {uid_of(pod) for pod in pods if is_tracked(pod)}
    seen = Counts(status.succeeded or 0, status.failed or 0)
    for uid in uncounted.succeeded or ():
        if uid in tracked:
            seen.noted_succeeded.append(uid)
        else:
            seen.succeeded += 1
    for uid in uncounted.failed or ():
        if uid in tracked:
            seen.noted_failed.append(uid)
        else:
            seen.failed += 1
    known = {*seen.noted_succeeded, *seen.noted_failed}
    for pod in pods:
        if not is_tracked(pod) or uid_of(pod) in known or not _has_place(job, pod):
            continue
        if podinfo.phase(pod) == "Succeeded":
            seen.new_succeeded.append(pod)
        elif has_failed(job, pod):
            seen.new_failed.append(pod)
    if is_indexed(job):
        _observe_indexes(job, pods, seen)
    return seen


def track(
    job: batch_v1.Job,
    pods: Sequence[core_v1.Pod],
    seen: Counts,
    *,
    is_over: bool,
    is_failure: bool,
    delayed: Collection[str],
) -> None:
    """Note what is to be counted, and choose the pods whose finalizer may go.

    Args:
        job: The Job.
        pods: All that it controls.
        seen: What `observe` gave; changed.
        is_over: The Job ends, so no pod is waited for.
        is_failure: It ends because it failed: what has not finished counts as failed.
        delayed: Uids of failed pods that wait for their successor.
    """
    known = {*seen.noted_succeeded, *seen.noted_failed}
    for pod in sorted(pods, key=lambda one: indexes.index_of(one) or 0) if is_indexed(job) else pods:
        if not is_tracked(pod):
            continue
        uid, failed, succeeded = uid_of(pod), has_failed(job, pod), podinfo.phase(pod) == "Succeeded"
        if not (is_over or succeeded or (failed and uid not in delayed)):
            continue
        seen.release.append(pod)
        if uid in known:
            continue
        if succeeded:
            if not is_indexed(job):
                seen.noted_succeeded.append(uid)
        elif (failed or is_failure) and _has_place(job, pod) and _counts(job, pod):
            seen.noted_failed.append(uid)
        if len(seen.noted_succeeded) + len(seen.noted_failed) >= UNCOUNTED_LIMIT:
            break


def is_tracked(pod: core_v1.Pod) -> bool:
    """Tell whether a pod has not been counted yet."""
    return bool(pod.metadata and FINALIZER in (pod.metadata.finalizers or ()))


def is_indexed(job: batch_v1.Job) -> bool:
    """Tell whether each pod stands for an index."""
    assert job.spec
    return job.spec.completionMode == "Indexed"


def replaces_only_failed(job: batch_v1.Job) -> bool:
    """Tell whether a pod that is on its way out is replaced only when it has ended."""
    assert job.spec
    return job.spec.podReplacementPolicy == "Failed" or job.spec.podFailurePolicy is not None


def has_failed(job: batch_v1.Job, pod: core_v1.Pod) -> bool:
    """Tell whether a pod counts as failed: deleted ones do unless their end is waited for."""
    if podinfo.phase(pod) == "Failed":
        return True
    if replaces_only_failed(job) or podinfo.phase(pod) == "Succeeded":
        return False
    return pod.metadata is not None and pod.metadata.deletionTimestamp is not None


def uid_of(pod: core_v1.Pod) -> str:
    """Return a pod's uid."""
    return (pod.metadata.uid or "") if pod.metadata else ""


def _observe_indexes(job: batch_v1.Job, pods: Sequence[core_v1.Pod], seen: Counts) -> None:
    assert job.spec
    status, end = job.status or batch_v1.JobStatus(), job.spec.completions or 0
    mine = [pod for pod in pods if is_tracked(pod) and _has_place(job, pod)]
    seen.completed = indexes.parse_set(status.completedIndexes or "", end)
    seen.completed |= indexes.indexes_of(pod for pod in mine if podinfo.phase(pod) == "Succeeded")
    if job.spec.backoffLimitPerIndex is not None:
        seen.failed_indexes = indexes.parse_set(status.failedIndexes or "", end)
        lost = (pod for pod in mine if has_failed(job, pod) and indexes.has_index_failed(job, pod))
        seen.failed_indexes |= indexes.indexes_of(lost)


def _has_place(job: batch_v1.Job, pod: core_v1.Pod) -> bool:
    """Tell whether a pod of an indexed Job has an index within its completions."""
    assert job.spec
    if not is_indexed(job):
        return True
    index = indexes.index_of(pod)
    return index is not None and index < (job.spec.completions or 0)


def _counts(job: batch_v1.Job, pod: core_v1.Pod) -> bool:
    return policies.action_for(job, pod)[0] != policies.IGNORE
