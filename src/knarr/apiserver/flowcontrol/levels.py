"""One priority level while it lives: its configuration, its seats, its queues."""

import math
from typing import Any

from knarr.apiserver.flowcontrol import allocation, queues, retry

Object = dict[str, Any]

_MOST_OF_LEVEL = 0.15
"""The part of a level that one request may take."""


class Level:
    """A priority level.

    Args:
        obj: Its PriorityLevelConfiguration.
        now_s: The time.

    Attributes:
        name: Of the object.
        uid: Of the object; empty for one that is only imagined.
        is_exempt: Whether its requests never wait.
        limits: Seats as configured.
        current: Seats at the moment.
        demand: For seats.
        queues: Who waits and who is served.
        retry: When rejected requests should come back.
        most_seats: What one request may take; 0 leaves it open.
        is_wanted: Whether an object still describes it; otherwise it goes when it is idle.
    """

    def __init__(self, obj: Object, now_s: float) -> None:
        self.name: str = obj["metadata"]["name"]
        self.retry = retry.RetryAfter()
        self.demand = allocation.Demand()
        self.limits = allocation.Limits(0, 0, 0)
        self.current = self.most_seats = 0
        self.is_new = self.is_wanted = True
        self.adopt(obj)
        self.queues = queues.QueueSet(self.queuing, 0, now_s)

    def adopt(self, obj: Object) -> None:
        """Take over the object as it is now."""
        spec = obj["spec"]
        self.uid: str = obj["metadata"].get("uid", "")
        self.is_exempt = spec["type"] == "Exempt"
        self.is_wanted = True
        config = (spec.get("exempt") if self.is_exempt else spec.get("limited")) or {}
        self.shares: int = config.get("nominalConcurrencyShares", 0 if self.is_exempt else 30)
        self._lendable: int = config.get("lendablePercent") or 0
        self._borrowing: int | None = config.get("borrowingLimitPercent")
        self.queuing = _queuing(config, exempt=self.is_exempt)

    def limit(self, total: int, all_shares: int) -> None:
        """Work out the configured seats."""
        self.limits = allocation.nominal(total, self.shares, all_shares, self._lendable, self._borrowing)
        if self.is_new:
            self.is_new = False
            self.current = self.limits.nominal - (self.limits.nominal - self.limits.lowest) // 2
        if self.queuing.queues > 0:
            nominal = self.limits.nominal
            self.most_seats = max(1, min(math.ceil(nominal * _MOST_OF_LEVEL), nominal // self.queuing.hand_size))


def is_usable(obj: Object) -> bool:
    """Return whether an object describes a level that can be served: the exempt one alone is exempt."""
    spec = obj.get("spec") or {}
    is_exempt = spec.get("type") == "Exempt"
    if is_exempt != (obj["metadata"]["name"] == "exempt"):
        return False
    return bool(spec.get("exempt") if is_exempt else spec.get("limited"))


def _queuing(config: Object, *, exempt: bool) -> queues.Queuing:
    if exempt:
        return queues.Queuing(queues.UNLIMITED)
    response = config.get("limitResponse") or {}
    if response.get("type") != "Queue":
        return queues.Queuing(0)
    found = response.get("queuing") or {}
    return queues.Queuing(found.get("queues", 64), found.get("handSize", 8), found.get("queueLengthLimit", 50))
