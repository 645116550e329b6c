"""One person's inbox: pages, counts and marks of a view."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from angelia.model.errors import InvalidInput
from angelia.model.message import Severity
from angelia.model.moments import public_id
from angelia.store import InboxQuery
from angelia.web.access import House, Reading, Writing
from angelia.web.forms import Limit, Marking, item_out, number

router = APIRouter(prefix="/api/v1/people/{login}", tags=["person"])
Body = dict[str, Any]


def _query(filters: dict[str, Any]) -> InboxQuery:
    if filters["state"] not in ("", "unread", "read", "archived"):
        raise InvalidInput("state is unread, read or archived", "state")
    severity = Severity.named(filters.pop("severity") or "low")
    cursors = {name: number("dlv", filters.pop(name)) if filters[name] else filters.pop(name) or None for name in ("before", "after")}
    return InboxQuery(min_severity=severity, before_id=cursors["before"], after_id=cursors["after"], **filters)


async def inbox_query(
    state: str = "",
    type: str = "",
    source: str = "",
    tag: str = "",
    object: str = "",
    thread: str = "",
    severity: str = "",
    text: str = Query("", max_length=200),
    sort: str = Query("-received", pattern="^-?received$"),
    before: str = "",
    after: str = "",
    limit: Limit = 50,
) -> InboxQuery:
    """The view of an inbox, as it stands in the query."""
    return _query(
        {
            "state": state,
            "subtree": type.lower(),
            "source": source,
            "tag": tag,
            "object_ref": object,
            "thread": thread,
            "severity": severity,
            "text": text,
            "is_newest_first": sort.startswith("-"),
            "before": before,
            "after": after,
            "limit": limit,
        }
    )


View = Annotated[InboxQuery, Depends(inbox_query)]


@router.get("/inbox")
async def inbox(view: View, person: Reading, house: House) -> Body:
    """A page of her inbox: filters by state, type subtree, source, tag (`name=value`), object, thread, severity and text."""
    items = await house.store.inbox(person.person_id, view)
    following = public_id("dlv", items[-1].delivery_id) if len(items) == view.limit else None
    return {"items": [item_out(item) for item in items], "next": following}


@router.get("/inbox/counts")
async def inbox_counts(view: View, person: Reading, house: House, by: str = "") -> Body:
    """Counts of the view: total and unread, or by type, source, object, thread, severity or `tag:<name>`."""
    if by not in ("", "type", "source", "object", "thread", "severity") and not by.startswith("tag:"):
        raise InvalidInput("by is type, source, object, thread, severity or tag:<name>", "by")
    return await house.store.inbox_counts(person.person_id, view, by)


@router.post("/inbox/mark")
async def mark_inbox(form: Marking, view: View, person: Writing, house: House) -> Body:
    """Read, unread, archive or unarchive the listed entries, or the whole view: bulk acts respect the filter (need N-18)."""
    ids = None if form.ids is None else [number("dlv", text) for text in form.ids]
    return {"changed": await house.store.mark(person.person_id, view, ids, form.change, house.now())}
