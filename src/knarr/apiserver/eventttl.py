"""Events end an hour after they were last written.

Source: --event-ttl of kube-apiserver (v1.37), which leaves it to etcd's leases.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from knarr.apiserver.registry import Registry
from knarr.kit import clock as clocks

TTL = timedelta(hours=1)
SWEEP_S = 60.0
_SKEW = timedelta(minutes=5)
"""By how much the clock of whoever tells may be ahead."""

Object = dict[str, Any]


async def run(registry: Registry, clock: clocks.Clock) -> None:
    """Delete events that are over, once a minute."""
    while True:
        await clock.sleep(SWEEP_S)
        now = clock.now()
        for event in registry.list("events"):
            if is_over(event, now):
                metadata = event["metadata"]
                await registry.delete("events", metadata.get("namespace", ""), metadata["name"])


def is_over(event: Object, now: datetime) -> bool:
    """Return whether the last thing that an event tells of is an hour old; times to come tell nothing."""
    series = event.get("series") or {}
    times = (
        event["metadata"].get("creationTimestamp"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        series.get("lastObservedTime"),
    )
    newest = max((time for text in times if (time := _parse(text)) is not None and time <= now + _SKEW), default=None)
    return newest is not None and now - newest > TTL


def _parse(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if isinstance(text, str) and text else None
    except ValueError:
        return None
