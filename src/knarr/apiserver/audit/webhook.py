"""The audit log over HTTP: events are sent in batches, and again if they are not taken.

Upstream counterpart: plugin/pkg/audit/{webhook,buffered} (v1.37).
"""

import asyncio
import logging
from collections import deque

from knarr.apiserver import remote
from knarr.apiserver.audit.settings import Settings
from knarr.kit import clock as clocks
from knarr.kit.http.errors import HttpError

ATTEMPTS = 5
_GROWTH = 1.5
_JSON = "application/json"

logger = logging.getLogger(__name__)


class Lost(Exception):
    """Raised when an event cannot be kept until it is sent."""

    def __init__(self) -> None:
        super().__init__("audit buffer queue blocked")


class Webhook:
    """Sends events to a server.

    Args:
        settings: Where, and in which batches.
        clock: Times batches and attempts.
    """

    name = "webhook"

    def __init__(self, settings: Settings, clock: clocks.Clock) -> None:
        assert settings.webhook is not None
        self._settings = settings
        self._clock = clock
        self._remote = remote.load(settings.webhook)
        self._events: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self.failures = 0

    def write(self, line: bytes) -> None:
        """Keep an event for the next batch.

        Raises:
            Lost: Too many wait.
        """
        if len(self._events) >= self._settings.webhook_buffer:
            raise Lost
        self._events.append(line.rstrip())
        self._arrived.set()
        if len(self._events) >= self._settings.webhook_batch:
            self._full.set()

    async def run(self) -> None:
        """Send batches: full ones at once, others after a while."""
        while True:
            await self._arrived.wait()
            if not self._full.is_set():
                await self._wait_full()
            await self._send(self._take())

    async def aclose(self) -> None:
        """Send what is left, once."""
        while self._events:
            batch = self._take()
            try:
                await self._post(batch)
            except HttpError as err:
                self._lose(batch, str(err))
        await self._remote.aclose()

    async def _wait_full(self) -> None:
        timer = asyncio.ensure_future(self._clock.sleep(self._settings.webhook_wait_s))
        full = asyncio.ensure_future(self._full.wait())
        try:
            await asyncio.wait({timer, full}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            full.cancel()

    def _take(self) -> list[bytes]:
        count = min(len(self._events), self._settings.webhook_batch)
        batch = [self._events.popleft() for _ in range(count)]
        if not self._events:
            self._arrived.clear()
        if len(self._events) < self._settings.webhook_batch:
            self._full.clear()
        return batch

    async def _send(self, batch: list[bytes]) -> None:
        delay_s = self._settings.webhook_backoff_s
        for attempt in range(ATTEMPTS):
            try:
                status = await self._post(batch)
            except HttpError as err:
                why = str(err)
            else:
                if status < 300:
                    return
                why = f"HTTP {status}"
            if attempt + 1 < ATTEMPTS:
                await self._clock.sleep(delay_s)
                delay_s *= _GROWTH
        self._lose(batch, why)

    def _lose(self, batch: list[bytes], why: str) -> None:
        self.failures += len(batch)
        logger.error("Error in audit plugin 'webhook' affecting %d audit events: %s", len(batch), why)

    async def _post(self, batch: list[bytes]) -> int:
        body = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[%b]}' % b",".join(batch)
        return (await self._remote.post(body, _JSON)).status
