from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from knarr.lang import cron

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("schedule", "after", "then"),
    [
        ("*/15 * * * *", "2026-01-01T00:00:30", "2026-01-01T00:15:00"),
        ("0 3 * * *", "2026-01-01T03:00:00", "2026-01-02T03:00:00"),
        ("0 0 1 * *", "2026-01-31T12:00:00", "2026-02-01T00:00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 * * 1-5", "2026-01-02T12:00:00", "2026-01-05T00:00:00"),
        ("0 0 * * sun", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("0 0 13 * fri", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ("0 0 */2 * 1", "2026-01-01T00:00:00", "2026-01-03T00:00:00"),
        ("5/20 1,2 * jan,mar *", "2026-01-31T02:50:00", "2026-03-01T01:05:00"),
        ("@hourly", "2026-01-01T00:00:00", "2026-01-01T01:00:00"),
        ("@every 1h30m", "2026-01-01T00:00:10", "2026-01-01T01:30:10"),
    ],
)
def test_next_time(schedule, after, then):
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert cron.parse(schedule).next_after(moment) == datetime.fromisoformat(then).replace(tzinfo=UTC)


def test_a_day_that_never_comes():
    assert cron.parse("0 0 31 2 *").next_after(datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_zones_and_daylight_saving():
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert cron.parse("TZ=Europe/Berlin 0 3 * * *").next_after(noon) == datetime(2026, 1, 2, 2, tzinfo=UTC)
    # 02:30 does not exist on 29 March 2026 in Berlin; it does on the next day.
    before = datetime(2026, 3, 28, 12, tzinfo=BERLIN)
    assert cron.parse("30 2 * * *").next_after(before) == datetime(2026, 3, 30, 2, 30, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("*/2/3 * * * *", "too many slashes: */2/3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("@never", "unrecognized descriptor: @never"),
        ("@every x", 'failed to parse duration @every x: time: invalid duration "x"'),
        ("TZ=No/Where * * * * *", "provided bad location No/Where: unknown time zone No/Where"),
    ],
)
def test_what_is_no_schedule(schedule, message):
    with pytest.raises(ValueError) as caught:
        cron.parse(schedule)
    assert str(caught.value) == message
