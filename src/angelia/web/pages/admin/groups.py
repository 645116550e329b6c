"""Groups with their members and addresses, and who has which role on an object."""

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from angelia.model.errors import AngeliaError, InvalidInput
from angelia.model.person import Group
from angelia.web.access import House, check_names
from angelia.web.context import Context
from angelia.web.forms import GroupForm, RelationsForm
from angelia.web.pages.admin.asked import Asked, done, made, text, told, words
from angelia.web.pages.kit import page
from angelia.web.people import delete_group, put_group, put_relations
from angelia.web.signin.guard import Administering

router = APIRouter(include_in_schema=False)
PAGE = 50


@router.get("/admin/groups")
async def list_groups(
    request: Request, visitor: Administering, house: House, name: str = "", object: str = "", text: str = "", after: str = ""
) -> Response:
    """Groups, and objects with roles; with `name` or `object` to the page of that one, there or not."""
    if name.strip():
        return RedirectResponse(_place(name.strip()), 303)
    if object.strip():
        return RedirectResponse(_object_place(object.strip()), 303)
    objects = await house.store.objects(text.strip()[:200], after, PAGE + 1)
    following = objects[PAGE - 1] if len(objects) > PAGE else ""
    values: dict[str, Any] = {"groups": await house.store.list_groups(), "objects": objects[:PAGE], "following": following, "text": text}
    return page(request, visitor, "admin/groups.html", **values)


def _place(name: str) -> str:
    return f"/admin/groups/{quote(name, safe='')}"


def _object_place(ref: str) -> str:
    return f"/admin/groups/on/object?object={quote(ref, safe='')}"


def _agents(house: Context) -> list[str]:
    return [name for name, agent in house.agents.items() if not agent.is_pull]


def _shown(group: Group | None) -> dict[str, Any]:
    values = {address.agent: address.value for address in group.addresses} if group else {}
    return {"title": group.title if group else "", "members": "\n".join(group.members) if group else "", "addresses": values}


@router.get("/admin/groups/{name}")
async def show_group(request: Request, name: str, visitor: Administering, house: House) -> Response:
    """One group; a new one where there is none of that name."""
    group = await house.store.group(name)
    return page(request, visitor, "admin/group.html", name=name, group=group, form=_shown(group), agents=_agents(house))


@router.post("/admin/groups/{name}")
async def save_group(request: Request, name: str, asked: Asked, visitor: Administering, house: House) -> Response:
    """Create or change it."""
    addresses = {agent: value for agent in _agents(house) if (value := text(asked, f"address.{agent}"))}
    members = text(asked, "members")
    form = {"title": text(asked, "title"), "members": members, "addresses": addresses}
    try:
        await put_group(name, made(GroupForm, **form | {"members": words(members)}), visitor.caller, house)
    except AngeliaError as error:
        values = {"name": name, "group": await house.store.group(name), "form": form, "agents": _agents(house)}
        return told(request, visitor, "admin/group.html", error, **values)
    return done(_place(name), "saved")


@router.post("/admin/groups/{name}/delete")
async def remove_group(name: str, visitor: Administering, house: House) -> Response:
    """Its members stay."""
    await delete_group(name, visitor.caller, house)
    return done("/admin/groups", "removed")


@router.get("/admin/groups/on/object")
async def show_object(request: Request, visitor: Administering, house: House, object: str) -> Response:
    """Who has which role on an object."""
    roles = [(role, "\n".join(sorted(names))) for role, names in sorted((await house.store.relations(object)).items())]
    return page(request, visitor, "admin/object.html", ref=object, roles=[*roles, ("", "")])


@router.post("/admin/groups/on/object")
async def save_object(request: Request, visitor: Administering, house: House, asked: Asked, object: str) -> Response:
    """All its roles at once; a role without people is none."""
    roles = _roles(asked)
    try:
        wanted: dict[str, list[str]] = {}
        for role, names in roles:
            if names and not role:
                raise InvalidInput("these people need the name of their role", "role")
            if names:
                wanted[role] = list(dict.fromkeys([*wanted.get(role, []), *words(names)]))
        # The API takes names that come later: a system that keeps roles may know them first.
        await check_names(house, {name for people in wanted.values() for name in people}, "names")
        await put_relations(object, made(RelationsForm, roles=wanted), visitor.caller, house)
    except AngeliaError as error:
        return told(request, visitor, "admin/object.html", error, ref=object, roles=[*roles, ("", "")])
    return done(_object_place(object), "saved")


def _roles(asked: FormData) -> list[tuple[str, str]]:
    """Rows with a role, and new ones that name people; one whose role was emptied is to go."""
    numbers = sorted({name.partition(".")[2] for name in asked if name.startswith("role.")})
    found = [[text(asked, f"{column}.{number}") for column in ("role", "names", "was")] for number in numbers]
    return [(role, names) for role, names, was in found if role or (names and not was)]
