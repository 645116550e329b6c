"""What she expects of sources: a list with how each stands, one with its history, and the form for its terms."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from angelia.model.errors import AngeliaError, NotFound
from angelia.model.expectation import Expectation
from angelia.model.message import Severity
from angelia.planning.expecting import alarm_at, awaited_at, length_code, shown_state
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.expectations import (
    Terms,
    add_expectation,
    hers,
    pause_expectation,
    put_expectation,
    remove_expectation,
    resume_expectation,
    revoke_expectation,
    rotate_expectation,
)
from angelia.web.forms import RowId
from angelia.web.pages.admin.asked import Asked, text, words
from angelia.web.pages.forms import made, told
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Visiting, Visitor

router = APIRouter(include_in_schema=False)
PLACE = "/expectations"
DONE = frozenset({"saved", "removed", "paused", "resumed", "revoked"})
_WORDS = ("title", "every", "cron", "zone", "grace", "source", "type", "object", "severity")
_SURE = frozenset({"address", "revoke", "remove"})


def stands(house: Context, one: Expectation) -> dict[str, Any]:
    """For the pages: one with its state in a word, and its times."""
    heard = {name: value for name in ("source", "type", "object") if (value := getattr(one, name))}
    return {"one": one, "heard": heard, "state": shown_state(one, house.now()), "due_at": awaited_at(one), "alarm_at": alarm_at(one)}


def _done(said: str) -> str:
    return said if said in DONE else ""


@router.get(PLACE)
async def expectations(request: Request, visitor: Visiting, house: House, done: str = "") -> Response:
    """All of hers."""
    found = await house.store.list_expectations(visitor.person.person_id)
    return page(request, visitor, "expectations.html", listed=[stands(house, one) for one, _ in found], done=_done(done))


def _terms_of(one: Expectation | None, visitor: Visitor) -> dict[str, str]:
    if one is None:
        shared = dict.fromkeys((*_WORDS, "to"), "")
        return shared | {"every": "1d", "grace": "1h", "zone": visitor.person.time_zone, "severity": "high"}
    said = {name: str(getattr(one, name)) for name in ("title", "cron", "zone", "source", "type", "object")}
    every = "" if one.every is None else length_code(one.every)
    return said | {"every": every, "grace": length_code(one.grace), "to": " ".join(one.to), "severity": one.severity.label}


def _form(request: Request, visitor: Visitor, one: Expectation | None, typed: dict[str, str], status: int = 200, problem: Any = None) -> Response:
    severities = [severity.label for severity in Severity]
    return page(request, visitor, "expectation-form.html", status, one=one, typed=typed, severities=severities, problem=problem)


def _typed(asked: Asked) -> dict[str, str]:
    return {name: text(asked, name)[:1_100] for name in (*_WORDS, "to")}


def _asked(typed: dict[str, str]) -> Terms:
    said = {name: typed[name] for name in _WORDS if typed[name] or name not in ("grace", "severity")}
    return made(Terms, **said, to=words(typed["to"]))


@router.get(PLACE + "/new")
async def new(request: Request, visitor: Visiting) -> Response:
    """The form."""
    return _form(request, visitor, None, _terms_of(None, visitor))


@router.post(PLACE)
async def add(request: Request, visitor: Visiting, house: House, asked: Asked) -> Response:
    """Make it; its address is on the answer and nowhere else."""
    typed = _typed(asked)
    try:
        added = await add_expectation(_asked(typed), visitor.person, visitor.caller, house)
    except AngeliaError as error:
        return _form(request, visitor, None, typed, **told(error))
    return await _shown(request, visitor, house, added["id"], address=added["ping"])


async def _shown(request: Request, visitor: Visitor, house: Context, expectation_id: int, **values: Any) -> Response:
    one = await hers(house, visitor.person, expectation_id)
    history = await house.store.expectation_history(expectation_id)
    return page(request, visitor, "expectation.html", **({"address": "", "done": ""} | stands(house, one) | {"history": history} | values))


@router.get(PLACE + "/{expectation_id}")
async def show(expectation_id: RowId, request: Request, visitor: Visiting, house: House, done: str = "") -> Response:
    """How it stands, and what happened."""
    return await _shown(request, visitor, house, expectation_id, done=_done(done))


@router.get(PLACE + "/{expectation_id}/{step}")
async def step(expectation_id: RowId, step: str, request: Request, visitor: Visiting, house: House) -> Response:
    """The form with its terms; or, sure?"""
    one = await hers(house, visitor.person, expectation_id)
    if step == "change":
        return _form(request, visitor, one, _terms_of(one, visitor))
    if step not in _SURE:
        raise NotFound("there is no such page")
    return page(request, visitor, "expectation-sure.html", one=one, step=step)


def _back(visitor: Visitor, expectation_id: int, done: str) -> Response:
    return RedirectResponse(visitor.at(f"{PLACE}/{expectation_id}?done={done}"), 303)


@router.post(PLACE + "/{expectation_id}/change")
async def change(expectation_id: RowId, request: Request, visitor: Visiting, house: House, asked: Asked) -> Response:
    """Other terms."""
    one, typed = await hers(house, visitor.person, expectation_id), _typed(asked)
    try:
        await put_expectation(expectation_id, _asked(typed), visitor.person, visitor.caller, house)
    except AngeliaError as error:
        return _form(request, visitor, one, typed, **told(error))
    return _back(visitor, expectation_id, "saved")


@router.post(PLACE + "/{expectation_id}/pause")
async def pause(expectation_id: RowId, visitor: Visiting, house: House) -> Response:
    """Not told of, for now."""
    await pause_expectation(expectation_id, visitor.person, house)
    return _back(visitor, expectation_id, "paused")


@router.post(PLACE + "/{expectation_id}/resume")
async def resume(expectation_id: RowId, visitor: Visiting, house: House) -> Response:
    """From now on again."""
    await resume_expectation(expectation_id, visitor.person, house)
    return _back(visitor, expectation_id, "resumed")


@router.post(PLACE + "/{expectation_id}/address")
async def address(expectation_id: RowId, request: Request, visitor: Visiting, house: House) -> Response:
    """Another address, on this answer and nowhere else."""
    rotated = await rotate_expectation(expectation_id, visitor.person, visitor.caller, house)
    return await _shown(request, visitor, house, expectation_id, address=rotated["ping"])


@router.post(PLACE + "/{expectation_id}/revoke")
async def revoke(expectation_id: RowId, visitor: Visiting, house: House) -> Response:
    """No address any more."""
    await revoke_expectation(expectation_id, visitor.person, visitor.caller, house)
    return _back(visitor, expectation_id, "revoked")


@router.post(PLACE + "/{expectation_id}/remove")
async def remove(expectation_id: RowId, visitor: Visiting, house: House) -> Response:
    """Expected no more."""
    await remove_expectation(expectation_id, visitor.person, visitor.caller, house)
    return RedirectResponse(visitor.at(f"{PLACE}?done=removed"), 303)
