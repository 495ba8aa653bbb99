"""All pods of this node: one worker each, told what concerns it; and the end of what no pod of the API stands behind.

Counterpart: pkg/kubelet/kubelet.go syncLoop, kubelet_pods.go HandlePodCleanups, pkg/kubelet/pleg (v1.37).
"""

import asyncio
import logging
import shutil
from collections import defaultdict

from lightkube.models import core_v1

from knarr.control.informer import Informer
from knarr.kit.tasks import Supervisor
from knarr.node.pods import spec as specs
from knarr.node.pods.admit import Rejection, admit
from knarr.node.pods.tools import Tools
from knarr.node.pods.worker import Worker
from knarr.node.runtime.errors import RuntimeFailure
from knarr.node.runtime.runtime import Container, Event, Sandbox
from knarr.node.volumes.pod import remove_folder
from knarr.node.waiting import wait_set

RELIST_S = 60.0
"""Events are hints: everything is compared this often all the same."""
RECONNECT_S = 0.2
ORPHAN_GRACE_S = 30

logger = logging.getLogger(__name__)


class Roster:
    """The workers of this node's pods.

    Args:
        tools: The node.
        pods: The pods bound to it.
        node: The one Node object.
        supervisor: Looks after the workers.
    """

    def __init__(
        self, tools: Tools, pods: Informer[core_v1.Pod], node: Informer[core_v1.Node], supervisor: Supervisor
    ) -> None:
        self._tools = tools
        self._node = node
        self._pods = pods
        self._supervisor = supervisor
        self._workers: dict[str, Worker] = {}
        self._listed: dict[str, tuple[list[Sandbox], list[Container]]] = {}
        self._relist = asyncio.Event()
        self._orphans: set[str] = set()

    def get(self, namespace: str, name: str) -> Worker | None:
        """Return the worker of a pod by its name; of several, the one that the API still has."""
        found = [w for w in self._workers.values() if _is_named(w.pod, namespace, name)]
        known = self._pods.get(namespace, name)
        uid = specs.uid_of(known) if known is not None else ""
        return next((w for w in found if w.uid == uid), found[-1] if found else None)

    def by_uid(self, uid: str) -> Worker | None:
        """Return the worker of a pod by its uid."""
        return self._workers.get(uid)

    @property
    def workers(self) -> list[Worker]:
        """All workers, in the order in which their pods came."""
        return [*self._workers.values()]

    async def run(self) -> None:
        """Work until cancelled: take over what runs, then follow API and runtime."""
        await self._pods.wait_synced()
        await self._tools.services.wait_synced()
        self._listed = await self._list()
        self._pods.on_change(self._on_change)
        self._listed = {}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="container events")
            group.create_task(self._compare(), name="container relist")

    async def _follow(self) -> None:
        while True:
            try:
                async for event in self._tools.runtime.events():
                    self._dispatch(event)
            except RuntimeFailure as err:
                logger.info("container events: %s", err)
            await self._tools.clock.sleep(RECONNECT_S)
            self._relist.set()

    async def _compare(self) -> None:
        self._relist.set()
        while True:
            await wait_set(self._relist, self._tools.clock, RELIST_S)
            self._relist.clear()
            before = {worker.uid: worker.acted for worker in self.workers}
            try:
                await self._tell(await self._list(), before)
            except RuntimeFailure as err:
                logger.debug("relist: %s", err)

    async def _list(self) -> dict[str, tuple[list[Sandbox], list[Container]]]:
        runtime = self._tools.runtime
        while True:
            try:
                sandboxes, containers = await asyncio.gather(runtime.list_sandboxes(), runtime.list_containers())
                break
            except RuntimeFailure as err:
                logger.info("cannot list containers: %s", err)
                await self._tools.clock.sleep(RECONNECT_S)
        found: dict[str, tuple[list[Sandbox], list[Container]]] = defaultdict(lambda: ([], []))
        for sandbox in sandboxes:
            found[sandbox.uid][0].append(sandbox)
        for container in containers:
            found[container.labels.get(specs.POD_UID, "")][1].append(container)
        return found

    async def _tell(self, listed: dict[str, tuple[list[Sandbox], list[Container]]], before: dict[str, int]) -> None:
        for worker in self.workers:
            # What a worker makes or made meanwhile is not in the list.
            if not worker.is_busy and before.get(worker.uid) == worker.acted:
                await worker.adopt(*listed.get(worker.uid, ([], [])))
        for uid, (sandboxes, containers) in listed.items():
            if uid and uid not in self._workers and uid not in self._orphans:
                self._orphans.add(uid)
                self._supervisor.once(f"orphan {uid}", self._end_orphan(uid, sandboxes, containers))
        self._remove_left_behind()

    def _dispatch(self, event: Event) -> None:
        for worker in self._workers.values():
            if event.id in worker.observed:
                worker.notice(event)
                return

    def _on_change(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        if old is not None and (new is None or specs.uid_of(old) != specs.uid_of(new)):
            worker = self._workers.get(specs.uid_of(old))
            if worker is not None:
                worker.lose()
        if new is None:
            return
        worker = self._workers.get(specs.uid_of(new))
        if worker is not None:
            worker.update(new)
        else:
            self._begin(new)

    def _begin(self, pod: core_v1.Pod) -> None:
        uid = specs.uid_of(pod)
        known = self._listed.get(uid)
        rejection = None if known is not None else self._admit(pod)
        worker = self._workers[uid] = Worker(pod, self._tools, *(known or ([], [])), others=lambda: self._others(uid))
        if rejection is not None:
            worker.reject(rejection.reason, rejection.message)

        async def run() -> None:
            await worker.run()
            self._workers.pop(uid, None)

        self._supervisor.run(f"pod {specs.format_pod(pod)}", run)

    def _admit(self, pod: core_v1.Pod) -> Rejection | None:
        """Decide about a pod that is new here."""
        status, metadata = pod.status, pod.metadata
        assert metadata is not None
        if (status is not None and status.startTime is not None) or metadata.deletionTimestamp is not None:
            return None
        node = self._node.get("", self._tools.node.name)
        return admit(pod, self._others(specs.uid_of(pod)), allocatable=self._tools.node.allocatable, node=node)

    def _others(self, uid: str) -> list[core_v1.Pod]:
        """Return the pods beside one that run here or will."""
        return [worker.pod for worker in self._workers.values() if worker.uid != uid and not worker.is_ending]

    async def _end_orphan(self, uid: str, sandboxes: list[Sandbox], containers: list[Container]) -> None:
        """End what belongs to a pod that the API does not have."""
        runtime = self._tools.runtime
        logger.info("ending the containers of pod %s, which the API does not have", uid)
        try:
            await asyncio.gather(*(runtime.stop_container(c.id, timeout_s=ORPHAN_GRACE_S) for c in containers))
            for sandbox in sandboxes:
                await runtime.stop_sandbox(sandbox.id)
                await runtime.remove_sandbox(sandbox.id)
        except RuntimeFailure as err:
            logger.warning("orphaned pod %s: %s", uid, err)
        finally:
            self._orphans.discard(uid)
        self._relist.set()

    def _remove_left_behind(self) -> None:
        """Remove folders, logs and groups of pods that are neither in the API nor in the runtime."""
        known = self._workers.keys() | self._orphans
        folder = self._tools.node.root / "pods"
        if folder.is_dir():
            for entry in folder.iterdir():
                if entry.name not in known:
                    remove_folder(entry)
        for entry in self._tools.node.logs.iterdir():
            if entry.name.rpartition("_")[2] not in known:
                shutil.rmtree(entry, ignore_errors=True)
        for uid, qos in self._tools.node.cgroups.list_pods().items():
            if uid not in known:
                self._tools.node.cgroups.remove_pod(uid, qos)


def _is_named(pod: core_v1.Pod, namespace: str, name: str) -> bool:
    return specs.name_of(pod) == name and specs.namespace_of(pod) == namespace
