"""Pods that a Job has left behind: nobody will count them, so the finalizer that waits for it goes.

A pod becomes one when somebody takes its owner reference away. If a Job adopts it, it gives the finalizer anew.

Upstream counterpart: syncOrphanPod in pkg/controller/job/job_controller.go (v1.37).
"""

import contextlib
from collections.abc import Iterable, Mapping

from lightkube.models import core_v1

from knarr.api import errors
from knarr.client import Client, PatchType
from knarr.control import Context, informer, loop, owners
from knarr.controllers import job_counts as counts


class Reconciler:
    """Lets orphans go.

    Args:
        context: Client and informers.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._pods = context.informers.of(core_v1.Pod)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Take the finalizer from a pod, unless it has been adopted since."""
        pod = self._pods.get(request.namespace, request.name)
        if pod is not None and pod.metadata is not None and is_orphan(pod):
            # A Job that adopts the pod at this moment changes its version; then the finalizer is the Job's.
            known = {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resourceVersion}
            await release(self._client, pod, known)
        return loop.Result()


def is_orphan(pod: core_v1.Pod) -> bool:
    """Tell whether a pod waits to be counted by a Job that it does not belong to any more."""
    return counts.is_tracked(pod) and owners.controller_of(pod) is None


async def release(client: Client, pod: core_v1.Pod, known: Mapping[str, str | None]) -> None:
    """Take the finalizer from a pod; one that is gone needs nothing.

    Args:
        client: Writes it.
        pod: The pod.
        known: What of its metadata must be as it was: uid, resourceVersion.

    Raises:
        Conflict: It is not.
    """
    namespace, name = informer.key_of(pod)
    body = {"metadata": {**known, "$deleteFromPrimitiveList/finalizers": [counts.FINALIZER]}}
    with contextlib.suppress(errors.NotFound):
        await client.patch(core_v1.Pod, name, body, PatchType.STRATEGIC, namespace=namespace)


def build(context: Context) -> loop.Controller:
    """Assemble the loop."""
    controller = loop.Controller("job-orphan-pods", Reconciler(context), context)
    controller.watch_changes(core_v1.Pod, _requests)
    return controller


def _requests(_: core_v1.Pod | None, pod: core_v1.Pod | None) -> Iterable[loop.Request]:
    return loop.itself(pod) if pod is not None and is_orphan(pod) else ()
