"""One click ends one thing, and another takes that back: signed links that need no login (RFC 8058), and what they do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from angelia.flow.profiles import profile_of
from angelia.flow.wants import change_wants
from angelia.model.delivery import Delivery, Reason
from angelia.model.errors import NotFound
from angelia.model.message import Message
from angelia.model.preference import NOW, OFF, Rule, Site
from angelia.model.signed import MOST, sign, unsign
from angelia.planning.editing import put_statements, statements_of
from angelia.planning.estimate import roles_in
from angelia.planning.matching import deciding
from angelia.planning.rules import mark_of, rules_of
from angelia.store import LedgerRow, Store

DIGEST = "digest"
NUMBERED = "numbered"
KINDS = frozenset({"type", "rule", NUMBERED, "object", DIGEST})
_Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Target:
    """What a link ends: for one person by one agent, a type with all below it, a rule, an object, or all that is in a digest (by its id).

    A rule that has only a number is known by that and its mark, `2~0c1d..`: the number is its place, and she may put it at another.
    """

    person_id: int
    agent: str
    kind: str
    value: str

    @property
    def name(self) -> str:
        """What she is told that it is."""
        return self.value.partition("~")[0] if self.kind == NUMBERED else self.value


class NoSuchRule(NotFound):
    """A rule without an id was meant, and which of hers it is can't be told any more."""


def ended_by(delivery: Delivery, message: Message, row: LedgerRow | None, rules: Sequence[Rule]) -> Target:
    """What one click in a letter ends: the rule that decided, else this type by this agent. `rules` are hers as they are now."""
    said, _, rule_id = decided_by(row, delivery.agent).partition(":")
    if said == "rule" and not rule_id.isdecimal():
        return Target(delivery.person_id, delivery.agent, "rule", rule_id)
    if said == "rule":
        # It may be the place where the rule stood when it decided, and by now another stands there. What would bring such a message again ends.
        roles = roles_in(row.because if row is not None else ())
        rule = deciding(rules, message, roles, delivery.agent)
        if rule is not None:
            return _of_rule(delivery.person_id, delivery.agent, rule)
    return Target(delivery.person_id, delivery.agent, "type", message.type)


def _of_rule(person_id: int, agent: str, rule: Rule) -> Target:
    if rule.is_numbered:
        return Target(person_id, agent, NUMBERED, f"{rule.rule_id}~{mark_of(rule)}")
    return Target(person_id, agent, "rule", rule.rule_id)


async def rules_now(store: Store, person_id: int) -> tuple[Rule, ...]:
    """Her rules; none where nobody is there any more."""
    return next((profile_of(row, Site()).wants.rules for row in await store.profiles([person_id])), ())


def ended_by_digest(delivery: Delivery) -> Target:
    """What one click in a digest ends: what a click in each letter of those that it stands for would."""
    return Target(delivery.person_id, delivery.agent, DIGEST, str(delivery.digest_id or 0))


def decided_by(row: LedgerRow | None, agent: str) -> str:
    """Which rule or scope sent it by this agent; "" where that is not known."""
    return next((decision.decided_by for decision in row.decisions if decision.agent == agent), "") if row is not None else ""


async def parts_of(store: Store, target: Target) -> list[Target]:
    """What it ends, one by one. NotFound for a digest that is not kept any more, NoSuchRule where it can't be told which rule it is."""
    rules = await rules_now(store, target.person_id)
    if target.kind != DIGEST:
        return [_now(target, rules)]
    items = [item for item in await store.digest_items(int(target.value)) if item.person_id == target.person_id and item.message_id is not None]
    messages = await store.messages([item.message_id for item in items if item.message_id is not None])
    rows = await store.ledger_of([(message_id, target.person_id) for message_id in messages])
    parts = {
        ended_by(item, messages[item.message_id], rows.get((item.message_id, target.person_id)), rules)
        for item in items
        if item.message_id is not None and item.message_id in messages
    }
    if not parts:
        raise NotFound("what this digest held is not kept any more")
    return sorted(parts, key=lambda part: (part.kind, part.value))


def _now(target: Target, rules: Sequence[Rule]) -> Target:
    """The same, with the place at which its rule stands now, or the id that it has got since."""
    if target.kind == NUMBERED:
        found = _where(target, rules)
        if found is None:
            raise NoSuchRule("there is no such rule")
        return _of_rule(target.person_id, target.agent, rules[found])
    if target.kind == "rule" and target.value.isdecimal() and _may_be_place(target.value, rules):
        raise NoSuchRule("there is no such rule")
    return target


def _may_be_place(number: str, rules: Sequence[Rule]) -> bool:
    """In a link of those that knew no mark: no rule has it for its id, and some have none."""
    return any(rule.is_numbered for rule in rules) and all(rule.is_numbered or rule.rule_id != number for rule in rules)


def _where(target: Target, rules: Sequence[Rule]) -> int | None:
    """Where a rule without an id stands, from 0: where it stood if it is still there, else the first that speaks of the same."""
    number, _, mark = target.value.partition("~")
    found = [place for place, rule in enumerate(rules) if target.agent in rule.statements and mark_of(rule) == mark]
    return int(number) - 1 if int(number) - 1 in found else next(iter(found), None)


@lru_cache(maxsize=5_000)
def make_token(secret: bytes, person_id: int, agent: str, kind: str, value: str) -> str:
    """A signed token for a URL; it holds no secret and never expires, since mails are read late: so it is the same in many letters."""
    return sign(secret, "unsubscribe", [person_id, agent, kind, value])


