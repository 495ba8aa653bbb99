"""Deployments: a ReplicaSet for each revision of the pod template, and the steps from one to the next.

What it observes: the Deployment, the ReplicaSets it controls, and their pods (only whether any is left, for Recreate).
What it does is planned by `plan` from these alone; `rollout` has the arithmetic, `deployment_status` the conditions.

Upstream counterpart: pkg/controller/deployment.
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from lightkube.models import apps_v1, core_v1, meta_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.client import DeleteOptions
from knarr.control import Context, informer, loop, owners, selectors
from knarr.controllers import batches, claims, rollout, statuses
from knarr.controllers import deployment_status as status
from knarr.controllers import pods as podinfo
from knarr.controllers.template import POD_TEMPLATE_HASH, template_hash, template_key

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
NOT_COPIED = frozenset(
    {"kubectl.kubernetes.io/last-applied-configuration", REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS}
)


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a plan depends on.

    Attributes:
        deployment: As last seen.
        replica_sets: Those it controls, in any order.
        running_pods: How many pods of each ReplicaSet (by uid) are neither failed nor succeeded.
        now: The wall time.
    """

    deployment: apps_v1.Deployment
    replica_sets: Sequence[apps_v1.ReplicaSet]
    running_pods: dict[str, int]
    now: datetime


@dataclass(frozen=True, slots=True)
class Create:
    """Create the ReplicaSet of the current template."""

    replica_set: apps_v1.ReplicaSet


@dataclass(frozen=True, slots=True)
class Update:
    """Write a ReplicaSet whose size or annotations change."""

    replica_set: apps_v1.ReplicaSet
    scaled_from: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a ReplicaSet that has left the history."""

    replica_set: apps_v1.ReplicaSet


@dataclass(frozen=True, slots=True)
class Annotate:
    """Note the current revision on the Deployment itself."""

    revision: str


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Write the Deployment's status."""

    status: apps_v1.DeploymentStatus


Action = Create | Update | Delete | Annotate | SetStatus


def plan(observed: Observed) -> list[Action]:
    """Decide the next step of a Deployment.

    Returns:
        What to do, in order; an empty list when everything stands as it should.
    """
    deployment = observed.deployment
    assert deployment.spec and deployment.metadata
    new = find_new(deployment, observed.replica_sets)
    old = [one for one in observed.replica_sets if one is not new]
    if deployment.metadata.deletionTimestamp:
        return _status_actions(observed, new)
    if deployment.spec.paused or _is_scaling(deployment, observed.replica_sets):
        return _plan_scaling(observed, new, old)
    if new is None:
        created = new_replica_set(deployment, observed.replica_sets, old)
        told = status.with_created(deployment, status.compute(observed, None), _name(created), observed.now)
        return [Create(created), SetStatus(told)]
    refreshed = _with_annotations(deployment, new, observed.replica_sets)
    if refreshed != new:
        return [Update(refreshed), *_status_actions(observed, new)]
    sizes = _next_sizes(observed, new, old)
    actions: list[Action] = [_scaled(deployment, one, sizes[_name(one)]) for one in (new, *old) if _name(one) in sizes]
    actions += _status_actions(observed, new)
    revision = _annotation(_meta(new), REVISION)
    if _annotation(deployment.metadata, REVISION) != revision:
        actions.append(Annotate(revision))
    if not sizes and status.is_complete(deployment, status.compute(observed, new)):
        actions += _plan_history(deployment, old)
    return actions


def _plan_scaling(observed: Observed, new: apps_v1.ReplicaSet | None, old: list[apps_v1.ReplicaSet]) -> list[Action]:
    deployment = observed.deployment
    bounds = _bounds(deployment)
    rolling = _strategy(deployment) == "RollingUpdate"
    sizes = rollout.plan_scale(_counts(new) if new else None, [_counts(one) for one in old], bounds, is_rolling=rolling)
    every = [*old, *([new] if new else [])]
    actions: list[Action] = []
    for one in every:
        name = _name(one)
        size = sizes.get(name, one.spec.replicas or 0 if one.spec else 0)
        scaled = _scaled(deployment, one, size)
        if scaled.replica_set != one:
            actions.append(scaled)
    actions += _status_actions(observed, new)
    assert deployment.spec
    if deployment.spec.paused and not actions:
        actions += _plan_history(deployment, old)
    return actions


