"""What belongs to one person: preferences, rules, addresses, inbox, feeds, tokens."""

import copy
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response

from angelia.flow.profiles import profile_of
from angelia.flow.wants import change_wants, effective, save_wants, try_on_history
from angelia.model.errors import Conflict, InvalidInput, NotFound, RateLimited
from angelia.model.message import Severity, checked_type
from angelia.model.moments import public_id, to_text
from angelia.model.person import Address, AddressState, Person
from angelia.store import Feed, InboxQuery, Token
from angelia.web.access import House, Known, Reading, Writing
from angelia.web.context import Context
from angelia.web.forms import (
    AddressChange,
    Code,
    Limit,
    Marking,
    NewAddress,
    NewFeed,
    NewToken,
    address_out,
    checked_address,
    documents_differ,
    feed_out,
    item_out,
    number,
    token_out,
)
from angelia.wire.callers import new_secret, secret_hash

router = APIRouter(prefix="/api/v1/people/{login}", tags=["person"])
Body = dict[str, Any]


def version_of(etag: str | None) -> int | None:
    """The version that an If-Match header asks for; None for any."""
    if etag is None or etag == "*":
        return None
    text = etag.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit()):
        raise InvalidInput("If-Match holds the ETag that the preferences came with", "if-match")
    return int(text)


@router.get("/preferences")
async def preferences(person: Reading, house: House, response: Response) -> Body:
    """Her whole document; its version is the ETag."""
    document, version = await house.store.wants(person.login)
    response.headers["ETag"] = f'"{version}"'
    return dict(document)


@router.put("/preferences")
async def put_preferences(
    document: Body, person: Writing, house: House, response: Response, if_match: Annotated[str | None, Header()] = None
) -> Body:
    """Replace it; with If-Match only if nobody else did meanwhile."""
    version = await save_wants(house.store, person.login, document, version_of(if_match), house.site(), house.now())
    house.changed("people")
    response.headers["ETag"] = f'"{version}"'
    return document


@router.post("/preferences/plan")
async def plan_preferences(document: Body, person: Reading, house: House, days: int = Query(30, ge=1, le=90)) -> Body:
    """What a document would change, and how many deliveries of the last days would have differed. Nothing is saved."""
    old, version = await house.store.wants(person.login)
    history = await try_on_history(house.store, house.site(), person.login, document, house.now(), days)
    return {"version": version, "changes": documents_differ(old, document), "history": history}


async def _change(house: Context, person: Person, change: Callable[[Body], None]) -> Body:
    version = await change_wants(house.store, person.login, change, house.site(), house.now())
    house.changed("people")
    return {"version": version}


@router.get("/rules")
async def rules(person: Reading, house: House) -> Body:
    """Her rules in order, each with its id."""
    document, _ = await house.store.wants(person.login)
    found = document.get("rules", [])
    assert isinstance(found, list)
    return {"items": [{"id": str(index + 1)} | rule for index, rule in enumerate(found)]}


def _with_ids(document: Body) -> list[Body]:
    rules: list[Body] = document.setdefault("rules", [])
    for index, rule in enumerate(rules):
        rule.setdefault("id", str(index + 1))
    return rules


@router.post("/rules", status_code=201)
async def add_rule(rule: Body, person: Writing, house: House, position: int | None = Query(None, ge=1)) -> Body:
    """A new rule, last or at a position (from 1)."""
    made = {"id": secrets.token_hex(4)} | copy.deepcopy(rule)

    def change(document: Body) -> None:
        rules = _with_ids(document)
        rules.insert(len(rules) if position is None else position - 1, made)

    return await _change(house, person, change) | {"id": made["id"]}


@router.put("/rules/{rule_id}")
async def put_rule(rule_id: str, rule: Body, person: Writing, house: House) -> Body:
    """Replace a rule where it stands."""

    def change(document: Body) -> None:
        rules = _with_ids(document)
        rules[_place(rules, rule_id)] = rule | {"id": rule_id}

    return await _change(house, person, change)


@router.delete("/rules/{rule_id}", status_code=204)
async def delete_rule(rule_id: str, person: Writing, house: House) -> None:
    """Remove a rule; what it brought stays in the inbox."""

    def change(document: Body) -> None:
        rules = _with_ids(document)
        del rules[_place(rules, rule_id)]

    await _change(house, person, change)


def _place(rules: list[Body], rule_id: str) -> int:
    for index, rule in enumerate(rules):
        if rule.get("id") == rule_id:
            return index
    raise NotFound("there is no such rule")


