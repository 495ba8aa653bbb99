"""Carries out the plans of StatefulSets.

Upstream counterpart: pkg/controller/statefulset (stateful_set.go, stateful_pod_control.go).
"""

import contextlib
from collections.abc import Iterable

from lightkube.models import apps_v1, core_v1, meta_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.client import DeleteOptions, PatchType
from knarr.control import Context, informer, loop, owners, selectors
from knarr.controllers import batches, history, statuses
from knarr.controllers import pods as podinfo
from knarr.controllers.podcontrol import PodControl
from knarr.controllers.statefulset import (
    Action,
    Create,
    Delete,
    Observed,
    claims_for,
    compute_status,
    is_member,
    ordinal_of,
    ordinals,
    plan,
    revision_of,
)


class Reconciler:
    """Takes the steps of StatefulSets.

    Args:
        context: Client, informers, clock and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder
        self._stateful_sets = context.informers.of(apps_v1.StatefulSet)
        self._claims = context.informers.of(core_v1.PersistentVolumeClaim)
        self._revisions = context.informers.of(apps_v1.ControllerRevision)
        self._revisions.add_index(owners.INDEX, owners.by_controller)
        self.pods = PodControl(context, "StatefulSet", self._stateful_sets, _selector_of)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Write the history, take a step, then tell the status."""
        stateful_set = self._stateful_sets.get(request.namespace, request.name)
        if stateful_set is None:
            return loop.Result()
        assert stateful_set.metadata and stateful_set.spec
        if selectors.is_empty(stateful_set.spec.selector) or stateful_set.metadata.deletionTimestamp is not None:
            return loop.Result()
        revisions = await self._choose_revisions(stateful_set)
        if revisions is None:
            return loop.Result()
        pods = await self.pods.claim(stateful_set, orphans=lambda pod: is_member(stateful_set, pod))
        observed = Observed(stateful_set, pods, *revisions, self._clock.now())
        failure: errors.StatusError | None = None
        if self.pods.is_settled(stateful_set):
            actions = plan(observed)
            failure = await self._act(stateful_set, actions)
            await self._keep_claims(stateful_set)
            if not actions:
                await self._prune(observed)
        await self._write_status(observed)
        if failure is not None and not batches.is_namespace_going(failure):
            raise failure
        wait_s = podinfo.seconds_until_available(pods, stateful_set.spec.minReadySeconds or 0, observed.now)
        return loop.Result(requeue_after_s=wait_s)

    async def _choose_revisions(
        self, stateful_set: apps_v1.StatefulSet
    ) -> tuple[apps_v1.ControllerRevision, apps_v1.ControllerRevision] | None:
        """Return the current and the update revision."""
        status = stateful_set.status
        collisions = (status.collisionCount or 0) if status else 0
        known = self._revisions_of(stateful_set)
        try:
            update = await history.realize(self._client, history.plan(stateful_set, known, collisions))
        except errors.AlreadyExists:
            fresh = replace(status or apps_v1.StatefulSetStatus(0), collisionCount=collisions + 1)
            await self._client.update(replace(stateful_set, status=fresh), subresource="status")
            return None
        name = status.currentRevision if status else None
        current = next((one for one in known if informer.key_of(one)[1] == name), update)
        return current, update

    def _revisions_of(self, stateful_set: apps_v1.StatefulSet) -> list[apps_v1.ControllerRevision]:
        uid = (stateful_set.metadata.uid or "") if stateful_set.metadata else ""
        return self._revisions.by_index(owners.INDEX, uid)

    async def _act(self, stateful_set: apps_v1.StatefulSet, actions: list[Action]) -> errors.StatusError | None:
        assert stateful_set.metadata
        owner = stateful_set.metadata.uid or ""
        creates = [action for action in actions if isinstance(action, Create)]
        deletes = {
            action.pod.metadata.uid or "" for action in actions if isinstance(action, Delete) and action.pod.metadata
        }
        self.pods.expectations.expect(owner, len(creates), deletes)
        for index, action in enumerate(actions):
            try:
                if isinstance(action, Create):
                    await self._create(stateful_set, action)
                else:
                    await self._delete(stateful_set, action)
            except errors.StatusError as err:
                for left in actions[index:]:  # none of these will be seen
                    if isinstance(left, Create):
                        self.pods.expectations.saw_creation(owner)
                    elif left.pod.metadata:
                        self.pods.expectations.saw_deletion(owner, left.pod.metadata.uid or "")
                return err
        return None

    async def _create(self, stateful_set: apps_v1.StatefulSet, action: Create) -> None:
        namespace, name = informer.key_of(action.pod)
        set_name = informer.key_of(stateful_set)[1]
        try:
            for claim in claims_for(stateful_set, action.ordinal):
                if self._claims.get(*informer.key_of(claim)) is None:
                    with contextlib.suppress(errors.AlreadyExists):
                        await self._client.create(claim)
                        claim_name = informer.key_of(claim)[1]
                        text = f"create Claim {claim_name} Pod {name} in StatefulSet {set_name} success"
                        self._recorder.normal(stateful_set, "SuccessfulCreate", text)
            await self._client.create(action.pod)
        except errors.AlreadyExists:
            live = await self._client.get(core_v1.Pod, name, namespace=namespace)
            if not owners.is_controlled_by(live, stateful_set):
                raise
            self.pods.expectations.saw_creation((stateful_set.metadata.uid or "") if stateful_set.metadata else "")
        except errors.StatusError as err:
            if not batches.is_namespace_going(err):
                text = f"create Pod {name} in StatefulSet {set_name} failed error: {err}"
                self._recorder.warning(stateful_set, "FailedCreate", text)
            raise
        else:
            text = f"create Pod {name} in StatefulSet {set_name} successful"
            self._recorder.normal(stateful_set, "SuccessfulCreate", text)

    async def _delete(self, stateful_set: apps_v1.StatefulSet, action: Delete) -> None:
        assert action.pod.metadata and stateful_set.metadata
        namespace, name = informer.key_of(action.pod)
        set_name = informer.key_of(stateful_set)[1]
        if action.recreates:
            kind = "Failed" if podinfo.phase(action.pod) == "Failed" else "Terminated"
            text = f"StatefulSet {namespace}/{set_name} is recreating {kind.lower()} Pod {name}"
            self._recorder.warning(stateful_set, f"Recreating{kind}Pod", text)
        try:
            options = DeleteOptions(uid=action.pod.metadata.uid or "")
            await self._client.delete(core_v1.Pod, name, namespace=namespace, options=options)
        except errors.NotFound:
            self.pods.expectations.saw_deletion(stateful_set.metadata.uid or "", action.pod.metadata.uid or "")
            return
        text = f"delete Pod {name} in StatefulSet {set_name} successful"
        self._recorder.normal(stateful_set, "SuccessfulDelete", text)

    async def _keep_claims(self, stateful_set: apps_v1.StatefulSet) -> None:
        """Let claims be owned as the retention policy says, so that they go with the set, or with the pod when it is scaled away."""
        assert stateful_set.spec and stateful_set.metadata
        policy = stateful_set.spec.persistentVolumeClaimRetentionPolicy
        if policy is None or not stateful_set.spec.volumeClaimTemplates:
            return
        wanted = owners.controller_reference(stateful_set)
        wanted = replace(wanted, controller=None, blockOwnerDeletion=None)
        for ordinal in ordinals(stateful_set):
            for claim in claims_for(stateful_set, ordinal):
                current = self._claims.get(*informer.key_of(claim))
                if current is None or current.metadata is None:
                    continue
                references = [one for one in current.metadata.ownerReferences or () if one.uid != wanted.uid]
                if policy.whenDeleted == "Delete":
                    references.append(wanted)
                if len(references) != len(current.metadata.ownerReferences or ()):
                    await self._set_owners(current, references)
        if policy.whenScaled == "Delete":
            await self._drop_scaled_claims(stateful_set)

    async def _drop_scaled_claims(self, stateful_set: apps_v1.StatefulSet) -> None:
        assert stateful_set.spec and stateful_set.metadata
        alive = set(ordinals(stateful_set))
        for pod in self.pods.pods.by_index(owners.INDEX, stateful_set.metadata.uid or ""):
            if ordinal_of(pod) in alive:
                continue
            reference = replace(owners.controller_reference(pod), controller=None, blockOwnerDeletion=None)
            for claim in claims_for(stateful_set, ordinal_of(pod)):
                current = self._claims.get(*informer.key_of(claim))
                if current is None or current.metadata is None:
                    continue
                references = list(current.metadata.ownerReferences or ())
                if all(one.uid != reference.uid for one in references):
                    kept = [one for one in references if one.uid != stateful_set.metadata.uid]
                    await self._set_owners(current, [*kept, reference])

    async def _set_owners(self, claim: core_v1.PersistentVolumeClaim, references: list[meta_v1.OwnerReference]) -> None:
        namespace, name = informer.key_of(claim)
        version = claim.metadata.resourceVersion if claim.metadata else None
        body = {"metadata": {"resourceVersion": version, "ownerReferences": references}}
        with contextlib.suppress(errors.NotFound):
            await self._client.patch(core_v1.PersistentVolumeClaim, name, body, PatchType.MERGE, namespace=namespace)

    async def _prune(self, observed: Observed) -> None:
        stateful_set = observed.stateful_set
        assert stateful_set.spec
        live = {revision_of(pod) for pod in observed.pods}
        live |= {informer.key_of(one)[1] for one in (observed.current, observed.update)}
        for one in history.surplus(self._revisions_of(stateful_set), live, stateful_set.spec.revisionHistoryLimit):
            namespace, name = informer.key_of(one)
            with contextlib.suppress(errors.NotFound):
                await self._client.delete(apps_v1.ControllerRevision, name, namespace=namespace)

    async def _write_status(self, observed: Observed) -> None:
        before = observed.stateful_set.status
        status = compute_status(observed, before.collisionCount if before else None)
        if not statuses.is_same(status, before):
            with contextlib.suppress(errors.NotFound):
                await self._client.update(replace(observed.stateful_set, status=status), subresource="status")


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("statefulset", reconciler, context)
    controller.watch_changes(apps_v1.StatefulSet, reconciler.pods.requests_of_owner)
    controller.watch_changes(core_v1.Pod, reconciler.pods.requests_of)
    controller.watch(apps_v1.ControllerRevision, _request_of_revision)
    return controller


def _request_of_revision(revision: apps_v1.ControllerRevision) -> Iterable[loop.Request]:
    reference = owners.controller_of(revision)
    if reference is None or reference.kind != "StatefulSet":
        return ()
    return (loop.Request(informer.key_of(revision)[0], reference.name),)


def _selector_of(stateful_set: apps_v1.StatefulSet) -> meta_v1.LabelSelector | None:
    return stateful_set.spec.selector if stateful_set.spec else None
