"""Carries out the plans of Jobs, and deletes finished ones whose time to live is over.

Upstream counterpart: pkg/controller/job/job_controller.go and pkg/controller/ttlafterfinished.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from datetime import datetime

from lightkube.models import batch_v1, core_v1, meta_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.client import DeleteOptions
from knarr.control import Context, informer, loop, owners
from knarr.controllers import batches, job, job_orphans, statuses
from knarr.controllers import job_counts as counts
from knarr.controllers import job_policies as policies
from knarr.controllers.podcontrol import PodControl

TRACKED = "job of tracked pods"


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
        self._written: dict[str, batch_v1.Job] = {}
        self._failures: dict[str, policies.Failures] = {}
        self.pods = PodControl(context, "Job", self._jobs, _selector_of, finalizers=[counts.FINALIZER])
        self.pods.pods.add_index(TRACKED, _job_of)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Delete what goes, write the status, let counted pods go, then create."""
        seen = self._jobs.get(request.namespace, request.name)
        if seen is not None and seen.spec is not None and not job.is_ours(seen):
            return loop.Result()
        await self._release_orphans(request, seen)
        if seen is None or seen.metadata is None or seen.spec is None:
            return loop.Result()
        if seen.metadata.deletionTimestamp is not None or not self.pods.is_settled(seen):
            return loop.Result()
        if seen.spec.completionMode not in (None, "NonIndexed", "Indexed"):
            text = "Skipped Job sync because completion mode is unknown"
            self._recorder.warning(seen, "UnknownCompletionMode", text)
            return loop.Result()
        return await self._step(self._freshest(seen))

    def forget(self, uid: str) -> None:
        """Forget a Job that is gone."""
        self._written.pop(uid, None)
        self._failures.pop(uid, None)

    async def _step(self, current: batch_v1.Job) -> loop.Result:
        assert current.metadata
        uid = current.metadata.uid or ""
        step = job.plan(current, await self.pods.claim(current), self._clock.now(), self._failures.get(uid))
        await asyncio.gather(*(self._release(pod) for pod in step.withdraw))
        await self._change(current, step, delete=[*step.delete, *step.withdraw])
        if not statuses.is_same(step.status, current.status):
            try:
                current = await self._client.update(replace(current, status=step.status), subresource="status")
            except errors.NotFound:
                return loop.Result()
            self._written[uid] = current
        self._failures[uid] = step.failures
        for type_, reason, message in step.events:
            self._recorder.event(current, type_, reason, message)
        await asyncio.gather(*(self._release(pod) for pod in step.release))
        await self._change(current, step, create=step.create)
        return loop.Result(requeue_after_s=step.again_s)

    async def _change(
        self,
        current: batch_v1.Job,
        step: job.Plan,
        *,
        create: Sequence[int | None] = (),
        delete: Sequence[core_v1.Pod] = (),
    ) -> None:
        def make(index: int | None) -> core_v1.Pod:
            return job.pod_for(current, index, step.replaced.get(index) if index is not None else None)

        if create or delete:
            failure = await self.pods.change(current, create=create, delete=delete, make=make)
            if failure is not None and not batches.is_namespace_going(failure):
                raise failure

    def _freshest(self, seen: batch_v1.Job) -> batch_v1.Job:
        """Return the Job as last seen or as last written, whichever is newer: a count must never go back."""
        assert seen.metadata
        written = self._written.get(seen.metadata.uid or "")
        if written is None or written.metadata is None:
            return seen
        return written if _revision(written) > _revision(seen) else seen

    async def _release_orphans(self, request: loop.Request, current: batch_v1.Job | None) -> None:
        """Let pods go whose Job is gone or going: nobody will count them."""
        uid = (current.metadata.uid or "") if current is not None and current.metadata else ""
        going = current is not None and current.metadata is not None and current.metadata.deletionTimestamp is not None
        for pod in self.pods.pods.by_index(TRACKED, str(request)):
            reference = owners.controller_of(pod)
            if reference is not None and (reference.uid != uid or going):
                await self._release(pod)

    async def _release(self, pod: core_v1.Pod) -> None:
        assert pod.metadata
        with contextlib.suppress(errors.Conflict):
            await job_orphans.release(self._client, pod, {"uid": pod.metadata.uid})


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

    def forget(old: batch_v1.Job | None, new: batch_v1.Job | None) -> None:
        if new is None and old is not None and old.metadata:
            reconciler.forget(old.metadata.uid or "")

    controller.watch_changes(batch_v1.Job, reconciler.pods.requests_of_owner).on_change(forget)
    controller.watch_changes(core_v1.Pod, reconciler.pods.requests_of)
    controller.beside(job_orphans.build(context).run)
    return controller


def build_ttl(context: Context) -> loop.Controller:
    """Assemble the controller that deletes finished Jobs."""
    controller = loop.Controller("ttl-after-finished", TtlReconciler(context), context)
    controller.watch(batch_v1.Job, loop.itself)
    return controller


def _selector_of(current: batch_v1.Job) -> meta_v1.LabelSelector | None:
    return current.spec.selector if current.spec else None


def _job_of(pod: core_v1.Pod) -> Iterable[str]:
    """Index pods that have not been counted by namespace and name of their Job."""
    reference = owners.controller_of(pod)
    if reference is None or reference.kind != "Job" or not counts.is_tracked(pod):
        return ()
    return (f"{informer.key_of(pod)[0]}/{reference.name}",)


def _revision(current: batch_v1.Job) -> int:
    text = (current.metadata.resourceVersion or "") if current.metadata else ""
    return int(text) if text.isdigit() else 0
