from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from knarr.lang import cron


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("* * * * *", "2026-01-01T00:00:30", "2026-01-01T00:01"),
        ("*/15 * * * *", "2026-01-01T00:46", "2026-01-01T01:00"),
        ("5/20 3 * * *", "2026-01-01T03:26", "2026-01-01T03:45"),
        ("0 9-17/4 * * mon-fri", "2026-01-02T17:00", "2026-01-05T09:00"),
        ("0 0 13 * 5", "2026-01-01T00:00", "2026-01-02T00:00"),  # the 13th, or any Friday
        ("0 0 13 * *", "2026-01-01T00:00", "2026-01-13T00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00", "2028-02-29T00:00"),
        ("@weekly", "2026-01-01T00:00", "2026-01-04T00:00"),
        ("0 12 * JAN,mar ?", "2026-01-31T12:00", "2026-03-01T12:00"),
        ("0 0 */2 * 1", "2026-01-01T00:00", "2026-01-03T00:00"),  # a step is no "*": odd days, or any Monday
        ("@every 1h30m", "2026-01-01T00:00:10", "2026-01-01T01:30:10"),
        ("TZ=Europe/Berlin 0 3 * * *", "2026-01-01T12:00", "2026-01-02T02:00"),
    ],
)
def test_next_time(schedule: str, after: str, expected: str) -> None:
    assert cron.parse(schedule).next_after(at(after)) == at(expected)


def test_what_never_comes_is_none() -> None:
    assert cron.parse("0 0 30 2 *").next_after(at("2026-01-01")) is None


def test_fields_are_meant_in_a_time_zone_and_skipped_hours_are_skipped() -> None:
    zone = ZoneInfo("Europe/Berlin")
    schedule = cron.parse("30 2 * * *")
    assert schedule.next_after(at("2026-03-28T00:00"), zone) == at("2026-03-28T01:30")
    assert schedule.next_after(at("2026-03-28T01:30"), zone) == at("2026-03-30T00:30")


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("5-2 * * * *", "beginning of range (5) beyond end of range (2): 5-2"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("*/2/3 * * * *", "too many slashes: */2/3"),
        ("@never", "unrecognized descriptor: @never"),
        ("@every x", 'failed to parse duration @every x: time: invalid duration "x"'),
        ("TZ=No/Where * * * * *", "provided bad location No/Where: unknown time zone No/Where"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
    ],
)
def test_what_is_no_schedule_says_where(schedule: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        cron.parse(schedule)
    assert str(caught.value) == message
