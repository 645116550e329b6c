"""Her feeds: a saved search that a reader can fetch, with a secret address that is shown once."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from angelia.model.errors import InvalidInput, NotFound
from angelia.store import Feed, InboxItem
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.feeds import check_query, feed_view
from angelia.web.forms import NewFeed, RowId
from angelia.web.inbox import seen_by
from angelia.web.keys import FEED_FILTERS, add_feed, revoke_feed, rotate_feed
from angelia.web.pages.forms import made, told
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Visiting, Visitor

router = APIRouter(include_in_schema=False)
_PREVIEW = 8
MOST_COUNTED = 30
"""Feeds whose messages are counted for the list; each costs a look at all that came to her feeds."""


async def _list(request: Request, visitor: Visitor, house: Context, urls: Mapping[str, Any] | None = None, done: str = "") -> Response:
    feeds = await house.store.list_feeds(visitor.person.person_id)
    places = {feed.feed_id: f"/inbox?{urlencode(dict(feed.query))}" for feed in feeds}
    counts = {feed.feed_id: await _count(visitor, house, feed.query) for feed in feeds[:MOST_COUNTED]}
    return page(request, visitor, "feeds.html", feeds=feeds, places=places, counts=counts, urls=urls, done=done)


async def _count(visitor: Visitor, house: Context, query: Mapping[str, str]) -> int:
    """How many messages are in a feed."""
    view = await seen_by(house, visitor.person, feed_view(query, limit=1))
    return (await house.store.inbox_counts(visitor.person.person_id, view))["total"]


@router.get("/feeds")
async def feeds(request: Request, visitor: Visiting, house: House, done: str = "") -> Response:
    """The list."""
    return await _list(request, visitor, house, done="revoked" if done == "revoked" else "")


def _query_of(values: Mapping[str, Any]) -> dict[str, str]:
    """The part of a view that a feed can keep: its filters."""
    return {name: str(values[name]).strip() for name in FEED_FILTERS if str(values.get(name, "")).strip()}


async def _glance(visitor: Visitor, house: Context, query: Mapping[str, str]) -> list[InboxItem]:
    """How a feed begins, as a reader of it would see it now."""
    view = await seen_by(house, visitor.person, feed_view(query, limit=_PREVIEW))
    return await house.store.inbox(visitor.person.person_id, view)


async def _new(
    request: Request, visitor: Visitor, house: Context, title: str, query: dict[str, str], status: int = 200, problem: Any = None
) -> Response:
    items = await _glance(visitor, house, query) if problem is None else []
    return page(request, visitor, "feed-new.html", status, named=title, chosen=query, items=items, problem=problem)


@router.get("/feeds/new")
async def new(request: Request, visitor: Visiting, house: House) -> Response:
    """The form, filled from a view of the inbox (`/feeds/new?type=obs.build`), with what the feed would hold."""
    query = _query_of(request.query_params)
    try:
        check_query(query)
    except InvalidInput as error:
        return await _new(request, visitor, house, "", query, **told(error))
    return await _new(request, visitor, house, request.query_params.get("title", ""), query)


@router.post("/feeds")
async def add(request: Request, visitor: Visiting, house: House) -> Response:
    """Make it; its addresses are on the answer and nowhere else."""
    typed = {name: str(value) for name, value in (await request.form()).items()}
    query, title = _query_of(typed), typed.get("title", "").strip()
    try:
        urls = await add_feed(made(NewFeed, title=title or "Messages", query=query), visitor.person, visitor.caller, house)
    except InvalidInput as error:
        return await _new(request, visitor, house, title[:255], query, **told(error))
    return await _list(request, visitor, house, urls)


async def _hers(visitor: Visitor, house: Context, feed_id: int) -> Feed:
    for feed in await house.store.list_feeds(visitor.person.person_id):
        if feed.feed_id == feed_id:
            return feed
    raise NotFound("there is no such feed")


@router.get("/feeds/{feed_id}/{step}")
async def step(feed_id: RowId, step: str, request: Request, visitor: Visiting, house: House) -> Response:
    """What it holds; or, sure?"""
    feed = await _hers(visitor, house, feed_id)
    if step == "preview":
        items = await _glance(visitor, house, feed.query)
        return page(request, visitor, "feed.html", feed=feed, items=items, place=f"/inbox?{urlencode(dict(feed.query))}")
    if step not in ("rotate", "revoke"):
        raise NotFound("there is no such page")
    return page(request, visitor, "feed-sure.html", feed=feed, step=step)


@router.post("/feeds/{feed_id}/rotate")
async def rotate(feed_id: RowId, request: Request, visitor: Visiting, house: House) -> Response:
    """New addresses."""
    feed = await _hers(visitor, house, feed_id)
    urls = await rotate_feed(feed_id, visitor.person, visitor.caller, house)
    return await _list(request, visitor, house, urls | {"id": feed_id, "title": feed.title})


@router.post("/feeds/{feed_id}/revoke")
async def revoke(feed_id: RowId, visitor: Visiting, house: House) -> Response:
    """Gone, for whoever reads it."""
    await revoke_feed(feed_id, visitor.person, visitor.caller, house)
    return RedirectResponse("/feeds?done=revoked", 303)
