"""Tasks that are looked after: named, restarted with backoff when they fail, and ended together.

A `Supervisor` is for the long-lived parts of a process (informers, control loops, servers): one that raises is logged and
started again, one that returns is done. Nothing that runs below it can be lost from sight, and leaving the context ends all of it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from types import TracebackType
from typing import Any, Self

from knarr.kit.backoff import Backoff, Curve
from knarr.kit.clock import Clock, SystemClock

RESTART = Curve(first_s=0.2, limit_s=30.0, jitter=0.2)
"""Restarts of a failing task: soon at first, and never busier than twice a minute for good."""

logger = logging.getLogger(__name__)


class Supervisor:
    """An async context whose tasks end with it.

    Args:
        name: Stands before the names of the tasks.
        clock: Times restarts.
        random: Spreads restarts.
        restart: How delays between restarts grow.
    """

    def __init__(
        self, name: str = "", *, clock: Clock | None = None, random: Random | None = None, restart: Curve = RESTART
    ) -> None:
        self._name = name
        self._clock = clock or SystemClock()
        self._random = random or Random()
        self._restart = restart
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failing: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def failing(self) -> dict[str, str]:
        """The tasks that wait for a restart, each with its last error; feeds health checks."""
        return dict(self._failing)

    def run(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Keep `work` running: call it again with backoff each time it raises, until it returns or the context ends."""
        return self._spawn(name, self._keep_running(name, work))

    def once(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine once; an exception is logged."""
        return self._spawn(name, self._run_once(name, work))

    async def aclose(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        while self._tasks:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, name: str, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        full_name = f"{self._name}/{name}" if self._name else name
        task = asyncio.get_running_loop().create_task(coroutine, name=full_name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _keep_running(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        backoff = Backoff(self._restart, self._clock, self._random)
        while True:
            try:
                await work()
            except Exception as err:
                delay_s = backoff.next_delay_s()
                logger.error("%s failed, restarting in %.1f s", name, delay_s, exc_info=err)
                self._failing[name] = f"{type(err).__name__}: {err}"
                await self._clock.sleep(delay_s)
                del self._failing[name]
            else:
                return

    async def _run_once(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as err:
            logger.error("%s failed", name, exc_info=err)
