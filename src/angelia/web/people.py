"""People, groups, relations: who can be told, for administrators."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from angelia.model.errors import Conflict, Forbidden, InvalidInput, NotFound
from angelia.model.person import Address, AddressState, Group, Person
from angelia.web.access import Admin, House, Known, Reading, unknown_names
from angelia.web.context import Context
from angelia.web.forms import GroupForm, Limit, NewPerson, PersonChange, RelationsForm, checked_address, checked_zone
from angelia.web.paging import PagedRoute, page_of
from angelia.web.shapes import address_out, person_out

router = APIRouter(prefix="/api/v1", tags=["people"], route_class=PagedRoute)


@router.get("/people")
async def list_people(
    _: Admin, house: House, after: str = "", limit: Limit = 100, text: Annotated[str, Query(max_length=200)] = ""
) -> dict[str, Any]:
    """By login; with `text` only those whose login or name holds it."""
    found = await (house.store.find_people(text, after, limit + 1) if text else house.store.list_people(after, limit + 1))
    shown, following = page_of(found, limit, lambda person: person.login)
    return {"items": [person_out(person) for person in shown], "next": following}


@router.post("/people", status_code=201)
async def add_person(form: NewPerson, caller: Admin, house: House, response: Response) -> dict[str, Any]:
    """A new person; a login that is taken is a conflict."""
    person = await house.store.put_person(
        Person(
            person_id=0,
            login=form.login,
            name=form.name,
            time_zone=checked_zone(form.time_zone, "time_zone"),
            language=form.language,
            is_admin=form.is_admin,
        )
    )
    await house.store.audit(caller.name, "person.add", form.login, {"is_admin": form.is_admin}, house.now())
    house.changed("people")
    response.headers["Location"] = f"/api/v1/people/{form.login}"
    return person_out(person)


@router.get("/people/{login}")
async def show_person(person: Reading) -> dict[str, Any]:
    """One person: oneself, or anybody as an administrator."""
    return person_out(person)


@router.patch("/people/{login}")
async def change_person(form: PersonChange, person: Reading, caller: Known, house: House) -> dict[str, Any]:
    """Name, zone and language by herself; the account's state by an administrator."""
    if not caller.is_admin and (form.is_active is not None or form.is_admin is not None or not caller.scopes & {"write", "admin"}):
        raise Forbidden("this is for administrators")
    changes = form.model_dump(exclude_none=True)
    is_leaving = caller.person is not None and caller.person.person_id == person.person_id and False in (form.is_admin, form.is_active)
    if is_leaving and not await house.store.has_admin_beside(person.person_id):
        raise Conflict("there is no other administrator; make somebody one first")
    if "time_zone" in changes:
        checked_zone(changes["time_zone"], "time_zone")
    # These fields alone: a change of one's name must not give back the account that is closed at the same time.
    changed = await house.store.change_person(person.person_id, changes)
    if not changed.is_active:
        await house.store.end_sessions(person.person_id)
    if {"is_active", "is_admin"} & changes.keys():
        # At once here, and within seconds in every other process (promise P19).
        house.callers.forget()
    await house.store.audit(caller.name, "person.change", person.login, changes, house.now())
    house.rights_changed()
    house.changed("people")
    return person_out(changed)


def _group_out(group: Group) -> dict[str, Any]:
    addresses = [address_out(address) for address in group.addresses]
    return {"name": group.name, "title": group.title, "members": list(group.members), "addresses": addresses}


def _vouched(addresses: Mapping[str, str], house: Context) -> list[Address]:
    """What the operator, or the system that keeps the groups, says of a group's own addresses."""
    return [
        Address(
            address_id=0,
            person_id=0,
            agent=agent,
            value=checked_address(house, agent, value, f"addresses.{agent}"),
            state=AddressState.OK,
            verified_at=house.now(),
        )
        for agent, value in addresses.items()
    ]


@router.get("/groups")
async def list_groups(_: Admin, house: House) -> dict[str, Any]:
    """By name."""
    return {"items": [_group_out(group) for group in await house.store.list_groups()]}


@router.get("/groups/{name}")
async def show_group(name: str, _: Admin, house: House) -> dict[str, Any]:
    """One group."""
    group = await house.store.group(name)
    if group is None:
        raise NotFound("there is no such group")
    return _group_out(group)


@router.put("/groups/{name}")
async def put_group(name: str, form: GroupForm, caller: Admin, house: House) -> dict[str, Any]:
    """Create or replace. With an address of its own, what names the group goes there once by that agent; its members keep their inbox copy."""
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or len(name) > 128:
        raise InvalidInput("a group's name is a word of letters, digits, '.', '_' or '-'", "name")
    vouched = None if form.addresses is None else _vouched(form.addresses, house)
    group = await house.store.put_group(Group(group_id=0, name=name, title=form.title, members=tuple(form.members)), vouched)
    said = {"members": len(form.members)} | ({} if form.addresses is None else {"addresses": sorted(form.addresses)})
    await house.store.audit(caller.name, "group.put", name, said, house.now())
    house.changed("people")
    return _group_out(group)


@router.delete("/groups/{name}", status_code=204)
async def delete_group(name: str, caller: Admin, house: House) -> None:
    """Remove a group; its members stay."""
    if not await house.store.delete_group(name):
        raise NotFound("there is no such group")
    await house.store.audit(caller.name, "group.delete", name, {}, house.now())
    house.changed("people")


@router.get("/objects")
async def list_objects(
    _: Admin, house: House, after: str = "", limit: Limit = 100, text: Annotated[str, Query(max_length=200)] = ""
) -> dict[str, Any]:
    """Objects on which somebody has a role, by name; with `text` only those that hold it."""
    shown, following = page_of(await house.store.objects(text, after, limit + 1), limit, str)
    return {"items": shown, "next": following}


@router.get("/relations")
async def show_relations(object: str, _: Admin, house: House) -> dict[str, Any]:
    """The roles on an object."""
    roles = await house.store.relations(object)
    return {"object": object, "roles": {role: sorted(names) for role, names in roles.items()}}


@router.put("/relations")
async def put_relations(object: str, form: RelationsForm, caller: Admin, house: House) -> dict[str, Any]:
    """Replace the roles on an object. Who signs in later may have one already: `unknown` are the names that nobody has now."""
    if not 0 < len(object) <= 255:
        raise InvalidInput("an object is a text of 1 to 255 characters", "object")
    await house.store.put_relations(object, form.roles)
    await house.store.audit(caller.name, "relations.put", object, {"roles": sorted(form.roles)}, house.now())
    named = {name for names in form.roles.values() for name in names}
    return {"object": object, "roles": form.roles, "unknown": await unknown_names(house, named)}
