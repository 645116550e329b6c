"""What one person wants: her preferences, rules, presets, follows, mutes and absence; how each type is treated."""

import copy
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from angelia.flow.history import try_on_history
from angelia.flow.profiles import profile_of
from angelia.flow.wants import change_wants, effective, save_wants
from angelia.flow.wishes import Week
from angelia.model.errors import InvalidInput, NotFound
from angelia.model.message import checked_type
from angelia.model.moments import to_text
from angelia.model.person import Person
from angelia.model.preference import Mute
from angelia.planning import editing
from angelia.planning.document import parse_wants
from angelia.planning.naming import check_names
from angelia.planning.rules import MAX_RULES
from angelia.web.access import House, Reading, Writing
from angelia.web.context import Context

router = APIRouter(prefix="/api/v1/people/{login}", tags=["person"])
Body = dict[str, Any]


def version_of(etag: str | None) -> int | None:
    """The version that an If-Match header asks for; None for any."""
    if etag is None or etag == "*":
        return None
    text = etag.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidInput("If-Match holds the ETag that the preferences came with", "if-match")
    return int(text)


@router.get("/preferences")
async def preferences(person: Reading, house: House, response: Response) -> Body:
    """Her whole document; its version is the ETag."""
    document, version = await house.store.wants(person.login)
    response.headers["ETag"] = f'"{version}"'
    return dict(document)


@router.put("/preferences")
async def put_preferences(
    document: Body, person: Writing, house: House, response: Response, if_match: Annotated[str | None, Header()] = None
) -> Body:
    """Replace it; with If-Match only if nobody else did meanwhile."""
    version = await save_wants(house.store, person.login, document, version_of(if_match), house.site(), house.now())
    house.changed("people")
    response.headers["ETag"] = f'"{version}"'
    return document


@router.post("/preferences/plan")
async def plan_preferences(document: Body, person: Reading, house: House, days: int = Query(30, ge=1, le=90)) -> Body:
    """What a document would change, and how many deliveries of the last days would have differed. Nothing is saved."""
    old, version = await house.store.wants(person.login)
    check_names(document, house.site().agents, old)
    history = await try_on_history(house.store, house.site(), person.login, document, house.now(), days)
    return {"version": version, "changes": editing.documents_differ(old, document), "history": history}


async def _change(house: Context, person: Person, change: Callable[[Body], None]) -> Body:
    version = await change_wants(house.store, person.login, change, house.site(), house.now())
    house.changed("people")
    return {"version": version}


@router.get("/rules")
async def rules(person: Reading, house: House) -> Body:
    """Her rules in order, each with its id."""
    document, _ = await house.store.wants(person.login)
    return {"items": with_ids(copy.deepcopy(dict(document)))}


def with_ids(document: Body) -> list[Body]:
    """The rules of a document that is going to change, each with its id. What an older version stored in another shape stays in it, wrapped."""
    rules = document.get("rules", [])
    rules = document["rules"] = rules if isinstance(rules, list) else [rules]
    for index, rule in enumerate(rules):
        if not isinstance(rule, dict):
            rules[index] = rule = {"unreadable": rule}
        if not isinstance(rule.get("id"), str):
            rule["id"] = str(index + 1)
    return rules


@router.post("/rules", status_code=201)
async def add_rule(rule: Body, person: Writing, house: House, position: int | None = Query(None, ge=1, le=MAX_RULES)) -> Body:
    """A new rule, last or at a position (from 1)."""
    made = {"id": secrets.token_hex(4)} | copy.deepcopy(rule)

    def change(document: Body) -> None:
        rules = with_ids(document)
        rules.insert(len(rules) if position is None else position - 1, made)

    return await _change(house, person, change) | {"id": made["id"]}


@router.put("/rules/{rule_id}")
async def put_rule(rule_id: str, rule: Body, person: Writing, house: House) -> Body:
    """Replace a rule where it stands."""

    def change(document: Body) -> None:
        rules = with_ids(document)
        rules[place_of(rules, rule_id)] = rule | {"id": rule_id}

    return await _change(house, person, change)


@router.delete("/rules/{rule_id}", status_code=204)
async def delete_rule(rule_id: str, person: Writing, house: House) -> None:
    """Remove a rule; what it brought stays in the inbox."""

    def change(document: Body) -> None:
        rules = with_ids(document)
        del rules[place_of(rules, rule_id)]

    await _change(house, person, change)


