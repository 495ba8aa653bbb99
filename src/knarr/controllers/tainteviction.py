"""Pods leave nodes with NoExecute taints that they do not tolerate, at once or when their toleration has run out.

Upstream counterpart: pkg/controller/tainteviction.
"""

import contextlib
from collections.abc import Iterable, Sequence
from datetime import datetime

from lightkube.models import core_v1

from knarr.api import errors
from knarr.client import DeleteOptions, PatchType
from knarr.control import Context, informer, loop, tolerations
from knarr.controllers import pods as podinfo


def eviction_delay_s(pod: core_v1.Pod, taints: Sequence[core_v1.Taint], now: datetime) -> float | None:
    """Return in how many seconds a pod has to go: 0 for now, None for never.

    Args:
        pod: On the node.
        taints: The node's, of any effect.
        now: The wall time; each taint's time counts from its timeAdded.
    """
    assert pod.spec
    delays: list[float] = []
    for taint in taints:
        if taint.effect != "NoExecute":
            continue
        matching = [one for one in pod.spec.tolerations or () if tolerations.tolerates(one, taint)]
        if not matching:
            return 0.0
        limits = [one.tolerationSeconds for one in matching if one.tolerationSeconds is not None]
        if limits:
            passed = (now - taint.timeAdded).total_seconds() if taint.timeAdded else 0.0
            delays.append(max(0.0, min(limits) - passed))
    return min(delays, default=None)


class Reconciler:
    """Deletes pods whose time is up.

    Args:
        context: Client, informers, clock and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder
        self._nodes = context.informers.of(core_v1.Node)
        self._pods = context.informers.of(core_v1.Pod)
        self._pods.add_index(podinfo.NODE_INDEX, podinfo.by_node)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Delete a pod, or say when it is to be looked at again."""
        pod = self._pods.get(request.namespace, request.name)
        if pod is None or not podinfo.is_active(pod) or not pod.spec or not pod.spec.nodeName:
            return loop.Result()
        node = self._nodes.get("", pod.spec.nodeName)
        delay_s = eviction_delay_s(pod, _taints(node), self._clock.now())
        if delay_s is None:
            return loop.Result()
        if delay_s > 0:
            return loop.Result(requeue_after_s=delay_s)
        text = f"Marking for deletion Pod {request}"
        self._recorder.normal(pod, "TaintManagerEviction", text)
        with contextlib.suppress(errors.NotFound, errors.Conflict):
            await self._evict(pod)
        return loop.Result()

    def requests_of_node(self, old: core_v1.Node | None, new: core_v1.Node | None) -> Iterable[loop.Request]:
        """Name all pods of a node whose NoExecute taints have changed."""
        if _no_execute(old) == _no_execute(new):
            return ()
        name = informer.key_of(new if new is not None else old)[1]
        return [loop.Request(*informer.key_of(pod)) for pod in self._pods.by_index(podinfo.NODE_INDEX, name)]

    def requests_of_pod(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> Iterable[loop.Request]:
        """Name a pod that has come to a node with such taints, or tolerates others than before."""
        if new is None or new.spec is None or not new.spec.nodeName:
            return ()
        if old is not None and old.spec is not None and _placement(old.spec) == _placement(new.spec):
            return ()
        return loop.itself(new) if _no_execute(self._nodes.get("", new.spec.nodeName)) else ()

    async def _evict(self, pod: core_v1.Pod) -> None:
        assert pod.metadata
        namespace, name = informer.key_of(pod)
        condition = podinfo.disruption(
            "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", self._clock.now()
        )
        await self._client.patch(
            core_v1.Pod,
            name,
            {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}},
            PatchType.STRATEGIC,
            namespace=namespace,
            subresource="status",
        )
        options = DeleteOptions(uid=pod.metadata.uid or "")
        await self._client.delete(core_v1.Pod, name, namespace=namespace, options=options)


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("taint-eviction", reconciler, context, workers=8)
    controller.watch_changes(core_v1.Node, reconciler.requests_of_node)
    controller.watch_changes(core_v1.Pod, reconciler.requests_of_pod)
    return controller


def _taints(node: core_v1.Node | None) -> Sequence[core_v1.Taint]:
    return (node.spec.taints or ()) if node is not None and node.spec else ()


def _no_execute(node: core_v1.Node | None) -> list[core_v1.Taint]:
    return [taint for taint in _taints(node) if taint.effect == "NoExecute"]


def _placement(spec: core_v1.PodSpec) -> tuple[object, ...]:
    return spec.nodeName, spec.tolerations
