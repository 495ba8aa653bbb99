"""How long the past is kept, and who forgets it.

Counterpart: kube-apiserver's etcd compactor (--etcd-compaction-interval, default 5 minutes): what happened in the last interval stays
readable, so that a continue token or a watch that is resumed after a break finds its revision.
"""

import logging
from collections import deque
from typing import Protocol

import msgspec

from knarr.kit import clock as clocks
from knarr.store.backend import Revision
from knarr.store.errors import StoreError

logger = logging.getLogger(__name__)


class History(msgspec.Struct, frozen=True):
    """The window of the past that stays readable.

    Attributes:
        age_s: At least this long, in seconds ...
        events: ... but not more than about this many events.
        interval_s: How often to look, in seconds.
    """

    age_s: float = 300.0
    events: int = 100_000
    interval_s: float = 15.0


DEFAULT = History()


def within(age_s: float) -> History:
    """Return a window of `age_s` seconds, looked at often enough to be about that long."""
    return History(age_s=age_s, interval_s=min(DEFAULT.interval_s, max(1.0, age_s / 10)))


class Compactable(Protocol):
    """What has a past to forget."""

    @property
    def revision(self) -> Revision:
        """The newest revision."""

    @property
    def compacted(self) -> Revision:
        """The oldest readable revision."""

    async def compact(self, revision: Revision) -> None:
        """Forget the past up to `revision`."""


class Plan:
    """Decides what to forget, from the times at which revisions were seen."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._seen: deque[tuple[float, Revision]] = deque()

    def observe(self, now_s: float, newest: Revision) -> Revision:
        """Note that `newest` stands at `now_s`; return the revision up to which the past may go, 0 for none."""
        target = 0
        while self._seen and now_s - self._seen[0][0] >= self._history.age_s:
            target = self._seen.popleft()[1]
        self._seen.append((now_s, newest))
        return Revision(max(target, newest - self._history.events, 0))


async def run(target: Compactable, clock: clocks.Clock, history: History = DEFAULT) -> None:
    """Compact `target` by time and count until cancelled; a full disk is reported and tried again."""
    plan = Plan(history)
    while True:
        revision = plan.observe(clock.monotonic_s(), target.revision)
        if revision > target.compacted:
            try:
                await target.compact(revision)
            except StoreError as err:
                logger.warning("history could not be compacted up to revision %d: %s", revision, err)
        await clock.sleep(history.interval_s)
