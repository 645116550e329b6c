"""Cron: the five fields of a crontab, and the next time that they name, right on days that have 23 or 25 hours."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from angelia.model.schedule import WEEKDAYS, instant, within_hour

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
NAMED: Mapping[str, str] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""What crontabs write in one word."""
MOST_LETTERS = 100
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)
# From one 29 February that is a Sunday to the next it can be forty years: 2100 has none.
_LONGEST = 366 * 41
# Of cron: Sunday is 0 and 7.
_OF_WEEK: Mapping[str, int] = {name: (number + 1) % 7 for number, name in enumerate(WEEKDAYS)}
_OF_YEAR: Mapping[str, int] = {name: number for number, name in enumerate(MONTHS, 1)}


@dataclass(frozen=True, slots=True)
class Cron:
    """Minutes, hours, days of the month, months and days of the week (Sunday = 0) at which it fires, in local time.

    As in every cron: where both kinds of days are restricted, either will do (`is_either`).
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_either: bool

    def falls_on(self, day: date) -> bool:
        """Does it fire on this local day?"""
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.is_either else of_month and of_week


@lru_cache(maxsize=1_024)
def parse_cron(text: str) -> Cron:
    """From `30 3 * * mon-fri` or `@daily`; ValueError says what is wrong."""
    if len(text) > MOST_LETTERS:
        raise ValueError(f"a cron expression has at most {MOST_LETTERS} letters")
    fields = NAMED.get(text.strip().lower(), text).split()
    if len(fields) != 5:
        raise ValueError("a cron expression has five fields: minute, hour, day of the month, month, day of the week")
    minutes, hours = _field(fields[0], "minute", 0, 59), _field(fields[1], "hour", 0, 23)
    days, months = _field(fields[2], "day of the month", 1, 31), _field(fields[3], "month", 1, 12, _OF_YEAR)
    weekdays = frozenset(day % 7 for day in _field(fields[4], "day of the week", 0, 7, _OF_WEEK))
    is_either = not fields[2].startswith("*") and not fields[4].startswith("*")
    made = Cron(tuple(sorted(minutes)), tuple(sorted(hours)), days, months, weekdays, is_either)
    if not any(made.falls_on(day) for day in _all_kinds_of_years()):
        raise ValueError("there is no such day in any year")
    return made


def _all_kinds_of_years() -> Iterator[date]:
    """Each day of the year, 29 February too, on each day of the week: what is not among these 28 years is in none."""
    first = date(2027, 1, 1)
    return (first + number * _DAY for number in range(28 * 366))


def _field(text: str, name: str, low: int, high: int, names: Mapping[str, int] | None = None) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        if slash and not (step.isascii() and step.isdigit() and 0 < int(step) <= high):
            raise ValueError(f"a step of the {name} is a number from 1 to {high}")
        first, dash, last = span.partition("-")
        if span == "*":
            begin, end = low, high
        else:
            begin = _number(first, name, low, high, names)
            end = _number(last, name, low, high, names) if dash else (high if slash else begin)
        if begin > end:
            raise ValueError(f"the {name} runs backwards: {begin}-{end}")
        found.update(range(begin, end + 1, int(step) if slash else 1))
    return frozenset(found)


def _number(text: str, name: str, low: int, high: int, names: Mapping[str, int] | None) -> int:
    if names and text.lower() in names:
        return names[text.lower()]
    if text.isascii() and text.isdigit() and len(text) < 4 and low <= int(text) <= high:
        return int(text)
    if names:
        raise ValueError(f"the {name} is a number from {low} to {high}, or one of {', '.join(names)}")
    raise ValueError(f"the {name} is a number from {low} to {high}")


def next_time(cron: Cron, after: datetime, zone: ZoneInfo) -> datetime:
    """The first time strictly after `after`, in UTC.

    One that fires in each hour goes by hours as they pass: an hour that comes twice counts twice. Otherwise a local time that a change of
    clocks leaves out is at the first instant after the gap, and one that comes twice is at the first of them, as for schedules.
    """
    times = _each_hour(cron, after, zone) if len(cron.hours) == 24 else _by_day(cron, after, zone)
    found = next(times, None)
    if found is None:
        raise ValueError("this never fires")
    return found


def _by_day(cron: Cron, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    first = after.astimezone(zone).date() - _DAY  # what is moved over a gap may belong to the local day before
    for day in (first + number * _DAY for number in range(_LONGEST)):
        for hour in cron.hours if cron.falls_on(day) else ():
            if instant(datetime.combine(day, time(hour, cron.minutes[-1])), zone) <= after:
                continue
            slots = (instant(datetime.combine(day, time(hour, minute)), zone) for minute in cron.minutes)
            yield from (slot for slot in slots if slot > after)


def _each_hour(cron: Cron, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    at, until = after.astimezone(UTC).replace(second=0, microsecond=0), after + _LONGEST * _DAY
    while at < until:
        day = at.astimezone(zone).date()
        if not cron.falls_on(day):
            following = instant(datetime.combine(day + _DAY, time(0)), zone)
            at = max(following, at + _MINUTE)
            continue
        slots = within_hour(cron.minutes, at, zone)
        yield from (slot for slot in slots if slot > after and cron.falls_on(slot.astimezone(zone).date()))
        at += _HOUR
