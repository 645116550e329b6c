"""Times as readers write them: in their language and their zone."""

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime


def moment_text(moment: datetime, language: str, zone: str) -> str:
    """A time as her language writes it, in her zone, with the zone's name."""
    return _minute_text(moment.replace(second=0, microsecond=0), language, zone, "d MMM yyyy HH:mm z")


def short_moment(moment: datetime, language: str, zone: str) -> str:
    """The same for a list whose head says year and zone."""
    return _minute_text(moment.replace(second=0, microsecond=0), language, zone, "d MMM HH:mm")


@lru_cache(maxsize=2_000)
def _minute_text(minute: datetime, language: str, zone: str, form: str) -> str:
    """Kept, since what happened within a minute is written for many."""
    return format_datetime(minute.astimezone(_zone(zone)), form, locale=_locale(language))


@lru_cache(maxsize=256)
def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale("en")


@lru_cache(maxsize=600)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
