"""Public topics over HTTP: what anybody may read, and how a person follows one of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from angelia.flow.topics import PUBLIC, Marks, is_public, is_shown, marks_of, topic_of
from angelia.flow.wants import change_wants
from angelia.model.errors import NotFound
from angelia.model.message import MessageType, checked_type
from angelia.model.moments import public_id, to_text
from angelia.store import InboxItem, InboxQuery
from angelia.web.access import House, Writing
from angelia.web.context import Context
from angelia.web.forms import number
from angelia.web.paging import PagedRoute

router = APIRouter(prefix="/api/v1", tags=["topics"], route_class=PagedRoute)
Body = dict[str, Any]
PAGE = 50
MOST_LOOKED_AT = 500


@dataclass(frozen=True, slots=True)
class Topics:
    """What is public now."""

    marks: Marks
    entries: Mapping[str, MessageType]

    @property
    def keys(self) -> list[str]:
        """The topics: the topmost types that are public."""
        return sorted({topic_of(self.marks, key) for key, marked in self.marks.items() if marked})


async def public_topics(house: Context) -> Topics:
    """What the operator marked, as it stands in the registry now."""
    entries = await house.store.types(is_curated=True)
    return Topics(marks_of(entries), {entry.key: entry for entry in entries})


async def last_by_topic(house: Context, topics: Topics, most: int) -> dict[str, list[InboxItem]]:
    """The newest few of each topic, out of the newest 500 of all."""
    found: dict[str, list[InboxItem]] = {key: [] for key in topics.keys}
    shown, _ = await _items(house, topics, InboxQuery(limit=MOST_LOOKED_AT))
    for item in shown:
        items = found[topic_of(topics.marks, item.message.type)]
        if len(items) < most:
            items.append(item)
    return found


async def topic_page(house: Context, key: str, before: str = "") -> tuple[Topics, list[InboxItem], str]:
    """Up to 50 messages of a public type, newest first, and where the next page begins; NotFound for what is not public."""
    topics = await public_topics(house)
    if not is_public(topics.marks, key):
        raise NotFound("there is no such topic")
    items, following = await _items(house, topics, InboxQuery(subtree=key, before_id=number("dlv", before, "before") if before else None, limit=PAGE))
    return topics, items, following


async def _items(house: Context, topics: Topics, view: InboxQuery) -> tuple[list[InboxItem], str]:
    """What may be shown of a page, and where the next one begins."""
    public = await house.store.person(PUBLIC) if topics.marks else None
    if public is None:
        return [], ""
    part = await house.store.inbox_part(public.person_id, view)
    following = "" if part.next_id is None else public_id("dlv", part.next_id)
    return [item for item in part.items if is_shown(topics.marks, item.message)], following


def public_out(item: InboxItem) -> Body:
    """A message for everybody: what happened, and never whom it was sent to."""
    message = item.message
    return {
        "id": public_id("msg", message.message_id),
        "type": message.type,
        "subject": message.subject,
        "body": message.body,
        "body_format": message.body_format,
        "severity": message.severity.label,
        "object": message.object,
        "object_url": message.object_url,
        "tags": [list(tag) for tag in message.tags],
        "sender": message.sender.name or message.sender.sender_id or message.source,
        "occurred_at": to_text(message.occurred_at),
    }


@router.get("/topics")
async def topics(house: House) -> Body:
    """The public topics; nobody needs to sign in."""
    found = await public_topics(house)
    entries = [found.entries[key] for key in found.keys]
    return {"items": [{"type": entry.key, "labels": dict(entry.labels), "descriptions": dict(entry.descriptions)} for entry in entries]}


@router.get("/topics/{key}")
async def topic(key: str, house: House, before: str = "") -> Body:
    """Messages of a public type and of those below it, newest first."""
    _, items, following = await topic_page(house, checked_type(key), before)
    return {"items": [public_out(item) for item in items], "next": following or None}


@router.put("/people/{login}/topics/{key}")
async def follow_topic(key: str, person: Writing, house: House) -> Body:
    """Follow a public topic: a rule of her own brings it to her inbox; how else she is told of it is as her preferences say."""
    key = checked_type(key)
    found = await public_topics(house)
    if not is_public(found.marks, key):
        raise NotFound("there is no such topic")

    def change(document: Body) -> None:
        rules = document.setdefault("rules", [])
        if all(rule.get("origin") != f"topic:{key}" for rule in rules):
            # Not final: whoever is told of some of this by mail, say as a maintainer, goes on being told.
            rules.append({"id": f"topic-{key}", "origin": f"topic:{key}", "type": key, "final": False, "do": {"web": "now"}})

    return await _changed(house, person.login, change)


@router.delete("/people/{login}/topics/{key}", status_code=204)
async def leave_topic(key: str, person: Writing, house: House) -> None:
    """Follow it no more; what came stays in the inbox."""
    key = checked_type(key)

    def change(document: Body) -> None:
        document["rules"] = [rule for rule in document.get("rules", []) if rule.get("origin") != f"topic:{key}"]

    await _changed(house, person.login, change)


async def _changed(house: Context, login: str, change: Any) -> Body:
    version = await change_wants(house.store, login, change, house.site(), house.now())
    house.changed("people")
    return {"version": version}
