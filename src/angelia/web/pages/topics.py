"""Public topics: what anybody may read, with a feed each; and a way to follow one."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from angelia.flow.topics import is_public, topic_of
from angelia.model.errors import InvalidInput, NotFound
from angelia.model.message import MessageType, checked_type
from angelia.model.moments import public_id
from angelia.store import Feed, InboxItem
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.feeds import answer
from angelia.web.pages.kit import page
from angelia.web.pages.languages import language_of
from angelia.web.signin.guard import Maybe, Visiting, Visitor
from angelia.web.topics import Topics, follow_topic, last_by_topic, leave_topic, public_topics, topic_page

router = APIRouter(include_in_schema=False)
_FORMS = (".atom", ".json")
_PUBLIC = {"Cache-Control": "public, max-age=60"}
_FEW = 3


async def _followed(visitor: Visitor | None, house: Context) -> frozenset[str]:
    if visitor is None:
        return frozenset()
    document, _ = await house.store.wants(visitor.person.login)
    rules = document.get("rules", [])
    origins = [str(rule.get("origin", "")) for rule in rules] if isinstance(rules, list) else []
    return frozenset(origin[6:] for origin in origins if origin.startswith("topic:"))


def _named(entry: MessageType | None, language: str) -> tuple[str, str]:
    """Label and description in the reader's language, else in English, else in the one that there is."""

    def best(texts: dict[str, str]) -> str:
        return texts.get(language) or texts.get("en") or next(iter(texts.values()), "")

    return (best(dict(entry.labels)), best(dict(entry.descriptions))) if entry is not None else ("", "")


@router.get("/topics")
async def topics(request: Request, visitor: Maybe, house: House) -> Response:
    """All of them, each with its newest few."""
    found = await public_topics(house)
    items = await last_by_topic(house, found, _FEW)
    language = language_of(request, visitor)
    names = {key: _named(found.entries.get(key), language) for key in items}
    return page(request, visitor, "topics.html", items=items, names=names, followed=await _followed(visitor, house))


@router.get("/topics/{name}")
async def topic(name: str, request: Request, visitor: Maybe, house: House, before: str = "") -> Response:
    """One topic, or, with .atom or .json behind its name, its feed."""
    is_feed = name.endswith(_FORMS)
    key = _key(name[:-5] if is_feed else name)
    found, items, following = await topic_page(house, key, before)
    label, description = _named(found.entries.get(key), language_of(request, visitor))
    if is_feed:
        return _feed(request, house, name, label or key, found, items, following)
    followed = await _followed(visitor, house)
    return page(
        request, visitor, "topic.html", key=key, label=label, description=description, items=items, following=following, is_followed=key in followed
    )


def _key(text: str) -> str:
    try:
        return checked_type(text)
    except InvalidInput:
        raise NotFound("there is no such topic") from None


def _feed(request: Request, house: Context, name: str, title: str, found: Topics, items: list[InboxItem], following: str) -> Response:
    key = name[:-5]
    feed = Feed(person_id=0, title=title, query={"type": key}, created_at=found.entries[topic_of(found.marks, key)].first_seen_at)

    def link(item: InboxItem) -> str:
        return f"{house.base_url}/topics/{item.message.type}#{public_id('msg', item.message.message_id)}"

    return answer(request, feed, items, f"{house.base_url}/topics/{name}", link, _PUBLIC, following)


@router.post("/topics/{name}/follow")
async def follow(name: str, visitor: Visiting, house: House) -> Response:
    """A rule of her own that brings it."""
    key = _key(name)
    await follow_topic(key, visitor.person, house)
    return RedirectResponse(f"/topics/{key}", 303)


@router.post("/topics/{name}/leave")
async def leave(name: str, visitor: Visiting, house: House) -> Response:
    """No more."""
    key = _key(name)
    await leave_topic(key, visitor.person, house)
    shown = is_public((await public_topics(house)).marks, key)
    return RedirectResponse(f"/topics/{key}" if shown else "/topics", 303)
