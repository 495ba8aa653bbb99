"""A pod's volumes over its life: made ready, and kept as the API objects behind them say."""

import asyncio
import logging
from collections.abc import Callable

from lightkube.models import core_v1

from knarr.node.pods import spec as specs
from knarr.node.pods.env import Facts
from knarr.node.pods.errors import MountFailed
from knarr.node.pods.tools import Tools
from knarr.node.volumes.pod import PodVolumes
from knarr.node.volumes.source import ApiSource

REFRESH_SHORTEST_S = 1.0

logger = logging.getLogger(__name__)


class Keeper:
    """Keeps one pod's volumes.

    Attributes:
        volumes: The volumes.
        are_ready: Whether all were made ready by this agent.

    Args:
        pod: Gives the newest version of the pod.
        tools: The node.
        on_change: Called when an object behind a volume changes.
        wake: Called when something is done.
    """

    def __init__(
        self,
        pod: Callable[[], core_v1.Pod],
        tools: Tools,
        *,
        on_change: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self._get_pod = pod
        self._tools = tools
        self._on_change = on_change
        self._wake = wake
        self._uid = specs.uid_of(pod())
        source = ApiSource(pod(), tools.client, tools.objects, tools.clock, self.spoil)
        facts = Facts(tools.node.name, tools.node.ips, allocatable=tools.node.allocatable)
        self.volumes = PodVolumes(tools.node.pod_folder(self._uid), source, facts)
        self.are_ready = False
        self._stale = False
        self._refreshing: asyncio.Task[None] | None = None

    def spoil(self) -> None:
        """Take in that contents may be out of date."""
        self._stale = True
        self._on_change()

    async def set_up(self) -> None:
        """Make all volumes ready.

        Raises:
            MountFailed: One could not be made.
        """
        await self.volumes.set_up(self._get_pod())
        self.are_ready = True

    def refresh(self, now_s: float, *, adopted: bool) -> None:
        """Begin to bring contents up to date, if they are stale or a token is due.

        Args:
            now_s: The present, seconds since the epoch.
            adopted: The pod runs since before this agent did.
        """
        if self._refreshing is not None and not self._refreshing.done():
            return
        due_s = self.due_s
        stale = self._stale or (due_s is not None and due_s <= now_s)
        if (self.are_ready and stale) or (adopted and not self.are_ready):
            self._stale = False
            self._refreshing = asyncio.create_task(self._refresh(), name=f"volumes {self._uid}")

    @property
    def due_s(self) -> float | None:
        """When contents must be looked at without a change, seconds since the epoch: a token ages."""
        moment = self.volumes.refresh_at
        return moment.timestamp() if moment is not None else None

    async def tear_down(self) -> None:
        """Give everything back."""
        self.cancel()
        await self.volumes.tear_down()
        self.are_ready = False
        await self._tools.objects.release(self._uid)

    def cancel(self) -> None:
        """Break off what is under way."""
        if self._refreshing is not None:
            self._refreshing.cancel()

    async def _refresh(self) -> None:
        try:
            if self.are_ready:
                await self.volumes.refresh(self._get_pod())
            else:
                await self.set_up()
        except MountFailed as err:
            self._tools.tell(self._get_pod(), "Warning", "FailedMount", str(err))
        await self._tools.clock.sleep(REFRESH_SHORTEST_S)
        self._wake()