@router.put("/presets/{preset_id}")
async def tick_preset(preset_id: str, person: Writing, house: House, agent: str = "mail", when: str = "now") -> Body:
    """Tick a ready-made rule: she gets a copy with its origin."""
    site, _ = await house.store.site()
    presets: Any = site.get("presets", {})
    if preset_id not in presets:
        raise NotFound("there is no such preset")
    rule = copy.deepcopy(dict(presets[preset_id].get("rule", {}))) | {"id": f"preset-{preset_id}", "origin": f"preset:{preset_id}"}
    rule["do"] = rule.get("do") or {agent: when}

    def change(document: Body) -> None:
        rules = _with_ids(document)
        rules[:] = [other for other in rules if other["id"] != rule["id"]] + [rule]

    return await _change(house, person, change)


@router.delete("/presets/{preset_id}", status_code=204)
async def untick_preset(preset_id: str, person: Writing, house: House) -> None:
    """Un-tick it: its rule goes, and nothing else (case B14)."""

    def change(document: Body) -> None:
        rules = _with_ids(document)
        rules[:] = [rule for rule in rules if rule.get("origin") != f"preset:{preset_id}"]

    await _change(house, person, change)


@router.put("/follows")
async def follow(object: str, person: Writing, house: House) -> Body:
    """Follow an object."""

    def change(document: Body) -> None:
        document["follows"] = sorted({*document.get("follows", []), object})

    return await _change(house, person, change)


@router.delete("/follows", status_code=204)
async def unfollow(object: str, person: Writing, house: House) -> None:
    """Follow it no more."""

    def change(document: Body) -> None:
        document["follows"] = [ref for ref in document.get("follows", []) if ref != object]

    await _change(house, person, change)


@router.put("/mutes")
async def mute(object: str, person: Writing, house: House, level: str = "normal") -> Body:
    """Mute an object (normal: what names her comes through; full: nothing but what is locked)."""

    def change(document: Body) -> None:
        document.setdefault("mutes", {})[object] = level

    return await _change(house, person, change)


@router.delete("/mutes", status_code=204)
async def unmute(object: str, person: Writing, house: House) -> None:
    """Hear of it again."""

    def change(document: Body) -> None:
        document.get("mutes", {}).pop(object, None)

    await _change(house, person, change)


@router.put("/hold")
async def hold(settled: Body, person: Writing, house: House) -> Body:
    """Away until then: {until, policy, pass_from}."""

    def change(document: Body) -> None:
        document["hold"] = settled

    return await _change(house, person, change)


@router.delete("/hold", status_code=204)
async def end_hold(person: Writing, house: House) -> None:
    """Back."""

    def change(document: Body) -> None:
        document.pop("hold", None)

    await _change(house, person, change)


@router.get("/types")
async def active_types(person: Reading, house: House) -> Body:
    """Every type of which she ever was a candidate, with how it is treated and where that comes from (requirement H-40)."""
    (row,) = await house.store.profiles([person.person_id])
    site = house.site()
    profile = profile_of(row, site)
    return {
        "items": [
            {
                "key": key,
                "first_seen_at": to_text(first),
                "last_seen_at": to_text(last),
                "messages": count,
                "effective": effective(profile, site, key),
            }
            for key, first, last, count in await house.store.user_types(person.person_id)
        ]
    }


@router.get("/effective")
async def effective_treatment(type: str, person: Reading, house: House) -> Body:
    """How a type is treated, per agent, and where that comes from."""
    (row,) = await house.store.profiles([person.person_id])
    site = house.site()
    return {"type": checked_type(type), "effective": effective(profile_of(row, site), site, checked_type(type))}


@router.get("/addresses")
async def addresses(person: Reading, house: House) -> Body:
    """Where she can be reached."""
    return {"items": [address_out(address) for address in await house.store.addresses(person.person_id)]}


@router.post("/addresses", status_code=201)
async def add_address(form: NewAddress, person: Writing, caller: Known, house: House) -> Body:
    """A new address, also of a group (`group:<name>`); nothing is sent there until it is verified. An administrator may say that it is."""
    value = checked_address(house, form.agent, form.value, "value")
    if form.is_verified and not caller.is_admin:
        raise InvalidInput("only an administrator may vouch for an address", "is_verified")
    state = AddressState.OK if form.is_verified else AddressState.UNVERIFIED
    address = await house.store.add_address(
        Address(
            address_id=0,
            person_id=person.person_id,
            agent=form.agent,
            value=value,
            state=state,
            is_default=form.is_default,
            origin="directory" if caller.is_admin else "user",
            verified_at=house.now() if form.is_verified else None,
        )
    )
    house.changed("people")
    return address_out(address)


async def _address(house: Context, person: Person, address_id: int) -> Address:
    address = await house.store.address(address_id)
    if address is None or address.person_id != person.person_id:
        raise NotFound("there is no such address")
    return address


@router.patch("/addresses/{address_id}")
async def change_address(address_id: int, form: AddressChange, person: Writing, house: House) -> Body:
    """Pause, resume, make default. One that was never verified can't be resumed."""
    address = await _address(house, person, address_id)
    if form.state == "ok" and address.verified_at is None:
        raise Conflict("this address is not verified yet")
    state = None if form.state is None else AddressState(form.state)
    changed = await house.store.set_address(address_id, state=state, is_default=form.is_default, now=house.now())
    house.changed("people")
    return address_out(changed or address)


