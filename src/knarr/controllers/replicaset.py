"""ReplicaSets: as many pods of a template as asked for.

What it observes: the ReplicaSet and the pods that it controls, those it just created and has not seen yet counted by
expectations. The plan creates what is missing or deletes the surplus that can best be spared, at most 500 at a time.

Upstream counterpart: pkg/controller/replicaset.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lightkube.models import apps_v1, core_v1, meta_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.control import Context, informer, loop, owners
from knarr.controllers import batches, statuses
from knarr.controllers import pods as podinfo
from knarr.controllers.podcontrol import PodControl

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


@dataclass(frozen=True, slots=True)
class Flavor:
    """What makes a kind of replicated pods: ReplicaSets, or the older ReplicationControllers.

    Attributes:
        model: The kind.
        name: As owner references name it.
        view: Shows an object as a ReplicaSet.
        with_status: Returns an object with a ReplicaSet's status.
    """

    model: type[Any]
    name: str
    view: Callable[[Any], apps_v1.ReplicaSet]
    with_status: Callable[[Any, apps_v1.ReplicaSetStatus], Any]


def _with_status(replica_set: apps_v1.ReplicaSet, status: apps_v1.ReplicaSetStatus) -> apps_v1.ReplicaSet:
    return replace(replica_set, status=status)


REPLICA_SETS = Flavor(apps_v1.ReplicaSet, "ReplicaSet", lambda one: one, _with_status)


class Reconciler:
    """Carries out the plans of one kind.

    Args:
        context: Client, informers, clock and recorder.
        flavor: Which kind.
    """

    def __init__(self, context: Context, flavor: Flavor = REPLICA_SETS) -> None:
        self._client = context.client
        self._clock = context.clock
        self._flavor = flavor
        self._owners: informer.Informer[Any] = context.informers.of(flavor.model)
        self._owners.add_index(owners.INDEX, owners.by_controller)
        self.pods = PodControl(context, flavor.name, self._owners, self._selector_of)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Create or delete pods, then tell the status."""
        owner = self._owners.get(request.namespace, request.name)
        if owner is None:
            return loop.Result()
        replica_set = self._flavor.view(owner)
        assert replica_set.metadata and replica_set.spec
        pods = await self.pods.claim(owner)
        step: Create | Delete | None = None
        failure: errors.StatusError | None = None
        if self.pods.is_settled(owner) and replica_set.metadata.deletionTimestamp is None:
            active = [pod for pod in pods if podinfo.is_active(pod)]
            step = plan(replica_set, active, self._related(owner))
            failure = await self._act(owner, replica_set, step)
        now = self._clock.now()
        status = compute_status(replica_set, pods, failure=str(failure or ""), step=step, now=now)
        fresh = self._flavor.with_status(owner, status)
        if not statuses.is_same(fresh.status, owner.status):
            with contextlib.suppress(errors.NotFound):
                await self._client.update(fresh, subresource="status")
        if failure is not None and not batches.is_namespace_going(failure):
            raise failure
        wait_s = podinfo.seconds_until_available(pods, replica_set.spec.minReadySeconds or 0, now)
        return loop.Result(requeue_after_s=wait_s)

    async def _act(
        self, owner: Any, replica_set: apps_v1.ReplicaSet, step: Create | Delete | None
    ) -> errors.StatusError | None:
        assert replica_set.metadata and replica_set.spec and replica_set.spec.template
        pod = podinfo.from_template(
            replica_set.spec.template,
            namespace=replica_set.metadata.namespace or "",
            generate_name=f"{replica_set.metadata.name}-",
            owner=owners.controller_reference(owner),
        )
        match step:
            case Create(count):
                return await self.pods.change(owner, create=range(count), make=lambda _: pod)
            case Delete(pods):
                return await self.pods.change(owner, delete=pods, make=lambda _: pod)
        return None

    def _related(self, owner: Any) -> dict[str, int]:
        """Count the active pods of all ReplicaSets of the same owner on each node."""
        family = [owner]
        above = owners.controller_of(owner)
        if above is not None:
            family = self._owners.by_index(owners.INDEX, above.uid)
        counts: dict[str, int] = {}
        for one in family:
            for pod in self.pods.pods.by_index(owners.INDEX, one.metadata.uid or ""):
                if podinfo.is_active(pod) and pod.spec and pod.spec.nodeName:
                    counts[pod.spec.nodeName] = counts.get(pod.spec.nodeName, 0) + 1
        return counts

    def _selector_of(self, owner: Any) -> meta_v1.LabelSelector | None:
        spec = self._flavor.view(owner).spec
        return spec.selector if spec else None


def build(context: Context, flavor: Flavor = REPLICA_SETS) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context, flavor)
    controller = loop.Controller(flavor.name.lower(), reconciler, context)
    controller.watch_changes(flavor.model, reconciler.pods.requests_of_owner)
    controller.watch_changes(core_v1.Pod, reconciler.pods.requests_of)
    return controller
