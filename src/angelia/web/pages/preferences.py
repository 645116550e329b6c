"""Preferences: the simple grid first. Each change is saved at once and can be taken back."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from pydantic import StringConstraints

from angelia.flow.wishes import Week, Wishes, undo_wants, wishes_of
from angelia.model.errors import Conflict, InvalidInput, NotFound
from angelia.model.preference import ANY_TYPE, Escalation
from angelia.planning import editing
from angelia.web.access import House, check_names
from angelia.web.context import Context
from angelia.web.forms import RowId
from angelia.web.pages.grid import ALWAYS, beyond, group_lines, main_types, preset_groups, scope_line, type_groups
from angelia.web.pages.languages import language_of
from angelia.web.pages.wishes import Wrong, back, columns_of, known_agent, ways_of, wish_page, wrong_of
from angelia.web.signin.guard import Visiting, Visitor
from angelia.web.wants import put_preset_agent, tick_preset, untick_preset
from angelia.web.wishes import changed, pause, resume, scope_of

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form(max_length=1_024)]
Steps = Annotated[list[Annotated[str, StringConstraints(max_length=2_000)]] | None, Form(max_length=100)]
Place = Annotated[int, Form(ge=0, le=1_000)]
Step = Annotated[int, Form(ge=-1, le=1)]


@router.get("/preferences")
async def preferences(request: Request, visitor: Visiting, house: House) -> Response:
    """What do you want to hear about?"""
    return await _grid(request, visitor, house)


async def _grid(request: Request, visitor: Visitor, house: Context, wrong: Wrong | None = None) -> Response:
    site = house.site()
    wishes = await wishes_of(house.store, visitor.person, site)
    week = await Week.of(house.store, wishes.profile, house.now(), [preset.rule for preset in site.presets.values()])
    keys = main_types(wishes, site, week)
    roots = {key.partition(".")[0] for key in keys}
    known = {entry.key: entry for entry in await house.store.types(roots.union(keys))}
    ways = columns_of(ways_of(house, wishes), wishes)
    language = language_of(request, visitor)
    return await wish_page(
        request,
        visitor,
        house,
        "preferences.html",
        wishes,
        wrong=wrong,
        presets=preset_groups(site.presets.values(), wishes, ways, week),
        types=type_groups(keys, wishes, site, ways, week, known, language),
        everything=scope_line(ANY_TYPE, wishes, site, ways, per_week=week.by_type.get(ANY_TYPE, 0)),
        unknown=scope_line(editing.UNKNOWN, wishes, site, ways),
        ways_on=_ways_on(house, wishes),
        beyond=beyond(wishes, keys, site.presets),
        groups=group_lines(wishes, ways),
    )


def _ways_on(house: Context, wishes: Wishes) -> dict[str, Any]:
    """What the forms for the order and the chains hold: the one for everything, those for types, and an empty one for a new type."""
    site, own = house.site(), wishes.profile.wants
    usual = Escalation(timedelta(minutes=10))
    chains = {ANY_TYPE: usual} | {scope: chain for scope, chain in sorted(own.escalate.items()) if chain.to}
    return {
        "order": own.fallback if own.fallback is not None else site.fallback,
        "is_own": own.fallback is not None,
        "known": [agent for agent in house.agents if agent not in site.pull],
        "chains": [_chain_form(scope, chain) for scope, chain in (*chains.items(), ("", usual))],
    }


def _chain_form(scope: str, chain: Escalation) -> dict[str, Any]:
    minutes = int(chain.after.total_seconds()) // 60
    unit, size = next((unit, size) for unit, size in (("d", 1_440), ("h", 60), ("m", 1)) if minutes % size == 0)
    return {
        "scope": scope,
        "severity": chain.min_severity.label,
        "after": f"{minutes // size}{unit}",
        "until": chain.until.value,
        "to": chain.to,
    }


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


@router.post("/preferences/fallback")
async def put_fallback(request: Request, visitor: Visiting, house: House, order: Text = "", add: Text = "", view: Text = "") -> Response:
    """The order in which ways stand in for one that failed, as a list that was dragged; with `add` one more at its end; empty for the site's."""
    try:
        version = await _ordered(house, visitor, lambda old: [*old, *_names(add)] if add.strip() else _dragged(order))
    except InvalidInput as error:
        return await _grid(request, visitor, house, wrong_of(error))
    return back(view, visitor.at("/preferences"), version)


@router.post("/preferences/fallback/move")
async def move_fallback(request: Request, visitor: Visiting, house: House, at: Place, by: Step = 0, view: Text = "") -> Response:
    """One way up or down; by 0 it leaves the order. What is empty then is her wish too: no other way is tried."""
    try:
        version = await _ordered(house, visitor, lambda old: moved(old, at, by), is_own=True)
    except InvalidInput as error:
        return await _grid(request, visitor, house, wrong_of(error))
    return back(view, visitor.at("/preferences"), version)


async def _ordered(house: Context, visitor: Visitor, change: Callable[[list[str]], list[str]], *, is_own: bool = False) -> int:
    """Change the order, which begins as the site's. The version of her document."""

    def put(document: dict[str, Any]) -> None:
        old = document.get("fallback")
        agents = [known_agent(house, agent) for agent in change([str(agent) for agent in (house.site().fallback if old is None else old)])]
        editing.put_fallback(document, agents if agents or is_own else None)

    return await changed(house, visitor.person, put)


def moved(names: list[str], at: int, by: int) -> list[str]:
    """One entry of an order a place up or down, or out of it where `by` is 0; nothing moves beyond the ends. InvalidInput where none stands there."""
    if at >= len(names):
        raise InvalidInput("this entry is gone: look at the order again", "order")
    rest = [name for place, name in enumerate(names) if place != at]
    return rest if by == 0 else [*rest[: max(0, at + by)], names[at], *rest[max(0, at + by) :]]


