"""What opens one person's things with a secret: her feeds and her tokens."""

import secrets
from typing import Any

from fastapi import APIRouter

from angelia.model.errors import InvalidInput, NotFound
from angelia.model.person import Person
from angelia.store import Feed
from angelia.web.access import House, Known, Reading, Writing
from angelia.web.context import Context
from angelia.web.feeds import check_query
from angelia.web.forms import NewFeed, NewToken, RowId
from angelia.web.minting import mint, revoke
from angelia.web.shapes import feed_out, token_out
from angelia.wire.callers import secret_hash

router = APIRouter(prefix="/api/v1/people/{login}", tags=["person"])
Body = dict[str, Any]
FEED_FILTERS = frozenset({"type", "source", "tag", "object", "thread", "severity", "reason", "text"})


def _only_people(person: Person) -> None:
    if person.group is not None:
        raise InvalidInput("a group reads nothing: its members do", "login")


@router.get("/feeds")
async def list_feeds(person: Reading, house: House) -> Body:
    """Her feeds; the tokens are not shown again."""
    return {"items": [feed_out(feed) for feed in await house.store.list_feeds(person.person_id)]}


@router.post("/feeds", status_code=201)
async def add_feed(form: NewFeed, person: Writing, caller: Known, house: House) -> Body:
    """A feed of a saved query; its addresses are shown this once."""
    _only_people(person)
    unknown = set(form.query) - FEED_FILTERS
    if unknown:
        raise InvalidInput(f"a feed filters by {', '.join(sorted(FEED_FILTERS))}", "query")
    check_query(form.query)
    secret = secrets.token_urlsafe(32)
    feed = Feed(person_id=person.person_id, title=form.title, query=form.query, created_at=house.now())
    added = await house.store.add_feed(feed, secret_hash(secret))
    await house.store.audit(caller.name, "feed.add", person.login, {"feed": added.feed_id, "title": added.title}, house.now())
    return _feed_urls(house, secret) | feed_out(added)


def _feed_urls(house: Context, secret: str) -> Body:
    return {"atom": f"{house.base_url}/feeds/{secret}.atom", "json": f"{house.base_url}/feeds/{secret}.json"}


@router.post("/feeds/{feed_id}/rotate")
async def rotate_feed(feed_id: RowId, person: Writing, caller: Known, house: House) -> Body:
    """New addresses; the old ones are gone at once."""
    secret = secrets.token_urlsafe(32)
    if not await house.store.rotate_feed(person.person_id, feed_id, secret_hash(secret)):
        raise NotFound("there is no such feed")
    await house.store.audit(caller.name, "feed.rotate", person.login, {"feed": feed_id}, house.now())
    return _feed_urls(house, secret)


@router.delete("/feeds/{feed_id}", status_code=204)
async def revoke_feed(feed_id: RowId, person: Writing, caller: Known, house: House) -> None:
    """Revoke a feed."""
    if not await house.store.rotate_feed(person.person_id, feed_id, None):
        raise NotFound("there is no such feed")
    await house.store.audit(caller.name, "feed.revoke", person.login, {"feed": feed_id}, house.now())


@router.get("/tokens")
async def list_tokens(person: Reading, house: House) -> Body:
    """Her tokens, without their secrets."""
    return {"items": [token_out(token) for token in await house.store.list_tokens(f"person:{person.login}")]}


@router.post("/tokens", status_code=201)
async def add_token(form: NewToken, person: Writing, caller: Known, house: House) -> Body:
    """A new token; its secret is shown this once. None gets a scope that its maker lacks."""
    _only_people(person)
    scopes = frozenset(form.scopes)
    if not caller.is_admin and not scopes <= caller.scopes:
        raise InvalidInput("a token can't give more than the one that makes it", "scopes")
    return await mint(house, caller, f"person:{person.login}", form, scopes, noted={"scopes": sorted(scopes)})


@router.delete("/tokens/{token_id}", status_code=204)
async def revoke_token(token_id: RowId, person: Writing, caller: Known, house: House) -> None:
    """Revoke a token of hers."""
    await revoke(house, caller, f"person:{person.login}", token_id)
