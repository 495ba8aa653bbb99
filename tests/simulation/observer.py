"""What must hold all the time, noted as it happens: every change of a pod is seen in the order of commits."""

import functools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from knarr.apiserver.registry import Registry
from knarr.kit.clock import FakeClock

Object = dict[str, Any]
TRACKING = "batch.kubernetes.io/job-tracking"
QUIET = (
    "pods", "replicasets.apps", "deployments.apps", "statefulsets.apps", "daemonsets.apps", "controllerrevisions.apps", "jobs.batch",
    "cronjobs.batch", "services", "endpoints", "endpointslices.discovery.k8s.io", "poddisruptionbudgets.policy", "resourcequotas",
)  # fmt: skip
"""What nobody writes any more once it is as it should be."""
INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class Budget:
    """A PodDisruptionBudget before an eviction: its name, the healthy pods, how many there must be, and whom it protects."""

    name: str
    healthy: frozenset[str]
    desired: int
    only_healthy: bool


@dataclass(frozen=True)
class Ends:
    """How the pods of a Job ended.

    Attributes:
        noted: By "succeeded" and "failed": the uids that its status has ever named as to be counted.
        succeeded: The indexes (of an indexed Job, else the uids) of pods that were let go of and had succeeded.
        failed: The uids of pods that were let go of and counted as failed.
    """

    noted: dict[str, set[str]] = field(default_factory=lambda: {"succeeded": set(), "failed": set()})
    succeeded: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)


