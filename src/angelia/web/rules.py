"""More about one's rules: their order, how often each spoke, what one would do, what one did; and all that was decided for her."""

import copy
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from angelia.flow.explain import by_agent
from angelia.flow.history import reach_on_history, try_on_history
from angelia.flow.rights import is_open_to
from angelia.flow.wants import change_wants
from angelia.model.errors import InvalidInput
from angelia.model.message import Message
from angelia.model.moments import public_id, to_text
from angelia.model.person import Person
from angelia.model.preference import Rule
from angelia.planning.rules import MAX_RULES, parse_rule
from angelia.store import LedgerRow
from angelia.web.access import House, Looking, Reading, Writing
from angelia.web.context import Context
from angelia.web.forms import Limit, Strict, Word, number
from angelia.web.paging import PagedRoute
from angelia.web.shapes import message_out
from angelia.web.wants import place_of, with_ids

router = APIRouter(prefix="/api/v1/people/{login}", tags=["person"], route_class=PagedRoute)
Body = dict[str, Any]

WEEK = timedelta(days=7)
REMEMBERED = timedelta(days=90)
"""How far back it is looked when a rule last spoke, and what was decided."""
MOST_COUNTED = 20_000
LOOKED_AT = 500
"""Messages over which it is checked which rules are ever reached."""
TRIED = "tried"
"""The id of a rule that is tried before it has one."""


class RuleOrder(Strict):
    """All her rules by id, in the order that they shall have."""

    ids: Annotated[list[Word], Field(max_length=MAX_RULES)]


class RuleTrial(Strict):
    """A rule to be tried: in the place of the one with `rule_id`, else as a new one, last or at a position (from 1)."""

    rule: Body
    rule_id: Annotated[str, Field(max_length=1_024)] = ""
    position: Annotated[int, Field(ge=1, le=MAX_RULES)] | None = None
    days: Annotated[int, Field(ge=1, le=90)] = 30


@router.post("/rules/order")
async def order_rules(form: RuleOrder, person: Writing, house: House) -> Body:
    """Put her rules into an order; every one of them is named once."""

    def change(document: Body) -> None:
        rules = with_ids(document)
        known = {rule["id"]: rule for rule in rules}
        if sorted(form.ids) != sorted(rule["id"] for rule in rules):
            raise InvalidInput("the order names each of your rules once; they have changed meanwhile, so look again", "ids")
        rules[:] = [known[rule_id] for rule_id in form.ids]

    version = await change_wants(house.store, person.login, change, house.site(), house.now())
    house.changed("people")
    return {"version": version}


@router.post("/rules/clean")
async def clean_rules(person: Writing, house: House) -> Body:
    """Delete the rules that can't be read (from a document of an older version): as long as one is there, none of her wishes count."""
    removed: list[str] = []

    def change(document: Body) -> None:
        _, faults = readable_rules(house, document)
        rules = with_ids(document)
        removed[:] = [rule["id"] for rule in rules if rule["id"] in faults]
        rules[:] = [rule for rule in rules if rule["id"] not in faults]

    version = await change_wants(house.store, person.login, change, house.site(), house.now())
    house.changed("people")
    return {"version": version, "deleted": removed}


@router.post("/rules/preview")
async def preview_rule(form: RuleTrial, person: Looking, house: House) -> Body:
    """What a rule would have changed in the last days, and which messages it matches (requirement: try before you save). Nothing is saved.

    Answers as `preferences/plan` does in its `history`, with `matches`, `stopped` (another rule ends the search before), and samples that match.
    """
    rule_id = form.rule_id or TRIED
    rule = copy.deepcopy(form.rule) | {"id": rule_id}
    names = names_of_schedules(house, await _schedules(house, person))
    parse_rule(rule, "rule", names, rule_id)
    stored, _ = await house.store.wants(person.login)
    document = copy.deepcopy(dict(stored))
    rules = with_ids(document)
    if form.rule_id:
        rules[place_of(rules, rule_id)] = rule
    else:
        rules.insert(len(rules) if form.position is None else form.position - 1, rule)
    return await try_on_history(house.store, house.site(), person.login, document, house.now(), form.days, rule_id)


async def _schedules(house: Context, person: Person) -> Mapping[str, object]:
    document, _ = await house.store.wants(person.login)
    found = document.get("schedules", {})
    return found if isinstance(found, Mapping) else {}


def names_of_schedules(house: Context, own: Mapping[str, object]) -> frozenset[str]:
    """All that a rule may say of when: off, now, the site's schedules, her own."""
    return frozenset({"off", "now", *house.site().schedules, *own})


