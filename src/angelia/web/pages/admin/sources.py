"""Who posts: sources with their health, rights and tokens."""

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from angelia.model.errors import AngeliaError, InvalidInput
from angelia.store import Source
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.forms import NewToken, SourceForm
from angelia.web.pages.admin.asked import Asked, done, made, number, text, told, words
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Administering
from angelia.web.site import add_source_token, put_source, revoke_source_token
from angelia.web.statistics import health

router = APIRouter(include_in_schema=False)


@router.get("/admin/sources")
async def list_sources(request: Request, visitor: Administering, house: House, name: str = "") -> Response:
    """All of them with their health; with `name` to the page of that one, there or not."""
    if name.strip():
        return RedirectResponse(_place(name.strip()), 303)
    seen = {one["name"]: one for one in await health(house)}
    items = [(source, seen[source.name]) for source in await house.store.list_sources() if source.name in seen]
    return page(request, visitor, "admin/sources.html", items=items)


def _place(name: str) -> str:
    return f"/admin/sources/{quote(name, safe='')}"


async def _values(house: Context, name: str) -> dict[str, Any]:
    source = await house.store.source(name)
    seen = next((one for one in await health(house) if one["name"] == name), None)
    return {
        "name": name,
        "source": source,
        "seen": seen,
        "tokens": await house.store.list_tokens(f"source:{name}"),
        "form": _shown(source or Source(name=name)),
        "secret": "",
    }


def _shown(source: Source) -> dict[str, Any]:
    return {
        "title": source.title,
        "subtrees": " ".join(source.subtrees),
        "contact": source.contact,
        "rate_per_second": f"{source.rate_per_second:g}" if source.rate_per_second else "",
        "may_be_urgent": source.may_be_urgent,
        "is_active": source.is_active,
    }


@router.get("/admin/sources/{name}")
async def show_source(request: Request, name: str, visitor: Administering, house: House) -> Response:
    """One source; a new one where there is none of that name."""
    return page(request, visitor, "admin/source.html", **await _values(house, name))


@router.post("/admin/sources/{name}")
async def save_source(request: Request, name: str, asked: Asked, visitor: Administering, house: House) -> Response:
    """Create or change it."""
    try:
        await put_source(name, _form(asked), visitor.caller, house)
    except AngeliaError as error:
        again = {field: text(asked, field) for field in ("title", "subtrees", "contact", "rate_per_second")}
        again_flags = {"may_be_urgent": "may_be_urgent" in asked, "is_active": "is_active" in asked}
        return told(request, visitor, "admin/source.html", error, **await _values(house, name) | {"form": again | again_flags})
    return done(_place(name), "saved")


def _form(asked: FormData) -> SourceForm:
    rate = text(asked, "rate_per_second") or "0"
    try:
        per_second = float(rate)
    except ValueError:
        raise InvalidInput("this is no number", "rate_per_second") from None
    return made(
        SourceForm,
        title=text(asked, "title"),
        subtrees=words(text(asked, "subtrees")),
        may_be_urgent="may_be_urgent" in asked,
        rate_per_second=per_second,
        contact=text(asked, "contact"),
        is_active="is_active" in asked,
    )


@router.post("/admin/sources/{name}/tokens")
async def add_token(request: Request, name: str, asked: Asked, visitor: Administering, house: House) -> Response:
    """A new token. Its secret stands on this answer and nowhere else, so there is no redirect."""
    try:
        form = made(NewToken, title=text(asked, "title"), scopes=["post"], expires_in_days=number(asked, "expires_in_days"))
        secret = (await add_source_token(name, form, visitor.caller, house))["secret"]
    except AngeliaError as error:
        return told(request, visitor, "admin/source.html", error, **await _values(house, name))
    return page(request, visitor, "admin/source.html", **await _values(house, name) | {"secret": secret})


@router.post("/admin/sources/{name}/tokens/{token_id}/revoke")
async def revoke_token(name: str, token_id: int, visitor: Administering, house: House) -> Response:
    """It is refused from now on."""
    await revoke_source_token(name, token_id, visitor.caller, house)
    return done(_place(name), "revoked")
