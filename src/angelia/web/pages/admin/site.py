"""What holds for everybody: defaults, audience, locks, schedules, presets; each change can be tried on history before it is saved."""

import tomllib
from datetime import date, datetime, time
from typing import Any

import tomlkit
from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData

from angelia.model.errors import AngeliaError, InvalidInput
from angelia.model.schedule import EVERY
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.pages.admin.asked import Asked, done, text, told
from angelia.web.pages.admin.site_rows import KEEP, USUAL, changed, shown
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Administering, Visitor
from angelia.web.site import plan_site, put_site

router = APIRouter(include_in_schema=False)
MAIN = ("web", "mail", "feed")
"""The ways that most defaults speak of stand first."""


def _values(house: Context, document: dict[str, Any], version: int | str, toml: str = "") -> dict[str, Any]:
    agents = sorted(house.agents, key=lambda name: (name not in MAIN, name))
    return {
        "tables": shown(document, agents),
        "agents": agents,
        "choices": ["off", "now", *document.get("schedules", {})],
        "keep": KEEP,
        "every": EVERY,
        "digest_schedule": document.get("digest_schedule", USUAL["digest_schedule"]),
        "hourly_cap": document.get("hourly_cap", USUAL["hourly_cap"]),
        "version": version,
        "toml": toml or tomlkit.dumps(document),
        "plan": None,
    }


@router.get("/admin/site")
async def show_site(request: Request, visitor: Administering, house: House) -> Response:
    """The document as forms, and as a whole."""
    document, version = await house.store.site()
    return page(request, visitor, "admin/site.html", **_values(house, dict(document), version))


@router.post("/admin/site/plan")
async def plan(request: Request, asked: Asked, visitor: Administering, house: House) -> Response:
    """What would change and for whom; nothing is saved."""
    try:
        document = await _wanted(asked, house)
        found = await plan_site(document, visitor.caller, house, 30)
    except AngeliaError as error:
        return await _again(request, asked, visitor, house, error)
    return page(request, visitor, "admin/site.html", **_values(house, document, text(asked, "version")) | {"plan": found})


@router.post("/admin/site")
async def save(request: Request, asked: Asked, visitor: Administering, house: House) -> Response:
    """Save it, unless somebody else has changed it meanwhile."""
    try:
        await put_site(await _wanted(asked, house), visitor.caller, house, Response(), text(asked, "version"))
    except AngeliaError as error:
        return await _again(request, asked, visitor, house, error)
    return done("/admin/site", "saved")


async def _again(request: Request, asked: FormData, visitor: Visitor, house: Context, error: AngeliaError) -> Response:
    """As she filled it in; with the old version, so that what others saved is not lost by a second try."""
    document, _ = await house.store.site()
    toml = text(asked, "toml")
    wanted = dict(document) if toml else _form_or(document, asked, list(house.agents))
    return told(request, visitor, "admin/site.html", error, **_values(house, wanted, text(asked, "version"), toml))


def _form_or(document: Any, asked: FormData, agents: list[str]) -> dict[str, Any]:
    try:
        return changed(document, asked, agents)
    except InvalidInput:
        return dict(document)


async def _wanted(asked: FormData, house: Context) -> dict[str, Any]:
    if "toml" not in asked:
        document, _ = await house.store.site()
        return changed(document, asked, list(house.agents))
    try:
        document = tomllib.loads(text(asked, "toml").replace("\r\n", "\n"))
        return {key: _plain(value) for key, value in document.items()}
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"this is not TOML: {error}", "toml") from None
    except RecursionError:
        raise InvalidInput("this is nested too deep", "toml") from None


def _plain(value: Any) -> Any:
    """TOML knows times; the document, like JSON, has texts."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, time):
        return value.strftime("%H:%M")
    return value.isoformat() if isinstance(value, datetime | date) else value
