"""What the planner knows of people between two reads: profiles, the site, and the index that finds whose rules may match."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from zoneinfo import ZoneInfo

from angelia import telemetry
from angelia.model.errors import InvalidInput
from angelia.model.message import Message
from angelia.model.person import Address, AddressState
from angelia.model.preference import ANY_TYPE, ConditionKind, Rule, Site, Wants
from angelia.planning.decision import Profile
from angelia.planning.defaults import Defaults, defaults_of
from angelia.planning.document import parse_site, parse_wants
from angelia.planning.expecting import Listeners
from angelia.planning.topic import PatternIndex
from angelia.store import ProfileRow, RuleRow, Store

MOST_KEPT = 50_000


class People:
    """Profiles by person id, kept until they change (promise P10: seen within seconds, here at each `refresh`)."""

    def __init__(
        self, store: Store, editing: frozenset[str] = frozenset(), interruptive: frozenset[str] = frozenset(), agents: frozenset[str] = frozenset()
    ) -> None:
        self._store = store
        self._interruptive = interruptive
        self._agents = agents
        self.editing = editing
        self._profiles: dict[int, tuple[Profile, tuple[Address, ...]]] = {}
        self._sequence = -1
        self._index = PatternIndex()
        self._rules: dict[int, list[RuleRow]] = {}
        self._site = Site()
        self._site_version = -1
        self._kinds: dict[tuple[object, ...], int] = {}
        self._newest_kind = 0
        self.defaults: Defaults = {}
        self.listeners = Listeners()
        """Who waits for which messages."""

    @property
    def site(self) -> Site:
        """The site's wants as of the last refresh."""
        return self._site

    async def refresh(self) -> None:
        """Forget who changed; read the site again if it did."""
        is_first, changed = self._sequence < 0, list[int]()
        version, sequence = await self._store.versions()
        if version != self._site_version:
            document, version = await self._store.site()
            site = replace(site_of(document, self._interruptive), editing=self.editing, agents=self._agents)
            if site.pull != self._site.pull:  # all that `profile_of` reads of it
                self._profiles.clear()
            self._site, self._site_version = site, version
        if not is_first and sequence != self._sequence:
            sequence, changed = await self._store.people_changed_since(self._sequence)
        self._sequence = sequence
        if is_first:
            async for rows in self._store.rule_rows():
                self._add_rules(rows)
            self.listeners = Listeners(await self._store.listening())
        elif changed:
            for person_id in changed:
                self._profiles.pop(person_id, None)
                for row in self._rules.pop(person_id, ()):
                    self._index.discard(row.pattern, _condition(row), person_id)
            async for rows in self._store.rule_rows(changed):
                self._add_rules(rows)
            # Few expect anything of messages; who changed may be one of them, or have come into a group, or left it.
            self.listeners = Listeners(await self._store.listening())

    async def refresh_types(self) -> None:
        """Read again what types say for messages that say nothing. Apart from `refresh`, which runs at every turn: there may be many types."""
        self.defaults = defaults_of(await self._store.types(is_curated=True))

    def _add_rules(self, rows: Iterable[RuleRow]) -> None:
        for row in rows:
            self._index.add(row.pattern, _condition(row), row.person_id)
            self._rules.setdefault(row.person_id, []).append(row)

    def with_rules_for(self, message: Message) -> set[int]:
        """Persons of whom a rule may match; `resolve` says whether it does."""
        return set(self._index.find(message.type, message.params))

    async def profiles(self, person_ids: Collection[int]) -> dict[int, tuple[Profile, tuple[Address, ...]]]:
        """Profiles with addresses of those who exist."""
        missing = [person_id for person_id in person_ids if person_id not in self._profiles]
        if missing and len(self._profiles) + len(missing) > MOST_KEPT:
            self._profiles.clear()
            missing = list(person_ids)
            self._kinds.clear()
        known = {person_id: self._profiles[person_id] for person_id in person_ids if person_id in self._profiles}
        if missing:
            as_of = self._sequence
            read = {}
            for row in await self._store.profiles(missing):
                profile = profile_of(row, self._site)
                read[row.person.person_id] = replace(profile, kind=self._kind(row, profile)), row.addresses
            # Who changed while she was read may have been forgotten before she was kept: then she would be kept as she was, for ever.
            if as_of == self._sequence:
                self._profiles |= read
            known = {person_id: found for person_id in person_ids if (found := read.get(person_id) or known.get(person_id)) is not None}
        return known

    def _kind(self, row: ProfileRow, profile: Profile) -> int:
        """The same number for those who want the same, follows aside; never one that others had before."""
        document = {name: value for name, value in row.document.items() if name != "follows"}
        # Of the document its hash is enough, and takes no room.
        digest = blake2b(json.dumps(document, sort_keys=True).encode()).digest() if document else b""
        key = (digest, row.person.group is None, row.person.is_active, row.person.time_zone, profile.reachable, profile.groups)
        if key not in self._kinds:
            if len(self._kinds) >= MOST_KEPT:  # most are those of people who want something else by now
                self._kinds.clear()
            self._newest_kind += 1
            self._kinds[key] = self._newest_kind
        return self._kinds[key]


