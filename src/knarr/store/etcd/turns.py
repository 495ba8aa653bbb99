"""Turns at a key: writes of one server to one key are made one after the other, in the order of their calls."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A queue for each key that is being written."""

    def __init__(self) -> None:
        self._queues: dict[bytes, deque[asyncio.Future[None]]] = {}
        self._idle: asyncio.Future[None] | None = None

    @asynccontextmanager
    async def take(self, key: bytes) -> AsyncIterator[None]:
        """Wait for the key's turn, and have it."""
        queue = self._queues.get(key)
        if queue is None:
            self._queues[key] = deque()
        else:
            turn = asyncio.get_running_loop().create_future()
            queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._pass(key)
                raise
        try:
            yield
        finally:
            self._pass(key)

    async def wait_idle(self) -> None:
        """Wait until nobody has or waits for a turn."""
        if self._queues:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def _pass(self, key: bytes) -> None:
        queue = self._queues[key]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._queues[key]
        if not self._queues and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
