"""Rules: the ordered list, the editor with its live preview, and what each rule matched."""

import copy
import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from angelia.model.errors import InvalidInput, NotFound
from angelia.model.message import Message
from angelia.model.moments import number_of
from angelia.model.person import AddressState
from angelia.planning.estimate import roles_in
from angelia.planning.rules import parse_rule
from angelia.planning.sentence import Sentence, sentence_of
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.messages import visible
from angelia.web.pages.kit import page
from angelia.web.pages.rule_form import Fault, RuleFields, fault_of, fields_of_form, fields_of_message, fields_of_rule, targets_for
from angelia.web.rules import (
    REMEMBERED,
    RuleOrder,
    RuleTrial,
    clean_rules,
    hits_of,
    names_of_schedules,
    order_rules,
    preview_rule,
    readable_rules,
    rule_matches,
)
from angelia.web.signin.guard import Visiting, Visitor
from angelia.web.wants import add_rule, delete_rule, place_of, put_rule, with_ids

router = APIRouter(include_in_schema=False)
Body = dict[str, Any]
_LEARNED_FROM = 500
_MOST_VALUES = 12


async def typed(request: Request) -> FormData:
    """The form as it was sent."""
    return await request.form()


async def _stored(house: Context, visitor: Visitor) -> Body:
    document, _ = await house.store.wants(visitor.person.login)
    return copy.deepcopy(dict(document))


@router.get("/rules")
async def rules(request: Request, visitor: Visiting, house: House) -> Response:
    """The list, first match first."""
    return await _list(request, visitor, house)


async def _list(request: Request, visitor: Visitor, house: Context, **values: Any) -> Response:
    document = await _stored(house, visitor)
    readable, faults = readable_rules(house, document)
    hits = await hits_of(house, visitor.person, readable)
    parsed = {rule.rule_id: rule for rule in readable}
    shown = [_shown(entry, parsed, faults, hits) for entry in with_ids(document)]
    shared = {"deleted": None, "labels": await _labels(house, visitor), "names": {rule.rule_id: rule.name or rule.rule_id for rule in readable}}
    return page(request, visitor, "rules.html", rules=shown, **(shared | values))


def _shown(entry: Body, parsed: Mapping[str, Any], faults: Mapping[str, InvalidInput], hits: Mapping[str, Body]) -> Body:
    """One rule for the list: its sentence and hits, or what is wrong with it."""
    rule_id = entry["id"]
    if rule_id in faults:
        fault = faults[rule_id]
        return {"id": rule_id, "fault": fault_of(fault), "text": json.dumps(entry, indent=2, ensure_ascii=False, default=str), "is_enabled": False}
    rule, hit = parsed[rule_id], hits[rule_id]
    return {
        "id": rule_id,
        "fault": None,
        "name": rule.name,
        "note": rule.note,
        "is_enabled": rule.is_enabled,
        "is_preset": rule.origin.startswith("preset:"),
        "sentence": sentence_of(rule),
        "hits": hit["hits"],
        "last_at": None if hit["last_at"] is None else datetime.fromisoformat(hit["last_at"]),
        "reach": hit["reach"],
        "is_never_reached": hit["reach"]["matched"] > 0 and hit["reach"]["reached"] == 0,
    }


async def _labels(house: Context, visitor: Visitor) -> dict[str, str]:
    """What types are called in her language, as far as an operator has said so."""
    wanted = (visitor.person.language, visitor.person.language.partition("-")[0], "en")
    found = {}
    for entry in await house.store.types(is_curated=True):
        label = next((entry.labels[language] for language in wanted if language in entry.labels), "")
        if label:
            found[entry.key] = label
    return found


def _back(visitor: Visitor) -> Response:
    return RedirectResponse(visitor.at("/rules"), 303)


async def _changed(request: Request, visitor: Visitor, house: Context) -> Response:
    """The list anew where only a part was asked for, else back to it."""
    return await _list(request, visitor, house) if "hx-request" in request.headers else _back(visitor)


