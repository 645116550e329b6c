"""Schedule, QuietHours; the next slot in the person's zone, right on days that have 23 or 25 hours."""

from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import count
from zoneinfo import ZoneInfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY = ("hour", "day", "week", "month")
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When held things may go, in a person's local time.

    `every` is hour, day, week or month. `at` are local times (for hour only their minutes count; default the full hour). `on` are weekday
    numbers (Monday = 0) for week, days of the month for month (31 means the last day where a month is shorter).
    """

    name: str
    every: str
    at: tuple[time, ...] = ()
    on: tuple[int, ...] = ()
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        """Refuse what could never fire."""
        if self.every not in EVERY:
            raise ValueError(f"every is one of {', '.join(EVERY)}")
        if not self.at:
            object.__setattr__(self, "at", (time(0),) if self.every == "hour" else (time(8),))
        if self.every in ("hour", "day") and self.on:
            raise ValueError(f"a schedule of every {self.every} has no days: leave 'on' out")
        if self.every == "week" and not self.on:
            object.__setattr__(self, "on", (0,))
        if self.every == "month" and not self.on:
            object.__setattr__(self, "on", (1,))
        if self.every == "month" and not all(1 <= day <= 31 for day in self.on):
            raise ValueError("days of a month are 1 to 31")
        object.__setattr__(self, "at", tuple(sorted(set(self.at))))
        object.__setattr__(self, "on", tuple(sorted(set(self.on))))
        object.__setattr__(self, "_hash", hash((self.name, self.every, self.at, self.on)))

    def __hash__(self) -> int:
        return self._hash

    @classmethod
    def parse(cls, name: str, document: Mapping[str, object]) -> "Schedule":
        """From `{"every": "week", "at": ["08:00"], "on": ["mon", "thu"]}`; ValueError says what is wrong."""
        unknown = set(document) - {"every", "at", "on"}
        if unknown:
            raise ValueError(f"a schedule has every, at and on, not {', '.join(sorted(map(str, unknown)))}")
        every = document.get("every")
        if not isinstance(every, str) or every not in EVERY:
            raise ValueError(f"every is one of {', '.join(EVERY)}")
        at = tuple(_clock(text) for text in _list(document.get("at", ()), "at"))
        on = tuple(_day(day, every) for day in _list(document.get("on", ()), "on"))
        if len(at) > 24 or len(on) > 31:
            raise ValueError("at most 24 times and 31 days")
        return cls(name, every, at, on)

    def falls_on(self, day: date) -> bool:
        """Has this local day slots?"""
        if self.every == "week":
            return day.weekday() in self.on
        if self.every == "month":
            last = monthrange(day.year, day.month)[1]
            return day.day in self.on or (day.day == last and any(wanted > last for wanted in self.on))
        return True


def _list(value: object, name: str) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} is a list")
    return value


def _clock(text: object) -> time:
    if isinstance(text, time):
        return text.replace(second=0, microsecond=0)
    try:
        return datetime.strptime(str(text), "%H:%M").time()  # noqa: DTZ007 - a local wall-clock time has no zone
    except ValueError:
        raise ValueError(f"{str(text)[:20]!r} is not a time of day such as 08:00") from None


def _day(day: object, every: str) -> int:
    if every == "week" and day in WEEKDAYS:
        return WEEKDAYS.index(str(day))
    if every == "month" and isinstance(day, int) and not isinstance(day, bool):
        return day
    raise ValueError("on holds mon..sun for a week, and days 1 to 31 for a month")


def next_slot(schedule: Schedule, after: datetime, zone: ZoneInfo) -> datetime:
    """The first slot strictly after `after`, in UTC.

    A local time that a change of clocks leaves out goes at the first instant after the gap; one that comes twice goes the first time. So each
    local day has each of its slots once.
    """
    if schedule.every == "hour":
        return _next_hour(schedule, after, zone)
    day = after.astimezone(zone).date() - _DAY  # a slot moved over a gap may belong to the local day before
    for _ in range(400):
        for slot in _slots(schedule, day, zone):
            if slot > after:
                return slot
        day += _DAY
    raise ValueError(f"schedule {schedule.name!r} never fires")


@lru_cache(maxsize=4_096)
def _slots(schedule: Schedule, day: date, zone: ZoneInfo) -> tuple[datetime, ...]:
    if not schedule.falls_on(day):
        return ()
    return tuple(instant(datetime.combine(day, at), zone) for at in schedule.at)


def instant(local: datetime, zone: ZoneInfo) -> datetime:
    """The UTC instant of a local time, by the rules of `next_slot`."""
    found = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) == local:
        return found
    # In a gap, fold=0 counts with the offset before it, fold=1 with the one after: the change lies between.
    low = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    high = found
    while high - low > _MINUTE:
        middle = low + (high - low) // 2
        middle = middle.replace(second=0, microsecond=0)
        if middle.astimezone(zone).replace(tzinfo=None) < local:
            low = middle if middle > low else low + _MINUTE
        else:
            high = middle
    return high


def _next_hour(schedule: Schedule, after: datetime, zone: ZoneInfo) -> datetime:
    """Minutes of the local hour, as the hours pass: one that comes twice fires twice."""
    minutes = sorted({at.minute for at in schedule.at})
    start = after.astimezone(UTC).replace(second=0, microsecond=0)
    return next(slot for ahead in count() for slot in within_hour(minutes, start + ahead * _HOUR, zone) if slot > after)


def within_hour(minutes: Iterable[int], start: datetime, zone: ZoneInfo) -> list[datetime]:
    """All instants of the hour from `start` (UTC) at which a local clock shows one of these minutes.

    Clocks may change within it, and by less than an hour: before that the one offset counts, and from then on the other.
    """
    found: set[datetime] = set()
    for offset in {(start + ahead).astimezone(zone).utcoffset() for ahead in (timedelta(), _HOUR)}:
        assert offset is not None
        shown = (start + offset).minute
        slots = (start + (minute - shown) % 60 * _MINUTE for minute in minutes)
        found.update(slot for slot in slots if slot.astimezone(zone).utcoffset() == offset)
    return sorted(found)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `start` to before `end`, local time, on the weekdays on which the window starts; it may span midnight."""

    start: time
    end: time
    weekdays: frozenset[int] = frozenset(range(7))

    def __post_init__(self) -> None:
        """A window without length could mean nothing or everything: refused."""
        if self.start == self.end:
            raise ValueError("quiet hours need two different times; to silence whole days pause the agent")
        if not self.weekdays:
            raise ValueError("quiet hours need at least one day")


def ends_at(quiet: QuietHours, now: datetime, zone: ZoneInfo) -> datetime | None:
    """The end (UTC) of the window that `now` falls in, or None."""
    today = now.astimezone(zone).date()
    for day in (today - _DAY, today):
        if day.weekday() not in quiet.weekdays:
            continue
        last = day if quiet.end > quiet.start else day + _DAY
        start = instant(datetime.combine(day, quiet.start), zone)
        end = instant(datetime.combine(last, quiet.end), zone)
        if start <= now < end:
            return end
    return None