@router.delete("/addresses/{address_id}", status_code=204)
async def delete_address(address_id: int, person: Writing, house: House) -> None:
    """Forget an address."""
    if not await house.store.delete_address(person.person_id, address_id):
        raise NotFound("there is no such address")
    house.changed("people")


CODES_A_DAY = 3
CODE_LIVES = timedelta(minutes=10)


@router.post("/addresses/{address_id}/code", status_code=202)
async def send_code(address_id: int, person: Writing, house: House) -> Body:
    """Send a six-digit code there; at most 3 a day to one place, over all people (checklist S32, S33)."""
    address = await _address(house, person, address_id)
    if await house.store.codes_sent(address.agent, address.value, house.now() - timedelta(days=1)) >= CODES_A_DAY:
        raise RateLimited("this address got three codes today", 86_400)
    code = f"{secrets.randbelow(1_000_000):06d}"
    expires_at = house.now() + CODE_LIVES
    await house.store.put_code(address_id, secret_hash(code), expires_at)
    await house.verify(address, person, code)
    return {"expires_at": to_text(expires_at)}


@router.post("/addresses/{address_id}/verify")
async def verify_address(address_id: int, form: Code, person: Writing, house: House) -> Body:
    """The code that came there; five tries."""
    await _address(house, person, address_id)
    if not await house.store.try_code(address_id, secret_hash(form.code), house.now()):
        raise InvalidInput("this code is wrong, too old, or was tried too often", "code")
    house.changed("people")
    return address_out(await _address(house, person, address_id))


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


def _only_people(person: Person) -> None:
    if person.group is not None:
        raise InvalidInput("a group reads nothing: its members do", "login")


_FEED_FILTERS = frozenset({"type", "source", "tag", "object", "thread", "severity", "text"})


@router.get("/feeds")
async def list_feeds(person: Reading, house: House) -> Body:
    """Her feeds; the tokens are not shown again."""
    return {"items": [feed_out(feed) for feed in await house.store.list_feeds(person.person_id)]}


@router.post("/feeds", status_code=201)
async def add_feed(form: NewFeed, person: Writing, house: House) -> Body:
    """A feed of a saved query; its addresses are shown this once."""
    _only_people(person)
    unknown = set(form.query) - _FEED_FILTERS
    if unknown:
        raise InvalidInput(f"a feed filters by {', '.join(sorted(_FEED_FILTERS))}", "query")
    Severity.named(form.query.get("severity", "low"))
    secret = secrets.token_urlsafe(32)
    feed = Feed(person_id=person.person_id, title=form.title, query=form.query, created_at=house.now())
    return _feed_urls(house, secret) | feed_out(await house.store.add_feed(feed, secret_hash(secret)))


def _feed_urls(house: Context, secret: str) -> Body:
    return {"atom": f"{house.base_url}/feeds/{secret}.atom", "json": f"{house.base_url}/feeds/{secret}.json"}


@router.post("/feeds/{feed_id}/rotate")
async def rotate_feed(feed_id: int, person: Writing, house: House) -> Body:
    """New addresses; the old ones are gone at once."""
    secret = secrets.token_urlsafe(32)
    if not await house.store.rotate_feed(person.person_id, feed_id, secret_hash(secret)):
        raise NotFound("there is no such feed")
    return _feed_urls(house, secret)


@router.delete("/feeds/{feed_id}", status_code=204)
async def revoke_feed(feed_id: int, person: Writing, house: House) -> None:
    """Revoke a feed."""
    if not await house.store.rotate_feed(person.person_id, feed_id, None):
        raise NotFound("there is no such feed")


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
    secret = new_secret()
    expires_at = None if form.expires_in_days is None else house.now() + timedelta(days=form.expires_in_days)
    token = Token(owner=f"person:{person.login}", title=form.title, scopes=scopes, created_at=house.now(), expires_at=expires_at)
    made = await house.store.add_token(token, secret_hash(secret))
    await house.store.audit(caller.name, "token.add", made.owner, {"id": made.token_id, "scopes": sorted(scopes)}, house.now())
    return {"secret": secret} | token_out(made)


@router.delete("/tokens/{token_id}", status_code=204)
async def revoke_token(token_id: int, person: Writing, caller: Known, house: House) -> None:
    """Revoke a token of hers."""
    if token_id not in {token.token_id for token in await house.store.list_tokens(f"person:{person.login}")}:
        raise NotFound("there is no such token")
    await house.store.revoke_token(token_id)
    await house.store.audit(caller.name, "token.revoke", f"person:{person.login}", {"id": token_id}, house.now())