@router.post("/rules/order")
async def order(request: Request, visitor: Visiting, house: House, order: Annotated[str, Form()]) -> Response:
    """The order after a drag: the ids as a JSON list."""
    try:
        ids = json.loads(order)
        form = RuleOrder(ids=ids)
    except ValueError:
        raise InvalidInput("the order is a list of the ids of your rules", "order") from None
    await order_rules(form, visitor.person, house)
    return await _changed(request, visitor, house)


@router.post("/rules/restore")
async def restore(request: Request, visitor: Visiting, house: House, rule: Annotated[str, Form()], position: Annotated[int, Form(ge=1)]) -> Response:
    """Undo a deletion: the rule comes back to where it stood."""
    try:
        made = json.loads(rule)
    except ValueError:
        raise InvalidInput("this is no rule", "rule") from None
    if not isinstance(made, dict):
        raise InvalidInput("this is no rule", "rule")
    await add_rule(made, visitor.person, house, position)
    return await _changed(request, visitor, house)


@router.post("/rules/clean")
async def clean(request: Request, visitor: Visiting, house: House) -> Response:
    """Delete the rules that can't be read."""
    await clean_rules(visitor.person, house)
    return await _changed(request, visitor, house)


@router.get("/rules/new")
async def new(request: Request, visitor: Visiting, house: House) -> Response:
    """The editor, empty, or filled from a message that she got (`from`)."""
    # What is in her inbox is for her alone to read.
    source = "" if visitor.is_for_another else request.query_params.get("from", "")
    message = await message_behind(house, visitor, source) if source else None
    fields = RuleFields() if message is None else fields_of_message(message)
    return await _editor(request, visitor, house, fields, origin=message)


async def message_behind(house: Context, visitor: Visitor, text: str) -> Message:
    """The message of one of her deliveries, or by its own id, if she may see it; else there is none."""
    key, delivery_id = number_of("msg", text), number_of("dlv", text)
    if delivery_id is not None:
        delivery = (await house.store.deliveries([delivery_id])).get(delivery_id)
        if delivery is not None and (delivery.person_id == visitor.person.person_id or visitor.caller.is_admin):
            key = delivery.message_id
    if key is None:
        raise NotFound("there is no such message")
    return await visible(house.store, key, visitor.caller)


@router.post("/rules/new")
async def make(request: Request, visitor: Visiting, house: House) -> Response:
    """Save a new rule; or one more row, or a preview, where a button says so."""
    form = await typed(request)
    fields = fields_of_form(form)
    if form.get("intent", "save") != "save":
        return await _editor(request, visitor, house, fields, is_previewed=form.get("intent") == "preview")
    try:
        rule = await _checked(house, visitor, fields)
        await add_rule(rule, visitor.person, house, 1 if fields.is_first else None)
    except InvalidInput as error:
        return await _editor(request, visitor, house, fields, fault=fault_of(error))
    return _back(visitor)


async def _checked(house: Context, visitor: Visitor, fields: RuleFields) -> Body:
    """The rule that the form makes; InvalidInput with the field of the form."""
    rule = fields.rule()
    parse_rule(rule, "", await _names(house, visitor), "rule")
    if not rule["do"]:
        raise InvalidInput("say for at least one way what shall happen", "do")
    return rule


async def _names(house: Context, visitor: Visitor) -> frozenset[str]:
    own = (await _stored(house, visitor)).get("schedules")
    return names_of_schedules(house, own if isinstance(own, Mapping) else {})


@router.post("/rules/preview")
async def preview(request: Request, visitor: Visiting, house: House) -> Response:
    """What the rule in the form would have changed: the panel beside the form."""
    form = await typed(request)
    values = await _preview(house, visitor, fields_of_form(form), str(form.get("rule_id", "")))
    status = 200 if values["fault"] is None else 422
    return page(request, visitor, "parts/rule-preview.html", status, **values)