def read_token(secret: bytes, token: str) -> Target | None:
    """What a token says, or None if it is not ours."""
    match unsign(secret, "unsubscribe", token):
        case [int(person_id), str(agent), str(kind), str(value)] if kind in KINDS:
            return Target(person_id, agent, kind, value)
    return None


def make_undo(secret: bytes, target: Target, before: object) -> str:
    """A signed token that takes an end back: it knows what stood there before. "" where that is too much for a link."""
    token = sign(secret, "subscribe-again", [target.person_id, target.agent, target.kind, target.value, before])
    return token if len(token) <= MOST else ""


def read_undo(secret: bytes, token: str) -> tuple[Target, object] | None:
    """What a token takes back, and what stood there before; None if it is not ours."""
    match unsign(secret, "subscribe-again", token):
        case [int(person_id), str(agent), str(kind), str(value), before] if kind in KINDS:
            return Target(person_id, agent, kind, value), before
    return None


async def unsubscribe(store: Store, target: Target, site: Site, now: datetime) -> object:
    """Do it; what waits for her by this agent goes with it. Harmless when repeated. Returns what stood there before, for `subscribe_again`."""
    login, parts = await _login(store, target), await parts_of(store, target)
    before: list[object] = []

    def change(document: _Document) -> None:
        before[:] = [_ENDS[part.kind](document, part) for part in parts]

    await change_wants(store, login, change, _with(site, target.agent), now)
    for part in parts:
        if part.kind == "type":
            await store.cancel_waiting(part.person_id, agent=part.agent, subtree=part.value, reason=Reason.UNSUBSCRIBED, now=now)
    if target.kind != DIGEST:
        return before[0]
    return [[part.kind, part.value, was] for part, was in zip(parts, before, strict=True)]


async def subscribe_again(store: Store, target: Target, before: object, site: Site, now: datetime) -> None:
    """As it was before; what did not go meanwhile is not sent later."""
    entries = before if target.kind == DIGEST and isinstance(before, list) else [[target.kind, target.value, before]]
    rules = await rules_now(store, target.person_id)
    parts = [(_now(Target(target.person_id, target.agent, str(kind), str(value)), rules), was) for kind, value, was in entries]

    def change(document: _Document) -> None:
        for part, was in reversed(parts):  # an end may have stood above another
            _UNDOES[part.kind](document, part, was)

    await change_wants(store, await _login(store, target), change, _with(site, target.agent), now)


def _with(site: Site, agent: str) -> Site:
    """A letter outlives the agent that brought it: its link works all the same."""
    return replace(site, agents=site.agents | {agent})


async def _login(store: Store, target: Target) -> str:
    profiles = await store.profiles([target.person_id])
    if not profiles:
        raise NotFound("this link belongs to nobody any more")
    return profiles[0].person.login


def _end_type(document: _Document, target: Target) -> object:
    """All that she says of this agent for the type, for single addresses of hers, too."""
    statements = dict(statements_of(document, target.value))
    before = {name: statements.pop(name) for name in list(statements) if _agent(name) == target.agent}
    put_statements(document, target.value, statements | {target.agent: OFF})
    return None if all(wish == OFF for wish in before.values()) else before  # the second click undoes what the first did, too


def _begin_type(document: _Document, target: Target, before: object) -> None:
    statements = {name: wish for name, wish in statements_of(document, target.value).items() if name != target.agent}
    if isinstance(before, dict):
        statements |= before
    put_statements(document, target.value, statements)


def _end_rule(document: _Document, target: Target) -> object:
    rule = _rule(document, target)
    before: dict[str, object] = dict(rule.get("do", {}))
    if before:
        rule["do"] = {name: OFF if _agent(name) == target.agent else wish for name, wish in before.items()}
    return {name: NOW if wish == OFF else wish for name, wish in before.items() if _agent(name) == target.agent}


def _begin_rule(document: _Document, target: Target, before: object) -> None:
    rule = _rule(document, target)
    if rule and isinstance(before, dict):
        rule["do"] = dict(rule.get("do", {})) | before


def _rule(document: _Document, target: Target) -> dict[str, dict[str, object]]:
    """The rule itself; an empty one where it is gone."""
    rules = document.get("rules", [])
    assert isinstance(rules, list)
    if target.kind == NUMBERED:
        found = _where(target, rules_of(rules, "rules", None))
        return {} if found is None else rules[found]
    return next((rule for rule in rules if rule.get("id") == target.value), {})


def _agent(name: str) -> str:
    return name.partition(":")[0]


def _end_object(document: _Document, target: Target) -> object:
    before = _table(document, "mutes").get(target.value)
    if before not in ("normal", "full"):  # not muted, or for a time only
        _table(document, "mutes")[target.value] = "normal"
    return None if before == "normal" else before


def _begin_object(document: _Document, target: Target, before: object) -> None:
    if before is None:
        _table(document, "mutes").pop(target.value, None)
    elif before != "full":
        _table(document, "mutes")[target.value] = before


_ENDS: dict[str, Callable[[_Document, Target], object]] = {"type": _end_type, "rule": _end_rule, NUMBERED: _end_rule, "object": _end_object}
_UNDOES: dict[str, Callable[[_Document, Target, object], None]] = {
    "type": _begin_type,
    "rule": _begin_rule,
    NUMBERED: _begin_rule,
    "object": _begin_object,
}


def _table(document: _Document, key: str) -> _Document:
    inner = document.setdefault(key, {})
    assert isinstance(inner, dict)
    return inner
