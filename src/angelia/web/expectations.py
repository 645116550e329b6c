"""What people expect of sources: made, changed, looked at; each has an address for pings, shown once."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from angelia.model.cron import parse_cron
from angelia.model.errors import InvalidInput, NotFound
from angelia.model.expectation import LONGEST, Expectation, Moment
from angelia.model.message import Severity, checked_type
from angelia.model.moments import to_text
from angelia.model.person import Person
from angelia.planning import fields
from angelia.planning.expecting import alarm_at, awaited_at, length_code, shown_state
from angelia.web.access import Admin, House, Known, Reading, Writing, check_names
from angelia.web.context import Context
from angelia.web.forms import Limit, Line, RowId, Strict, Word, checked_zone
from angelia.web.paging import PagedRoute, page_of
from angelia.web.shapes import moment_text
from angelia.wire.callers import Caller, secret_hash

router = APIRouter(tags=["expectations"], route_class=PagedRoute)
HERS = "/api/v1/people/{login}/expectations"
Body = dict[str, Any]
MOST = 200
"""Of one person."""
MOST_TOLD = 50


class Terms(Strict):
    """What is expected. One of `every` (`10m`, `24h`, `7d`) and `cron` (five fields, or `@daily`); `zone` is her own where it is left out.

    `source`, `type` (with all below it) and `object` say which messages are signs beside pings. `to` are told beside her: logins and
    `group:<name>`.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "Backup of the archive", "every": "24h", "grace": "2h"}]})

    title: Word
    every: Line = ""
    cron: Line = ""
    zone: Line = ""
    grace: Line = "1h"
    source: Line = ""
    type: Line = ""
    object: Line = ""
    to: list[Word] = Field(default_factory=list, max_length=MOST_TOLD)
    severity: Literal["low", "normal", "high", "urgent"] = "high"


@router.get(HERS)
async def list_expectations(person: Reading, house: House) -> Body:
    """Hers, oldest first; their addresses are not shown again."""
    found = await house.store.list_expectations(person.person_id)
    return {"items": [expectation_out(house, one) for one, _ in found]}


@router.post(HERS, status_code=201)
async def add_expectation(form: Terms, person: Writing, caller: Known, house: House) -> Body:
    """Expect something from now on. `ping` is its address, shown this once: whoever knows it can say that all is well."""
    one = await _made(form, person, caller, house)
    secret = secrets.token_urlsafe(32)
    added = await house.store.add_expectation(one, secret_hash(secret), MOST)
    await _note(house, caller, "expectation.add", person, added.expectation_id)
    house.changed("people")
    return _address(house, secret) | expectation_out(house, added)


@router.get(HERS + "/{expectation_id}")
async def show_expectation(expectation_id: RowId, person: Reading, house: House) -> Body:
    """One: what is expected, where it stands, when it is due."""
    return expectation_out(house, await hers(house, person, expectation_id))


@router.put(HERS + "/{expectation_id}")
async def put_expectation(expectation_id: RowId, form: Terms, person: Writing, caller: Known, house: House) -> Body:
    """Other terms, as a whole; where it stands and its address stay."""
    known = await hers(house, person, expectation_id)
    one = await _made(form, person, caller, house, known.to)
    changed = await house.store.put_expectation(replace(one, expectation_id=expectation_id))
    if changed is None:
        raise NotFound("there is no such expectation")
    house.changed("people")
    return expectation_out(house, changed)


@router.delete(HERS + "/{expectation_id}", status_code=204)
async def remove_expectation(expectation_id: RowId, person: Writing, caller: Known, house: House) -> None:
    """Expect it no more; its history is gone."""
    await hers(house, person, expectation_id)
    await house.store.remove_expectation(expectation_id)
    await _note(house, caller, "expectation.remove", person, expectation_id)
    house.changed("people")


@router.post(HERS + "/{expectation_id}/pause")
async def pause_expectation(expectation_id: RowId, person: Writing, house: House) -> Body:
    """Nothing is told of it, until it is resumed; signs are still noted."""
    return await _paused(house, person, expectation_id, is_paused=True)


@router.post(HERS + "/{expectation_id}/resume")
async def resume_expectation(expectation_id: RowId, person: Writing, house: House) -> Body:
    """It begins anew, counted from now."""
    return await _paused(house, person, expectation_id, is_paused=False)


@router.post(HERS + "/{expectation_id}/address")
async def rotate_expectation(expectation_id: RowId, person: Writing, caller: Known, house: House) -> Body:
    """Another address, shown this once; the old one is worth nothing from now on."""
    await hers(house, person, expectation_id)
    secret = secrets.token_urlsafe(32)
    await house.store.rotate_expectation(expectation_id, secret_hash(secret))
    await _note(house, caller, "expectation.rotate", person, expectation_id)
    return _address(house, secret)


