"""Removes pods that nobody else will: of nodes that are gone, terminating without a node, and too many finished ones.

Upstream counterpart: pkg/controller/podgc.
"""

import logging
from collections.abc import Collection, Iterable, Sequence

from lightkube.models import core_v1

from knarr.api import errors
from knarr.client import DeleteOptions, PatchType
from knarr.control import Context, informer
from knarr.controllers import pods as podinfo

PERIOD_S = 20.0
QUARANTINE_S = 40.0
"""How long a node must be missing before its pods are taken for orphans."""
TERMINATED_LIMIT = 12_500
"""Most finished pods kept. Source: kube-controller-manager --terminated-pod-gc-threshold."""
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"

logger = logging.getLogger(__name__)


def orphans(pods: Sequence[core_v1.Pod], missing_nodes: Collection[str]) -> list[core_v1.Pod]:
    """Return the pods assigned to nodes that have been missing for longer than the quarantine."""
    return [pod for pod in pods if pod.spec and pod.spec.nodeName in missing_nodes]


def unscheduled_terminating(pods: Sequence[core_v1.Pod]) -> list[core_v1.Pod]:
    """Return the pods that are being deleted and were never assigned to a node, whose agent would finish them."""
    return [
        pod for pod in pods if pod.metadata and pod.metadata.deletionTimestamp and pod.spec and not pod.spec.nodeName
    ]


def surplus_terminated(pods: Sequence[core_v1.Pod], limit: int = TERMINATED_LIMIT) -> list[core_v1.Pod]:
    """Return the oldest finished pods beyond `limit`; a limit of 0 or less keeps all."""
    if limit <= 0:
        return []
    done = [pod for pod in pods if podinfo.phase(pod) in {"Succeeded", "Failed"} and _created(pod)]
    done.sort(key=lambda pod: (_created(pod), pod.metadata.name if pod.metadata else ""))
    return done[: max(0, len(done) - limit)]


def out_of_service(pods: Sequence[core_v1.Pod], nodes: Iterable[core_v1.Node]) -> list[core_v1.Pod]:
    """Return the terminating pods of nodes that are not ready and have been declared out of service."""
    names = {informer.key_of(node)[1] for node in nodes if _is_out_of_service(node)}
    return [pod for pod in pods if podinfo.is_terminating(pod) and pod.spec and pod.spec.nodeName in names]


class PodGc:
    """Looks at all pods from time to time.

    Args:
        context: Client, informers and clock.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._informers = context.informers
        self._pods = context.informers.of(core_v1.Pod)
        self._nodes = context.informers.of(core_v1.Node)
        self._missing: dict[str, float] = {}

    async def run(self) -> None:
        """Look, remove, wait, until cancelled."""
        await self._informers.wait_synced()
        while True:
            await self.collect()
            await self._clock.sleep(PERIOD_S)

    async def collect(self) -> None:
        """Remove what nobody else will."""
        pods = self._pods.list()
        for pod in surplus_terminated(pods):
            await self._delete(pod, "")
        for pod in out_of_service(pods, self._nodes.list()):
            await self._delete(pod, "PodGC: node is out of service")
        for pod in orphans(pods, await self._missing_nodes(pods)):
            await self._delete(pod, "PodGC: node no longer exists")
        for pod in unscheduled_terminating(pods):
            await self._delete(pod, "")

    async def _missing_nodes(self, pods: Sequence[core_v1.Pod]) -> set[str]:
        """Return the nodes that have been missing for longer than the quarantine and that the API does not know either."""
        known = {informer.key_of(node)[1] for node in self._nodes.list()}
        named = {pod.spec.nodeName for pod in pods if pod.spec and pod.spec.nodeName}
        now_s = self._clock.monotonic_s()
        self._missing = {name: self._missing.get(name, now_s) for name in named - known}
        missing = set()
        for name, since_s in self._missing.items():
            if now_s - since_s < QUARANTINE_S:
                continue
            try:
                await self._client.get(core_v1.Node, name)
            except errors.NotFound:
                missing.add(name)
        return missing

    async def _delete(self, pod: core_v1.Pod, why: str) -> None:
        assert pod.metadata
        namespace, name = informer.key_of(pod)
        try:
            if podinfo.phase(pod) not in {"Succeeded", "Failed"}:
                status: dict[str, object] = {"phase": "Failed"}
                if why:
                    status["conditions"] = [podinfo.disruption("DeletionByPodGC", why, self._clock.now())]
                await self._client.patch(
                    core_v1.Pod,
                    name,
                    {"status": status},
                    PatchType.STRATEGIC,
                    namespace=namespace,
                    subresource="status",
                )
            options = DeleteOptions(grace_s=0, uid=pod.metadata.uid or "")
            await self._client.delete(core_v1.Pod, name, namespace=namespace, options=options)
        except (errors.NotFound, errors.Conflict):
            pass
        except errors.StatusError as err:
            logger.warning("%s/%s: %s", namespace, name, err)


def build(context: Context) -> PodGc:
    """Assemble the controller."""
    return PodGc(context)


def _is_out_of_service(node: core_v1.Node) -> bool:
    ready = next((one for one in (node.status.conditions or ()) if one.type == "Ready"), None) if node.status else None
    is_ready = ready is not None and ready.status == "True"
    taints = (node.spec.taints or ()) if node.spec else ()
    return not is_ready and any(taint.key == OUT_OF_SERVICE for taint in taints)


def _created(pod: core_v1.Pod) -> str:
    created = pod.metadata.creationTimestamp if pod.metadata else None
    return created.isoformat() if created else ""
