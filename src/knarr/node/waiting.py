"""Waiting for something to happen, but not for ever."""

import asyncio

from knarr.kit.clock import Clock


async def wait_set(event: asyncio.Event, clock: Clock, seconds: float | None) -> bool:
    """Wait until an event is set, or for some time; return whether it is set.

    Args:
        event: What to wait for.
        clock: Times the wait.
        seconds: How long at most; None for ever.
    """
    if seconds is None or event.is_set():
        return await event.wait()
    waiting = asyncio.ensure_future(event.wait())
    sleeping = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((waiting, sleeping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        sleeping.cancel()
    return event.is_set()