@router.delete(HERS + "/{expectation_id}/address", status_code=204)
async def revoke_expectation(expectation_id: RowId, person: Writing, caller: Known, house: House) -> None:
    """No address: then only messages are signs."""
    await hers(house, person, expectation_id)
    await house.store.rotate_expectation(expectation_id, None)
    await _note(house, caller, "expectation.revoke", person, expectation_id)


@router.get(HERS + "/{expectation_id}/history")
async def list_history(expectation_id: RowId, person: Reading, house: House, before: RowId | None = None, limit: Limit = 100) -> Body:
    """What happened, newest first; the last hundred lines are kept. `next` is the `before` of the following page."""
    await hers(house, person, expectation_id)
    found = await house.store.expectation_history(expectation_id, before, limit + 1)
    shown, following = page_of(found, limit, lambda moment: moment.number)
    return {"items": [moment_out(one) for one in shown], "next": following}


@router.get("/api/v1/expectations")
async def list_all_expectations(caller: Admin, house: House, after: RowId = 0, limit: Limit = 100) -> Body:
    """Everybody's, oldest first. `next` is the `after` of the following page."""
    found = await house.store.list_expectations(None, after, limit + 1)
    shown, following = page_of(found, limit, lambda pair: pair[0].expectation_id)
    return {"items": [{"login": login} | expectation_out(house, one) for one, login in shown], "next": following}


async def hers(house: Context, person: Person, expectation_id: int) -> Expectation:
    """One of this person, or NotFound."""
    one = await house.store.expectation(expectation_id)
    if one is None or one.person_id != person.person_id:
        raise NotFound("there is no such expectation")
    return one


def _address(house: Context, secret: str) -> Body:
    return {"ping": f"{house.base_url}/api/v1/ping/{secret}"}


async def _note(house: Context, caller: Caller, action: str, person: Person, expectation_id: int) -> None:
    await house.store.audit(caller.name, action, person.login, {"expectation": expectation_id}, house.now())


async def _paused(house: Context, person: Person, expectation_id: int, *, is_paused: bool) -> Body:
    await hers(house, person, expectation_id)
    one = await house.store.pause_expectation(expectation_id, house.now(), is_paused=is_paused)
    if one is None:
        raise NotFound("there is no such expectation")
    return expectation_out(house, one)


async def _made(form: Terms, person: Person, caller: Caller, house: Context, known: Sequence[str] = ()) -> Expectation:
    """The terms, checked. `known` are those whom it tells already: who adds nobody needs no right to post."""
    if person.group is not None:
        raise InvalidInput("a group expects nothing: its members do", "login")
    if bool(form.every) == bool(form.cron):
        raise InvalidInput("say how often: either every, or cron", "every")
    to = tuple(dict.fromkeys(form.to))
    await _may_tell(set(to) - {person.login, *known}, form.severity, caller, house)
    now = house.now()
    return Expectation(
        person_id=person.person_id,
        title=form.title,
        every=fields.length(form.every, "every", LONGEST) if form.every else None,
        cron=_cron(form.cron),
        zone=checked_zone(form.zone or person.time_zone, "zone"),
        grace=fields.length(form.grace, "grace", LONGEST),
        source=form.source,
        type=checked_type(form.type) if form.type else "",
        object=form.object,
        to=to,
        severity=Severity.named(form.severity),
        created_at=now,
        since=now,
    )


async def _may_tell(others: set[str], severity: str, caller: Caller, house: Context) -> None:
    """Whoever lets others be told posts to them."""
    if not others:
        return
    caller.check_right("angelia.expectation", severity)
    await check_names(house, others, "to")


def _cron(text: str) -> str:
    try:
        if text:
            parse_cron(text)
    except ValueError as error:
        raise InvalidInput(str(error), "cron") from None
    return " ".join(text.split())


def expectation_out(house: Context, one: Expectation) -> Body:
    """An expectation without its address: terms, then where it stands. `due_at` and `alarm_at` are null where nothing is waited for."""
    return {
        "id": one.expectation_id,
        "title": one.title,
        "every": length_code(one.every) if one.every is not None else "",
        "cron": one.cron,
        "zone": one.zone,
        "grace": length_code(one.grace),
        "source": one.source,
        "type": one.type,
        "object": one.object,
        "to": list(one.to),
        "severity": one.severity.label,
        "state": shown_state(one, house.now()),
        "is_running": one.started_at is not None,
        "created_at": to_text(one.created_at),
        "since": to_text(one.since),
        "seen_at": moment_text(one.seen_at),
        "due_at": moment_text(awaited_at(one)),
        "alarm_at": moment_text(alarm_at(one)),
    }


def moment_out(one: Moment) -> Body:
    """One line of a history; `took` in seconds."""
    return {
        "id": one.number,
        "at": to_text(one.at),
        "kind": one.kind,
        "before": one.before.label,
        "after": one.after.label,
        "took": None if one.took is None else one.took / timedelta(seconds=1),
        "exit_code": one.exit_code,
        "text": one.text,
    }
