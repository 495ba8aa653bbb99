"""Leader election over a Lease: of several equal processes one works, the others stand by.

The holder renews the Lease; whoever sees it unrenewed for its duration, by the own clock, takes it. A holder that cannot renew in
time stops working before others may take over.

Source: k8s.io/client-go/tools/leaderelection (v1.37).
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random

from lightkube.models import coordination_v1, meta_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.client import Client
from knarr.kit.clock import Clock

JITTER = 1.2

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """How fast leadership passes on.

    Attributes:
        lease_s: How long an unrenewed Lease is respected.
        renew_s: After this long without renewal the holder stops working.
        retry_s: Between attempts.
    """

    lease_s: float = 15.0
    renew_s: float = 10.0
    retry_s: float = 2.0


class Elector:
    """Takes part in an election.

    Args:
        client: Reads and writes the Lease.
        clock: Times everything.
        random: Spreads attempts.
        name: Of the Lease.
        identity: Who runs; different for each process.
        namespace: Where the Lease is.
        timing: How fast leadership passes on.
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        random: Random,
        *,
        name: str,
        identity: str,
        namespace: str = "kube-system",
        timing: Timing | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._random = random
        self._name = name
        self._identity = identity
        self._namespace = namespace
        self._timing = timing or Timing()
        self._seen: coordination_v1.LeaseSpec | None = None
        self._seen_at_s = 0.0

    @property
    def leader(self) -> str:
        """Who leads, as last seen; empty if nobody."""
        return (self._seen.holderIdentity or "") if self._seen else ""

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for leadership and run `work` while it lasts; returns when leadership is lost or `work` ends."""
        while not await self._try():
            await self._clock.sleep(self._timing.retry_s * (1 + JITTER * self._random.random()))
        logger.info("%s: %s leads", self._name, self._identity)
        working = asyncio.ensure_future(work())
        renewing = asyncio.ensure_future(self._keep())
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, renewing):
                if not task.done():
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
            with contextlib.suppress(errors.StatusError):
                await self._release()
        if working.done() and not working.cancelled():
            working.result()

    async def _keep(self) -> None:
        renewed_s = self._clock.monotonic_s()
        while self._clock.monotonic_s() - renewed_s < self._timing.renew_s:
            await self._clock.sleep(self._timing.retry_s)
            if await self._try():
                renewed_s = self._clock.monotonic_s()
        logger.warning("%s: %s lost the lease", self._name, self._identity)

    async def _try(self) -> bool:
        try:
            return await self._acquire_or_renew()
        except errors.StatusError as err:
            logger.debug("lease %s: %s", self._name, err)
            return False

    async def _acquire_or_renew(self) -> bool:
        now = micro_time(self._clock.now())
        try:
            lease = await self._client.get(coordination_v1.Lease, self._name, namespace=self._namespace)
        except errors.NotFound:
            meta = meta_v1.ObjectMeta(name=self._name, namespace=self._namespace)
            self._see(
                (await self._client.create(coordination_v1.Lease(metadata=meta, spec=self._spec(None, now)))).spec
            )
            return True
        self._see(lease.spec)
        spec = lease.spec or coordination_v1.LeaseSpec()
        duration_s = spec.leaseDurationSeconds or self._timing.lease_s
        held = bool(spec.holderIdentity) and self._clock.monotonic_s() - self._seen_at_s < duration_s
        if held and spec.holderIdentity != self._identity:
            return False
        self._see((await self._client.update(replace(lease, spec=self._spec(spec, now)))).spec)
        return True

    async def _release(self) -> None:
        if self.leader != self._identity:
            return
        lease = await self._client.get(coordination_v1.Lease, self._name, namespace=self._namespace)
        if lease.spec is not None and lease.spec.holderIdentity == self._identity:
            spec = replace(
                lease.spec, holderIdentity="", leaseDurationSeconds=1, renewTime=micro_time(self._clock.now())
            )
            await self._client.update(replace(lease, spec=spec))

    def _spec(self, before: coordination_v1.LeaseSpec | None, now: datetime) -> coordination_v1.LeaseSpec:
        mine = before is not None and before.holderIdentity == self._identity
        transitions = (before.leaseTransitions or 0) if before else 0
        return coordination_v1.LeaseSpec(
            holderIdentity=self._identity,
            leaseDurationSeconds=int(self._timing.lease_s),
            acquireTime=before.acquireTime if before is not None and mine else now,
            renewTime=now,
            leaseTransitions=transitions if mine or before is None else transitions + 1,
        )

    def _see(self, spec: coordination_v1.LeaseSpec | None) -> None:
        if self._seen is None or spec != self._seen:
            self._seen, self._seen_at_s = spec, self._clock.monotonic_s()


def micro_time(now: datetime) -> datetime:
    """Return a time that is encoded with a fraction, which the API demands of times in microseconds."""
    return now if now.microsecond else now.replace(microsecond=1)
