"""Follows and mutes: what she wants to hear of, and what she does not."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from angelia.model.errors import InvalidInput
from angelia.model.moments import to_text
from angelia.model.preference import MuteLevel
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.pages.wishes import Wrong, back, wish_page, wrong_of
from angelia.web.signin.guard import Visiting, Visitor
from angelia.web.wants import follow, mute, unfollow, unmute

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form(max_length=1_100)]
LASTS = frozenset({"1", "7", "30"})
"""Days that the page offers; else a mute is for good."""


@router.get("/follows")
async def follows(request: Request, visitor: Visiting, house: House, object: str = "") -> Response:
    """Both lists; `object` fills the forms."""
    return await _page(request, visitor, house, typed={"object": object[:1_100]})


async def _page(
    request: Request, visitor: Visitor, house: Context, wrong: Wrong | None = None, typed: dict[str, str] | None = None, form: str = ""
) -> Response:
    return await wish_page(
        request,
        visitor,
        house,
        "follows.html",
        wrong=wrong,
        typed={"object": ""} | (typed or {}),
        form=form,
        levels=[str(level) for level in MuteLevel],
        now=house.now(),
    )


def _ref(text: str) -> str:
    ref = text.strip()
    if not ref:
        raise InvalidInput("name an object, such as KDE/okular", "object")
    if len(ref) > 255:
        raise InvalidInput("an object has at most 255 characters", "object")
    return ref


async def _back(visitor: Visitor, house: Context) -> Response:
    _, version = await house.store.wants(visitor.person.login)
    return back("", visitor.at("/follows"), version)


@router.post("/follows/add")
async def add_follow(request: Request, visitor: Visiting, house: House, object: Text = "", below: Text = "") -> Response:
    """Follow an object, or with `below` all whose names begin with it and a slash as well."""
    try:
        ref = _ref(object)
        await follow(f"{ref.rstrip('/')}/" if below else ref, visitor.person, house)
    except InvalidInput as error:
        return await _page(request, visitor, house, wrong_of(error), {"object": object, "below": below}, "follow")
    return await _back(visitor, house)


@router.post("/follows/remove")
async def remove_follow(visitor: Visiting, house: House, object: Text) -> Response:
    """Follow it no more."""
    await unfollow(object, visitor.person, house)
    return await _back(visitor, house)


@router.post("/follows/mute")
async def add_mute(
    request: Request, visitor: Visiting, house: House, object: Text = "", level: Text = "normal", below: Text = "", lasts: Text = "", until: Text = ""
) -> Response:
    """Mute an object, or with `below` all whose name begins with it and a slash; or change how far. `lasts` is in days, from now on."""
    try:
        ref = _ref(object)
        end = to_text(house.now() + timedelta(days=int(lasts))) if lasts in LASTS else until
        await mute(f"{ref.rstrip('/')}/" if below else ref, visitor.person, house, level, end)
    except InvalidInput as error:
        return await _page(request, visitor, house, wrong_of(error), {"object": object, "level": level, "below": below, "lasts": lasts}, "mute")
    return await _back(visitor, house)


@router.post("/follows/unmute")
async def remove_mute(visitor: Visiting, house: House, object: Text) -> Response:
    """Hear of it again."""
    await unmute(object, visitor.person, house)
    return await _back(visitor, house)
