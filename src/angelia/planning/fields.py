"""Single fields of a document, checked: `path` is the dotted path of the field, which InvalidInput names."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta
from typing import TypeVar

from angelia.model.errors import InvalidInput
from angelia.model.message import Severity, checked_type
from angelia.model.preference import ANY_TYPE

T = TypeVar("T")
Document = Mapping[str, object]
_UNFIT = re.compile("[\x00\ud800-\udfff]")
_LENGTH = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def only(table: Document, known: frozenset[str], path: str) -> None:
    """Unknown keys are errors, so a typing slip never passes for a wish."""
    for key in table:
        if key not in known:
            where = f"{path}.{key}" if path else str(key)
            raise InvalidInput(f"unknown key; known are {', '.join(sorted(known))}", where)


def table(value: object, path: str) -> Mapping[str, object]:
    """An object with named entries."""
    if not isinstance(value, Mapping):
        raise InvalidInput("must be a table (an object with named entries)", path)
    for key in value:
        text(key, path)
    return value


def text(value: object, path: str) -> str:
    """A short text that every database can keep."""
    if not isinstance(value, str) or len(value) > 1_024 or _UNFIT.search(value):
        raise InvalidInput("must be a text of at most 1,024 characters, without NUL and half characters", path)
    return value


def texts(value: object, path: str) -> list[str]:
    """A list of texts."""
    if not isinstance(value, list | tuple | frozenset | set):
        raise InvalidInput("must be a list of texts", path)
    return [text(item, path) for item in value]


def flag(value: object, path: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise InvalidInput("must be true or false", path)
    return value


def whole(value: object, path: str, low: int, high: int) -> int:
    """A whole number within these bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInput(f"must be a whole number from {low} to {high}", path)
    return value


def seconds(value: object, path: str) -> float:
    """A length in seconds, at most a year."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 31_536_000:
        raise InvalidInput("a length in seconds, at most a year", path)
    return float(value)


def length(value: object, path: str, most: timedelta = timedelta(days=7)) -> timedelta:
    """From `10m`, `2h` or `1d`; at least a minute, at most that many days."""
    found = _LENGTH.fullmatch(text(value, path))
    said = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta(0)
    if not timedelta(minutes=1) <= said <= most:
        raise InvalidInput(f"a length such as 10m, 2h or 1d, from 1m to {most.days}d", path)
    return said


def severity(value: object, path: str) -> Severity:
    """A severity by its name."""
    try:
        return Severity.named(text(value, path))
    except InvalidInput as error:
        raise InvalidInput(str(error), path) from None


def enum(kind: type[T], value: object, path: str) -> T:
    """One of the values of an enum."""
    try:
        return kind(value)  # type: ignore[call-arg]
    except ValueError:
        choices = ", ".join(str(member) for member in kind)  # type: ignore[attr-defined]
        raise InvalidInput(f"must be one of {choices}", path) from None


def moment(value: object, path: str) -> datetime:
    """A time with its zone, or a time of TOML that has one."""
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(text(value, path))
    except ValueError:
        raise InvalidInput("must be a time such as 2026-03-20T08:00:00+01:00", path) from None
    if at.tzinfo is None:
        raise InvalidInput("needs its zone, as in 2026-03-20T08:00:00+01:00", path)
    # What lies at the ends of the calendar can't be read in another zone.
    if not 1970 <= at.year <= 2200:
        raise InvalidInput("a time lies between 1970 and 2200", path)
    return at


def clock(value: object, path: str) -> time:
    """A time of day, local."""
    if isinstance(value, time):
        return value
    try:
        return datetime.strptime(str(value), "%H:%M").time()  # noqa: DTZ007 - a local wall-clock time has no zone
    except ValueError:
        raise InvalidInput(f"{str(value)[:40]!r} is not a time of day such as 07:30", path) from None


def weekday(name: str, path: str) -> int:
    """A day as a number, Monday first."""
    if name not in _DAYS:
        raise InvalidInput(f"a day is one of {', '.join(_DAYS)}", path)
    return _DAYS.index(name)


def optional(value: object, path: str, parse: Callable[[object, str], T]) -> T | None:
    """What `parse` makes of it; None where nothing is said."""
    return None if value is None else parse(value, path)


def scope(key: str, path: str) -> str:
    """A type, or `*` for any."""
    if key == ANY_TYPE:
        return key
    try:
        return checked_type(key)
    except InvalidInput as error:
        raise InvalidInput(str(error), f"{path}.{key}") from None
