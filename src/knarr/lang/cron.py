"""Cron schedules: five fields, or one of the @ names.

A field is "*", a number, a name, a range, each perhaps with a step ("*/5", "1-30/2"), or several with commas. If neither day of
month nor day of week is "*", a day matches when either does.

Source: robfig/cron v3 ParseStandard, whose messages users see.
"""

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
}  # fmt: skip
_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_YEARS_AHEAD = 5
_STARS = {"*", "?", "*/1", "?/1"}


@dataclass(frozen=True, slots=True)
class _Bounds:
    low: int
    high: int
    names: dict[str, int]


_FIELDS = (
    _Bounds(0, 59, {}),
    _Bounds(0, 23, {}),
    _Bounds(1, 31, {}),
    _Bounds(1, 12, _MONTHS),
    _Bounds(0, 6, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something runs.

    Attributes:
        minutes, hours, days, months, weekdays: The numbers that match; Sunday is 0.
        either_day: Whether a day matches by its date or its weekday; otherwise by both.
        every_s: For "@every": seconds between two runs, and nothing else counts; otherwise 0.
        zone: The zone named in the schedule itself, or None.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool = False
    every_s: int = 0
    zone: tzinfo | None = None

    def next_after(self, time: datetime, zone: tzinfo = UTC) -> datetime | None:
        """Return the first time after `time`, in UTC, or None if there is none for years.

        Args:
            time: Aware.
            zone: In which the fields are meant; one that the schedule names itself goes before.
        """
        if self.every_s:
            return time.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=self.every_s)
        zone = self.zone or zone
        local = time.astimezone(zone).replace(second=0, microsecond=0, tzinfo=None) + timedelta(minutes=1)
        limit = local.year + _YEARS_AHEAD
        while local.year <= limit:
            if local.month not in self.months:
                days = calendar.monthrange(local.year, local.month)[1] - local.day + 1
                local = local.replace(hour=0, minute=0) + timedelta(days=days)
            elif not self._matches_day(local):
                local = local.replace(hour=0, minute=0) + timedelta(days=1)
            elif local.hour not in self.hours:
                local = local.replace(minute=0) + timedelta(hours=1)
            elif local.minute not in self.minutes:
                local += timedelta(minutes=1)
            else:
                found = local.replace(tzinfo=zone).astimezone(UTC)
                # A time that daylight saving skips does not exist; one that it repeats may lie before `time`.
                if found > time and found.astimezone(zone).replace(tzinfo=None) == local:
                    return found
                local += timedelta(minutes=1)
        return None

    def _matches_day(self, local: datetime) -> bool:
        date, weekday = local.day in self.days, (local.weekday() + 1) % 7 in self.weekdays
        return date or weekday if self.either_day else date and weekday


def parse(text: str) -> Schedule:
    """Read a schedule.

    Args:
        text: "0 3 * * 1-5", "@daily", "@every 1h30m", perhaps with "TZ=Europe/Berlin " or "CRON_TZ=… " before it.

    Raises:
        ValueError: It is none; the message is upstream's.
    """
    if not text:
        raise ValueError("empty spec string")
    zone = None
    if text.startswith(("TZ=", "CRON_TZ=")):
        name, _, text = text.partition("=")[2].partition(" ")
        try:
            zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as err:
            raise ValueError(f"provided bad location {name}: unknown time zone {name}") from err
        text = text.strip()
    if text.startswith("@"):
        return _parse_named(text, zone)
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    return _schedule(fields, zone)


def _schedule(fields: list[str], zone: tzinfo | None) -> Schedule:
    minutes, hours, days, months, weekdays = (_field(one, bounds) for one, bounds in zip(fields, _FIELDS, strict=True))
    stars = [any(part in _STARS for part in fields[place].split(",")) for place in (2, 4)]
    return Schedule(minutes, hours, days, months, weekdays, either_day=not any(stars), zone=zone)


def _parse_named(text: str, zone: tzinfo | None) -> Schedule:
    if text in _NAMED:
        return _schedule(_NAMED[text].split(), zone)
    if text.startswith("@every "):
        duration = text.removeprefix("@every ")
        parts = _DURATION.findall(duration)
        if not parts or "".join(number + unit for number, unit in parts) != duration:
            raise ValueError(f'failed to parse duration {text}: time: invalid duration "{duration}"')
        seconds = int(sum(float(number) * _SECONDS[unit] for number, unit in parts))
        nothing: frozenset[int] = frozenset()
        return Schedule(nothing, nothing, nothing, nothing, nothing, every_s=max(seconds, 1), zone=zone)
    raise ValueError(f"unrecognized descriptor: {text}")


def _field(text: str, bounds: _Bounds) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        if part:
            found |= _range(part, bounds)
    return frozenset(found)


def _range(text: str, bounds: _Bounds) -> set[int]:
    span, *steps = text.split("/")
    ends = span.split("-")
    if ends[0] in ("*", "?"):
        low, high = bounds.low, bounds.high
    else:
        low = _number(ends[0], bounds.names)
        if len(ends) > 2:
            raise ValueError(f"too many hyphens: {text}")
        high = _number(ends[1], bounds.names) if len(ends) == 2 else low
    step = 1
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    if steps:
        step = _number(steps[0], {})
        if len(ends) == 1 and ends[0] not in ("*", "?"):
            high = bounds.high
    if low < bounds.low:
        raise ValueError(f"beginning of range ({low}) below minimum ({bounds.low}): {text}")
    if high > bounds.high:
        raise ValueError(f"end of range ({high}) above maximum ({bounds.high}): {text}")
    if low > high:
        raise ValueError(f"beginning of range ({low}) beyond end of range ({high}): {text}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {text}")
    return set(range(low, high + 1, step))


def _number(text: str, names: dict[str, int]) -> int:
    named = names.get(text.lower())
    if named is not None:
        return named
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)
