"""The site's document tried on history: what a change would have done to a sample of people, before anybody saves it."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from angelia.directory import Members
from angelia.flow.planner import roles_of, standing_of
from angelia.flow.profiles import profile_of
from angelia.model.message import Message
from angelia.model.preference import Site
from angelia.planning.decision import Resolution
from angelia.planning.resolve import resolve
from angelia.store import ProfileRow, Store

MOST_PEOPLE = 20
MOST_MESSAGES = 500


@dataclass(frozen=True, slots=True)
class SiteTrial:
    """What would have differed: of `messages` for `people`; deliveries by agent and outcome before and after, and how many differ for whom."""

    people: int = 0
    messages: int = 0
    deliveries_that_differ: int = 0
    before: Mapping[str, int] = field(default_factory=dict)
    after: Mapping[str, int] = field(default_factory=dict)
    by_person: Mapping[str, int] = field(default_factory=dict)


async def try_site(store: Store, old: Site, new: Site, now: datetime, days: int = 30) -> SiteTrial:
    """Up to 500 of the newest messages of these days, for up to 20 of those whom they concerned; relations and wants are today's."""
    messages = [m for m in await store.list_messages(person_id=None, limit=MOST_MESSAGES) if m.received_at >= now - timedelta(days=days)]
    rows = await _sample(store, messages)
    members = {ref: Members(await store.related_ids(ref)) for ref in {message.object for message in messages if message.object}}
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    by_person: dict[str, int] = {}
    for row in rows:
        await asyncio.sleep(0)  # others want the loop, too
        for message in messages:
            was, will = (_outcomes(row, site, message, members) for site in (old, new))
            before.update(was.values())
            after.update(will.values())
            differs = sum(1 for agent in was.keys() | will.keys() if was.get(agent) != will.get(agent))
            by_person[row.person.login] = by_person.get(row.person.login, 0) + differs
    return SiteTrial(len(rows), len(messages), sum(by_person.values()), dict(before), dict(after), by_person)


async def _sample(store: Store, messages: list[Message]) -> list[ProfileRow]:
    """Those whom the newest messages concerned, then others by login: a new audience may reach them."""
    ids: dict[int, None] = {}
    for message in messages[:50]:
        for row in await store.ledger_rows(message.message_id, limit=MOST_PEOPLE):
            ids[row.person_id] = None
        if len(ids) >= MOST_PEOPLE:
            break
    for person in await store.list_people(limit=MOST_PEOPLE):
        ids[person.person_id] = None
    rows = await store.profiles(list(ids)[:MOST_PEOPLE])
    return [row for row in rows if row.person.group is None and row.person.is_active]


def _outcomes(row: ProfileRow, site: Site, message: Message, members: Mapping[str, Members]) -> dict[str, str]:
    profile = profile_of(row, site)
    roles = roles_of(row.person.person_id, members[message.object]) if message.object else frozenset[str]()
    resolution: Resolution | None = resolve(message, profile, standing_of(message, profile, roles, {}), site, message.received_at)
    decisions = resolution.decisions if resolution is not None else ()
    return {d.agent: f"{d.agent} {d.schedule or d.verdict.value}" for d in decisions if d.verdict.is_delivery}
