"""Times in words are those of the library that knows the languages, however quickly they are made."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from babel import Locale
from babel.dates import format_date, format_datetime, format_time
from hypothesis import given
from hypothesis import strategies as st

from angelia.web.pages.languages import LANGUAGES
from angelia.web.pages.moments import words_of

ZONES = [ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Asia/Vladivostok")]


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(ZONES),
    st.sampled_from([*sorted(LANGUAGES), "fr", "ja", "ar", "fi"]),
)
def test_both_texts_are_those_of_the_library(moment, zone, language):
    local, locale = moment.astimezone(zone), Locale.parse(language)
    texts = {
        "time": format_time(local, "short", locale=locale),
        "day": format_date(local, "d MMM", locale=locale),
        "date": format_date(local, "short", locale=locale),
    }
    for form, text in texts.items():
        assert words_of(local, form, locale) == (text, format_datetime(local, "full", locale=locale))


def test_the_same_moment_in_two_zones_has_two_texts():
    moment, locale = datetime(2026, 11, 24, 9, 5, tzinfo=UTC), Locale("en")
    assert [words_of(moment.astimezone(zone), "time", locale)[0] for zone in ZONES[:2]] == ["9:05\u202fAM", "10:05\u202fAM"]


@pytest.mark.parametrize("minutes", [0, 60])
def test_an_hour_that_comes_twice_is_told_apart(minutes):
    local = (datetime(2026, 10, 25, 0, 30, tzinfo=UTC) + timedelta(minutes=minutes)).astimezone(ZONES[1])
    assert ("Summer" in words_of(local, "time", Locale("en"))[1]) == (minutes == 0)
