"""What administrators do with one account: its groups, its sessions, a link to set a password, and a look at it as its owner sees it."""

import hmac
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from angelia.flow.password_link import LASTS, is_good, make_link_token, person_of
from angelia.model.errors import InvalidInput, NotFound
from angelia.model.moments import to_text
from angelia.model.person import Person
from angelia.store import InboxQuery
from angelia.web.access import Admin, House
from angelia.web.context import Context
from angelia.web.signin.passwords import hashed

router = APIRouter(prefix="/api/v1/people/{login}", tags=["people"])
Body = dict[str, Any]


async def _somebody(login: str, _: Admin, house: House) -> Person:
    person = await house.store.person(login)
    if person is None or person.group is not None:
        raise NotFound("there is no such person")
    return person


Somebody = Annotated[Person, Depends(_somebody)]


@router.get("/groups")
async def groups_of(person: Somebody, house: House) -> Body:
    """The groups that she is in."""
    (row,) = await house.store.profiles([person.person_id])
    return {"items": list(row.groups)}


@router.post("/sessions/end")
async def end_sessions(person: Somebody, caller: Admin, house: House) -> Body:
    """Sign her out everywhere."""
    ended = await house.store.end_sessions(person.person_id)
    house.rights_changed()
    await house.store.audit(caller.name, "sessions.end", person.login, {"ended": ended}, house.now())
    return {"ended": ended}


@router.post("/password-link", status_code=201)
async def password_link(person: Somebody, caller: Admin, house: House) -> Body:
    """A link with which she sets her password, once, within a day; it is shown this once."""
    now = house.now()
    token = make_link_token(house.secret, person.person_id, await house.store.password(person.person_id), now)
    await house.store.audit(caller.name, "password.link", person.login, {}, now)
    return {"url": f"{house.base_url}/set-password/{token}", "expires_at": to_text(now + LASTS)}


@router.get("/view")
async def view_as(person: Somebody, caller: Admin, house: House) -> Body:
    """What she sees: her preferences and the counts of her inbox, to read only; the audit log says who looked."""
    document, version = await house.store.wants(person.login)
    counts = await house.store.inbox_counts(person.person_id, InboxQuery())
    by_type = await house.store.inbox_counts(person.person_id, InboxQuery(), "type")
    await house.store.audit(caller.name, "view.as", person.login, {}, house.now())
    return {"preferences": dict(document), "version": version, "inbox": counts, "inbox_by_type": by_type}


async def owner_of(token: str, house: Context) -> Person:
    """Whose password a link sets; NotFound where it is not ours, too old, or was used."""
    person_id = person_of(token)
    rows = await house.store.profiles([person_id]) if person_id is not None else []
    if rows:
        person = rows[0].person
        if person.is_active and is_good(house.secret, token, await house.store.password(person.person_id), house.now()):
            return person
    raise NotFound("this link is not good any more: ask your operator for a new one")


async def use_link(token: str, password: str, again: str, house: Context) -> Person:
    """Set the password of a link's owner; all her sessions end."""
    person = await owner_of(token, house)
    if not hmac.compare_digest(password.encode("utf-8", "replace"), again.encode("utf-8", "replace")):
        raise InvalidInput("the two passwords are not the same", "again")
    await house.store.put_password(person.person_id, await hashed(password), house.now())
    await house.store.end_sessions(person.person_id)
    house.rights_changed()
    await house.store.audit(f"person:{person.login}", "password.put", person.login, {"by": "link"}, house.now())
    return person