def place_of(rules: list[Body], rule_id: str) -> int:
    """Where a rule stands, from 0; NotFound if nowhere."""
    for index, rule in enumerate(rules):
        if rule.get("id") == rule_id:
            return index
    raise NotFound("there is no such rule")


async def _preset(house: Context, preset_id: str) -> Body:
    site, _ = await house.store.site()
    presets: Any = site.get("presets", {})
    if preset_id not in presets:
        raise NotFound("there is no such preset")
    return dict(presets[preset_id])


@router.put("/presets/{preset_id}")
async def tick_preset(preset_id: str, person: Writing, house: House, agent: str = "mail", when: str = "now") -> Body:
    """Tick a ready-made rule: she gets a copy with its origin."""
    preset = await _preset(house, preset_id)
    do = preset.get("rule", {}).get("do") or {agent: when}
    return await _change(house, person, lambda document: editing.tick_preset(document, preset_id, preset, do))


@router.put("/presets/{preset_id}/agents/{agent}")
async def put_preset_agent(preset_id: str, agent: str, person: Writing, house: House, when: str = "") -> Body:
    """What a ready-made rule does by one agent: off, now or a schedule; "" leaves it out. A rule that then says nothing goes."""
    preset = await _preset(house, preset_id)
    return await _change(house, person, lambda document: editing.put_preset_cell(document, preset_id, preset, agent, when))


@router.delete("/presets/{preset_id}", status_code=204)
async def untick_preset(preset_id: str, person: Writing, house: House) -> None:
    """Un-tick it: its rule goes, and nothing else (case B14)."""
    await _change(house, person, lambda document: editing.untick_preset(document, preset_id))


@router.put("/follows")
async def follow(object: str, person: Writing, house: House) -> Body:
    """Follow an object."""

    def change(document: Body) -> None:
        document["follows"] = sorted({*document.get("follows", []), object})

    return await _change(house, person, change)


@router.delete("/follows", status_code=204)
async def unfollow(object: str, person: Writing, house: House) -> None:
    """Follow it no more."""

    def change(document: Body) -> None:
        document["follows"] = [ref for ref in document.get("follows", []) if ref != object]

    await _change(house, person, change)


def mute_of(document: Mapping[str, Any], object_ref: str, now: datetime) -> Mute | None:
    """Whether she has muted just this object, and it is not over."""
    muted = parse_wants({"mutes": document.get("mutes", {})}).mutes.get(object_ref)
    return muted if muted is not None and muted.holds_at(now) else None


@router.put("/mutes")
async def mute(object: str, person: Writing, house: House, level: str = "normal", until: str = "") -> Body:
    """Mute an object (normal: what names her comes through; full: nothing but what is locked), for good or `until` a time with its zone."""

    def change(document: Body) -> None:
        document.setdefault("mutes", {})[object] = {"level": level, "until": until} if until else level

    return await _change(house, person, change)


@router.delete("/mutes", status_code=204)
async def unmute(object: str, person: Writing, house: House) -> None:
    """Hear of it again."""

    def change(document: Body) -> None:
        document.get("mutes", {}).pop(object, None)

    await _change(house, person, change)


@router.put("/hold")
async def hold(settled: Body, person: Writing, house: House) -> Body:
    """Away until then: {until, policy, pass_from}."""

    def change(document: Body) -> None:
        document["hold"] = settled

    return await _change(house, person, change)


@router.delete("/hold", status_code=204)
async def end_hold(person: Writing, house: House) -> None:
    """Back."""

    def change(document: Body) -> None:
        document.pop("hold", None)

    await _change(house, person, change)


@router.get("/types")
async def active_types(person: Reading, house: House) -> Body:
    """Every type of which she ever was a candidate, with how it is treated and where that comes from (requirement H-40)."""
    (row,) = await house.store.profiles([person.person_id])
    site = house.site()
    profile = profile_of(row, site)
    week = await Week.of(house.store, profile, house.now())
    return {
        "items": [
            {
                "key": key,
                "first_seen_at": to_text(first),
                "last_seen_at": to_text(last),
                "messages": count,
                "messages_of_last_week": week.by_type.get(key, 0),
                "effective": effective(profile, site, key),
            }
            for key, first, last, count in await house.store.user_types(person.person_id)
        ]
    }


@router.get("/effective")
async def effective_treatment(type: str, person: Reading, house: House) -> Body:
    """How a type is treated, per agent, and where that comes from."""
    (row,) = await house.store.profiles([person.person_id])
    site = house.site()
    return {"type": checked_type(type), "effective": effective(profile_of(row, site), site, checked_type(type))}