def _next_sizes(observed: Observed, new: apps_v1.ReplicaSet, old: Sequence[apps_v1.ReplicaSet]) -> dict[str, int]:
    deployment = observed.deployment
    bounds = _bounds(deployment)
    old_counts = [_counts(one) for one in old]
    if _strategy(deployment) == "Recreate":
        running = any(observed.running_pods.get(_meta(one).uid or "") for one in old)
        return rollout.plan_recreate(_counts(new), old_counts, bounds.replicas, old_pods_running=running)
    return rollout.plan_rolling(_counts(new), old_counts, bounds)


def _status_actions(observed: Observed, new: apps_v1.ReplicaSet | None) -> list[Action]:
    computed = status.compute(observed, new)
    return [] if statuses.is_same(computed, observed.deployment.status) else [SetStatus(computed)]


def _plan_history(deployment: apps_v1.Deployment, old: Iterable[apps_v1.ReplicaSet]) -> list[Action]:
    assert deployment.spec
    limit = deployment.spec.revisionHistoryLimit
    if limit is None or limit == 2**31 - 1:
        return []
    kept = [one for one in old if not _meta(one).deletionTimestamp]
    kept.sort(key=lambda one: _revision(one))
    surplus = kept[: max(0, len(kept) - limit)]
    return [Delete(one) for one in surplus if _is_idle(one)]


def _is_idle(one: apps_v1.ReplicaSet) -> bool:
    assert one.spec
    observed = (one.status.observedGeneration or 0) if one.status else 0
    actual = one.status.replicas if one.status else 0
    return not actual and not one.spec.replicas and (_meta(one).generation or 0) <= observed


def find_new(deployment: apps_v1.Deployment, replica_sets: Iterable[apps_v1.ReplicaSet]) -> apps_v1.ReplicaSet | None:
    """Return the oldest ReplicaSet whose template, the hash label aside, is the Deployment's, or None."""
    assert deployment.spec
    wanted = template_key(deployment.spec.template)
    by_age = sorted(replica_sets, key=lambda one: (_created(one), _name(one)))
    return next((one for one in by_age if one.spec and template_key(one.spec.template) == wanted), None)


def new_replica_set(
    deployment: apps_v1.Deployment, replica_sets: Iterable[apps_v1.ReplicaSet], old: Sequence[apps_v1.ReplicaSet]
) -> apps_v1.ReplicaSet:
    """Build the ReplicaSet of the current template, sized as far as the rollout's bounds allow."""
    spec, meta = deployment.spec, deployment.metadata
    assert spec and spec.template and meta
    collisions = (deployment.status.collisionCount or 0) if deployment.status else 0
    digest = template_hash(spec.template, collisions)
    template_meta = spec.template.metadata or meta_v1.ObjectMeta()
    labels = {**(template_meta.labels or {}), POD_TEMPLATE_HASH: digest}
    selector = replace(spec.selector, matchLabels={**(spec.selector.matchLabels or {}), POD_TEMPLATE_HASH: digest})
    built = apps_v1.ReplicaSet(
        metadata=meta_v1.ObjectMeta(
            name=f"{meta.name}-{digest}",
            namespace=meta.namespace,
            labels=labels,
            annotations={},
            ownerReferences=[owners.controller_reference(deployment)],
        ),
        spec=apps_v1.ReplicaSetSpec(
            replicas=0,
            minReadySeconds=spec.minReadySeconds,
            selector=selector,
            template=replace(spec.template, metadata=replace(template_meta, labels=labels)),
        ),
    )
    size = _first_size(deployment, old)
    annotated = _with_annotations(deployment, built, replica_sets)
    return _scaled(deployment, annotated, size).replica_set


