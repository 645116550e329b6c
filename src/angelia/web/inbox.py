"""One person's inbox: pages, groups, counts and marks of a view, one entry with its reasons."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from angelia.flow.explain import explain
from angelia.model.errors import Conflict, InvalidInput, NotFound
from angelia.model.message import Severity
from angelia.model.moments import from_us, number_of, public_id, to_us
from angelia.model.person import Person
from angelia.store import InboxGroup, InboxItem, InboxQuery
from angelia.web.access import House, Looking, Reading, Writing
from angelia.web.context import Context
from angelia.web.forms import Acknowledging, Limit, Marking, Undoing, number
from angelia.web.object_names import object_name
from angelia.web.paging import PagedRoute, only_known
from angelia.web.shapes import item_out

router = APIRouter(prefix="/api/v1/people/{login}", tags=["person"], route_class=PagedRoute)
Body = dict[str, Any]
STATES = ("", "unread", "read", "archived", "snoozed", "back", "all")
LONGEST_SNOOZE = timedelta(days=366)
GROUPED = ("", "object", "thread")
COUNTED = ("", "type", "source", "object", "thread", "severity", "reason")


async def inbox_filters(
    state: str = "",
    type: str = "",
    source: str = "",
    tag: str = "",
    reason: str = Query("", max_length=200),
    object: str = "",
    thread: str = "",
    severity: str = "",
    text: str = Query("", max_length=200),
) -> InboxQuery:
    """Which entries of an inbox are meant, as it stands in the query."""
    if state not in STATES:
        raise InvalidInput("state is unread, read, archived, snoozed, back or all", "state")
    return InboxQuery(
        state=state,
        subtree=type.lower(),
        source=source,
        tag=tag,
        reason=reason,
        object_ref=object,
        thread=thread,
        min_severity=Severity.named(severity or "low"),
        text=text,
    )


Filters = Annotated[InboxQuery, Depends(inbox_filters)]


async def inbox_query(
    filters: Filters,
    sort: str = Query("-received", pattern="^-?(received|severity)$"),
    before: str = "",
    after: str = "",
    limit: Limit = 50,
) -> InboxQuery:
    """The view of an inbox, as it stands in the query."""
    return replace(
        filters,
        is_newest_first=sort.startswith("-"),
        is_by_severity=sort.endswith("severity"),
        before_id=number("dlv", before, "before") if before else None,
        after_id=number("dlv", after, "after") if after else None,
        limit=limit,
    )


View = Annotated[InboxQuery, Depends(inbox_query)]
OnlyKnown = Annotated[None, Depends(only_known)]
"""Behind who asks, in a route: whoever may not ask is told of that first."""


async def seen_by(house: Context, person: Person, view: InboxQuery) -> InboxQuery:
    """The view, without what she may not see any more (promise P14)."""
    return replace(view, seen_by=await house.store.names_of(person.person_id))


@dataclass(frozen=True, slots=True)
class Marked:
    """What a bulk change came to; `undo` names it for taking it back."""

    changed: int
    undo: str


@router.get("/inbox")
async def inbox(view: View, person: Looking, _: OnlyKnown, house: House, group: str = Query("", max_length=68)) -> Body:
    """A page of her inbox: filters by state, type subtree, source, tag (`name=value`), reason, object, thread, severity and text.

    `sort` is `received` or `severity`, with `-` falling; of equal severity the newest come first, or last in the rising order.

    With `group` (object, thread or `tag:<name>`) the page is of groups: each with its title, its numbers and its first three entries. `next` is
    the cursor of the following page. Where few entries fit, a page can be shorter than `limit` where others follow.
    """
    if group not in GROUPED and not (group.startswith("tag:") and group[4:]):
        raise InvalidInput("group is object, thread or tag:<name>", "group")
    seen = await seen_by(house, person, view)
    if group:
        found = await house.store.inbox_page(person.person_id, seen, group)
        groups = [
            {"key": g.key, "title": title_of(house, g), "total": g.total, "unread": g.unread, "items": [item_out(item) for item in g.items]}
            for g in found.groups
        ]
        return {"groups": groups, "next": _cursor(found.next_id)}
    part = await house.store.inbox_part(person.person_id, seen)
    return {"items": [item_out(item) for item in part.items], "next": _cursor(part.next_id)}


def _cursor(delivery_id: int | None) -> str | None:
    return None if delivery_id is None else public_id("dlv", delivery_id)


def title_of(house: Context, group: InboxGroup) -> str:
    """What the object or the like of a group is called; its key where nobody knows better."""
    newest = group.items[0].message if group.items else None
    return object_name(newest, house.dispatcher.instruments) if newest is not None and newest.object == group.key else group.key


@router.get("/inbox/counts")
async def inbox_counts(view: Filters, person: Reading, _: OnlyKnown, house: House, by: str = "") -> Body:
    """Counts of the view: total and unread, or by type, source, object, thread, severity, reason or `tag:<name>`. They go over the newest 20,000
    entries; where there are more, `is_at_least` is true.
    """
    if by not in COUNTED and not by.startswith("tag:"):
        raise InvalidInput("by is type, source, object, thread, severity, reason or tag:<name>", "by")
    return await house.store.inbox_counts(person.person_id, await seen_by(house, person, view), by)


async def mark(
    house: Context,
    person: Person,
    view: InboxQuery,
    ids: list[int] | None,
    change: str,
    *,
    is_undoable: bool = True,
    until: datetime | None = None,
) -> Marked:
    """Mark the listed entries of the view, or all of it; `snooze` needs its end."""
    now = house.now()
    if change == "snooze" and (until is None or not now < until <= now + LONGEST_SNOOZE):
        raise InvalidInput("say until when: a time to come, within a year", "until")
    seen = await seen_by(house, person, view)
    changed = await house.store.mark(person.person_id, seen, ids, change, now, is_undoable=is_undoable, until=until)
    house.live.forget(person.person_id)
    return Marked(changed, f"{to_us(now):x}")


async def undo(house: Context, person: Person, made: str) -> int:
    """Take back the last bulk change; Conflict where another came after it."""
    is_stamp = len(made) < 16 and all(letter in "0123456789abcdef" for letter in made) and made
    changed = await house.store.undo_mark(person.person_id, from_us(int(made, 16) % (1 << 53)), house.now()) if is_stamp else None
    if changed is None:
        raise Conflict("this can't be taken back any more: something else was changed after it, or it is undone already")
    house.live.forget(person.person_id)
    return changed


@router.post("/inbox/mark")
async def mark_inbox(form: Marking, view: Filters, person: Writing, _: OnlyKnown, house: House) -> Body:
    """Read, unread, archive, unarchive, put off or bring back the listed entries, or the whole view: bulk acts respect the filter (need N-18)."""
    ids = None if form.ids is None else [number("dlv", text) for text in form.ids]
    marked = await mark(house, person, view, ids, form.change, until=form.until)
    return {"changed": marked.changed, "undo": marked.undo}


@router.post("/inbox/undo")
async def undo_mark(form: Undoing, person: Writing, house: House) -> Body:
    """Take back the last change: `undo` as it came with it."""
    return {"changed": await undo(house, person, form.undo)}


@router.post("/inbox/acknowledge")
async def acknowledge_inbox(form: Acknowledging, person: Writing, house: House) -> Body:
    """She takes these messages over: they are read everywhere, and escalate no further. Ids of messages or of entries; others' are left out."""
    named = [(text, number_of("msg", text)) for text in form.ids]
    entries = await house.store.deliveries([number("dlv", text) for text, message_id in named if message_id is None])
    ids = [message_id for _, message_id in named if message_id is not None]
    ids += [entry.message_id for entry in entries.values() if entry.message_id is not None and entry.person_id == person.person_id]
    return {"changed": await house.answers.acknowledge(person.person_id, ids, "api")}


async def entry_of(house: Context, person: Person, name: str) -> InboxItem:
    """One entry of hers; what is not hers, is not there, or is no id at all is told alike."""
    delivery_id = number_of("dlv", name)
    item = await house.store.inbox_entry(person.person_id, delivery_id or 0, await house.store.names_of(person.person_id))
    if item is None:
        raise NotFound("there is no such message")
    return item


@router.get("/inbox/{delivery_id}")
async def inbox_entry(delivery_id: str, person: Looking, house: House) -> Body:
    """One entry, with why it came and by which ways."""
    item = await entry_of(house, person, delivery_id)
    return item_out(item) | {"why": await explain(house.store, item.message, person)}
