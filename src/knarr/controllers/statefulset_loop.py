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
    Claim,
    Create,
    Delete,
    Observed,
    Restore,
    claim_owners,
    claims_for,
    compute_status,
    has_claim,
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
        claims = {informer.key_of(one)[1]: one for one in self._claims.list(request.namespace)}
        observed = Observed(stateful_set, pods, *revisions, self._clock.now(), claims)
        failure: errors.StatusError | None = None
        if self.pods.is_settled(stateful_set):
            actions = plan(observed)
            failure = await self._act(stateful_set, actions)
            await self._keep_claims(stateful_set, pods)
            if not actions:
                await self._prune(observed)
        await self._write_status(observed)
        if failure is not None and not batches.is_namespace_going(failure):
            raise failure
        wait_s = podinfo.seconds_until_available(pods, stateful_set.spec.minReadySeconds or 0, observed.now)
        return loop.Result(requeue_after_s=wait_s)

    def requests_of_claim(
        self, old: core_v1.PersistentVolumeClaim | None, new: core_v1.PersistentVolumeClaim | None
    ) -> Iterable[loop.Request]:
        """Name the sets that a claim which is gone belonged to: their pods may have waited for that."""
        if new is not None or old is None:
            return ()
        namespace, name = informer.key_of(old)
        found = self._stateful_sets.list(namespace)
        return [loop.Request(*informer.key_of(one)) for one in found if has_claim(one, name)]

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
                match action:
                    case Create():
                        await self._create(stateful_set, action)
                    case Delete():
                        await self._delete(stateful_set, action)
                    case Restore():
                        await self._restore(action)
                    case Claim(ordinal):
                        await self._create_claims(stateful_set, ordinal)
            except errors.StatusError as err:
                for left in actions[index:]:  # none of these will be seen
                    if isinstance(left, Create):
                        self.pods.expectations.saw_creation(owner)
                    elif isinstance(left, Delete) and left.pod.metadata:
                        self.pods.expectations.saw_deletion(owner, left.pod.metadata.uid or "")
                return err
        return None

    async def _create(self, stateful_set: apps_v1.StatefulSet, action: Create) -> None:
        namespace, name = informer.key_of(action.pod)
        set_name = informer.key_of(stateful_set)[1]
        try:
            await self._create_claims(stateful_set, action.ordinal)
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

    async def _create_claims(self, stateful_set: apps_v1.StatefulSet, ordinal: int) -> None:
        set_name = informer.key_of(stateful_set)[1]
        for claim in claims_for(stateful_set, ordinal):
            if self._claims.get(*informer.key_of(claim)) is not None:
                continue
            told = f"Claim {informer.key_of(claim)[1]} Pod {set_name}-{ordinal} in StatefulSet {set_name}"
            try:
                await self._client.create(claim)
            except errors.AlreadyExists:
                continue
            except errors.StatusError as err:
                self._recorder.warning(stateful_set, "FailedCreate", f"create {told} failed error: {err}")
                raise
            self._recorder.normal(stateful_set, "SuccessfulCreate", f"create {told} success")

    async def _restore(self, action: Restore) -> None:
        namespace, name = informer.key_of(action.pod)
        body = {"metadata": {"uid": (action.pod.metadata and action.pod.metadata.uid), "labels": {**action.labels}}}
        with contextlib.suppress(errors.NotFound, errors.Conflict):
            await self._client.patch(core_v1.Pod, name, body, PatchType.MERGE, namespace=namespace)

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

    async def _keep_claims(self, stateful_set: apps_v1.StatefulSet, pods: Iterable[core_v1.Pod]) -> None:
        """Let claims be owned as the retention policy says, so that they go with the set, or with the pod when it is scaled away."""
        assert stateful_set.spec
        if not stateful_set.spec.volumeClaimTemplates:
            return
        wanted = set(ordinals(stateful_set))
        condemned = {ordinal_of(pod): pod for pod in pods if ordinal_of(pod) not in wanted}
        for ordinal in sorted(wanted | condemned.keys()):
            for claim in claims_for(stateful_set, ordinal):
                current = self._claims.get(*informer.key_of(claim))
                if current is None or current.metadata is None or current.metadata.deletionTimestamp is not None:
                    continue
                references = claim_owners(stateful_set, current, condemned=condemned.get(ordinal))
                if references != (current.metadata.ownerReferences or []):
                    await self._set_owners(current, references)

    async def _set_owners(self, claim: core_v1.PersistentVolumeClaim, references: list[meta_v1.OwnerReference]) -> None:
        assert claim.metadata
        owned = replace(claim, metadata=replace(claim.metadata, ownerReferences=references or None))
        with contextlib.suppress(errors.NotFound):
            await self._client.update(owned)

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
    controller.watch_changes(core_v1.PersistentVolumeClaim, reconciler.requests_of_claim)
    return controller


def _request_of_revision(revision: apps_v1.ControllerRevision) -> Iterable[loop.Request]:
    reference = owners.controller_of(revision)
    if reference is None or reference.kind != "StatefulSet":
        return ()
    return (loop.Request(informer.key_of(revision)[0], reference.name),)


def _selector_of(stateful_set: apps_v1.StatefulSet) -> meta_v1.LabelSelector | None:
    return stateful_set.spec.selector if stateful_set.spec else None
