"""Collapse and overflow: which of the messages that may go at once do go (rules R11 and R12)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Caps:
    """How many a person may get at once by one agent in a clock hour, and how long an equal key is folded."""

    per_hour: int = 30
    fold: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Pass:
    """It goes at once."""


@dataclass(frozen=True, slots=True)
class Fold:
    """The same went a short time ago."""

    last_sent_at: datetime


@dataclass(frozen=True, slots=True)
class Overflow:
    """It joins the overflow digest at the end of the window; the first one is worth a notice."""

    due_at: datetime
    is_first: bool


def judge(
    now: datetime,
    key: str | None,
    last_sent_at: datetime | None,
    sent_in_window: int,
    window_started_at: datetime | None,
    caps: Caps,
    *,
    exempt: bool = False,
    is_told: bool = False,
) -> Pass | Fold | Overflow:
    """What becomes of one message that is wanted at once. `exempt` ones (urgent, locked) always pass, and count.

    `sent_in_window` counts all that were judged since `window_started_at`, `is_told` says that one of them was held back, and told to be the
    first; of a window that is over neither counts.
    """
    if exempt:
        return Pass()
    if key is not None and last_sent_at is not None and timedelta() <= now - last_sent_at < caps.fold:
        return Fold(last_sent_at)
    started_at = window_start(now, window_started_at)
    is_running = started_at == window_started_at
    if (sent_in_window if is_running else 0) < caps.per_hour:
        return Pass()
    # Not by the number: an exempt one may be the one at the cap, and the cap may change within the hour.
    return Overflow(started_at + WINDOW, is_first=not (is_running and is_told))


def window_start(now: datetime, window_started_at: datetime | None) -> datetime:
    """The window that now falls in: the running one, or the clock hour."""
    if window_started_at is not None and timedelta() <= now - window_started_at < WINDOW:
        return window_started_at
    return now.replace(minute=0, second=0, microsecond=0)
