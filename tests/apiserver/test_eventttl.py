from datetime import UTC, datetime
from typing import Any

import pytest

from knarr.apiserver import eventttl
from tests.apiserver.conftest import Api

EVENTS = "/api/v1/namespaces/default/events"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("event", "over"),
    [
        ({"metadata": {"creationTimestamp": "2026-01-01T10:59:59Z"}}, True),
        ({"metadata": {"creationTimestamp": "2026-01-01T11:00:00Z"}}, False),
        ({"metadata": {"creationTimestamp": "2026-01-01T01:00:00Z"}, "lastTimestamp": "2026-01-01T11:30:00Z"}, False),
        ({"metadata": {"creationTimestamp": "2026-01-01T01:00:00Z"}, "series": {"lastObservedTime": "2026-01-01T11:30:00.000001Z"}}, False),
        ({"metadata": {"creationTimestamp": "2026-01-01T01:00:00Z"}, "lastTimestamp": "2099-01-01T00:00:00Z"}, True),
        ({"metadata": {}}, False),
    ],
)  # fmt: skip
def test_an_event_is_over_an_hour_after_its_last_time(event: dict[str, Any], over: bool) -> None:
    assert eventttl.is_over(event, NOW) is over


async def test_old_events_go(api: Api) -> None:
    body = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "reason": "r", "type": "Normal"}
    await api.ok("POST", EVENTS, body)
    await api.clock.advance(3600)
    await api.ok("GET", f"{EVENTS}/e")
    await api.clock.advance(120)
    await api.fails(404, "GET", f"{EVENTS}/e")