def site_of(document: Mapping[str, object], interruptive: frozenset[str]) -> Site:
    """The site as it is used: where its document does not say which agents interrupt, those do that say so of themselves."""
    site = parse_site(document)
    return site if "interruptive" in document else replace(site, interruptive=interruptive)


def profile_of(row: ProfileRow, site: Site) -> Profile:
    """The snapshot that `resolve` reads. A document that no longer parses falls back to the site's defaults, and is told."""
    try:
        wants = parse_wants(row.document, known_schedules=None)
    except InvalidInput as error:
        telemetry.log.error("wants_unreadable", person_id=row.person.person_id, field=error.field, error=str(error))
        wants = Wants()
    reachable = frozenset(address.agent for address in row.addresses if address.state is AddressState.OK)
    if row.person.group is None:
        reachable |= site.pull  # a group has no inbox and no feed: its members have
    return Profile(row.person, wants, zone_of(row.person.time_zone), reachable, frozenset(row.groups))


def group_agents(profiles: Iterable[Profile]) -> dict[str, frozenset[str]]:
    """By group, the agents that reach it at an address of its own; groups without one are left out."""
    return {
        profile.person.group: profile.reachable
        for profile in profiles
        if profile.person.group is not None and profile.person.is_active and profile.reachable
    }


@lru_cache(maxsize=600)
def zone_of(name: str) -> ZoneInfo:
    """The zone, or UTC where the machine has none of that name."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        telemetry.log.error("zone_unknown", zone=name)
        return ZoneInfo("UTC")


def rule_rows(rules: Iterable[Rule], person_id: int = 0) -> list[RuleRow]:
    """What the candidate index must hold so that each rule that may make a candidate is found: a superset of what matches."""
    rows: dict[RuleRow, None] = {}
    for rule in rules:
        if not rule.is_enabled or not rule.makes_candidates:
            continue
        pattern = _pattern(rule.type)
        for name, value in _literals(rule):
            rows[RuleRow(person_id, pattern, name, value)] = None
    return list(rows)


def _pattern(rule_type: str) -> str:
    if rule_type == ANY_TYPE:
        return "#"
    return rule_type if set(rule_type) & {"*", "#"} else f"{rule_type}.#"


def _literals(rule: Rule) -> list[tuple[str, str]]:
    for condition in rule.when:
        is_param = not condition.name.startswith(("tag.", "message."))
        if condition.kind is ConditionKind.ONEOF and is_param and len(condition.values) <= 16:
            return [(condition.name, value) for value in condition.values]
    return [("", "")]


def _condition(row: RuleRow) -> tuple[str, str] | None:
    return (row.name, row.value) if row.name else None
