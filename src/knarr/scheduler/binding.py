"""From a chosen node to a bound pod: permit, prebind, bind, postbind. Runs beside the loop that decides.

Upstream counterpart: bindingCycle in pkg/scheduler/schedule_one.go, framework/runtime/waiting_pods_map.go (v1.37).
"""

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from knarr.kit.clock import Clock
from knarr.scheduler.extenders import Extenders
from knarr.scheduler.framework import Denied, State, Wait
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.profile import Profile


@dataclass(frozen=True, slots=True)
class Stopped:
    """A plugin stopped the binding.

    Attributes:
        plugin: Which.
        reason: Why.
    """

    plugin: str
    reason: str


class WaitingPod:
    """A pod that waits at permit.

    Args:
        pod: The pod.
        node: Where it would go.
        plugins: Who has yet to approve.
    """

    def __init__(self, pod: PodFacts, node: str, plugins: Collection[str]) -> None:
        self.pod = pod
        self.node = node
        self._pending = {*plugins}
        self._done: asyncio.Future[Stopped | None] = asyncio.get_running_loop().create_future()

    def allow(self, plugin: str) -> None:
        """Approve in the name of a plugin; with the last approval the pod goes on."""
        self._pending.discard(plugin)
        if not self._pending and not self._done.done():
            self._done.set_result(None)

    def reject(self, plugin: str, reason: str) -> None:
        """Deny in the name of a plugin."""
        if not self._done.done():
            self._done.set_result(Stopped(plugin, reason))

    async def wait(self) -> Stopped | None:
        """Wait until it goes on or is stopped."""
        return await asyncio.shield(self._done)


class WaitingPods:
    """The pods that wait at permit; plugins look here for those that they may approve."""

    def __init__(self) -> None:
        self._known: dict[str, WaitingPod] = {}

    def __iter__(self) -> Iterator[WaitingPod]:
        return iter([*self._known.values()])

    def get(self, uid: str) -> WaitingPod | None:
        """Return a pod that waits."""
        return self._known.get(uid)

    def add(self, waiting: WaitingPod) -> None:
        """Note that a pod waits."""
        self._known[waiting.pod.uid] = waiting

    async def wait(self, waiting: WaitingPod, timeout_s: float, clock: Clock) -> Stopped | None:
        """Let a pod wait, but not longer than its time."""
        timer = asyncio.ensure_future(_deny_after(waiting, timeout_s, clock))
        try:
            return await waiting.wait()
        finally:
            timer.cancel()
            self._known.pop(waiting.pod.uid, None)


class Binder:
    """Takes pods through the binding cycle.

    Args:
        profile: The plugins.
        waiting: Those that wait at permit.
        extenders: One of them may bind.
        clock: Times permits.
    """

    def __init__(self, profile: Profile, waiting: WaitingPods, extenders: Extenders, clock: Clock) -> None:
        self._profile = profile
        self._waiting = waiting
        self._extenders = extenders
        self._clock = clock

    def reserve(self, pod: PodFacts, node: str, state: State) -> Stopped | None:
        """Let the plugins note what the pod takes; all is taken back if one cannot."""
        for plugin in self._profile.reserves:
            said = plugin.reserve(pod, node, state)
            if said is not None:
                self.unreserve(pod, node, state)
                return Stopped(plugin.name, said.reason)
        return None

    def unreserve(self, pod: PodFacts, node: str, state: State) -> None:
        """Let the plugins take it back."""
        for plugin in reversed(self._profile.reserves):
            plugin.unreserve(pod, node, state)

    def permit(self, pod: PodFacts, node: str, state: State) -> Stopped | WaitingPod | None:
        """Ask the plugins whether the pod may be bound; returns what it waits for, if it must wait."""
        waits: dict[str, float] = {}
        for plugin in self._profile.permits:
            said = plugin.permit(pod, node, state)
            if isinstance(said, Denied):
                return Stopped(plugin.name, said.reason)
            if isinstance(said, Wait):
                waits[plugin.name] = said.timeout_s
        if not waits:
            return None
        state["permit"] = min(waits.values())
        waiting = WaitingPod(pod, node, waits)
        self._waiting.add(waiting)
        return waiting

    async def run(self, pod: PodFacts, node: str, state: State, permit: WaitingPod | None) -> Stopped | None:
        """Bind a pod.

        Raises:
            StatusError: the API refused.
        """
        if permit is not None:
            stopped = await self._waiting.wait(permit, float(state["permit"]), self._clock)
            if stopped is not None:
                return stopped
        for prebind in self._profile.prebinds:
            said = await prebind.prebind(pod, node, state)
            if said is not None:
                return Stopped(prebind.name, said.reason)
        if not await self._extenders.bind(pod, node):
            for bind in self._profile.binds:
                if await bind.bind(pod, node, state):
                    break
        for postbind in self._profile.postbinds:
            postbind.postbind(pod, node, state)
        return None


async def _deny_after(waiting: WaitingPod, timeout_s: float, clock: Clock) -> None:
    await clock.sleep(timeout_s)
    waiting.reject("", f"rejected due to timeout after waiting {timeout_s:g}s at plugin(s)")
