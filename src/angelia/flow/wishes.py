"""What the pages of a person's wishes are made of: undo, the schedules she may name, and how much concerns her in a week."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from angelia.flow.profiles import profile_of
from angelia.flow.wants import save_wants
from angelia.model.errors import Conflict, NotFound
from angelia.model.person import Person
from angelia.model.preference import Rule, Site
from angelia.model.schedule import Schedule, next_slot
from angelia.planning.decision import Profile
from angelia.planning.editing import named_schedules
from angelia.planning.estimate import Count, by_subtree, is_countable, matched_counts, matched_messages
from angelia.store import Document, ProfileRow, Store

WEEK = timedelta(days=7)
MOST_COUNTED = 20_000
MOST_READ = 300
"""A sample of the newest is enough for "about": reading thousands of messages would make the page wait."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Her document as it is stored, its version, and the checked profile that comes of it."""

    document: Document
    version: int
    profile: Profile
    row: ProfileRow


async def wishes_of(store: Store, person: Person, site: Site) -> Wishes:
    """All of it in one read. NotFound where she went meanwhile."""
    for row in await store.profiles([person.person_id]):
        return Wishes(row.document, row.version, profile_of(row, site), row)
    raise NotFound("there is no such person")


async def undo_wants(store: Store, login: str, version: int, site: Site, now: datetime) -> int:
    """Take the change back that made `version`; undone twice is done again. Conflict where something was changed since. The new version."""
    document, current = await store.previous_wants(login)
    if current != version:
        raise Conflict("something else was changed since: this can't be taken back any more")
    return await save_wants(store, login, document, version, site, now, named_schedules(document))


def schedules_of(profile: Profile, site: Site) -> Mapping[str, Schedule]:
    """Those she may name, the site's first; one of her own of the same name stands before the site's."""
    return {**site.schedules, **profile.wants.schedules}


def next_times(schedule: Schedule, profile: Profile, now: datetime, number: int = 3) -> list[datetime]:
    """When it comes next, in UTC."""
    times: list[datetime] = []
    for _ in range(number):
        times.append(next_slot(schedule, times[-1] if times else now, profile.zone))
    return times


class Week:
    """Her last seven days in numbers; where a rule asks for more than type and role, a sample of the newest is read."""

    def __init__(self, counts: list[Count], by_rule: Mapping[str, int]) -> None:
        self.by_type = by_subtree(counts)
        self.by_rule = by_rule

    @classmethod
    async def of(cls, store: Store, profile: Profile, now: datetime, rules: Iterable[Rule] = ()) -> "Week":
        """Count, by type and for these rules (by their ids)."""
        person_id = profile.person.person_id
        counts = await store.counts_since(person_id, now - WEEK, MOST_COUNTED)
        wanted = list(rules)
        found = {rule.rule_id: matched_counts(rule, counts) for rule in wanted if is_countable(rule)}
        others = [rule for rule in wanted if rule.rule_id not in found]
        if others:
            history = [(message, row.because) for message, row in await store.history(person_id, now - WEEK, MOST_READ)]
            share = max(1.0, sum(count.messages for count in counts) / max(1, len(history)))
            found |= {rule.rule_id: round(matched_messages(rule, profile, history) * share) for rule in others}
        return cls(counts, found)
