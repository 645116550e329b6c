"""Trying wants on what has come: what the last days would have been with another document, and which rules ever get a say."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from angelia.flow.planner import standing_of
from angelia.flow.profiles import group_agents, profile_of
from angelia.model.errors import NotFound
from angelia.model.message import Message
from angelia.model.moments import public_id
from angelia.model.preference import ConditionKind, Rule, Site, Wants
from angelia.planning.decision import Profile, Resolution, Standing, Verdict
from angelia.planning.document import parse_wants
from angelia.planning.estimate import roles_in
from angelia.planning.hygiene import Reach, reach_of, stopped_by
from angelia.planning.matching import may_match, rule_matches
from angelia.planning.resolve import resolve
from angelia.store import Document, Store

MOST_TRIED = 10_000
MOST_SAMPLES = 20
_PAGE = 500
_PAUSE = 100
"""Messages between two pauses: so long, some milliseconds, others wait for the event loop."""


async def recent(store: Store, profile: Profile, since: datetime, most: int = MOST_TRIED) -> AsyncIterator[tuple[Message, Standing]]:
    """The newest messages that she may see, with how she stands to each: roles as they were recorded, and as the store knows them today.

    Of `most` that are looked at, those that are restricted to others are left out: whatever is counted would tell of them.
    What a relation source outside says of objects for which she was no candidate is not asked again: that would take minutes.
    """
    person_id = profile.person.person_id
    today = await store.roles_of(person_id)
    own = await _group_agents(store, profile.groups)
    usual = Standing(group_agents=own)
    before_id: int | None = None
    done = 0
    while done < most:
        page = await store.recent(person_id, since, min(_PAGE, most - done), before_id)
        for message, because in page:
            roles = today.get(message.object, frozenset())
            if because:
                roles |= roles_in(because)
            standing = standing_of(message, profile, roles, own) if roles or message.is_restricted else usual
            if standing.has_access:
                yield message, standing
            done += 1
            if done % _PAUSE == 0:
                await asyncio.sleep(0)
        if len(page) < _PAGE:
            return
        before_id = page[-1][0].message_id


async def _group_agents(store: Store, groups: Collection[str]) -> Mapping[str, frozenset[str]]:
    """Those of her groups that have addresses of their own, as they stand today."""
    ids = await store.person_ids([f"group:{group}" for group in groups]) if groups else {}
    return group_agents(profile_of(row, Site()) for row in await store.profiles(ids.values())) if ids else {}


async def profile_in(store: Store, site: Site, login: str) -> Profile:
    """Hers, as the planner would have it now; NotFound for nobody."""
    person = await store.person(login)
    if person is None:
        raise NotFound(f"nobody has the login {login!r}")
    (row,) = await store.profiles([person.person_id])
    return profile_of(row, site)


async def try_on_history(
    store: Store, site: Site, login: str, document: Document, now: datetime, days: int = 30, probe: str = ""
) -> dict[str, object]:
    """What the last `days` would have been with this document: counts by agent and outcome, before and after, with samples.

    Shape: {days, messages, deliveries_that_differ, before, after: {"mail now": n}, agents: {agent: {before, after: {now, later, digested,
    digests}}}, samples: [{id, type, subject, before, after}]}. With `probe`, the id of a rule of the new document, also matches, how many
    messages that rule matches, stopped, for how many of them another ends the search before it; the samples are those that it matches, each with
    `stopped_by`. Tries up to 10,000 of the newest messages; relations are today's, mutes and holds as the document says.
    """
    wants = parse_wants(document, known_schedules=site.schedules)
    old = await profile_in(store, site, login)
    new = replace(old, wants=wants)
    trial = _Trial(old, new, site, next((rule for rule in wants.rules if probe and rule.rule_id == probe), None))
    async for message, standing in recent(store, old, now - timedelta(days=days)):
        trial.look(message, standing)
    return {"days": days, **trial.result()}


async def reach_on_history(store: Store, site: Site, login: str, rules: Sequence[Rule], since: datetime, most: int) -> dict[str, Reach]:
    """Which of these rules get a say, over the newest messages."""
    profile = await profile_in(store, site, login)
    seen = [(message, standing.roles) async for message, standing in recent(store, profile, since, most)]
    found = {rule.rule_id: Reach() for rule in rules}
    for start in range(0, len(seen), _PAUSE):
        for rule_id, reach in reach_of(rules, seen[start : start + _PAUSE]).items():
            found[rule_id].matched += reach.matched
            found[rule_id].reached += reach.reached
            found[rule_id].hidden_by += reach.hidden_by
        await asyncio.sleep(0)
    return found


_Outcomes = dict[str, tuple[str, str, datetime | None]]
_Speaking = list[tuple[Rule, list[tuple[str, str]]]]
"""Rules that may speak for one type, each with the values of its condition on a parameter, if it has one."""


@dataclass(slots=True)
class _Tally:
    """What came, by agent. Most messages come in one of a few ways, so ways are counted, and taken apart at the end."""

    ways: Counter[tuple[tuple[str, tuple[str, str, datetime | None]], ...]] = field(default_factory=Counter)

    def add(self, outcomes: _Outcomes) -> None:
        self.ways[tuple(outcomes.items())] += 1

    def counted(self) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
        """By label; and by agent: now, later, digested, digests."""
        labels: Counter[str] = Counter()
        agents: dict[str, Counter[str]] = {}
        slots = set()
        for outcomes, times in self.ways.items():
            for agent, (verdict, schedule, due_at) in outcomes:
                counts = agents.setdefault(agent, Counter(_NONE))
                labels[_label(agent, verdict, schedule)] += times
                counts["now" if verdict == Verdict.NOW else "digested" if schedule else "later"] += times
                if schedule and (slot := (agent, schedule, due_at)) not in slots:
                    slots.add(slot)
                    counts["digests"] += 1
        return dict(labels), {agent: dict(counts) for agent, counts in agents.items()}


class _Trial:
    """The old wants and the new ones, side by side over one message after the other."""

    def __init__(self, old: Profile, new: Profile, site: Site, probe: Rule | None) -> None:
        self._old, self._new, self._site = old, new, site
        self._probe = None if probe is None else replace(probe, is_enabled=True)
        self._changed = _changed_rules(old.wants, new.wants)
        self._literals = {pair for rule in (*old.wants.rules, *new.wants.rules) for pair in _literals(rule)}
        self._asked = frozenset(name for name, _ in self._literals)
        self._narrowed: dict[tuple[str, frozenset[tuple[str, str]]], tuple[Profile, Profile]] = {}
        self._speaking: dict[str, tuple[_Speaking, _Speaking]] = {}
        self._before, self._after = _Tally(), _Tally()
        self._samples: list[dict[str, object]] = []
        self._messages = self._differing = self._matches = self._stopped = 0

    def look(self, message: Message, standing: Standing) -> None:
        """One message: decided as of when it came."""
        self._messages += 1
        old, new = self._narrow(message)
        was = _outcomes(resolve(message, old, standing, self._site, message.received_at))
        will = was
        if self._may_differ(message, standing):
            will = _outcomes(resolve(message, new, standing, self._site, message.received_at))
        self._before.add(was)
        self._after.add(will)
        changed = 0 if was is will else sum(was.get(agent) != will.get(agent) for agent in was.keys() | will.keys())
        self._differing += changed
        if self._probe is None:
            if changed and len(self._samples) < MOST_SAMPLES:
                self._samples.append(_sample(message, was, will))
        elif old.person.is_active and rule_matches(self._probe, message, standing.roles):
            self._matches += 1
            end = stopped_by(new.wants.rules, self._probe.rule_id, message, standing.roles)
            self._stopped += end is not None
            if len(self._samples) < MOST_SAMPLES:
                self._samples.append(_sample(message, was, will) | {"stopped_by": "" if end is None else end.rule_id})

    def _narrow(self, message: Message) -> tuple[Profile, Profile]:
        """Both profiles with the rules that may speak and no others: many messages are alike in their type and in what rules ask of them."""
        key = message.type, frozenset(pair for name in self._asked for pair in _pairs(message, name) if pair in self._literals)
        if key not in self._narrowed:
            if len(self._narrowed) == _MOST_NARROWED:
                self._narrowed.clear()
            old, new = self._of_type(message.type)
            self._narrowed[key] = _narrowed(self._old, old, key[1]), _narrowed(self._new, new, key[1])
        return self._narrowed[key]

    def _of_type(self, key: str) -> tuple[_Speaking, _Speaking]:
        if key not in self._speaking:
            self._speaking[key] = _speaking(self._old.wants.rules, key), _speaking(self._new.wants.rules, key)
        return self._speaking[key]

    def _may_differ(self, message: Message, standing: Standing) -> bool:
        """Where only rules were changed, what none of those speaks for stays as it was: most messages, and half of the work."""
        if self._changed is None:
            return True
        return any(rule_matches(rule, message, standing.roles) for rule in self._changed)

    def result(self) -> dict[str, object]:
        """All that was counted."""
        (before, agents_before), (after, agents_after) = self._before.counted(), self._after.counted()
        agents = {
            agent: {"before": agents_before.get(agent, dict(_NONE)), "after": agents_after.get(agent, dict(_NONE))}
            for agent in sorted(agents_before.keys() | agents_after.keys())
        }
        probed = {} if self._probe is None else {"matches": self._matches, "stopped": self._stopped}
        return {
            "messages": self._messages,
            "deliveries_that_differ": self._differing,
            "before": before,
            "after": after,
            "agents": agents,
            **probed,
            "samples": self._samples,
        }


_NONE: Mapping[str, int] = {"now": 0, "later": 0, "digested": 0, "digests": 0}


_MOST_NARROWED = 2_000


def _literals(rule: Rule) -> list[tuple[str, str]]:
    """The values of one condition on a parameter, one of which a message must have; empty where there is no such condition."""
    for condition in rule.when:
        if condition.kind is ConditionKind.ONEOF and not condition.name.startswith(("tag.", "message.")):
            return [(condition.name, value) for value in condition.values]
    return []


def _pairs(message: Message, name: str) -> Iterable[tuple[str, str]]:
    found = message.params.get(name, ())
    return ((name, found),) if isinstance(found, str) else [(name, value) for value in found]


def _speaking(rules: Iterable[Rule], key: str) -> _Speaking:
    return [(rule, _literals(rule)) for rule in rules if may_match(rule, key)]


def _narrowed(profile: Profile, rules: _Speaking, pairs: frozenset[tuple[str, str]]) -> Profile:
    kept = tuple(rule for rule, literals in rules if not literals or not pairs.isdisjoint(literals))
    return replace(profile, wants=replace(profile.wants, rules=kept))


def _changed_rules(old: Wants, new: Wants) -> tuple[Rule, ...] | None:
    """The rules that stand in one of the two only; None where more than that differs, their order among it."""
    if replace(old, rules=()) != replace(new, rules=()):
        return None
    before, after = set(map(repr, old.rules)), set(map(repr, new.rules))
    kept = [rule for rule in old.rules if repr(rule) in after]
    if kept != [rule for rule in new.rules if repr(rule) in before]:
        return None
    return tuple(rule for rule in (*old.rules, *new.rules) if repr(rule) not in before & after)


def _outcomes(resolution: Resolution | None) -> _Outcomes:
    decisions = resolution.decisions if resolution is not None else ()
    return {d.agent: (d.verdict.value, d.schedule, d.due_at) for d in decisions if d.verdict.is_delivery}


def _label(agent: str, verdict: str, schedule: str) -> str:
    return f"{agent} {schedule or verdict}"


def _labels(outcomes: _Outcomes) -> list[str]:
    return [_label(agent, verdict, schedule) for agent, (verdict, schedule, _) in outcomes.items()]


def _sample(message: Message, was: _Outcomes, will: _Outcomes) -> dict[str, object]:
    return {
        "id": public_id("msg", message.message_id),
        "type": message.type,
        "subject": message.subject,
        "before": _labels(was),
        "after": _labels(will),
    }
