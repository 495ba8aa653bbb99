"""What the policies of a Job say: of a failed pod, of indexes that have succeeded, and how long to wait after failures.

Upstream counterpart: pkg/controller/job (pod_failure_policy.go, success_policy.go, backoff_utils.go; v1.37).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lightkube.models import batch_v1, core_v1

from knarr.controllers import pods as podinfo
from knarr.kit.backoff import Curve

BACKOFF = Curve(first_s=10.0, limit_s=600.0)

IGNORE, COUNT, FAIL_JOB, FAIL_INDEX = "Ignore", "Count", "FailJob", "FailIndex"


@dataclass(frozen=True, slots=True)
class Failures:
    """Failures in a row.

    Attributes:
        count: Pods that failed since the last one that succeeded.
        last: When the latest of them ended.
    """

    count: int = 0
    last: datetime | None = None

    def with_finished(self, succeeded: Sequence[core_v1.Pod], failed: Sequence[core_v1.Pod]) -> "Failures":
        """Return the same with pods that have finished since."""
        success = max((at for pod in succeeded if (at := ended_at(pod))), default=None)
        times = [at for pod in failed if (at := ended_at(pod))]
        if success is None:
            return Failures(self.count + len(times), max([*times, *([self.last] if self.last else [])], default=None))
        after = [at for at in times if at > success]
        return Failures(len(after), max(after, default=None))

    def wait_s(self, now: datetime) -> float:
        """Return how long to wait before the next pod."""
        return remaining_s(self.count, self.last, now)


def remaining_s(failures: int, last: datetime | None, now: datetime) -> float:
    """Return how much is left of the pause after so many failures in a row."""
    if not failures or last is None:
        return 0.0
    return max(0.0, BACKOFF.delay_s(failures) - (now - last).total_seconds())


def ended_at(pod: core_v1.Pod) -> datetime | None:
    """Return when a pod ended: its last container did, it became unready, or it was deleted."""
    assert pod.metadata
    statuses = (pod.status.containerStatuses or ()) if pod.status else ()
    times = [one.state.terminated.finishedAt if one.state and one.state.terminated else None for one in statuses]
    known = [time for time in times if time is not None]
    if known and len(known) == len(times):
        return max(known)
    ready = podinfo.condition(pod, "Ready")
    if ready is not None and ready.status == "False" and ready.lastTransitionTime is not None:
        return ready.lastTransitionTime
    if pod.metadata.deletionTimestamp is not None:
        return pod.metadata.deletionTimestamp - timedelta(seconds=pod.metadata.deletionGracePeriodSeconds or 0)
    return pod.metadata.creationTimestamp


def action_for(job: batch_v1.Job, pod: core_v1.Pod) -> tuple[str, str]:
    """Return what the pod failure policy says of a failed pod, and why; without a policy, or a rule that matches, it counts."""
    assert job.spec and pod.metadata
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    for number, rule in enumerate((job.spec.podFailurePolicy.rules if job.spec.podFailurePolicy else None) or ()):
        if rule.onExitCodes is not None:
            found = _exit_code(rule.onExitCodes, pod)
            if found is not None:
                container, code = found
                text = f"Container {container} for pod {name} failed with exit code {code} matching {rule.action} rule at index {number}"
                return rule.action, text
            continue
        for pattern in rule.onPodConditions or ():
            current = podinfo.condition(pod, pattern.type)
            if current is not None and current.status == (pattern.status or "True"):
                text = f"Pod {name} has condition {pattern.type} matching {rule.action} rule at index {number}"
                return rule.action, text
    return COUNT, ""


def failing(job: batch_v1.Job, failed: Iterable[core_v1.Pod]) -> str | None:
    """Return why failed pods end the whole Job, or None."""
    assert job.spec
    if job.spec.podFailurePolicy is None:
        return None
    for pod in failed:
        action, message = action_for(job, pod)
        if action == FAIL_JOB:
            return message
    return None


def met_rule(job: batch_v1.Job, succeeded: Collection[int], required: Sequence[frozenset[int]]) -> str | None:
    """Return which rule of the success policy is met, in words, or None.

    Args:
        job: Has the policy.
        succeeded: Indexes that have.
        required: The indexes that each rule names; empty for rules that name none.
    """
    assert job.spec
    if job.spec.successPolicy is None or not succeeded:
        return None
    for number, (rule, named) in enumerate(zip(job.spec.successPolicy.rules, required, strict=True)):
        done = len(named.intersection(succeeded)) if rule.succeededIndexes is not None else len(succeeded)
        enough = rule.succeededCount if rule.succeededCount is not None else len(named)
        if done >= enough:
            return f"Matched rules at index {number}"
    return None


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
