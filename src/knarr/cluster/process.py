"""What every long-lived process of a cluster does: logs, event loop, orderly end."""

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from knarr.cluster import supervisor
from knarr.kit import logs

GC_THRESHOLDS = (20_000, 20, 50)
"""Most objects live long (caches) or die at once (requests): look less often than CPython does by default."""


def run(name: str, serve: Callable[[asyncio.Event], Awaitable[None]], *, pid_file: Path | None = None) -> None:
    """Run a process until SIGTERM or SIGINT.

    Args:
        name: For the event loop's main task.
        serve: Opens everything, waits for the event, closes everything.
        pid_file: Where its id is noted for the other commands, whoever started it.
    """
    if pid_file is not None:
        supervisor.write_pid(pid_file, os.getpid())
    logs.set_up(level=os.environ.get("KNARR_LOG", "info"))
    gc.set_threshold(*GC_THRESHOLDS)
    uvloop.run(_run(name, serve))


async def run_until(stopping: asyncio.Event, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` until told to stop.

    Args:
        stopping: Ends it.
        work: Is cancelled then; what it raises is raised.
    """
    working, stopped = asyncio.ensure_future(work()), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, stopped):
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
    if working.done() and not working.cancelled():
        working.result()


async def _run(name: str, serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    task = asyncio.current_task()
    assert task is not None
    task.set_name(name)
    await serve(stopping)
