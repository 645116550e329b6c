"""Claims, NewsWish: what a person's token for jobs says of her, and how she wants to be told."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from angelia.model.errors import InvalidInput

LATEST = 2_177_449_199
"""Epoch seconds; what can't be said as a date is cut to it."""
TRUE_TEXTS = frozenset({"true", "1", "yes"})
FALSE_TEXTS = frozenset({"false", "0", "no"})
MAIL_KEYS = {"mssub": bool, "msdone": bool, "msfail": bool, "mstout": bool, "intsub": float, "tem": float}
CHAT_KEYS = {"mxroomid": str, "mxsub": bool, "mxdone": bool, "mxfail": bool, "mxstout": bool, "mxintsub": float, "tmx": float}
OPTION_KEYS: Mapping[str, type] = {**MAIL_KEYS, **CHAT_KEYS}


@dataclass(frozen=True, slots=True)
class NewsWish:
    """How one channel is wanted; None where nothing is said. `interval` between two words on submission, or on progress, and `threshold`, above
    which an end is told, are in seconds; `is_end_timed` False means that a good end is not told at all.
    """

    on_submit: bool | None = None
    on_done: bool | None = None
    on_failure: bool | None = None
    is_end_timed: bool | None = None
    interval: float | None = None
    threshold: float | None = None
    on_progress: bool | None = None


def over(first: NewsWish, second: NewsWish) -> NewsWish:
    """What `first` says, and where it says nothing, what `second` does."""
    said = {item.name: getattr(first, item.name) for item in fields(NewsWish) if getattr(first, item.name) is not None}
    return replace(second, **said)


@dataclass(frozen=True, slots=True)
class Claims:
    """A token, read. `login` is "" where it names nobody; `roles` is None where it says nothing of roles."""

    login: str
    name: str = ""
    roles: frozenset[str] | None = None
    expires_at: datetime | None = None
    mail: NewsWish = NewsWish()
    chat: NewsWish = NewsWish()
    room: str = ""


def read_claims(payload: Mapping[str, Any]) -> Claims:
    """The claims of a payload. A value that makes no sense says nothing: an old token must not make a person unreachable."""
    return Claims(
        login=str(payload.get("sub") or payload.get("email") or ""),
        name=str(payload.get("name") or ""),
        roles=read_roles(payload.get("roles")),
        expires_at=read_moment(payload.get("exp")),
        mail=_wish(payload, "mssub", "msdone", "msfail", "mstout", "intsub", "tem"),
        chat=_wish(payload, "mxsub", "mxdone", "mxfail", "mxstout", "mxintsub", "tmx"),
        room=str(payload.get("mxroomid") or ""),
    )


def read_roles(value: Any) -> frozenset[str] | None:
    """A text with commas or a list; None for neither."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        return None
    return frozenset(role for item in value if (role := str(item).strip()))


def read_moment(value: Any) -> datetime | None:
    """Epoch seconds; None for what is no such number."""
    number = _number(value)
    if number is None:
        return None
    return datetime.fromtimestamp(min(max(number, 0.0), float(LATEST)), UTC)


def read_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options that a person wants in her token: known names only, each of its kind. InvalidInput says what is wrong with each."""
    wrong: dict[str, list[str]] = {}
    options: dict[str, Any] = {}
    for name, value in given.items():
        kind = OPTION_KEYS.get(name)
        if kind is None:
            wrong[name] = ["Unknown field."]
            continue
        read = _READERS[kind](value)
        if read is None:
            wrong[name] = [_COMPLAINTS[kind]]
        else:
            options[name] = read
    if wrong:
        raise InvalidInput(f"An error occurred while validating the following fields: {wrong}. Please check it and re-try to issue the request")
    return options


def prolonged(payload: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The payload with a later end; all other claims are kept."""
    end = _number(payload.get("exp"))
    if end is None:
        raise InvalidInput("this token has no end that could be moved", "exp")
    later = min(end + seconds, float(LATEST))
    return {**payload, "exp": int(later) if later.is_integer() else later}


def _wish(payload: Mapping[str, Any], *names: str) -> NewsWish:
    submit, done, failure, timed, interval, threshold = (payload.get(name) for name in names)
    return NewsWish(_truth(submit), _truth(done), _truth(failure), _truth(timed), _number(interval), _number(threshold))


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    return True if text in TRUE_TEXTS else False if text in FALSE_TEXTS else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 1e300 else None  # false for NaN and infinity, too


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) <= 255 else None


_READERS: Mapping[type, Any] = {bool: _truth, float: _number, str: _text}
_COMPLAINTS: Mapping[type, str] = {bool: "Not a valid boolean.", float: "Not a valid number.", str: "Not a valid string."}