async def _preview(house: Context, visitor: Visitor, fields: RuleFields, rule_id: str) -> Body:
    """All that the panel shows: sentence, counts, samples, known values; or the fault that stands in the way."""
    found: Body = {
        "fault": None,
        "trial": None,
        "is_idle": False,
        "sentence": None,
        "known": {},
        "labels": await _labels(house, visitor),
        "names": {},
    }
    try:
        rule = fields.rule()
        found["is_idle"] = not rule["do"]
        found["sentence"] = None if found["is_idle"] else _sentence(rule, await _names(house, visitor))
        form = RuleTrial(rule=rule, rule_id=rule_id, position=1 if fields.is_first else None)
        found["trial"] = await preview_rule(form, visitor.person, house)
        if visitor.is_for_another:
            found["trial"]["samples"] = []
    except InvalidInput as error:
        found["fault"] = fault_of(error)
    readable, _ = readable_rules(house, await _stored(house, visitor))
    found["names"] = {rule.rule_id: rule.name or rule.rule_id for rule in readable}
    return found


def _sentence(rule: Body, names: frozenset[str]) -> Sentence:
    return sentence_of(parse_rule(rule, "", names, "rule"))


@router.get("/rules/{rule_id}")
async def edit(request: Request, visitor: Visiting, house: House, rule_id: str) -> Response:
    """The editor of one rule; one that can't be read opens with what could be."""
    entry = await _entry(house, visitor, rule_id)
    _, faults = readable_rules(house, await _stored(house, visitor))
    fault = fault_of(faults[rule_id]) if rule_id in faults else None
    return await _editor(request, visitor, house, fields_of_rule(entry), rule_id, fault=fault, status=200)


async def _entry(house: Context, visitor: Visitor, rule_id: str) -> Body:
    rules = with_ids(await _stored(house, visitor))
    return rules[place_of(rules, rule_id)]


@router.post("/rules/{rule_id}")
async def save(request: Request, visitor: Visiting, house: House, rule_id: str) -> Response:
    """Save a rule where it stands; or one more row, or a preview, where a button says so."""
    await _entry(house, visitor, rule_id)
    form = await typed(request)
    fields = fields_of_form(form)
    if form.get("intent", "save") != "save":
        return await _editor(request, visitor, house, fields, rule_id, is_previewed=form.get("intent") == "preview")
    try:
        await put_rule(rule_id, await _checked(house, visitor, fields), visitor.person, house)
    except InvalidInput as error:
        return await _editor(request, visitor, house, fields, rule_id, fault=fault_of(error))
    return _back(visitor)


@router.post("/rules/{rule_id}/switch")
async def switch(request: Request, visitor: Visiting, house: House, rule_id: str, enabled: Annotated[bool, Form()]) -> Response:
    """On or off."""
    entry = await _entry(house, visitor, rule_id)
    await put_rule(rule_id, entry | {"enabled": enabled}, visitor.person, house)
    return await _changed(request, visitor, house)


@router.post("/rules/{rule_id}/move")
async def move(request: Request, visitor: Visiting, house: House, rule_id: str, by: Annotated[int, Form(ge=-1, le=1)]) -> Response:
    """One place up or down; at the ends nothing moves."""
    rules = with_ids(await _stored(house, visitor))
    ids = [rule["id"] for rule in rules]
    place = place_of(rules, rule_id)
    other = max(0, min(place + by, len(ids) - 1))
    ids[place], ids[other] = ids[other], ids[place]
    await order_rules(RuleOrder(ids=ids), visitor.person, house)
    return await _changed(request, visitor, house)


@router.post("/rules/{rule_id}/copy")
async def duplicate(visitor: Visiting, house: House, rule_id: str) -> Response:
    """The same once more below it, switched off, and open in the editor."""
    rules = with_ids(await _stored(house, visitor))
    place = place_of(rules, rule_id)
    made = {name: value for name, value in rules[place].items() if name not in ("id", "origin")} | {"enabled": False}
    answer = await add_rule(made, visitor.person, house, place + 2)
    return RedirectResponse(visitor.at(f"/rules/{answer['id']}"), 303)


