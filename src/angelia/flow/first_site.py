"""What a site says before its operator says anything: without it a new hub would take messages and show them to nobody."""

from datetime import datetime
from typing import Any

from angelia.model.errors import Conflict
from angelia.store import Store

FIRST: dict[str, Any] = {
    "preferences": {"*": {"web": "now", "feed": "now"}},
    "schedules": {
        "hourly": {"every": "hour"},
        "daily": {"every": "day", "at": ["08:00"]},
        "weekly": {"every": "week", "at": ["08:00"], "on": ["mon"]},
    },
}
"""What comes stands in the inbox and in feeds; whoever wants more finds schedules to choose from."""


async def begin_site(store: Store, now: datetime) -> bool:
    """Where nobody has stored a document yet, this one; True if so. It is the operator's from then on, to be changed or emptied."""
    _, version = await store.site()
    if version:
        return False
    try:
        made = await store.put_site(FIRST, 0)
    except Conflict:
        return True  # another process began at the same moment
    await store.audit("angelia", "site.put", "site", {"version": made}, now)
    return True
