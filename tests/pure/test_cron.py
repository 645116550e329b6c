"""Cron expressions: what they name, minute by minute, and on the days on which clocks change."""

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelia.model.cron import next_time, parse_cron
from angelia.model.schedule import Schedule, next_slot

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE = timedelta(minutes=1)
FIELDS = (
    st.sampled_from(["*", "0", "5,50", "*/7", "10-20/5", "59"]),
    st.sampled_from(["*", "0", "3", "*/6", "8-10", "23"]),
    st.sampled_from(["*", "1", "15,31", "*/2"]),
    st.sampled_from(["*", "jan-mar", "12", "*/5"]),
    st.sampled_from(["*", "mon-fri", "0", "7", "sat,sun"]),
)


def times(text, after, zone=UTC, count=3):
    """The next times, in the zone."""
    found, at = [], datetime.fromisoformat(after)
    for _ in range(count):
        at = next_time(parse_cron(text), at, zone if isinstance(zone, ZoneInfo) else ZoneInfo("UTC"))
        found.append(at.astimezone(zone).isoformat(timespec="minutes"))
    return found


def fits(text, local):
    """The rule of crontab(5), read anew."""
    minute, hour, day, month, weekday = (
        field_values(part, *span) for part, span in zip(text.split(), ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7)), strict=True)
    )
    _, _, days, _, weekdays = text.split()
    of_month, of_week = local.day in day, bool({local.isoweekday(), local.isoweekday() % 7} & weekday)
    on_day = of_month or of_week if days[0] != "*" and weekdays[0] != "*" else of_month and of_week
    return local.minute in minute and local.hour in hour and local.month in month and on_day


NAMES = {f"{name:%b}".lower(): name.month for name in (datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 13))} | {
    f"{name:%a}".lower(): name.isoweekday() % 7 for name in (datetime(2026, 11, day, tzinfo=UTC) for day in range(1, 8))
}


def value(text):
    return NAMES.get(text) or (0 if text == "sun" else int(text))


def field_values(text, low, high):
    found = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, high) if span == "*" else (value(first), value(last or first))
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


@settings(max_examples=150, deadline=None)
@given(st.tuples(*FIELDS), st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)))
def test_no_minute_before_the_next_fits(fields, start):
    text, after = " ".join(fields), start.replace(tzinfo=UTC)
    found = next_time(parse_cron(text), after, ZoneInfo("UTC"))
    assert found > after and found.second == 0 and fits(text, found)
    at = after.replace(second=0, microsecond=0) + MINUTE
    for _ in range(3_000):
        if at >= found:
            break
        assert not fits(text, at), at
        at += MINUTE


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        # 2026-03-29: 02:00 to 03:00 is left out; 2026-10-25: it comes twice.
        ("30 2 * * *", "2026-03-28T12:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00", "2026-03-31T02:30+02:00"]),
        ("30 2 * * *", "2026-10-24T12:00+02:00", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00", "2026-10-27T02:30+01:00"]),
        ("0 * * * *", "2026-10-25T01:10+02:00", ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"]),
        ("*/30 * * * *", "2026-03-29T01:10+01:00", ["2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00"]),
        ("0 8 * * mon", "2026-03-28T12:00+01:00", ["2026-03-30T08:00+02:00", "2026-04-06T08:00+02:00", "2026-04-13T08:00+02:00"]),
        ("@daily", "2026-10-25T00:00+02:00", ["2026-10-26T00:00+01:00", "2026-10-27T00:00+01:00", "2026-10-28T00:00+01:00"]),
    ],
)
def test_days_on_which_clocks_change(text, after, expected):
    assert times(text, after, BERLIN) == expected


def changes(zones):
    """Of (name, year): a zone and the moment, to half a day, before which its clocks are changed; of zones that do it alike only one."""
    found = {}
    for name, year in zones:
        zone, first = ZoneInfo(name), datetime(year, 1, 1, tzinfo=UTC)
        for before, after in pairwise(first + timedelta(hours=12 * number) for number in range(732)):
            offsets = before.astimezone(zone).utcoffset(), after.astimezone(zone).utcoffset()
            if offsets[0] != offsets[1]:
                found.setdefault((after, *offsets), (zone, after))
    return found.values()


ODD = [
    ("Pacific/Apia", 2011),
    ("Asia/Pyongyang", 2015),
    ("Asia/Pyongyang", 2018),
    ("America/Caracas", 2016),
    ("America/St_Johns", 2010),
    ("Asia/Kathmandu", 1985),
]


def test_every_hour_has_its_minutes_whatever_the_clocks_do():
    """What a clock on the wall shows decides, also where it is changed by half an hour, at a quarter to, or by a whole day."""
    for zone, change in changes([*ODD, *((name, 2026) for name in sorted(available_timezones()))]):
        begin = change - timedelta(hours=14)
        shown = [(at, at.astimezone(zone).minute) for at in (begin + number * MINUTE for number in range(1, 16 * 60))]
        for minutes in ((0,), (45,), (15, 30)):
            expected = [at for at, minute in shown if minute in minutes]
            schedule = Schedule("h", "hour", tuple(time(0, minute) for minute in minutes))
            cron = parse_cron(f"{','.join(map(str, minutes))} * * * *")
            found, fired, slot, fire = [], [], begin, begin
            for _ in expected:
                slot, fire = next_slot(schedule, slot, zone), next_time(cron, fire, zone)
                found.append(slot)
                fired.append(fire)
            assert found == expected == fired, (zone, minutes)
            if change.year == 2026:  # no clock goes forward by a part of an hour but half of one
                assert max(after - before for before, after in pairwise(found)) <= timedelta(minutes=90), (zone, minutes)


def test_what_comes_seldom():
    assert times("0 0 29 2 */7", "2027-01-01T00:00+00:00", UTC, 3) == ["2032-02-29T00:00+00:00", "2060-02-29T00:00+00:00", "2088-02-29T00:00+00:00"]
    assert times("30 * 29 2 */7", "2088-03-01T00:00+00:00", UTC, 1) == ["2128-02-29T00:30+00:00"]
    assert times("0 0 29 2 *", "2096-03-01T00:00+00:00", count=2) == ["2104-02-29T00:00+00:00", "2108-02-29T00:00+00:00"]
    assert times("0 0 13 * fri", "2026-11-01T00:00+00:00") == ["2026-11-06T00:00+00:00", "2026-11-13T00:00+00:00", "2026-11-20T00:00+00:00"]
    assert times("5/20 4 * * *", "2026-11-01T00:00+00:00") == [f"2026-11-01T04:{minute}+00:00" for minute in ("05", "25", "45")]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("60 * * * *", "the minute is a number from 0 to 59"),
        ("* 24 * * *", "the hour is a number"),
        ("* * 0 * *", "the day of the month is a number"),
        ("* * * foo *", "or one of jan, feb"),
        ("* * * * 8", "or one of mon, tue"),
        ("*/0 * * * *", "a step of the minute"),
        ("*/x * * * *", "a step of the minute"),
        ("5-1 * * * *", "the minute runs backwards"),
        ("1,,2 * * * *", "the minute is a number"),
        ("- * * * *", "the minute is a number"),
        ("\u0663 * * * *", "the minute is a number"),
        ("0 0 30 2 *", "no such day"),
        ("0 0 31 4,6 *", "no such day"),
        ("@reboot", "five fields"),
        ("1," * 99, "at most 100 letters"),
    ],
)
def test_what_is_no_cron(text, fault):
    with pytest.raises(ValueError, match=fault):
        parse_cron(text)