@router.post("/rules/{rule_id}/delete")
async def delete(request: Request, visitor: Visiting, house: House, rule_id: str) -> Response:
    """Delete it. The answer is the list itself, for it holds the form that brings the rule back; sent again, it just goes back to the list."""
    rules = with_ids(await _stored(house, visitor))
    try:
        place = place_of(rules, rule_id)
    except NotFound:
        return _back(visitor)
    await delete_rule(rule_id, visitor.person, house)
    text = json.dumps(rules[place], ensure_ascii=False, default=str)
    return await _list(request, visitor, house, deleted={"name": str(rules[place].get("name", "")), "rule": text, "position": place + 1})


@router.get("/rules/{rule_id}/matches")
async def matches(request: Request, visitor: Visiting, house: House, rule_id: str, after: str = "") -> Response:
    """Messages for which this rule spoke."""
    found = await rule_matches(rule_id, visitor.person, house, after, 50)
    readable, _ = readable_rules(house, await _stored(house, visitor))
    rule = next((rule for rule in readable if rule.rule_id == rule_id), None)
    sentence = None if rule is None else sentence_of(rule)
    labels = await _labels(house, visitor)
    return page(
        request, visitor, "rule-matches.html", found=found, rule_id=rule_id, rule=rule, sentence=sentence, labels=labels, at=datetime.fromisoformat
    )


async def _editor(
    request: Request,
    visitor: Visitor,
    house: Context,
    fields: RuleFields,
    rule_id: str = "",
    *,
    fault: Fault | None = None,
    is_previewed: bool = False,
    origin: Message | None = None,
    status: int = 422,
) -> Response:
    own = await house.store.addresses(visitor.person.person_id)
    addresses: dict[str, list[str]] = {}
    for address in own:
        if address.state is AddressState.OK:
            addresses.setdefault(address.agent, []).append(address.value)
    learned = await _learned(house, visitor)
    targets = targets_for(sorted(house.agents, key=lambda name: (name != "web", name == "feed", name)), addresses, fields)
    reaching = {*house.site().pull, *addresses}
    values: Body = {
        "fields": fields.with_blank_rows(),
        "rule_id": rule_id,
        "fault": fault,
        "origin": origin,
        "targets": targets,
        "unused": {target for target in targets if target.partition(":")[0] not in reaching and target not in fields.wishes},
        "schedules": sorted(await _names(house, visitor) - {"off", "now"}),
        "panel": await _preview(house, visitor, fields, rule_id) if is_previewed else None,
        **learned,
    }
    return page(request, visitor, "rule.html", 200 if fault is None else status, **values)


async def _learned(house: Context, visitor: Visitor) -> Body:
    """What the form suggests: her active types, the roles and the parameters, tags and their values of her recent messages."""
    types = [key for key, *_ in await house.store.user_types(visitor.person.person_id)]
    # To somebody else nothing of what stands in her messages is shown.
    recent = [] if visitor.is_for_another else await house.store.history(visitor.person.person_id, house.now() - REMEMBERED, _LEARNED_FROM)
    known: dict[str, Counter[str]] = {}
    roles: set[str] = {role for audience in house.site().audience.values() for role in audience}
    for message, row in recent:
        roles |= roles_in(row.because)
        for name, value in _named_values(message):
            known.setdefault(name, Counter())[value] += 1
    values = {name: [value for value, _ in counts.most_common(_MOST_VALUES)] for name, counts in sorted(known.items())}
    return {"types": types, "roles": sorted(roles), "known": values, "labels": await _labels(house, visitor)}


def _named_values(message: Message) -> list[tuple[str, str]]:
    found = [(name, value) for name, entry in message.params.items() for value in ((entry,) if isinstance(entry, str) else entry)]
    found += [(f"tag.{name}", value) for name, value in message.tags]
    found += [("message.source", message.source), ("message.object", message.object), ("message.actor", message.actor)]
    return [(name, value) for name, value in found if value and len(value) <= 120]
