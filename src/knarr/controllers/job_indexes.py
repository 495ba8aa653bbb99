"""Indexed Jobs: sets of completion indexes as the status writes them ("1,3-5,7"), and which pod stands for which index.

Source: pkg/controller/job/indexed_job_utils.go (v1.37): runs of two are written with a comma, longer ones with a dash.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from lightkube.models import batch_v1, core_v1

from knarr.controllers import job_policies as policies
from knarr.controllers import pods as podinfo

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"


def parse_set(text: str, end: int | None = None) -> set[int]:
    """Read a set; what is not well-formed is left out, and so are numbers from `end` on."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if first.isdigit() and (last.isdigit() or not last):
            stop = int(last or first) + 1
            found.update(range(int(first), stop if end is None else min(stop, end)))
    return found


def format_set(numbers: Iterable[int]) -> str:
    """Write a set."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(",".join(map(str, run)) if len(run) < 3 else f"{run[0]}-{run[-1]}" for run in runs)


def first_missing(taken: Collection[int], count: int, end: int) -> list[int]:
    """Return the lowest numbers below `end` that are not taken, at most `count`."""
    found: list[int] = []
    for number in range(end):
        if len(found) == count:
            break
        if number not in taken:
            found.append(number)
    return found


def index_of(pod: core_v1.Pod) -> int | None:
    """Return the index of a pod, or None."""
    text = ((pod.metadata.annotations or {}).get(INDEX, "")) if pod.metadata else ""
    return int(text) if text.isascii() and text.isdigit() else None


def indexes_of(pods: Iterable[core_v1.Pod]) -> set[int]:
    """Return the indexes that pods stand for."""
    return {index for pod in pods if (index := index_of(pod)) is not None}


def duplicates(pods: Sequence[core_v1.Pod], end: int) -> list[core_v1.Pod]:
    """Return the active pods that are of no use: without an index, with one out of range, or with one that a better pod has."""
    found: list[core_v1.Pod] = []
    same: dict[int, list[core_v1.Pod]] = {}
    for pod in pods:
        index = index_of(pod)
        if index is None or index >= end:
            found.append(pod)
        else:
            same.setdefault(index, []).append(pod)
    for rivals in same.values():
        found += podinfo.deletion_order(rivals, related={})[:-1]
    return found


def failures_of(pod: core_v1.Pod) -> int:
    """Return how many pods of this index had failed before this one."""
    return _number(pod, FAILURES)


def all_failures_of(pod: core_v1.Pod) -> int:
    """Return the same together with those that the failure policy ignored."""
    return failures_of(pod) + _number(pod, IGNORED_FAILURES)


def has_index_failed(job: batch_v1.Job, pod: core_v1.Pod) -> bool:
    """Tell whether a failed pod ends its index: by the failure policy, or because there were too many before it."""
    assert job.spec
    action = policies.action_for(job, pod)[0]
    if action == policies.FAIL_INDEX:
        return True
    return action != policies.IGNORE and failures_of(pod) >= (job.spec.backoffLimitPerIndex or 0)


def to_be_replaced(failed: Iterable[core_v1.Pod], settled: Collection[int]) -> dict[int, core_v1.Pod]:
    """Return for each index the failed pod that stays until its successor is made: the successor is told how often the index failed.

    Args:
        failed: Failed pods that still have the finalizer.
        settled: Indexes that have succeeded, have failed for good, or run.
    """
    kept: dict[int, core_v1.Pod] = {}
    for pod in failed:
        index = index_of(pod)
        if index is None or index in settled:
            continue
        other = kept.get(index)
        if other is None or _rank(other) <= _rank(pod):
            kept[index] = pod
    return kept


def failure_annotations(job: batch_v1.Job, replaced: core_v1.Pod | None) -> Mapping[str, str]:
    """Return what a new pod of an index is told of the failures before it."""
    counted = ignored = 0
    if replaced is not None:
        counted, ignored = failures_of(replaced), _number(replaced, IGNORED_FAILURES)
        if policies.action_for(job, replaced)[0] == policies.IGNORE:
            ignored += 1
        else:
            counted += 1
    told = {FAILURES: str(counted)}
    if ignored:
        told[IGNORED_FAILURES] = str(ignored)
    return told


def _rank(pod: core_v1.Pod) -> tuple[int, float]:
    ended = policies.ended_at(pod)
    return all_failures_of(pod), ended.timestamp() if ended else 0.0


def _number(pod: core_v1.Pod, annotation: str) -> int:
    text = (pod.metadata.annotations or {}).get(annotation, "") if pod.metadata else ""
    return int(text) if text.isascii() and text.isdigit() and int(text) < 2**31 else 0