def _dragged(text: str) -> list[str]:
    """The order as a form gives it: a JSON list, or names with commas."""
    if not text.startswith("["):
        return _names(text)
    with suppress(ValueError, RecursionError):
        return [str(name) for name in json.loads(text)]
    raise InvalidInput("this is no list of ways", "order")


@router.post("/preferences/escalate")
async def put_chain(
    request: Request, visitor: Visiting, house: House, severity: Text = "urgent", after: Text = "10m", until: Text = "acknowledged",
    to: Steps = None, view: Text = "", scope: Text = ANY_TYPE,
) -> Response:  # fmt: skip
    """How what presses, or what is of one type, goes on while nobody answers: `to` are the steps; without any as the site says."""
    chain = {"severity": severity, "after": after.strip(), "until": until}
    try:
        version = await _chained(house, visitor, scope, chain, lambda _: [step for text in to or () for step in _names(text)])
    except InvalidInput as error:
        return await _grid(request, visitor, house, wrong_of(error))
    return back(view, visitor.at("/preferences"), version)


@router.post("/preferences/escalate/move")
async def move_step(request: Request, visitor: Visiting, house: House, at: Place, by: Step = 0, view: Text = "", scope: Text = ANY_TYPE) -> Response:
    """One step up or down; by 0 it goes."""
    try:
        version = await _chained(house, visitor, scope, {}, lambda old: moved(old, at, by))
    except InvalidInput as error:
        return await _grid(request, visitor, house, wrong_of(error))
    return back(view, visitor.at("/preferences"), version)


async def _chained(house: Context, visitor: Visitor, scope: str, chain: dict[str, Any], change: Callable[[list[str]], list[str]]) -> int:
    """Change how messages of a scope go on. The version of her document."""
    key = scope_of(scope.strip())
    document: dict[str, Any] = dict((await house.store.wants(visitor.person.login))[0])
    known = list(document.get("escalate", {}).get(key, {}).get("to", ()))
    new = [step for step in change(known) if ":" in step and step not in known]
    await check_names(house, [step.removeprefix("person:") for step in new], "to")

    def put(document: dict[str, Any]) -> None:
        old = document.get("escalate", {}).get(key, {})
        steps = [step if ":" in step else known_agent(house, step) for step in change(list(old.get("to", ())))]
        editing.put_chain(document, key, {**chain, "to": steps})

    return await changed(house, visitor.person, put)


@router.post("/preferences/cell")
async def put_cell(
    request: Request, visitor: Visiting, house: House, scope: Text, agent: Text, when: Text = "", form: Text | None = None, view: Text = ""
) -> Response:
    """One cell: off, now, a schedule, or "" for as usual."""
    try:
        key = scope if scope == editing.UNKNOWN else scope_of(scope)
        target = known_agent(house, agent)
        version = await changed(house, visitor.person, lambda document: editing.put_cell(document, key, target, when, form))
    except InvalidInput as error:
        return await _grid(request, visitor, house, wrong_of(error))
    return back(view, visitor.at("/preferences"), version)


@router.post("/preferences/preset")
async def put_preset(
    request: Request, visitor: Visiting, house: House, preset: Text, agent: Text = "", when: Text = "", ticked: Text = "", view: Text = ""
) -> Response:
    """With an agent: what the preset does by it. Without: tick it, or un-tick it."""
    try:
        if agent:
            await put_preset_agent(preset, known_agent(house, agent), visitor.person, house, when)
        elif ticked:
            await tick_preset(preset, visitor.person, house)
        else:
            await untick_preset(preset, visitor.person, house)
    except InvalidInput as error:
        return await _grid(request, visitor, house, wrong_of(error))
    return await _back(visitor, house, view)


async def _back(visitor: Visitor, house: Context, view: str) -> Response:
    _, version = await house.store.wants(visitor.person.login)
    return back(view, visitor.at("/preferences"), version)


@router.post("/preferences/group")
async def put_group(request: Request, visitor: Visiting, house: House, group: Text, agent: Text, taken: Text = "", view: Text = "") -> Response:
    """Take what comes through a group alone by one agent, or by it no more."""

    def change(document: dict[str, Any]) -> None:
        every = [name for name in house.agents if name != ALWAYS]
        old = document.get("groups", {}).get(group, every)
        agents = sorted(({*old, target} if taken else {*old} - {target}) & {*every, *old})
        editing.put_group(document, group, None if set(agents) >= set(every) else agents)

    try:
        target = known_agent(house, agent)
        version = await changed(house, visitor.person, change)
    except InvalidInput as error:
        return await _grid(request, visitor, house, wrong_of(error))
    return back(view, visitor.at("/preferences"), version)


@router.post("/preferences/paused")
async def put_paused(visitor: Visiting, house: House, response: Response, agent: Text, paused: Text = "", view: Text = "") -> Response:
    """Pause an agent, or let it go on."""
    if agent not in house.agents:
        raise NotFound("this hub has no such agent")
    if paused:
        await pause(agent, visitor.person, house, response)
    else:
        await resume(agent, visitor.person, house)
    return await _back(visitor, house, view)


@router.post("/preferences/undo")
async def undo(request: Request, visitor: Visiting, house: House, version: Annotated[RowId, Form()], view: Text = "") -> Response:
    """Take back what made this version."""
    try:
        made = await undo_wants(house.store, visitor.person.login, version, house.site(), house.now())
    except (Conflict, InvalidInput) as error:
        return await _grid(request, visitor, house, Wrong("", str(error)))
    house.changed("people")
    return back(view, visitor.at("/preferences"), made, is_undone=True)
