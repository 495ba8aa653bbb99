"""Carrying out what was planned for one pod.

Sandboxes and containers are started one after the other in one lane; containers are ended side by side, at any time. What fails is held
back for a while; what failed for want of an object is tried again as soon as that object changes.
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from lightkube.models import core_v1

from knarr.kit.backoff import Curve
from knarr.node.pods import resizing, start
from knarr.node.pods import spec as specs
from knarr.node.pods.errors import ConfigFailed, MountFailed, StartFailed
from knarr.node.pods.observe import Observed
from knarr.node.pods.plan import Action, Reclaim, Resize, RunSandbox, Start, StopContainer, StopSandbox
from knarr.node.pods.resources import qos_class
from knarr.node.pods.stopping import stop_container
from knarr.node.pods.tools import Tools
from knarr.node.pods.view import Retry, Waiting
from knarr.node.pods.volumes import Keeper
from knarr.node.runtime.errors import RuntimeFailure
from knarr.node.runtime.runtime import Container, ContainerState
from knarr.node.volumes.pod import remove_folder

RETRY = Curve(first_s=1.0, limit_s=10.0)
"""Between attempts at what failed for a reason without a pause of its own."""
_PULL_REASONS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull")

InLane = RunSandbox | Start | StopSandbox | Resize

logger = logging.getLogger(__name__)


class Actions:
    """Acts for one pod.

    Attributes:
        waiting: By container name: why its next start waits.
        retries: By container name: its backoff.
        applied: By container id: the resources that it runs with, as far as known.
        count: Grows with each action: a list made before the last one is out of date.
        reclaimed: Whether what the pod held is given back.

    Args:
        pod: Gives the newest version of the pod.
        tools: The node.
        observed: What the runtime has; brought up to date after each action.
        volumes: The pod's volumes.
        wake: Called when something is done.
    """

    def __init__(
        self,
        pod: Callable[[], core_v1.Pod],
        tools: Tools,
        observed: Observed,
        volumes: Keeper,
        wake: Callable[[], None],
    ) -> None:
        self._get_pod = pod
        self._tools = tools
        self._observed = observed
        self._volumes = volumes
        self._wake = wake
        self._lane: asyncio.Task[None] | None = None
        self._stops: dict[str, tuple[asyncio.Task[None], int]] = {}
        self._hooked: set[str] = set()
        self._reclaiming: asyncio.Task[None] | None = None
        self._held: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._missing: set[str] = set()
        self._next_retries: dict[str, Retry] = {}
        self._replaced: set[str] = set()
        self.applied: dict[str, core_v1.ResourceRequirements | None] = {}
        self.waiting: dict[str, Waiting] = {}
        self.retries: dict[str, Retry] = {}
        self.count = 0
        self.reclaimed = False

    @property
    def is_starting(self) -> bool:
        """Whether the lane is in use."""
        return self._lane is not None and not self._lane.done()

    @property
    def is_busy(self) -> bool:
        """Whether something is being made or ended right now."""
        return self.is_starting or bool(self._stops)

    @property
    def stopping(self) -> frozenset[str]:
        """Ids of containers that are being ended."""
        return frozenset(self._stops)

    def begin(self, actions: Iterable[Action], retries: dict[str, Retry]) -> None:
        """Begin what was planned, as far as it is not under way or held back."""
        lane: list[InLane] = []
        for action in actions:
            if isinstance(action, StopContainer):
                self._begin_stop(action)
            elif isinstance(action, Reclaim):
                if self._reclaiming is None or self._reclaiming.done():
                    self._reclaiming = self._spawn("reclaim", self._reclaim())
            else:
                lane.append(action)
        now_s = self._tools.clock.now().timestamp()
        due = [action for action in lane if self._held.get(_key(action), 0.0) <= now_s]
        if due and not self.is_starting:
            self._next_retries = retries
            self._lane = self._spawn("lane", self._run_lane(due))

    def is_replacing(self, actions: Iterable[Action]) -> bool:
        """Tell whether a container was ended here and the next one in its place is on its way: nobody need know of the moment between."""
        starts = {action.name for action in actions if isinstance(action, Start)}
        return any(name not in self._held and name not in self.waiting for name in starts & self._replaced)

    def next_due_s(self, now_s: float) -> list[float]:
        """Return when what is held back may be tried again."""
        return [until_s for until_s in self._held.values() if until_s > now_s]

    def retry_missing(self) -> None:
        """Try again at once what failed for want of an object."""
        for key in self._missing:
            self._held.pop(key, None)
        self._missing.clear()
        self._wake()

    def hurry(self, grace_s: int) -> None:
        """Stop waiting for containers that got more time than `grace_s`, so that they are ended anew."""
        for id_, (task, given_s) in [*self._stops.items()]:
            if given_s > grace_s:
                task.cancel()
                del self._stops[id_]

    async def clear_lane(self) -> None:
        """Break off what is being started: the pod ends."""
        lane, self._lane = self._lane, None
        if lane is None or lane.done():
            return
        lane.cancel()
        await asyncio.wait([lane])
        # What was being made then may be there all the same.
        with contextlib.suppress(RuntimeFailure):
            uid = specs.uid_of(self._pod)
            runtime = self._tools.runtime
            await self._observed.compare(await runtime.list_sandboxes(uid=uid), await runtime.list_containers(uid=uid))

    async def clean_up(self) -> None:
        """Remove what is left of a pod that the API no longer has.

        Raises:
            RuntimeFailure: Not everything could be removed.
        """
        for container in self._observed.containers:
            await self._tools.runtime.remove_container(container.id)
        for sandbox in self._observed.sandboxes:
            await self._tools.runtime.remove_sandbox(sandbox.id)
        self._tools.images.forget(specs.uid_of(self._pod))
        await asyncio.to_thread(_remove_files, self._tools, self._pod)

    def cancel(self) -> None:
        """Drop everything: the agent ends."""
        for task in (self._lane, self._reclaiming, *(task for task, _ in self._stops.values())):
            if task is not None:
                task.cancel()

    @property
    def _pod(self) -> core_v1.Pod:
        return self._get_pod()

    def _spawn(self, what: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.count += 1
        task = asyncio.create_task(work, name=f"{what} {specs.format_pod(self._pod)}")
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (err := task.exception()) is not None:
            logger.error("%s failed", task.get_name(), exc_info=err)
        self._wake()

    # The lane.

    async def _run_lane(self, actions: list[InLane]) -> None:
        for action in actions:
            key = _key(action)
            try:
                await self._run(action)
            except StartFailed as err:
                self._on_start_failed(key, err)
            except MountFailed as err:
                self._tools.tell(self._pod, "Warning", "FailedMount", str(err))
                self._hold(key)
                self._missing.add(key)
            except RuntimeFailure as err:
                if isinstance(action, RunSandbox):
                    text = f"Failed to create pod sandbox: {err}"
                    self._tools.tell(self._pod, "Warning", "FailedCreatePodSandBox", text)
                logger.info("%s: %s", specs.format_pod(self._pod), err)
                self._hold(key)
            else:
                self._failures.pop(key, None)
                self._held.pop(key, None)
            self._wake()

    async def _run(self, action: InLane) -> None:
        if isinstance(action, RunSandbox):
            await self._run_sandbox(action)
        elif isinstance(action, StopSandbox):
            await self._tools.runtime.stop_sandbox(action.id)
            await self._observed.look_at_sandbox(action.id)
        elif isinstance(action, Resize):
            await resizing.apply(self._pod, action.ids, self._observed, self._tools, self.applied)
        else:
            await self._start(action)

    def _hold(self, key: str, seconds: float | None = None) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause_s = RETRY.delay_s(failures) if seconds is None else seconds
        self._held[key] = self._tools.clock.now().timestamp() + pause_s

    def _on_start_failed(self, name: str, err: StartFailed) -> None:
        self.waiting[name] = Waiting(err.reason, err.message)
        if err.event:
            text = err.reason if err.reason in _PULL_REASONS else err.message
            self._tools.tell(self._pod, "Warning", err.event, f"Error: {text}", container=name)
        self._hold(name, err.retry_s)
        if isinstance(err, ConfigFailed):
            self._missing.add(name)

    async def _run_sandbox(self, action: RunSandbox) -> None:
        pod = self._pod
        if action.attempt:
            text = "Pod sandbox changed, it will be killed and re-created."
            self._tools.tell(pod, "Normal", "SandboxChanged", text)
        start.make_folders(pod, self._tools)
        await self._volumes.set_up()
        handler = await start.runtime_handler(pod, self._tools)
        sandbox_id = await start.run_sandbox(pod, self._tools, attempt=action.attempt, handler=handler)
        await self._observed.look_at_sandbox(sandbox_id)

    async def _start(self, action: Start) -> None:
        pod = self._pod
        container = specs.find_container(pod, action.name)
        sandbox = next((s for s in self._observed.sandboxes if s.ready), None)
        if container is None or sandbox is None:
            return
        if not self._volumes.are_ready:  # adopted: the volumes are there, but not known here
            start.make_folders(pod, self._tools)
            await self._volumes.set_up()
        ips = self._tools.node.ips if specs.is_host_network(pod) else sandbox.ips
        place = start.Place(sandbox, ips, self._volumes.volumes, self.retry_missing)
        target_id = start.target_of(container, self._observed.containers)
        container_id = await start.create_container(
            pod, container, place, self._tools, attempt=action.attempt, target_id=target_id
        )
        if action.name in self._next_retries:
            self.retries[action.name] = self._next_retries[action.name]
        # Known before it starts, so that its end is noticed however soon it comes.
        self.applied[container_id] = container.resources
        self._observed.expect(_created(container_id, container.name, sandbox.id, action.attempt, self._tools))
        try:
            await start.start_container(pod, container, container_id, self._tools)
        finally:
            await self._observed.look_at_container(container_id, sandbox_id=sandbox.id)
        self._replaced.discard(action.name)
        self.waiting.pop(action.name, None)
        self._wake()
        await start.run_post_start(pod, container, container_id, place, self._tools)
        await self._remove_superfluous()

    async def _remove_superfluous(self) -> None:
        containers, sandboxes = self._observed.superfluous()
        for container in containers:
            await self._tools.runtime.remove_container(container.id)
            self._observed.forget(container.id)
            self.applied.pop(container.id, None)
            folder = self._tools.node.log_folder(self._pod) / container.name
            for path in folder.glob(f"{container.attempt}.log*"):
                path.unlink(missing_ok=True)
        for sandbox in sandboxes:
            await self._tools.runtime.remove_sandbox(sandbox.id)
            self._observed.forget(sandbox.id)

    # Ending.

    def _begin_stop(self, action: StopContainer) -> None:
        container = next((c for c in self._observed.containers if c.id == action.id), None)
        if container is None or action.id in self._stops:
            return
        if action.restarts:
            self._replaced.add(container.name)
        with_hook = action.id not in self._hooked
        self._hooked.add(action.id)
        task = self._spawn("stop", self._stop(action, container, with_hook=with_hook))
        self._stops[action.id] = (task, action.grace_s)

    async def _stop(self, action: StopContainer, container: Container, *, with_hook: bool) -> None:
        ips = self._observed.sandboxes[0].ips if self._observed.sandboxes else ()
        try:
            await stop_container(
                self._pod,
                container,
                self._tools,
                grace_s=action.grace_s,
                message=action.message,
                ip=ips[0] if ips else "",
                with_hook=with_hook,
            )
            await self._observed.look_at_container(container.id, sandbox_id=container.sandbox_id)
        except RuntimeFailure as err:
            logger.info("%s: %s", specs.format_pod(self._pod), err)
            await self._tools.clock.sleep(RETRY.first_s)
        entry = self._stops.get(action.id)
        if entry is not None and entry[0] is asyncio.current_task():
            del self._stops[action.id]

    async def _reclaim(self) -> None:
        await self._volumes.tear_down()
        self._tools.node.cgroups.remove_pod(specs.uid_of(self._pod), qos_class(self._pod))
        self.reclaimed = True


def _remove_files(tools: Tools, pod: core_v1.Pod) -> None:
    uid = specs.uid_of(pod)
    remove_folder(tools.node.pod_folder(uid))
    shutil.rmtree(tools.node.log_folder(pod), ignore_errors=True)
    tools.node.cgroups.remove_pod(uid, qos_class(pod))


def _created(id_: str, name: str, sandbox_id: str, attempt: int, tools: Tools) -> Container:
    at_ns = int(tools.clock.now().timestamp() * 1e9)
    return Container(id_, sandbox_id, name, attempt, "", "", ContainerState.CREATED, at_ns)


def _key(action: InLane) -> str:
    if isinstance(action, Start):
        return action.name
    if isinstance(action, Resize):
        return "resize"
    return "" if isinstance(action, RunSandbox) else action.id
