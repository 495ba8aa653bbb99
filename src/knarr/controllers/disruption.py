"""PodDisruptionBudgets: their status says how many pods may be evicted now.

What it observes: the budget, the pods that it selects, and the sizes of their controllers. Evictions are decided by the API server from
this status; it notes each in `disruptedPods`, and this controller takes the note out when the pod has gone, or did not go in time.

Upstream counterpart: pkg/controller/disruption.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from lightkube.models import apps_v1, core_v1, meta_v1, policy_v1
from msgspec.structs import replace

from knarr.api import errors, intstr
from knarr.control import Context, informer, loop, owners, selectors
from knarr.controllers import pods as podinfo
from knarr.controllers import statuses

DELETION_TIMEOUT_S = 120.0
"""An eviction whose pod is still there after this long has failed."""
ALLOWED = "DisruptionAllowed"


def compute_status(
    budget: policy_v1.PodDisruptionBudget,
    pods: Sequence[core_v1.Pod],
    expected: int,
    now: datetime,
) -> tuple[policy_v1.PodDisruptionBudgetStatus, float | None]:
    """Return the status that a budget should have, and when a note in it runs out.

    Args:
        budget: As last seen.
        pods: Those it selects.
        expected: How many there should be.
        now: The wall time.
    """
    assert budget.spec and budget.metadata
    disrupted, again_s = _disrupted(budget, pods, now)
    healthy = sum(
        podinfo.is_ready(pod)
        and pod.metadata is not None
        and pod.metadata.deletionTimestamp is None
        and pod.metadata.name not in disrupted
        for pod in pods
    )
    desired = _desired(budget.spec, expected)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    conditions = _conditions(budget, allowed=allowed > 0, now=now)
    status = policy_v1.PodDisruptionBudgetStatus(
        currentHealthy=healthy,
        desiredHealthy=desired,
        disruptionsAllowed=allowed,
        expectedPods=expected,
        disruptedPods=disrupted or None,
        observedGeneration=budget.metadata.generation,
        conditions=conditions,
    )
    return status, again_s


class Reconciler:
    """Writes the status of budgets.

    Args:
        context: Client, informers, clock and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder
        self._budgets = context.informers.of(policy_v1.PodDisruptionBudget)
        self._pods = context.informers.of(core_v1.Pod)
        self._sized: Mapping[str, informer.Informer[Any]] = {
            "ReplicaSet": context.informers.of(apps_v1.ReplicaSet),
            "Deployment": context.informers.of(apps_v1.Deployment),
            "StatefulSet": context.informers.of(apps_v1.StatefulSet),
            "ReplicationController": context.informers.of(core_v1.ReplicationController),
        }

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Count and write."""
        budget = self._budgets.get(request.namespace, request.name)
        if budget is None or budget.spec is None:
            return loop.Result()
        selector = budget.spec.selector
        pods = self._pods.list(request.namespace, lambda labels: selectors.matches(selector, labels))
        live = [pod for pod in pods if podinfo.phase(pod) not in {"Succeeded", "Failed"}]
        if not live:
            self._recorder.normal(budget, "NoPods", "No matching pods found")
        status, again_s = compute_status(budget, live, self._expected(budget, live), self._clock.now())
        if not statuses.is_same(status, budget.status):
            with contextlib.suppress(errors.NotFound):
                await self._client.update(replace(budget, status=status), subresource="status")
        return loop.Result(requeue_after_s=again_s)

    def requests_of_pod(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> Iterable[loop.Request]:
        """Name the budgets that select a pod as it was or is, if it came, went, or its health changed."""
        if old is not None and new is not None and podinfo.endpoint_facts(old) == podinfo.endpoint_facts(new):
            return ()
        found: dict[loop.Request, None] = {}
        for pod in (old, new):
            if pod is None or pod.metadata is None:
                continue
            for budget in self._budgets.list(pod.metadata.namespace or ""):
                if budget.spec and selectors.matches(budget.spec.selector, pod.metadata.labels):
                    found[loop.Request(*informer.key_of(budget))] = None
        return found

    def requests_of_sized(self, old: Any, new: Any) -> Iterable[loop.Request]:
        """Name the budgets of a namespace in which a controller's size changed."""
        if old is not None and new is not None and old.spec.replicas == new.spec.replicas:
            return ()
        namespace = informer.key_of(new if new is not None else old)[0]
        return [loop.Request(*informer.key_of(budget)) for budget in self._budgets.list(namespace)]

    def _expected(self, budget: policy_v1.PodDisruptionBudget, pods: Sequence[core_v1.Pod]) -> int:
        """Return how many pods there should be: by their controllers' sizes, unless a plain number makes that moot."""
        assert budget.spec
        if budget.spec.maxUnavailable is None and isinstance(budget.spec.minAvailable, int):
            return len(pods)
        sizes: dict[str, int] = {}
        for pod in pods:
            found = self._size_of(pod)
            if found is None:
                text = f"Failed to calculate the number of expected pods: found no controllers for pod {informer.key_of(pod)[1]!r}"
                self._recorder.warning(budget, "CalculateExpectedPodCountFailed", text)
                continue
            sizes[found[0]] = found[1]
        return sum(sizes.values())

    def _size_of(self, pod: core_v1.Pod) -> tuple[str, int] | None:
        namespace = informer.key_of(pod)[0]
        reference = owners.controller_of(pod)
        found = None
        while reference is not None and reference.kind in self._sized:
            one = self._sized[reference.kind].get(namespace, reference.name)
            if one is None or one.metadata.uid != reference.uid:
                break
            found = (reference.uid, 1 if one.spec.replicas is None else one.spec.replicas)
            reference = owners.controller_of(one)
        return found


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("disruption", reconciler, context, workers=2)
    controller.watch(policy_v1.PodDisruptionBudget, loop.itself)
    controller.watch_changes(core_v1.Pod, reconciler.requests_of_pod)
    for kind in (apps_v1.ReplicaSet, apps_v1.Deployment, apps_v1.StatefulSet, core_v1.ReplicationController):
        controller.watch_changes(kind, reconciler.requests_of_sized)
    return controller


