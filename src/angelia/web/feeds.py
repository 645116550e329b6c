"""Feeds of a saved query: Atom (RFC 4287) and JSON Feed 1.1, readable by whoever has the token."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

from fastapi import APIRouter, Request, Response
from starlette.background import BackgroundTask

from angelia.model.errors import AngeliaError, InvalidInput, NotFound
from angelia.model.message import Severity, checked_type
from angelia.model.moments import number_of, public_id, to_text
from angelia.rendering.text import as_html, as_text, one_line
from angelia.store import Feed, InboxItem, InboxQuery
from angelia.web.access import House
from angelia.web.context import Context
from angelia.wire.callers import secret_hash

router = APIRouter(prefix="/feeds", tags=["feeds"])
ATOM = "http://www.w3.org/2005/Atom"
PAGE = 50
MOST_BODY = 10_000
READ_EVERY = timedelta(minutes=5)
"""Readers come often; that they came is written once in this time."""
_NAMES = {"type": "subtree", "object": "object_ref", "source": "source", "tag": "tag", "thread": "thread", "text": "text", "reason": "reason"}
REASONS = ("role", "rule", "follow", "to", "cc", "group")
# The address of a feed is its secret: it goes to no other site, in no Referer, and into no shared cache.
_PRIVATE = {"Cache-Control": "private, max-age=60", "X-Robots-Tag": "noindex, nofollow", "Referrer-Policy": "no-referrer"}
Link = Callable[[InboxItem], str]
register_namespace("", ATOM)


_FORMS: dict[str, Any] = {"content": {"application/atom+xml": {}, "application/feed+json": {}}}


@router.get("/{name}", response_class=Response, responses={200: _FORMS, 304: {"description": "You have the newest"}})
async def feed(name: str, request: Request, house: House, before: str = "") -> Response:
    """`<token>.atom` or `<token>.json`; 304 where the reader has the newest, pages by RFC 5005."""
    secret, _, form = name.rpartition(".")
    found = await house.store.feed(secret_hash(secret)) if form in ("atom", "json") and len(secret) < 200 else None
    if found is None:
        raise NotFound("there is no such feed")
    seen_by = await house.store.names_of(found.person_id)  # whoever has the token sees what its owner may see now (promise P14)
    part = await house.store.inbox_part(found.person_id, replace(feed_view(found.query, before, PAGE), seen_by=seen_by))
    following = "" if part.next_id is None else public_id("dlv", part.next_id)

    def link(item: InboxItem) -> str:
        return f"{house.base_url}/inbox/{public_id('msg', item.message.message_id)}"

    made = answer(request, found, part.items, f"{house.base_url}/feeds/{name}", link, _PRIVATE, following)
    if found.last_read_at is None or found.last_read_at < house.now() - READ_EVERY:
        made.background = BackgroundTask(_note, house, found.feed_id)  # runs when the answer is out
    return made


async def _note(house: Context, feed_id: int) -> None:
    with suppress(AngeliaError):  # the reader has what it came for; whoever comes next tries again
        await house.store.touch_feed(feed_id, house.now(), READ_EVERY)


def answer(request: Request, found: Feed, items: list[InboxItem], base: str, link: Link, headers: Mapping[str, str], before: str = "") -> Response:
    """A feed as its reader wants it; `base` is its own address, `link` leads to an entry where its object has no page of its own, `before` is the
    cursor of the following page.
    """
    form = base.rpartition(".")[2]
    tag = _etag(found, items, form)
    headers = dict(headers) | {"ETag": tag}
    if tag in [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "")[:2_000].split(",")]:
        return Response(status_code=304, headers=headers)
    following = f"{base}?before={before}" if before else ""
    if form == "json":
        return Response(_json(found, items, base, following, link), media_type="application/feed+json", headers=headers)
    return Response(_atom(found, items, base, following, link), media_type="application/atom+xml", headers=headers)


def feed_view(query: Mapping[str, str], before: str = "", limit: int = PAGE) -> InboxQuery:
    """What came to her feeds and fits a saved query; what she reads or archives in her inbox stays."""
    fields: dict[str, Any] = {_NAMES[name]: value for name, value in query.items() if name in _NAMES}
    fields["subtree"] = str(fields.get("subtree", "")).lower()
    severity = Severity.named(query.get("severity") or "low")
    before_id = number_of("dlv", before) if before else None
    return InboxQuery(agent="feed", state="all", min_severity=severity, before_id=before_id, limit=limit, **fields)


def check_query(query: Mapping[str, str]) -> None:
    """InvalidInput where nothing can ever fit: such a feed would be empty for good, and say nothing of it."""
    feed_view(query)
    if query.get("type"):
        checked_type(query["type"])
    name, is_pair, _ = query.get("tag", "").partition("=")
    if query.get("tag") and not (name and is_pair):
        raise InvalidInput("a tag is name=value", "tag")
    if query.get("reason") and query["reason"].partition(":")[0] not in REASONS:
        raise InvalidInput(f"a reason is one of {', '.join(REASONS)}, or one of them with its value (role:maintainer)", "reason")


def _etag(found: Feed, items: list[InboxItem], form: str) -> str:
    state = json.dumps([form, found.title, [item.delivery_id for item in items]])
    return f'"{blake2b(state.encode(), digest_size=12).hexdigest()}"'


def _updated(items: list[InboxItem], found: Feed) -> datetime:
    return max((item.delivered_at for item in items), default=found.created_at).astimezone(UTC)


def _title(item: InboxItem) -> str:
    message = item.message
    return one_line(message.subject) or one_line(as_text(message.body, message.body_format), 120) or message.type


def _identity(item: InboxItem) -> str:
    return f"urn:angelia:{public_id('msg', item.message.message_id)}"


def _atom(found: Feed, items: list[InboxItem], base: str, following: str, link: Link) -> bytes:
    root = Element(f"{{{ATOM}}}feed")
    _add(root, "title", one_line(found.title))
    _add(root, "id", f"urn:angelia:feed:{found.feed_id}" if found.feed_id else f"urn:angelia:topic:{found.query['type']}")
    _add(root, "updated", to_text(_updated(items, found)))
    SubElement(root, f"{{{ATOM}}}link", {"rel": "self", "href": base})
    if following:
        SubElement(root, f"{{{ATOM}}}link", {"rel": "next", "href": following})
    for item in items:
        entry = SubElement(root, f"{{{ATOM}}}entry")
        _add(entry, "id", _identity(item))
        _add(entry, "title", _title(item))
        _add(entry, "updated", to_text(item.delivered_at))
        _add(entry, "published", to_text(item.message.occurred_at))
        author = SubElement(entry, f"{{{ATOM}}}author")
        _add(author, "name", one_line(item.message.sender.name or item.message.sender.sender_id) or item.message.source)
        SubElement(entry, f"{{{ATOM}}}category", {"term": item.message.type})
        SubElement(entry, f"{{{ATOM}}}link", {"rel": "alternate", "href": _link(item, link)})
        content = SubElement(entry, f"{{{ATOM}}}content", {"type": "html"})
        content.text = as_html(item.message.body[:MOST_BODY], item.message.body_format)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _add(parent: Element, name: str, text: str) -> None:
    SubElement(parent, f"{{{ATOM}}}{name}").text = text


def _link(item: InboxItem, link: Link) -> str:
    url = item.message.object_url
    return url if url.startswith("https://") else link(item)


def _json(found: Feed, items: list[InboxItem], base: str, following: str, link: Link) -> bytes:
    document: dict[str, Any] = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": one_line(found.title),
        "feed_url": base,
        "items": [
            {
                "id": _identity(item),
                "title": _title(item),
                "url": _link(item, link),
                "content_html": as_html(item.message.body[:MOST_BODY], item.message.body_format),
                "date_published": to_text(item.message.occurred_at),
                "date_modified": to_text(item.delivered_at),
                "tags": [item.message.type, *(f"{name}={value}" for name, value in item.message.tags)],
            }
            for item in items
        ],
    }
    if following:
        document["next_url"] = following
    return json.dumps(document, ensure_ascii=False).encode()
