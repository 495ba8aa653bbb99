"""Carries out the plans of Jobs, and deletes finished ones whose time to live is over.

Upstream counterpart: pkg/controller/job/job_controller.go and pkg/controller/ttlafterfinished.
"""

import contextlib
from datetime import datetime

from lightkube.models import batch_v1, core_v1, meta_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.client import DeleteOptions, PatchType
from knarr.control import Context, informer, loop, owners
from knarr.controllers import batches, job, statuses
from knarr.controllers.podcontrol import PodControl


class Reconciler:
    """Takes the steps of Jobs.

    Args:
        context: Client, informers, clock and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder
        self._jobs = context.informers.of(batch_v1.Job)
        self.pods = PodControl(context, "Job", self._jobs, _selector_of)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Write the status, let counted pods go, then create and delete."""
        current = self._jobs.get(request.namespace, request.name)
        await self._release_orphans(request, current)
        if current is None or current.metadata is None or current.spec is None:
            return loop.Result()
        if current.metadata.deletionTimestamp is not None or not self.pods.is_settled(current):
            return loop.Result()
        step = job.plan(current, await self.pods.claim(current), self._clock.now())
        if not statuses.is_same(step.status, current.status):
            try:
                current = await self._client.update(replace(current, status=step.status), subresource="status")
            except errors.NotFound:
                return loop.Result()
        for type_, reason, message in step.events:
            self._recorder.event(current, type_, reason, message)
        for pod in step.release:
            await self._release(pod)
        subject = current
        failure = await self.pods.change(
            subject, create=step.create, delete=step.delete, make=lambda index: job.pod_for(subject, index)
        )
        if failure is not None and not batches.is_namespace_going(failure):
            raise failure
        return loop.Result(requeue_after_s=step.again_s)

    async def _release_orphans(self, request: loop.Request, current: batch_v1.Job | None) -> None:
        """Let pods go whose Job is gone or going: nobody will count them."""
        uid = (current.metadata.uid or "") if current is not None and current.metadata else ""
        going = current is not None and current.metadata is not None and current.metadata.deletionTimestamp is not None
        for pod in self.pods.pods.list(request.namespace):
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
    controller.watch_changes(batch_v1.Job, reconciler.pods.requests_of_owner)
    controller.watch_changes(core_v1.Pod, reconciler.pods.requests_of)
    return controller


def build_ttl(context: Context) -> loop.Controller:
    """Assemble the controller that deletes finished Jobs."""
    controller = loop.Controller("ttl-after-finished", TtlReconciler(context), context)
    controller.watch(batch_v1.Job, loop.itself)
    return controller


def _selector_of(current: batch_v1.Job) -> meta_v1.LabelSelector | None:
    return current.spec.selector if current.spec else None
