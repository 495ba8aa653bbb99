"""ReplicaSets: as many pods of a template as asked for.

What it observes: the ReplicaSet and the pods that it controls, those it just created and has not seen yet counted by
expectations. The plan creates what is missing or deletes the surplus that can best be spared, at most 500 at a time.

Upstream counterpart: pkg/controller/replicaset.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lightkube.models import apps_v1, core_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.client import DeleteOptions
from knarr.control import Context, expectations, informer, loop, owners, selectors
from knarr.controllers import batches, claims, statuses
from knarr.controllers import pods as podinfo

BURST = 500
"""Most pods created or deleted in one go."""
REPLICA_FAILURE = "ReplicaFailure"


@dataclass(frozen=True, slots=True)
class Create:
    """Create that many pods."""

    count: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete these pods."""

    pods: tuple[core_v1.Pod, ...]


def plan(
    replica_set: apps_v1.ReplicaSet, active: Sequence[core_v1.Pod], related: Mapping[str, int]
) -> Create | Delete | None:
    """Decide how to get to the size wanted.

    Args:
        replica_set: Not being deleted.
        active: The pods it controls that are neither finished nor going.
        related: How many active pods of the same Deployment run on each node.

    Returns:
        One step, or None when the count is right.
    """
    missing = wanted_replicas(replica_set) - len(active)
    if missing > 0:
        return Create(min(missing, BURST))
    if missing < 0:
        surplus = podinfo.deletion_order(active, related=related)[: min(-missing, BURST)]
        return Delete(tuple(surplus))
    return None


def wanted_replicas(replica_set: apps_v1.ReplicaSet) -> int:
    """Return spec.replicas, 1 if it says nothing."""
    assert replica_set.spec
    return 1 if replica_set.spec.replicas is None else replica_set.spec.replicas


def compute_status(
    replica_set: apps_v1.ReplicaSet,
    pods: Sequence[core_v1.Pod],
    *,
    failure: str,
    step: Create | Delete | None,
    now: datetime,
) -> apps_v1.ReplicaSetStatus:
    """Return the status that the ReplicaSet should have.

    Args:
        replica_set: As last seen.
        pods: All pods it controls.
        failure: Why the last step failed; empty if it did not.
        step: The last step.
        now: The wall time.
    """
    assert replica_set.spec and replica_set.metadata
    min_ready_s = replica_set.spec.minReadySeconds or 0
    active = [pod for pod in pods if podinfo.is_active(pod)]
    ready = [pod for pod in active if podinfo.is_ready(pod)]
    labels = (template.metadata.labels or {}) if (template := replica_set.spec.template) and template.metadata else {}
    labelled = [pod for pod in active if labels.items() <= _labels(pod).items()]
    return apps_v1.ReplicaSetStatus(
        replicas=len(active),
        fullyLabeledReplicas=len(labelled) or None,
        readyReplicas=len(ready) or None,
        availableReplicas=sum(podinfo.is_available(pod, min_ready_s, now) for pod in ready) or None,
        terminatingReplicas=sum(podinfo.is_terminating(pod) for pod in pods),
        observedGeneration=replica_set.metadata.generation,
        conditions=_conditions(replica_set, failure, step, now),
    )


def _conditions(
    replica_set: apps_v1.ReplicaSet, failure: str, step: Create | Delete | None, now: datetime
) -> list[apps_v1.ReplicaSetCondition] | None:
    current = list((replica_set.status.conditions or ()) if replica_set.status else ())
    standing = next((one for one in current if one.type == REPLICA_FAILURE), None)
    others = [one for one in current if one.type != REPLICA_FAILURE]
    if not failure:
        return others or None
    reason = "FailedDelete" if isinstance(step, Delete) else "FailedCreate"
    if standing is not None and standing.reason == reason:
        return current
    fresh = apps_v1.ReplicaSetCondition(
        type=REPLICA_FAILURE,
        status="True",
        reason=reason,
        message=failure,
        lastTransitionTime=now.replace(microsecond=0),
    )
    return [*others, fresh]


def _labels(pod: core_v1.Pod) -> Mapping[str, str]:
    return (pod.metadata.labels or {}) if pod.metadata else {}