def _first_size(deployment: apps_v1.Deployment, old: Sequence[apps_v1.ReplicaSet]) -> int:
    bounds = _bounds(deployment)
    if _strategy(deployment) == "Recreate":
        return 0 if any(_counts(one).desired or _counts(one).actual for one in old) else bounds.replicas
    room = bounds.replicas + bounds.surge - sum(_counts(one).desired for one in old)
    return max(0, min(room, bounds.replicas))


def _with_annotations(
    deployment: apps_v1.Deployment, one: apps_v1.ReplicaSet, replica_sets: Iterable[apps_v1.ReplicaSet]
) -> apps_v1.ReplicaSet:
    """Return `one` with the Deployment's annotations, the newest revision number and its minReadySeconds."""
    meta = _meta(one)
    annotations = dict(meta.annotations or {})
    assert deployment.metadata and one.spec and deployment.spec
    wanted = {k: v for k, v in (deployment.metadata.annotations or {}).items() if k not in NOT_COPIED}
    annotations.update(wanted)
    highest = max((_revision(other) for other in replica_sets if _name(other) != _name(one)), default=0)
    current = _revision(one)
    if current <= highest:
        if current:
            history = [*filter(None, annotations.get(REVISION_HISTORY, "").split(",")), str(current)]
            annotations[REVISION_HISTORY] = ",".join(history)
        annotations[REVISION] = str(highest + 1)
    if annotations == (meta.annotations or {}) and (one.spec.minReadySeconds or 0) == (
        deployment.spec.minReadySeconds or 0
    ):
        return one
    return replace(
        one,
        metadata=replace(meta, annotations=annotations),
        spec=replace(one.spec, minReadySeconds=deployment.spec.minReadySeconds),
    )


def _scaled(deployment: apps_v1.Deployment, one: apps_v1.ReplicaSet, size: int) -> Update:
    """Return the update that gives `one` its size, noting the sizes wanted at this time."""
    bounds = _bounds(deployment)
    meta = _meta(one)
    assert one.spec
    annotations = {
        **(meta.annotations or {}),
        DESIRED_REPLICAS: str(bounds.replicas),
        MAX_REPLICAS: str(bounds.replicas + bounds.surge),
    }
    changed = replace(one, metadata=replace(meta, annotations=annotations), spec=replace(one.spec, replicas=size))
    before = one.spec.replicas or 0
    return Update(changed, before if before != size else None)


def _is_scaling(deployment: apps_v1.Deployment, replica_sets: Iterable[apps_v1.ReplicaSet]) -> bool:
    """Tell whether the Deployment's size changed since its active ReplicaSets were last sized."""
    size = _bounds(deployment).replicas
    for one in replica_sets:
        counts = _counts(one)
        if counts.desired and counts.wanted_then is not None and counts.wanted_then != size:
            return True
    return False


def _with_revision(deployment: apps_v1.Deployment, revision: str) -> apps_v1.Deployment:
    meta = deployment.metadata or meta_v1.ObjectMeta()
    annotations = {**(meta.annotations or {}), REVISION: revision}
    return replace(deployment, metadata=replace(meta, annotations=annotations))


def _bounds(deployment: apps_v1.Deployment) -> rollout.Limits:
    assert deployment.spec
    replicas = 1 if deployment.spec.replicas is None else deployment.spec.replicas
    strategy = deployment.spec.strategy
    if strategy is None or strategy.type != "RollingUpdate" or strategy.rollingUpdate is None:
        return rollout.Limits(replicas, 0, 0)
    return rollout.limits(replicas, strategy.rollingUpdate.maxSurge, strategy.rollingUpdate.maxUnavailable)


def _strategy(deployment: apps_v1.Deployment) -> str:
    assert deployment.spec
    strategy = deployment.spec.strategy
    return strategy.type or "RollingUpdate" if strategy else "RollingUpdate"


