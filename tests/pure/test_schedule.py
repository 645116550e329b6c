"""Slots and quiet hours, over changes of clocks."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.model.schedule import QuietHours, Schedule, ends_at, next_slot

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC", "Pacific/Apia")]
schedules = st.one_of(
    st.just(Schedule("h", "hour")),
    st.builds(lambda at: Schedule("d", "day", (at,)), st.times().map(lambda t: t.replace(second=0, microsecond=0))),
    st.builds(lambda day: Schedule("w", "week", (time(8),), (day,)), st.integers(0, 6)),
    st.builds(lambda day: Schedule("m", "month", (time(8),), (day,)), st.integers(1, 31)),
)
moments = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@given(schedules, moments, st.sampled_from(ZONES))
def test_every_schedule_fires_later_than_asked_and_the_same_for_any_moment_before(schedule, after, zone):
    slot = next_slot(schedule, after, zone)
    assert after < slot <= after + timedelta(days=63)
    assert next_slot(schedule, slot - timedelta(microseconds=1), zone) == slot


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_a_year_of_days_has_one_daily_slot_each(zone):
    schedule, now, days = Schedule("d", "day", (time(2, 30),)), datetime(2024, 1, 1, tzinfo=zone).astimezone(UTC), []
    for _ in range(366):
        now = next_slot(schedule, now, zone)
        days.append(now.astimezone(zone).date())
    assert len(set(days)) == 366


def test_the_night_without_half_past_two_and_the_night_with_two_of_them():
    schedule = Schedule("d", "day", (time(2, 30),))
    spring = next_slot(schedule, datetime(2024, 3, 30, 12, tzinfo=UTC), BERLIN)
    assert spring.astimezone(BERLIN).isoformat() == "2024-03-31T03:00:00+02:00"
    autumn = next_slot(schedule, datetime(2024, 10, 26, 12, tzinfo=UTC), BERLIN)
    assert autumn.astimezone(BERLIN).isoformat() == "2024-10-27T02:30:00+02:00"
    assert next_slot(schedule, autumn, BERLIN).astimezone(BERLIN).isoformat() == "2024-10-28T02:30:00+01:00"


def test_a_moment_on_the_slot_belongs_to_the_next():
    schedule = Schedule("d", "day", (time(8),))
    slot = datetime(2024, 3, 5, 7, tzinfo=UTC)
    assert next_slot(schedule, slot, BERLIN) == slot + timedelta(days=1)


def test_the_31st_is_the_last_day_of_short_months():
    schedule = Schedule("m", "month", (time(8),), (31,))
    assert next_slot(schedule, datetime(2024, 2, 1, tzinfo=UTC), ZoneInfo("UTC")) == datetime(2024, 2, 29, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"every": "second"},
        {"every": "day", "at": ["25:00"]},
        {"every": "day", "on": ["mon"]},
        {"every": "week", "on": ["moon"]},
        {"every": "month", "on": [32]},
        {"every": "day", "cron": "*"},
    ],
)
def test_what_could_never_fire_is_refused(document):
    with pytest.raises(ValueError):
        Schedule.parse("x", document)


def test_quiet_hours_over_midnight():
    quiet = QuietHours(time(22), time(7))
    late = datetime(2024, 3, 5, 23, 30, tzinfo=BERLIN)
    assert ends_at(quiet, late, BERLIN) == datetime(2024, 3, 6, 7, tzinfo=BERLIN)
    assert ends_at(quiet, datetime(2024, 3, 6, 7, tzinfo=BERLIN), BERLIN) is None
    assert ends_at(quiet, datetime(2024, 3, 5, 22, tzinfo=BERLIN), BERLIN) is not None
    with pytest.raises(ValueError):
        QuietHours(time(22), time(22))


def test_quiet_hours_on_weekdays_only():
    quiet = QuietHours(time(22), time(7), frozenset({0, 1, 2, 3, 4}))
    assert ends_at(quiet, datetime(2024, 3, 9, 3, tzinfo=BERLIN), BERLIN) is not None  # Friday's window, on Saturday
    assert ends_at(quiet, datetime(2024, 3, 10, 3, tzinfo=BERLIN), BERLIN) is None
