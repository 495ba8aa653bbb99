"""Carries out the plans of Jobs, and deletes finished ones whose time to live is over.

Upstream counterpart: pkg/controller/job/job_controller.go and pkg/controller/ttlafterfinished.
"""

import contextlib
from collections.abc import Iterable, Sequence
from datetime import datetime

from lightkube.models import batch_v1, core_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.client import DeleteOptions, PatchType
from knarr.control import Context, expectations, informer, loop, owners, selectors
from knarr.controllers import batches, claims, job, statuses


class Reconciler:
    """Takes the steps of Jobs.

    Args:
        context: Client, informers, clock and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder
        self._expectations = expectations.Expectations(context.clock)
        self._jobs = context.informers.of(batch_v1.Job)
        self._pods = context.informers.of(core_v1.Pod)
        self._pods.add_index(owners.INDEX, owners.by_controller)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Write the status, let counted pods go, then create and delete."""
        current = self._jobs.get(request.namespace, request.name)
        await self._release_orphans(request, current)
        if current is None or current.metadata is None or current.spec is None:
            return loop.Result()
        uid = current.metadata.uid or ""
        if current.metadata.deletionTimestamp is not None or not self._expectations.is_fulfilled(uid):
            return loop.Result()
        step = job.plan(current, await self._claim(current), self._clock.now())
        if not statuses.is_same(step.status, current.status):
            try:
                current = await self._client.update(replace(current, status=step.status), subresource="status")
            except errors.NotFound:
                return loop.Result()
        for type_, reason, message in step.events:
            self._recorder.event(current, type_, reason, message)
        for pod in step.release:
            await self._release(pod)
        failure = await self._act(current, step)
        if failure is not None and not batches.is_namespace_going(failure):
            raise failure
        return loop.Result(requeue_after_s=step.again_s)

    def requests_of_pod(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> Iterable[loop.Request]:
        """Name the Jobs that a pod belongs to, or could, and count down what was expected."""
        pod = new if new is not None else old
        assert pod is not None and pod.metadata
        found: dict[loop.Request, None] = {}
        for one in (old, new):
            reference = owners.controller_of(one) if one is not None else None
            if reference is not None and reference.kind == "Job":
                found[loop.Request(pod.metadata.namespace or "", reference.name)] = None
        reference = owners.controller_of(pod)
        if reference is None:
            for one_job in self._jobs.list(pod.metadata.namespace or "") if new is not None else ():
                if one_job.spec and selectors.matches(one_job.spec.selector, pod.metadata.labels):
                    found[loop.Request(*informer.key_of(one_job))] = None
            return found
        if old is None:
            self._expectations.saw_creation(reference.uid)
        if new is None or pod.metadata.deletionTimestamp is not None:
            self._expectations.saw_deletion(reference.uid, pod.metadata.uid or "")
        return found

    async def _claim(self, current: batch_v1.Job) -> list[core_v1.Pod]:
        assert current.metadata and current.spec
        uid, namespace = current.metadata.uid or "", current.metadata.namespace or ""
        orphans = [pod for pod in self._pods.by_index(owners.INDEX, "") if informer.key_of(pod)[0] == namespace]
        candidates = [*self._pods.by_index(owners.INDEX, uid), *orphans]
        return await claims.claim(self._client, current, candidates, current.spec.selector)

    async def _release_orphans(self, request: loop.Request, current: batch_v1.Job | None) -> None:
        """Let pods go whose Job is gone or going: nobody will count them."""
        uid = (current.metadata.uid or "") if current is not None and current.metadata else ""
        going = current is not None and current.metadata is not None and current.metadata.deletionTimestamp is not None
        for pod in self._pods.list(request.namespace):
            reference = owners.controller_of(pod)
            if reference is None or reference.kind != "Job" or reference.name != request.name:
                continue
            if job.is_tracked(pod) and (reference.uid != uid or going):
                await self._release(pod)

    async def _release(self, pod: core_v1.Pod) -> None:
        assert pod.metadata
        namespace, name = informer.key_of(pod)
        body = {"metadata": {"uid": pod.metadata.uid, "$deleteFromPrimitiveList/finalizers": [job.FINALIZER]}}
        with contextlib.suppress(errors.NotFound, errors.Conflict):
            await self._client.patch(core_v1.Pod, name, body, PatchType.STRATEGIC, namespace=namespace)

    async def _act(self, current: batch_v1.Job, step: job.Plan) -> errors.StatusError | None:
        assert current.metadata
        uid = current.metadata.uid or ""

        async def create_one(index: int | None) -> None:
            try:
                created = await self._client.create(job.pod_for(current, index))
            except errors.StatusError as err:
                if not batches.is_namespace_going(err):
                    self._recorder.warning(current, "FailedCreate", f"Error creating: {err}")
                raise
            self._recorder.normal(current, "SuccessfulCreate", f"Created pod: {informer.key_of(created)[1]}")

        async def delete_one(pod: core_v1.Pod) -> None:
            assert pod.metadata
            namespace, name = informer.key_of(pod)
            try:
                options = DeleteOptions(uid=pod.metadata.uid or "")
                await self._client.delete(core_v1.Pod, name, namespace=namespace, options=options)
            except errors.StatusError as err:
                self._expectations.saw_deletion(uid, pod.metadata.uid or "")
                if not isinstance(err, errors.NotFound):
                    self._recorder.warning(current, "FailedDelete", f"Error deleting: {err}")
                    raise
            else:
                self._recorder.normal(current, "SuccessfulDelete", f"Deleted pod: {name}")

        self._expectations.expect(uid, len(step.create), _uids(step.delete))
        failure = await batches.all_at_once(step.delete, delete_one)
        if step.create:
            succeeded, refused = await batches.slow_start(step.create, create_one)
            self._expectations.saw_creation(uid, len(step.create) - succeeded)
            failure = failure or refused
        return failure


class TtlReconciler:
    """Deletes finished Jobs.

    Args:
        context: Client, informers and clock.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._jobs = context.informers.of(batch_v1.Job)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Delete a Job whose time is over, or say when it will be."""
        current = self._jobs.get(request.namespace, request.name)
        if current is None or current.metadata is None or current.metadata.deletionTimestamp is not None:
            return loop.Result()
        left_s = seconds_to_live(current, self._clock.now())
        if left_s is None:
            return loop.Result()
        if left_s > 0:
            return loop.Result(requeue_after_s=left_s)
        options = DeleteOptions(propagation="Foreground", uid=current.metadata.uid or "")
        with contextlib.suppress(errors.NotFound):
            await self._client.delete(batch_v1.Job, request.name, namespace=request.namespace, options=options)
        return loop.Result()


def seconds_to_live(current: batch_v1.Job, now: datetime) -> float | None:
    """Return how long a finished Job may stay; None if for ever, or if it has not finished."""
    ttl_s = current.spec.ttlSecondsAfterFinished if current.spec else None
    conditions = (current.status.conditions or ()) if current.status else ()
    ended = next(
        (
            one.lastTransitionTime
            for one in conditions
            if one.type in {job.COMPLETE, job.FAILED} and one.status == "True"
        ),
        None,
    )
    if ttl_s is None or ended is None:
        return None
    return ttl_s - (now - ended).total_seconds()


def build(context: Context) -> loop.Controller:
    """Assemble the Job controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("job", reconciler, context)
    controller.watch(batch_v1.Job, loop.itself)
    controller.watch_changes(core_v1.Pod, reconciler.requests_of_pod)
    return controller


def build_ttl(context: Context) -> loop.Controller:
    """Assemble the controller that deletes finished Jobs."""
    controller = loop.Controller("ttl-after-finished", TtlReconciler(context), context)
    controller.watch(batch_v1.Job, loop.itself)
    return controller


def _uids(pods: Sequence[core_v1.Pod]) -> set[str]:
    return {pod.metadata.uid or "" for pod in pods if pod.metadata}
