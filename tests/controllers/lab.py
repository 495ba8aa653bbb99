"""A control plane in this process on virtual time, with nodes that only say that they run their pods."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from random import Random
from typing import Any

import msgspec
from lightkube.models import coordination_v1, core_v1, meta_v1

from knarr.api import errors
from knarr.api.user import User
from knarr.apiserver.config import Config
from knarr.apiserver.server import open_apiserver
from knarr.client import Client, DeleteOptions, PatchType, transport
from knarr.control import context as contexts
from knarr.control import informer, leader
from knarr.controllers import localpath, roster
from knarr.kit.clock import FakeClock
from knarr.kit.http.messages import Headers, Request, Response
from knarr.kit.tasks import Supervisor
from knarr.scheduler import scheduler
from knarr.store.memory import MemoryBackend

STEP_S = 0.1
Condition = Callable[[], Awaitable[Any]]


class Lab:
    """What tests hold on to.

    Attributes:
        client: An administrator's.
        clock: Everybody's.
        nodes: The simulated ones.
        server: The API server.
    """

    def __init__(self, client: Client, clock: FakeClock, server: Any) -> None:
        self.client = client
        self.clock = clock
        self.server = server
        self.nodes = Nodes(client, clock)
        self.extensions: dict[str, Callable[[Request], Any]] = {}

    async def handle(self, request: Request) -> Response:
        """Answer the controllers: what an extension server would, by the beginning of the path, else as the API server."""
        for prefix, answer in self.extensions.items():
            if request.path.startswith(prefix):
                headers = Headers([("content-type", "application/json")])
                return Response(200, headers, msgspec.json.encode(answer(request)))
        response: Response = await self.server.handler(request)
        return response

    async def until(self, condition: Condition, *, seconds: float = 30.0) -> Any:
        """Let virtual time pass until a condition holds, and return what it gave."""
        left = seconds
        while not (found := await self._holds(condition)):
            if left <= 0:
                raise AssertionError(f"not within {seconds} s of virtual time")
            await self.clock.advance(STEP_S)
            left -= STEP_S
        return found

    async def settle(self, seconds: float = 1.0) -> None:
        """Let virtual time pass."""
        for _ in range(round(seconds / STEP_S)):
            await self.clock.advance(STEP_S)

    async def _holds(self, condition: Condition) -> Any:
        try:
            return await condition()
        except errors.NotFound:
            return None

    async def pods(self, namespace: str = "default", labels: str = "") -> list[core_v1.Pod]:
        """Return pods that are not on their way out."""
        page = await self.client.list(core_v1.Pod, namespace=namespace, labels=labels)
        return [pod for pod in page.items if pod.metadata and not pod.metadata.deletionTimestamp]

    async def events(self, reason: str) -> list[str]:
        """Return the messages of events with a reason."""
        return [
            event.message or "" for event in (await self.client.list(core_v1.Event)).items if event.reason == reason
        ]


class Nodes:
    """Simulated nodes: their pods run, are ready, and end when they are deleted."""

    def __init__(self, client: Client, clock: FakeClock) -> None:
        self._client = client
        self._clock = clock
        self._addresses = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self.exit_codes: dict[str, int] = {}
        self.fails: Callable[[core_v1.Pod], bool] = lambda pod: False
        self.unready: set[str] = set()
        self.beating: set[str] = set()

    async def add(self, name: str, *, cpu: str = "8", labels: dict[str, str] | None = None) -> None:
        """Register a node that is ready and stays so."""
        ready = core_v1.NodeCondition(
            type="Ready", status="True", reason="KubeletReady", lastHeartbeatTime=self._clock.now()
        )
        node = core_v1.Node(
            metadata=meta_v1.ObjectMeta(
                name=name, labels={"kubernetes.io/hostname": name, localpath.SIMULATED: "lab", **(labels or {})}
            ),
            spec=core_v1.NodeSpec(),
        )
        await self._client.create(node)
        status = {
            "capacity": {"cpu": cpu, "memory": "16Gi", "pods": "110"},
            "allocatable": {"cpu": cpu, "memory": "16Gi", "pods": "110"},
            "conditions": [ready],
        }
        await self._client.patch(core_v1.Node, name, {"status": status}, PatchType.MERGE, subresource="status")
        spec = coordination_v1.LeaseSpec(
            holderIdentity=name, leaseDurationSeconds=40, renewTime=leader.micro_time(self._clock.now())
        )
        meta = meta_v1.ObjectMeta(name=name, namespace="kube-node-lease")
        await self._client.create(coordination_v1.Lease(metadata=meta, spec=spec))
        self.beating.add(name)

    async def run(self, informers: informer.Informers) -> None:
        """Play the nodes' part."""
        informers.of(core_v1.Pod).on_change(self._observe)
        while True:
            await self._clock.sleep(10)
            for name in self.beating:
                body = {"spec": {"renewTime": leader.micro_time(self._clock.now())}}
                await self._client.patch(
                    coordination_v1.Lease, name, body, PatchType.MERGE, namespace="kube-node-lease"
                )

    def _observe(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        if new is None or not new.spec or not new.spec.nodeName or new.spec.nodeName not in self.beating:
            return
        task = asyncio.get_running_loop().create_task(self._play(new))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _play(self, pod: core_v1.Pod) -> None:
        assert pod.metadata and pod.spec
        namespace, name = informer.key_of(pod)
        with contextlib.suppress(errors.NotFound, errors.Conflict):
            if pod.metadata.deletionTimestamp:
                await self._client.delete(
                    core_v1.Pod,
                    name,
                    namespace=namespace,
                    options=DeleteOptions(grace_s=0, uid=pod.metadata.uid or ""),
                )
            elif not pod.status or pod.status.phase in (None, "Pending"):
                body = {"status": self._status(pod)}
                await self._client.patch(
                    core_v1.Pod, name, body, PatchType.MERGE, namespace=namespace, subresource="status"
                )

    def _status(self, pod: core_v1.Pod) -> dict[str, Any]:
        assert pod.spec
        container = pod.spec.containers[0]
        address = f"10.0.0.{next(self._addresses)}"
        code = 1 if self.fails(pod) else self.exit_codes.get(container.image or "")
        now = self._clock.now().replace(microsecond=0)
        is_ready = code is None and (container.image or "") not in self.unready
        conditions = [
            core_v1.PodCondition(type="PodScheduled", status="True"),
            core_v1.PodCondition(type="Ready", status="True" if is_ready else "False", lastTransitionTime=now),
        ]
        status: dict[str, Any] = {
            "phase": "Running" if code is None else ("Failed" if code else "Succeeded"),
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": now,
            "conditions": conditions,
        }
        if code is not None:
            ended = {"exitCode": code, "finishedAt": now}
            status["containerStatuses"] = [
                {
                    "name": container.name, "image": "", "imageID": "", "ready": False, "restartCount": 0,
                    "state": {"terminated": ended},
                }
            ]  # fmt: skip
        return status


@contextlib.asynccontextmanager
async def open_lab(*nodes: str, controllers: Sequence[str] = ("*",)) -> AsyncIterator[Lab]:
    """Start a control plane with some controllers, as `roster.select` names them, and some nodes."""
    logging.getLogger("knarr").setLevel(logging.WARNING)
    clock, random = FakeClock(), Random(1)
    async with contextlib.AsyncExitStack() as stack:
        config = Config(backend=MemoryBackend(), clock=clock, random=random)
        server = await stack.enter_async_context(open_apiserver(config))
        tasks = Supervisor("server", clock=clock, random=random)
        options = contexts.Options(root_ca="CERTIFICATE", cluster_cidr="10.244.0.0/16")
        admin = User("admin", ("system:masters", "system:authenticated"))
        client = Client(transport.InProcessTransport(server.handler, admin), clock=clock)
        lab = Lab(client, clock, server)

        def control(context: contexts.Context, tasks: Supervisor) -> None:
            roster.run(context, tasks, roster.select(controllers))

        for name, start in (("kube-controller-manager", control), ("kube-scheduler", scheduler.run)):
            client_for = contexts.in_process(lab.handle, name, clock)
            opened = contexts.open_context(client_for, name, clock=clock, random=random, options=options)
            start(await stack.enter_async_context(opened), tasks)
        await localpath.ensure(client, root="/var/lib/knarr/lab/storage")
        informers = await stack.enter_async_context(informer.Informers(client, clock, random))
        await stack.enter_async_context(tasks)
        for node in nodes:
            await lab.nodes.add(node)
        tasks.run("nodes", lambda: lab.nodes.run(informers))
        # Without its account a namespace takes no pods.
        await lab.until(lambda: client.get(core_v1.ServiceAccount, "default", namespace="default"))
        yield lab
