"""What the list and the page of one message do with what is marked there: the choices, and when what is put off comes back."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from angelia.model.person import Person
from angelia.store import InboxQuery
from angelia.web.context import Context
from angelia.web.inbox import Marked, mark

CHANGES = ("read", "unread", "archive", "unarchive", "snooze", "unsnooze")
MORNING = time(8)


async def mark_until(
    house: Context, person: Person, view: InboxQuery, ids: list[int] | None, change: str, choice: str, *, is_undoable: bool = True
) -> Marked:
    """Mark entries of the view, or all of it; what is snoozed comes back when she chose (see `later`)."""
    until = later(choice, house.now(), person.time_zone) if change == "snooze" else None
    return await mark(house, person, view, ids, change, is_undoable=is_undoable, until=until)


def later(choice: str, now: datetime, zone: str) -> datetime:
    """When what is put off comes back: in an hour, or in the morning of tomorrow or of Monday where she is."""
    local = now.astimezone(ZoneInfo(zone))
    days = {"tomorrow": 1, "monday": 7 - local.weekday()}.get(choice)
    if days is None:
        return now + timedelta(hours=1)
    return datetime.combine(local.date() + timedelta(days=days), MORNING, local.tzinfo)
