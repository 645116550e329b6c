"""Times in words: a list shows many of the same hour, which differ in their minutes and seconds only."""

from datetime import datetime, timedelta, tzinfo
from functools import lru_cache

from babel import Locale
from babel.dates import DateTimeFormat, format_date, get_datetime_format, get_time_format
from markupsafe import escape

_LEFT_OPEN = ("m", "mm", "s", "ss")
"""CLDR's fields for minutes and seconds, plain and with two digits."""


class _Hour(dict[str, str]):
    """What the fields of a time are, but for those left open: they stay as they are asked for."""

    def __init__(self, moment: datetime, locale: Locale) -> None:
        self._known = DateTimeFormat(moment, locale)

    def __missing__(self, field: str) -> str:
        return f"\0{field}\0" if field in _LEFT_OPEN else str(self._known[field])


def words_of(local: datetime, form: str, locale: Locale) -> tuple[str, str]:
    """A time as a list shows it, and the whole of it, both for HTML. `form`: "time" of this day, "day" of this year, else "date"."""
    # Without its zone: Python holds the same moment in two zones for equal, and so would the cache.
    hour = local.replace(minute=0, second=0, microsecond=0, tzinfo=None)
    short, whole = _of_hour(hour, local.tzinfo, local.utcoffset(), form, locale)
    minute, second = local.minute, local.second
    for field, value in (("\0mm\0", f"{minute:02}"), ("\0ss\0", f"{second:02}"), ("\0m\0", str(minute)), ("\0s\0", str(second))):
        short, whole = short.replace(field, value), whole.replace(field, value)
    return short, whole


@lru_cache(maxsize=4_096)
def _of_hour(hour: datetime, zone: tzinfo | None, offset: timedelta | None, form: str, locale: Locale) -> tuple[str, str]:
    """Both texts with minutes and seconds left open. The offset says which of two hours it is, where clocks are put back."""
    del offset
    hour = hour.replace(tzinfo=zone)
    fields = _Hour(hour, locale)
    if form == "time":
        short = str(get_time_format("short", locale).format) % fields
    else:
        short = format_date(hour, "d MMM" if form == "day" else "short", locale=locale)
    both = str(get_datetime_format("full", locale)).replace("'", "")
    whole = both.replace("{0}", str(get_time_format("full", locale).format) % fields).replace("{1}", format_date(hour, "full", locale))
    return str(escape(short)), str(escape(whole))
