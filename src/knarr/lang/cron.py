"""Cron schedules: five fields, names, steps, ranges and the @ shorthands; what they mean and when they come next.

Pure: a schedule and a time give the next time. Where both day fields are restricted, either suffices, as in cron since ever.

Source: github.com/robfig/cron/v3 (ParseStandard), which upstream's CronJobs use.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SHORTHANDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_SEARCH_YEARS = 5
"""A schedule that has no time within this many years, such as 30 February, has none."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    low: int
    high: int
    names: dict[str, int]


_FIELDS = (
    _Bounds(0, 59, {}),
    _Bounds(0, 23, {}),
    _Bounds(1, 31, {}),
    _Bounds(1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Bounds(0, 6, {name: number for number, name in enumerate(_DAYS)}),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due.

    Attributes:
        minutes: Of the hour.
        hours: Of the day.
        days: Of the month.
        months: Of the year.
        weekdays: 0 is Sunday.
        any_day: Whether the day of the month is "*".
        any_weekday: Whether the day of the week is "*".
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def next_after(self, time: datetime, zone: tzinfo = UTC) -> datetime | None:
        """Return the first time after `time`, in UTC, or None if there is none for years.

        Args:
            time: Aware.
            zone: In which the fields are meant.
        """
        local = time.astimezone(zone).replace(second=0, microsecond=0, tzinfo=None) + timedelta(minutes=1)
        limit = local.year + _SEARCH_YEARS
        while local.year <= limit:
            if local.month not in self.months:
                local = _first_of_next_month(local)
            elif not self._has_day(local):
                local = local.replace(hour=0, minute=0) + timedelta(days=1)
            elif local.hour not in self.hours:
                local = local.replace(minute=0) + timedelta(hours=1)
            elif local.minute not in self.minutes:
                local += timedelta(minutes=1)
            else:
                found = local.replace(tzinfo=zone).astimezone(UTC)
                # A local time that the clock skips or repeats may lie before; cron then takes the next one.
                if found > time and found.astimezone(zone).replace(tzinfo=None) == local:
                    return found
                local += timedelta(minutes=1)
        return None

    def _has_day(self, day: datetime) -> bool:
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (in_month and in_week) if self.any_day or self.any_weekday else (in_month or in_week)


def parse(text: str) -> Schedule:
    """Read a schedule.

    Raises:
        ValueError: it is not one; the message says which part.
    """
    parts = _SHORTHANDS.get(text.strip(), text).split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]")
    minutes, hours, days, months, weekdays = (_parse_field(*pair) for pair in zip(parts, _FIELDS, strict=True))
    return Schedule(minutes, hours, days, months, weekdays, _is_any(parts[2]), _is_any(parts[4]))


def _parse_field(text: str, bounds: _Bounds) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        found |= _parse_range(part, bounds)
    return frozenset(found)


def _parse_range(text: str, bounds: _Bounds) -> set[int]:
    span, slash, step_text = text.partition("/")
    first_text, dash, last_text = span.partition("-")
    if first_text in ("*", "?"):
        first, last = bounds.low, bounds.high
    else:
        first = _number(first_text, bounds, text)
        last = _number(last_text, bounds, text) if dash else (bounds.high if slash else first)
    step = 1
    if slash:
        if not step_text.isdigit():
            raise ValueError(f"failed to parse int from {step_text}: {text}")
        step = int(step_text)
        if step == 0:
            raise ValueError(f"step of range should be a positive number: {text}")
    if first < bounds.low:
        raise ValueError(f"beginning of range ({first}) below minimum ({bounds.low}): {text}")
    if last > bounds.high:
        raise ValueError(f"end of range ({last}) above maximum ({bounds.high}): {text}")
    if first > last:
        raise ValueError(f"beginning of range ({first}) beyond end of range ({last}): {text}")
    return set(range(first, last + 1, step))


def _number(text: str, bounds: _Bounds, whole: str) -> int:
    named = bounds.names.get(text.lower())
    if named is not None:
        return named
    if not text.isdigit():
        raise ValueError(f"failed to parse int from {text}: {whole}")
    return int(text)


def _is_any(text: str) -> bool:
    return text.partition("/")[0] in ("*", "?")


def _first_of_next_month(time: datetime) -> datetime:
    return (time.replace(day=1, hour=0, minute=0) + timedelta(days=32)).replace(day=1)
