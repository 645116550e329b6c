"""People: search, one person's account, and a look at the hub as she sees it."""

from typing import Any
from urllib.parse import quote

import tomlkit
from fastapi import APIRouter, Request, Response

from angelia.agent import shown_by
from angelia.flow.profiles import profile_of
from angelia.flow.wants import effective
from angelia.model.errors import AngeliaError, Conflict, NotFound
from angelia.model.person import Person
from angelia.web.access import House
from angelia.web.accounts import end_sessions, password_link, view_as
from angelia.web.context import Context
from angelia.web.forms import NewPerson, PersonChange
from angelia.web.identities import bound_to, remove_identity
from angelia.web.pages.admin.asked import Asked, done, made, text, told
from angelia.web.pages.devices import device_words
from angelia.web.pages.kit import page
from angelia.web.people import add_person, change_person
from angelia.web.signin.guard import Administering

router = APIRouter(include_in_schema=False)
PAGE = 50


async def _list(house: Context, words: str, after: str) -> dict[str, Any]:
    store = house.store
    found = await (store.find_people(words, after, PAGE + 1) if words else store.list_people(after, PAGE + 1))
    following = found[PAGE - 1].login if len(found) > PAGE else ""
    return {"people": found[:PAGE], "following": following, "text": words, "after": after}


@router.get("/admin/people")
async def list_people(request: Request, visitor: Administering, house: House, text: str = "", after: str = "") -> Response:
    """By login; those whose login or name holds a text."""
    empty = {"login": "", "name": "", "time_zone": "UTC", "language": "en", "is_admin": False}
    return page(request, visitor, "admin/people.html", **await _list(house, text.strip()[:200], after), form=empty)


@router.post("/admin/people")
async def new_person(request: Request, asked: Asked, visitor: Administering, house: House) -> Response:
    """Somebody new."""
    values = {name: text(asked, name) for name in ("login", "name", "time_zone", "language")}
    flags = {"is_admin": "is_admin" in asked}
    try:
        await add_person(made(NewPerson, **values, **flags), visitor.caller, house, Response())
    except AngeliaError as error:
        return told(request, visitor, "admin/people.html", error, **await _list(house, "", ""), form=values | flags)
    return done(_place(values["login"]), "added")


def _place(login: str) -> str:
    return f"/admin/people/{quote(login, safe='')}"


async def _person(login: str, house: Context) -> Person:
    person = await house.store.person(login)
    if person is None or person.group is not None:
        raise NotFound("there is no such person")
    return person


async def _values(person: Person, house: Context) -> dict[str, Any]:
    (row,) = await house.store.profiles([person.person_id])
    sessions = await house.store.list_sessions(person.person_id, house.now())
    return {
        "shown": person,
        "form": {"name": person.name, "time_zone": person.time_zone, "language": person.language},
        "flags": {"is_active": person.is_active, "is_admin": person.is_admin},
        "addresses": row.addresses,
        "places": {one.address_id: shown_by(house.agents.get(one.agent), one.value) for one in row.addresses},
        "groups": row.groups,
        "sessions": sessions,
        "devices": {one.session_id: [word for word in device_words(one.device) if word] for one in sessions},
        "tokens": [token for token in await house.store.list_tokens(f"person:{person.login}") if not token.is_revoked],
        "has_password": await house.store.password(person.person_id) is not None,
        "identities": await bound_to(house, person),
        "link": None,
    }


@router.get("/admin/people/{login}")
async def show_person(request: Request, login: str, visitor: Administering, house: House) -> Response:
    """Her account."""
    return page(request, visitor, "admin/person.html", **await _values(await _person(login, house), house))


@router.post("/admin/people/{login}")
async def save_person(request: Request, login: str, asked: Asked, visitor: Administering, house: House) -> Response:
    """Name, zone, language, and whether she may sign in and administer."""
    person = await _person(login, house)
    values = {name: text(asked, name) for name in ("name", "time_zone", "language")}
    flags = {"is_active": "is_active" in asked, "is_admin": "is_admin" in asked}
    try:
        await change_person(made(PersonChange, **values, **flags), person, visitor.caller, house)
    except AngeliaError as error:
        return told(request, visitor, "admin/person.html", error, **await _values(person, house) | {"form": values, "flags": flags})
    house.rights_changed()
    return done(_place(login), "saved")


@router.post("/admin/people/{login}/sessions/end")
async def sign_out(login: str, visitor: Administering, house: House) -> Response:
    """Everywhere."""
    await end_sessions(await _person(login, house), visitor.caller, house)
    return done(_place(login), "ended")


@router.post("/admin/people/{login}/identities/remove")
async def unbind(request: Request, login: str, asked: Asked, visitor: Administering, house: House) -> Response:
    """One identity of hers."""
    person = await _person(login, house)
    try:
        await remove_identity(person, visitor.caller, house, text(asked, "issuer"), text(asked, "subject"))
    except Conflict as error:
        return told(request, visitor, "admin/person.html", error, **await _values(person, house))
    return done(_place(login), "removed")


@router.post("/admin/people/{login}/password-link")
async def link(request: Request, login: str, visitor: Administering, house: House) -> Response:
    """A link to set a password; it stands on this answer and nowhere else, so there is no redirect."""
    person = await _person(login, house)
    made_link = await password_link(person, visitor.caller, house)
    return page(request, visitor, "admin/person.html", **await _values(person, house) | {"link": made_link["url"]})


@router.post("/admin/people/{login}/as")
async def look(request: Request, login: str, visitor: Administering, house: House) -> Response:
    """What she sees, to read only. A POST, since it leaves an entry in the audit log."""
    person = await _person(login, house)
    seen = await view_as(person, visitor.caller, house)
    (row,) = await house.store.profiles([person.person_id])
    site = house.site()
    profile = profile_of(row, site)
    types = [
        {"key": key, "last": last, "count": count, "effective": effective(profile, site, key)}
        for key, _, last, count in await house.store.user_types(person.person_id)
    ]
    document = tomlkit.dumps(seen["preferences"]) if seen["preferences"] else ""
    values = {"shown": person, "counts": seen["inbox"], "by_type": sorted(seen["inbox_by_type"].items()), "types": types, "document": document}
    return page(request, visitor, "admin/view-as.html", **values, profile=profile)
