"""What every long-lived process of a cluster does: logs, event loop, orderly end."""

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable

import uvloop

from knarr.kit import logs

GC_THRESHOLDS = (20_000, 20, 50)
"""Most objects live long (caches) or die at once (requests): look less often than CPython does by default."""


def run(name: str, serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run a process until SIGTERM or SIGINT.

    Args:
        name: For the event loop's main task.
        serve: Opens everything, waits for the event, closes everything.
    """
    logs.set_up(level=os.environ.get("KNARR_LOG", "info"))
    gc.set_threshold(*GC_THRESHOLDS)
    uvloop.run(_run(name, serve))


async def _run(name: str, serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    task = asyncio.current_task()
    assert task is not None
    task.set_name(name)
    await serve(stopping)
