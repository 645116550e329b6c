"""Bounce x history -> what it says about the address: refused for good at once, in other cases after failures on several days."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

DAYS_OF_FAILURE = 3
WITHIN = timedelta(days=14)
_OF_THE_MAIL = ("5.2.2", "5.2.3", "5.2.4", "5.3.", "5.6.", "5.7.")
"""Status codes (RFC 3463) that end this mail and say little of its address: full, too large, lists, the system, its form, its policy."""


@dataclass(frozen=True, slots=True)
class Bounce:
    """One report that a mail failed for good: `status` as `5.1.1`, `why` in the words of the server that refused it."""

    status: str
    why: str

    @property
    def is_hard(self) -> bool:
        """Does the address not work at all? A status of class 4 has only run out of time."""
        return self.status.startswith("5") and not self.status.startswith(_OF_THE_MAIL)


def ends_address(bounce: Bounce, others_at: Iterable[datetime], now: datetime) -> bool:
    """Is nothing more sent there? `others_at`: when other mails to this address came back."""
    if bounce.is_hard:
        return True
    days = {at.date() for at in others_at if now - at <= WITHIN} | {now.date()}
    return len(days) >= DAYS_OF_FAILURE