class Observer:
    """Watches the store.

    Attributes:
        violations: What should not have happened.
        ends: How the pods of each Job ended, by the Job's uid.
        changes: How often each object of the kinds that come to rest was written.

    Args:
        registry: The API server's.
        clock: Dates violations.
    """

    def __init__(self, registry: Registry, clock: FakeClock) -> None:
        self._registry = registry
        self._clock = clock
        self.violations: list[str] = []
        self.ends: dict[str, Ends] = {}
        self.changes: Counter[str] = Counter()
        registry.subscribe("pods", self._on_pod)
        registry.subscribe("jobs.batch", self._on_job)
        for plural in QUIET:
            registry.subscribe(plural, functools.partial(self._note_change, plural))

    def budgets_of(self, pod: Object) -> list[Budget]:
        """Return the budgets of a pod as they stand; only those whose workload exists."""
        namespace, labels = pod["metadata"]["namespace"], pod["metadata"].get("labels") or {}
        found = []
        for one in self._registry.list("poddisruptionbudgets.policy", namespace):
            wanted = one["spec"]["selector"]["matchLabels"]
            expected = self._replicas(namespace, wanted["app"])
            if wanted.items() <= labels.items() and expected is not None:
                healthy = {
                    p["metadata"]["uid"] for p in self._registry.list("pods", namespace) if is_healthy(p, wanted)
                }
                only_healthy = one["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
                wanted_now = desired(one["spec"], expected)
                found.append(Budget(one["metadata"]["name"], frozenset(healthy), wanted_now, only_healthy))
        return found

    def check_eviction(self, pod: Object, budgets: list[Budget]) -> None:
        """Note if a pod that was evicted should not have been."""
        if (pod.get("status") or {}).get("phase") != "Running":
            return  # has not come up or is over: never protected
        for budget in budgets:
            if budget.only_healthy and pod["metadata"]["uid"] not in budget.healthy:
                continue
            left = len(budget.healthy - {pod["metadata"]["uid"]})
            if left < budget.desired:
                self.note(
                    f"eviction of {pod['metadata']['name']} violates {budget.name}: {left} healthy left, {budget.desired} desired"
                )

    def note(self, text: str) -> None:
        """Take down what should not be."""
        self.violations.append(f"at {self._clock.monotonic_s():.1f} s: {text}")

    def _replicas(self, namespace: str, app: str) -> int | None:
        for plural in ("deployments.apps", "statefulsets.apps"):
            found = self._registry.get(plural, namespace, app)
            if found is not None:
                return int(found["spec"]["replicas"])
        return None

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        reason = _status(new).get("reason") or ""
        if new is not None and reason.startswith("OutOf") and _status(old).get("reason") != reason:
            self.note(f"pod {new['metadata']['name']} was put on {new['spec']['nodeName']} without room: {reason}")
        if old is not None and _is_tracked(old) and not _is_tracked(new):
            self._let_go(new or old)  # one that is being deleted goes with its last finalizer

    def _note_change(self, plural: str, old: Object | None, new: Object | None) -> None:
        meta = (new or old or {})["metadata"]
        self.changes[f"{plural} {meta.get('namespace', '')}/{meta['name']}"] += 1

    def _let_go(self, pod: Object) -> None:
        """Note how a pod ended that its Job has let go of; one whose end was due must have been noted in the Job's status before."""
        for owner in pod["metadata"].get("ownerReferences") or ():
            ends, uid = self.ends.setdefault(owner["uid"], Ends()), pod["metadata"]["uid"]
            job = self._registry.get("jobs.batch", pod["metadata"]["namespace"], owner["name"])
            is_counting = job is not None and job["metadata"]["uid"] == owner["uid"] and _is_going_on(job)
            index = (pod["metadata"].get("annotations") or {}).get(INDEX)
            if uid in ends.noted["failed"]:
                ends.failed.add(uid)
            elif _status(pod).get("phase") == "Succeeded":
                ends.succeeded.add(uid if index is None else index)
                if is_counting and index is None and uid not in ends.noted["succeeded"]:
                    self.note(f"pod {pod['metadata']['name']} has succeeded and was let go of uncounted")
            elif is_counting and job is not None and _is_due(job, pod):
                self.note(f"pod {pod['metadata']['name']} has failed and was let go of uncounted")

    def _on_job(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        ends, name = self.ends.setdefault(new["metadata"]["uid"], Ends()), new["metadata"]["name"]
        uncounted = _status(new).get("uncountedTerminatedPods") or {}
        for kind, uids in ends.noted.items():
            uids |= {*(uncounted.get(kind) or ())}
            if _status(new).get(kind, 0) < _status(old).get(kind, 0):
                self.note(f"Job {name}: {kind} went back from {_status(old)[kind]} to {_status(new).get(kind, 0)}")
        for uid in ends.noted["succeeded"] & ends.noted["failed"]:
            self.note(f"Job {name}: pod {uid} counts as succeeded and as failed")


def is_ready(pod: Object) -> bool:
    """Tell whether a pod says that it is Ready."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def is_healthy(pod: Object, labels: dict[str, str]) -> bool:
    """Tell whether a pod has the labels and counts for a budget."""
    fits = labels.items() <= (pod["metadata"].get("labels") or {}).items()
    return fits and is_ready(pod) and not pod["metadata"].get("deletionTimestamp")


def desired(spec: Object, expected: int) -> int:
    """Return how many healthy pods a budget demands of `expected` ones."""
    if "maxUnavailable" in spec:
        return max(0, expected - _scaled(spec["maxUnavailable"], expected))
    return _scaled(spec.get("minAvailable", 0), expected)


def _scaled(bound: int | str, total: int) -> int:
    if isinstance(bound, int):
        return bound
    return -(-int(bound.rstrip("%")) * total // 100)  # rounded up


def _status(pod: Object | None) -> Object:
    return (pod or {}).get("status") or {}


def _is_tracked(pod: Object | None) -> bool:
    return pod is not None and TRACKING in (pod["metadata"].get("finalizers") or ())


def _is_going_on(job: Object) -> bool:
    """Tell whether a Job's pods are still to be counted."""
    over = {one["type"] for one in _status(job).get("conditions") or () if one["status"] == "True"}
    return not job["metadata"].get("deletionTimestamp") and not over & {"Complete", "Failed"}


def _is_due(job: Object, pod: Object) -> bool:
    """Tell whether a pod that has not succeeded counts as failed: deleted ones do, too, until the Job has what it wants."""
    if _status(pod).get("phase") == "Failed":
        return True
    met = any(one["type"] == "SuccessCriteriaMet" for one in _status(job).get("conditions") or ())
    return bool(pod["metadata"].get("deletionTimestamp")) and not met