@router.get("/rules/hits")
async def rule_hits(person: Reading, house: House) -> Body:
    """How often each rule spoke in the last 7 days, when it last did (within 90 days), and whether it is ever reached.

    `reach` is over the newest messages: how many it matches, how many it gets to see, and which rules end the search before it.
    """
    document, _ = await house.store.wants(person.login)
    rules, _ = readable_rules(house, document)
    return {"days": WEEK.days, "items": await hits_of(house, person, rules)}


async def hits_of(house: Context, person: Person, rules: list[Rule]) -> dict[str, Body]:
    """By rule id: hits, last_at, reach."""
    now = house.now()
    hits = await house.store.rule_hits(person.person_id, now - REMEMBERED, now - WEEK, MOST_COUNTED)
    reach = await reach_on_history(house.store, house.site(), person.login, rules, now - REMEMBERED, LOOKED_AT) if rules else {}
    found: dict[str, Body] = {}
    for rule in rules:
        hit, seen = hits.get(rule.rule_id), reach[rule.rule_id]
        found[rule.rule_id] = {
            "hits": 0 if hit is None else hit.count,
            "last_at": None if hit is None else to_text(hit.last_at),
            "reach": {"matched": seen.matched, "reached": seen.reached, "hidden_by": dict(seen.hidden_by)},
        }
    return found


def readable_rules(house: Context, document: Mapping[str, Any]) -> tuple[list[Rule], dict[str, InvalidInput]]:
    """The rules of a document that can be read, and by id what is wrong with the others (a document of an older version)."""
    own = document.get("schedules")
    names = names_of_schedules(house, own if isinstance(own, Mapping) else {})
    rules: list[Rule] = []
    faults: dict[str, InvalidInput] = {}
    for entry in with_ids(copy.deepcopy(dict(document))):
        try:
            rules.append(parse_rule(entry, "", names, entry["id"]))
        except InvalidInput as error:
            faults[entry["id"]] = error
    return rules, faults


@router.get("/rules/{rule_id}/matches")
async def rule_matches(rule_id: str, person: Looking, house: House, after: str = "", limit: Limit = 100) -> Body:
    """Messages for which this rule spoke, newest first, from the last 90 days. `after` is the last id of the page before."""
    document, _ = await house.store.wants(person.login)
    place_of(with_ids(copy.deepcopy(dict(document))), rule_id)
    return await _decisions(house, person, after, limit, rule_id=rule_id)


@router.get("/decisions")
async def decisions(
    person: Looking, house: House, type: str = "", text: str = Query("", max_length=200), delivered: str = "", after: str = "", limit: Limit = 100
) -> Body:
    """What was decided for her in the last 90 days, newest first: every message of which she was a candidate, delivered or not.

    `delivered` is yes, no, or empty for both; `type` a subtree; `text` is looked for in subject, body and object. At most 2,000 are looked at a
    call: `next` goes on from there.
    """
    if delivered not in ("", "yes", "no"):
        raise InvalidInput("delivered is yes, no or empty", "delivered")
    return await _decisions(house, person, after, limit, subtree=type.lower(), text=text, delivered=delivered)


_MOST_SCANNED = 2_000
_PAGE = 250


async def _decisions(
    house: Context, person: Person, after: str, limit: int, *, subtree: str = "", rule_id: str = "", text: str = "", delivered: str = ""
) -> Body:
    before_id = number("msg", after, "after") if after else None
    since = house.now() - REMEMBERED
    names = await house.store.names_of(person.person_id)
    items: list[Body] = []
    for _ in range(0, _MOST_SCANNED, _PAGE):
        page = await house.store.history(person.person_id, since, _PAGE, subtree=subtree, rule_id=rule_id, before_id=before_id)
        for message, row in page:
            before_id = message.message_id
            if is_open_to(message, names) and _fits(message, row, text.lower(), delivered):
                items.append(_item(message, row))
                if len(items) == limit:
                    return {"items": items, "next": public_id("msg", before_id)}
        if len(page) < _PAGE and not rule_id:
            return {"items": items, "next": None}
        if not page:
            return {"items": items, "next": None}
    return {"items": items, "next": None if before_id is None else public_id("msg", before_id)}


def _fits(message: Message, row: LedgerRow, text: str, delivered: str) -> bool:
    if delivered and any(decision.verdict.is_delivery for decision in row.decisions) != (delivered == "yes"):
        return False
    return not text or any(text in field.lower() for field in (message.subject, message.body, message.object))


def _item(message: Message, row: LedgerRow) -> Body:
    return {
        "message": message_out(message),
        "because": list(row.because),
        "agents": by_agent(row.decisions),
        "decided_at": to_text(row.decided_at),
    }