class Reconciler:
    """Carries out the plans of ReplicaSets.

    Args:
        context: Client, informers, clock and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder
        self._expectations = expectations.Expectations(context.clock)
        self._replica_sets = context.informers.of(apps_v1.ReplicaSet)
        self._replica_sets.add_index(owners.INDEX, owners.by_controller)
        self._pods = context.informers.of(core_v1.Pod)
        self._pods.add_index(owners.INDEX, owners.by_controller)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Create or delete pods, then tell the status."""
        replica_set = self._replica_sets.get(request.namespace, request.name)
        if replica_set is None:
            return loop.Result()
        assert replica_set.metadata and replica_set.spec
        uid = replica_set.metadata.uid or ""
        pods = await self._claim(replica_set)
        step: Create | Delete | None = None
        failure: errors.StatusError | None = None
        if self._expectations.is_fulfilled(uid) and replica_set.metadata.deletionTimestamp is None:
            active = [pod for pod in pods if podinfo.is_active(pod)]
            step = plan(replica_set, active, self._related(replica_set))
            failure = await self._act(replica_set, step)
        now = self._clock.now()
        status = compute_status(replica_set, pods, failure=str(failure or ""), step=step, now=now)
        if not statuses.is_same(status, replica_set.status):
            with contextlib.suppress(errors.NotFound):
                await self._client.update(replace(replica_set, status=status), subresource="status")
        if failure is not None and not batches.is_namespace_going(failure):
            raise failure
        wait_s = podinfo.seconds_until_available(pods, replica_set.spec.minReadySeconds or 0, now)
        return loop.Result(requeue_after_s=wait_s)

    def requests_of_replica_set(
        self, old: apps_v1.ReplicaSet | None, new: apps_v1.ReplicaSet | None
    ) -> Iterable[loop.Request]:
        """Name a ReplicaSet itself; one that is gone, or gone and made anew, is not waited for."""
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):  # type: ignore[union-attr]
            self._expectations.forget((old.metadata.uid or "") if old.metadata else "")
        return loop.itself(new if new is not None else old)

    def requests_of_pod(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> Iterable[loop.Request]:
        """Name the ReplicaSets that a pod belongs to, or could, and count down what was expected."""
        pod = new if new is not None else old
        assert pod is not None and pod.metadata
        found: dict[loop.Request, None] = {}
        for one in (old, new):
            reference = owners.controller_of(one) if one is not None else None
            if reference is not None and reference.kind == "ReplicaSet":
                found[loop.Request(pod.metadata.namespace or "", reference.name)] = None
        reference = owners.controller_of(pod)
        if reference is None:
            return [*found, *self._requests_of_orphan(pod)] if new is not None else found
        if old is None:
            self._expectations.saw_creation(reference.uid)
        if new is None or pod.metadata.deletionTimestamp is not None:
            self._expectations.saw_deletion(reference.uid, pod.metadata.uid or "")
        return found

    def _requests_of_orphan(self, pod: core_v1.Pod) -> Iterable[loop.Request]:
        assert pod.metadata
        for replica_set in self._replica_sets.list(pod.metadata.namespace or ""):
            if replica_set.spec and selectors.matches(replica_set.spec.selector, pod.metadata.labels):
                yield loop.Request(*informer.key_of(replica_set))

    async def _claim(self, replica_set: apps_v1.ReplicaSet) -> list[core_v1.Pod]:
        assert replica_set.metadata and replica_set.spec
        uid, namespace = replica_set.metadata.uid or "", replica_set.metadata.namespace or ""
        orphans = [pod for pod in self._pods.by_index(owners.INDEX, "") if informer.key_of(pod)[0] == namespace]
        active = [pod for pod in orphans if podinfo.is_active(pod)]
        candidates = [*self._pods.by_index(owners.INDEX, uid), *active]
        return await claims.claim(self._client, replica_set, candidates, replica_set.spec.selector)

    def _related(self, replica_set: apps_v1.ReplicaSet) -> dict[str, int]:
        """Count the active pods of all ReplicaSets of the same owner on each node."""
        assert replica_set.metadata
        family: Sequence[apps_v1.ReplicaSet] = [replica_set]
        owner = owners.controller_of(replica_set)
        if owner is not None:
            family = self._replica_sets.by_index(owners.INDEX, owner.uid)
        counts: dict[str, int] = {}
        for one in family:
            for pod in self._pods.by_index(owners.INDEX, (one.metadata.uid or "") if one.metadata else ""):
                if podinfo.is_active(pod) and pod.spec and pod.spec.nodeName:
                    counts[pod.spec.nodeName] = counts.get(pod.spec.nodeName, 0) + 1
        return counts

    async def _act(self, replica_set: apps_v1.ReplicaSet, step: Create | Delete | None) -> errors.StatusError | None:
        match step:
            case Create(count):
                return await self._create(replica_set, count)
            case Delete(pods):
                return await self._delete(replica_set, pods)
        return None

    async def _create(self, replica_set: apps_v1.ReplicaSet, count: int) -> errors.StatusError | None:
        assert replica_set.metadata and replica_set.spec and replica_set.spec.template
        uid = replica_set.metadata.uid or ""
        pod = podinfo.from_template(
            replica_set.spec.template,
            namespace=replica_set.metadata.namespace or "",
            generate_name=f"{replica_set.metadata.name}-",
            owner=owners.controller_reference(replica_set),
        )

        async def create_one(_: int) -> None:
            try:
                created = await self._client.create(pod)
            except errors.StatusError as err:
                if not batches.is_namespace_going(err):
                    self._recorder.warning(replica_set, "FailedCreate", f"Error creating: {err}")
                raise
            self._recorder.normal(replica_set, "SuccessfulCreate", f"Created pod: {informer.key_of(created)[1]}")

        self._expectations.expect_creations(uid, count)
        succeeded, failure = await batches.slow_start(range(count), create_one)
        self._expectations.saw_creation(uid, count - succeeded)
        return failure

    async def _delete(self, replica_set: apps_v1.ReplicaSet, pods: Sequence[core_v1.Pod]) -> errors.StatusError | None:
        assert replica_set.metadata
        owner = replica_set.metadata.uid or ""

        async def delete_one(pod: core_v1.Pod) -> None:
            assert pod.metadata
            namespace, name = informer.key_of(pod)
            try:
                options = DeleteOptions(uid=pod.metadata.uid or "")
                await self._client.delete(core_v1.Pod, name, namespace=namespace, options=options)
            except errors.StatusError as err:
                self._expectations.saw_deletion(owner, pod.metadata.uid or "")
                if not isinstance(err, errors.NotFound):
                    self._recorder.warning(replica_set, "FailedDelete", f"Error deleting: {err}")
                    raise
            else:
                self._recorder.normal(replica_set, "SuccessfulDelete", f"Deleted pod: {name}")

        self._expectations.expect_deletions(owner, {(pod.metadata.uid or "") for pod in pods if pod.metadata})
        return await batches.all_at_once(pods, delete_one)


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("replicaset", reconciler, context)
    controller.watch_changes(apps_v1.ReplicaSet, reconciler.requests_of_replica_set)
    controller.watch_changes(core_v1.Pod, reconciler.requests_of_pod)
    return controller