def _desired(spec: policy_v1.PodDisruptionBudgetSpec, expected: int) -> int:
    if spec.maxUnavailable is not None:
        return max(0, expected - intstr.scale(spec.maxUnavailable, expected, round_up=True))
    return intstr.scale(spec.minAvailable or 0, expected, round_up=True)


def _disrupted(
    budget: policy_v1.PodDisruptionBudget, pods: Sequence[core_v1.Pod], now: datetime
) -> tuple[dict[str, datetime], float | None]:
    """Return the evictions still under way, and when the next of them runs out."""
    noted = (budget.status.disruptedPods or {}) if budget.status else {}
    present = {informer.key_of(pod)[1]: pod for pod in pods}
    kept: dict[str, datetime] = {}
    for name, when in noted.items():
        pod = present.get(name)
        since = when if isinstance(when, datetime) else datetime.fromisoformat(str(when))
        is_going = pod is None or (pod.metadata is not None and pod.metadata.deletionTimestamp is not None)
        if not is_going and since + timedelta(seconds=DELETION_TIMEOUT_S) > now:
            kept[name] = since
    waits = [DELETION_TIMEOUT_S - (now - since).total_seconds() for since in kept.values()]
    return kept, min(waits, default=None)


def _conditions(budget: policy_v1.PodDisruptionBudget, *, allowed: bool, now: datetime) -> list[meta_v1.Condition]:
    assert budget.metadata
    status, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    current = list((budget.status.conditions or ()) if budget.status else ())
    standing = next((one for one in current if one.type == ALLOWED), None)
    generation = budget.metadata.generation
    if standing is not None and (standing.status, standing.reason, standing.observedGeneration) == (
        status,
        reason,
        generation,
    ):
        return current
    since = standing.lastTransitionTime if standing is not None and standing.status == status else None
    fresh = meta_v1.Condition(
        type=ALLOWED,
        status=status,
        reason=reason,
        message="",
        observedGeneration=generation,
        lastTransitionTime=since or now.replace(microsecond=0),
    )
    return [*(one for one in current if one.type != ALLOWED), fresh]