def _counts(one: apps_v1.ReplicaSet) -> rollout.Counts:
    meta = _meta(one)
    assert one.spec
    return rollout.Counts(
        _name(one),
        one.spec.replicas or 0,
        one.status.replicas if one.status else 0,
        (one.status.availableReplicas or 0) if one.status else 0,
        created=_created(one),
        wanted_then=_number(meta, DESIRED_REPLICAS),
        max_then=_number(meta, MAX_REPLICAS),
    )


def _meta(one: apps_v1.ReplicaSet) -> meta_v1.ObjectMeta:
    assert one.metadata
    return one.metadata


def _name(one: apps_v1.ReplicaSet) -> str:
    return _meta(one).name or ""


def _created(one: apps_v1.ReplicaSet) -> str:
    created = _meta(one).creationTimestamp
    return created.isoformat() if created else "~"


def _annotation(meta: meta_v1.ObjectMeta, name: str) -> str:
    return str((meta.annotations or {}).get(name, ""))


def _number(meta: meta_v1.ObjectMeta, name: str) -> int | None:
    text = _annotation(meta, name)
    return int(text) if text.isdigit() else None


def _revision(one: apps_v1.ReplicaSet) -> int:
    return _number(_meta(one), REVISION) or 0


class Reconciler:
    """Carries out the plans of Deployments.

    Args:
        context: Client, informers, clock and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder
        self._deployments = context.informers.of(apps_v1.Deployment)
        self._replica_sets = context.informers.of(apps_v1.ReplicaSet)
        self._replica_sets.add_index(owners.INDEX, owners.by_controller)
        self._pods = context.informers.of(core_v1.Pod)
        self._pods.add_index(owners.INDEX, owners.by_controller)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Take a Deployment's next step."""
        deployment = self._deployments.get(request.namespace, request.name)
        if deployment is None:
            return loop.Result()
        assert deployment.spec
        if selectors.is_empty(deployment.spec.selector):
            text = "This deployment is selecting all pods. A non-empty selector is required."
            self._recorder.warning(deployment, "SelectingAll", text)
            return loop.Result()
        observed = await self._observe(deployment)
        latest = deployment
        for action in plan(observed):
            try:
                latest = await self._act(latest, action)
            except errors.NotFound:
                return loop.Result()  # it has gone: its own event will tell
        current = status.compute(observed, find_new(deployment, observed.replica_sets))
        return loop.Result(requeue_after_s=status.deadline_in_s(deployment, current, observed.now))

    def requests_of_replica_set(
        self, old: apps_v1.ReplicaSet | None, new: apps_v1.ReplicaSet | None
    ) -> Iterable[loop.Request]:
        """Name the Deployments that a ReplicaSet belongs to, or could."""
        found: dict[loop.Request, None] = {}
        for one in (old, new):
            reference = owners.controller_of(one) if one is not None else None
            if reference is not None and reference.kind == "Deployment":
                found[loop.Request(informer.key_of(one)[0], reference.name)] = None
        if new is not None and owners.controller_of(new) is None:
            meta = _meta(new)
            for deployment in self._deployments.list(meta.namespace or ""):
                if deployment.spec and selectors.matches(deployment.spec.selector, meta.labels):
                    found[loop.Request(*informer.key_of(deployment))] = None
        return found

    def requests_of_pod(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> Iterable[loop.Request]:
        """Name the Deployment that waits for its last old pod to go before it makes new ones."""
        reference = owners.controller_of(old) if old is not None else None
        if new is not None and podinfo.phase(new) not in {"Succeeded", "Failed"}:
            return ()
        if reference is None or reference.kind != "ReplicaSet":
            return ()
        namespace = informer.key_of(old)[0]
        replica_set = self._replica_sets.get(namespace, reference.name)
        above = owners.controller_of(replica_set) if replica_set is not None else None
        deployment = self._deployments.get(namespace, above.name) if above is not None else None
        if deployment is None or _strategy(deployment) != "Recreate":
            return ()
        return loop.itself(deployment)

    async def _observe(self, deployment: apps_v1.Deployment) -> Observed:
        assert deployment.spec and deployment.metadata
        uid, namespace = deployment.metadata.uid or "", deployment.metadata.namespace or ""
        orphans = [one for one in self._replica_sets.by_index(owners.INDEX, "") if _meta(one).namespace == namespace]
        candidates = [*self._replica_sets.by_index(owners.INDEX, uid), *orphans]
        controlled = await claims.claim(self._client, deployment, candidates, deployment.spec.selector)
        running = {_meta(one).uid or "": self._running_pods(_meta(one).uid or "") for one in controlled}
        return Observed(deployment, controlled, running, self._clock.now())

    def _running_pods(self, uid: str) -> int:
        pods = self._pods.by_index(owners.INDEX, uid)
        return sum(podinfo.phase(pod) not in {"Succeeded", "Failed"} for pod in pods)

    async def _act(self, deployment: apps_v1.Deployment, action: Action) -> apps_v1.Deployment:
        """Take one action and return the Deployment as it is after it."""
        match action:
            case Create(replica_set):
                await self._create(deployment, replica_set)
            case Update(replica_set, scaled_from):
                await self._client.update(replica_set)
                if scaled_from is not None:
                    self._tell_scaled(deployment, replica_set, scaled_from)
            case Delete(replica_set):
                options = DeleteOptions(propagation="Background", uid=_meta(replica_set).uid or "")
                namespace, name = informer.key_of(replica_set)
                with contextlib.suppress(errors.NotFound):
                    await self._client.delete(apps_v1.ReplicaSet, name, namespace=namespace, options=options)
            case Annotate(revision):
                return await self._client.update(_with_revision(deployment, revision))
            case SetStatus(fresh):
                return await self._client.update(replace(deployment, status=fresh), subresource="status")
        return deployment

    async def _create(self, deployment: apps_v1.Deployment, replica_set: apps_v1.ReplicaSet) -> None:
        try:
            await self._client.create(replica_set)
        except errors.AlreadyExists:
            await self._note_collision(deployment, replica_set)
            return
        except errors.StatusError as err:
            if batches.is_namespace_going(err):
                return
            text = f'Failed to create new replica set "{_name(replica_set)}": {err}'
            told = status.with_failed_creation(deployment, text, self._clock.now())
            await self._client.update(replace(deployment, status=told), subresource="status")
            self._recorder.warning(deployment, "ReplicaSetCreateError", text)
            raise
        assert replica_set.spec
        if replica_set.spec.replicas:
            self._tell_scaled(deployment, replica_set, 0)

    async def _note_collision(self, deployment: apps_v1.Deployment, replica_set: apps_v1.ReplicaSet) -> None:
        """The name is taken: by a ReplicaSet of ours that the cache does not show yet, or by another that hashes alike."""
        namespace, name = informer.key_of(replica_set)
        existing = await self._client.get(apps_v1.ReplicaSet, name, namespace=namespace)
        assert replica_set.spec and existing.spec
        same = template_key(existing.spec.template) == template_key(replica_set.spec.template)
        if owners.is_controlled_by(existing, deployment) and same:
            return
        before = deployment.status or apps_v1.DeploymentStatus()
        counted = replace(before, collisionCount=(before.collisionCount or 0) + 1)
        await self._client.update(replace(deployment, status=counted), subresource="status")
        raise errors.Conflict("apps", "replicasets", name, "another one has this name")

    def _tell_scaled(self, deployment: apps_v1.Deployment, replica_set: apps_v1.ReplicaSet, before: int) -> None:
        assert replica_set.spec
        after = replica_set.spec.replicas or 0
        direction = "up" if after > before else "down"
        text = f"Scaled {direction} replica set {_name(replica_set)} from {before} to {after}"
        self._recorder.normal(deployment, "ScalingReplicaSet", text)


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("deployment", reconciler, context)
    controller.watch(apps_v1.Deployment, loop.itself)
    controller.watch_changes(apps_v1.ReplicaSet, reconciler.requests_of_replica_set)
    controller.watch_changes(core_v1.Pod, reconciler.requests_of_pod)
    return controller
