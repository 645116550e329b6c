"""Who is of one kind is decided for once: the answers are those of `resolve`, person by person."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.flow import profiles
from angelia.flow.profiles import People
from angelia.model.person import Address, AddressState, Person
from angelia.planning.decision import Standing
from angelia.planning.document import parse_site
from angelia.planning.following import is_followed
from angelia.planning.resolve import Alike, resolve
from angelia.planning.trial import _message
from angelia.store import ProfileRow
from pure.test_resolve import CASES, SITE, scenario

_OF_PERSON = {"active", "time_zone", "verified"}


class FewPeople:
    """A store that knows these rows only."""

    def __init__(self, rows):
        self.rows = {row.person.person_id: row for row in rows}

    async def profiles(self, person_ids):
        return [self.rows[person_id] for person_id in person_ids]

    async def listening(self):
        return []

    async def rule_rows(self, person_ids=None):
        for row in ():
            yield row


def row_of(number, login, case):
    entry = CASES[case][0]
    person = Person(person_id=number, login=login, is_active=entry.get("active", True), time_zone=entry.get("time_zone", "Europe/Berlin"))
    agents = entry.get("verified", ["mail", "chat"])
    addresses = tuple(
        Address(address_id=number * 10 + place, person_id=number, agent=agent, value=f"{login}@{agent}", state=AddressState.OK)
        for place, agent in enumerate(agents)
    )
    document = {name: value for name, value in entry.items() if name not in _OF_PERSON}
    return ProfileRow(person, document, 1, addresses, tuple(entry.get("groups", ())))


@given(
    st.sampled_from(sorted(CASES)),
    st.lists(st.tuples(st.sampled_from(sorted(CASES)), st.sampled_from([frozenset(), frozenset({"maintainer"})]), st.booleans()), min_size=2),
)
async def test_alike_answers_as_resolve(case, crowd):
    message, now = _message(scenario({}, CASES[case][1], [])["message"])
    site = parse_site(SITE)
    people = People(FewPeople([row_of(number, "kim" if number == 1 else f"p{number}", one) for number, (one, _, _) in enumerate(crowd, 1)]))
    profiles = await people.profiles(range(1, len(crowd) + 1))
    alike = Alike(message, site, now)
    for number, (_, roles, has_access) in enumerate(crowd, 1):
        profile, _ = profiles[number]
        standing = Standing(roles, has_access)
        assert alike(profile, standing) == resolve(message, profile, standing, site, now)


async def test_who_follows_is_told_apart_from_who_does_not():
    message, now = _message(scenario({}, CASES["A35"][1], [])["message"])
    people = People(FewPeople([row_of(1, "alice", "A1"), row_of(2, "bob", "A35"), row_of(3, "carol", "A1")]))
    alike = Alike(message, parse_site(SITE), now)
    answers = [alike(profile, Standing()) for profile, _ in (await people.profiles([1, 2, 3])).values()]
    assert [answer is None for answer in answers] == [True, False, True]


@pytest.mark.parametrize(
    ("follow", "hears"),
    [
        ("instrument/yumo/run-17", True),
        ("instrument/yumo/run-17/", True),
        ("instrument/yumo/", True),
        ("instrument/", True),
        ("instrument/yumo", False),
        ("instrument", False),
        ("instrument/yu/", False),
        ("/", False),
        ("", False),
        ("instrument/yumo/run-1", False),
        ("instrument/yumo/run-17/part/", False),
    ],
)
def test_who_follows_a_thing_with_a_slash_hears_of_what_lies_below(follow, hears):
    assert is_followed("instrument/yumo/run-17", {follow, "KDE/okular"}) is hears
    assert not is_followed("", {follow}) and not is_followed("instrument/yumo/run-17", frozenset())


@pytest.mark.parametrize("other", [case for case in CASES if json.dumps(CASES[case][0], sort_keys=True) != json.dumps(CASES["A1"][0])])
async def test_only_what_they_follow_may_differ_within_a_kind(other):
    people = People(FewPeople([row_of(1, "alice", "A1"), row_of(2, "bob", "A1"), row_of(3, "carol", other)]))
    kinds = [profile.kind for profile, _ in (await people.profiles([1, 2, 3])).values()]
    assert kinds[0] == kinds[1]
    assert (kinds[2] == kinds[0]) == (set(CASES[other][0]) == {"follows"})


class Changing(FewPeople):
    """She changes while she is read: what is read is older than what is known of changes."""

    number = 0

    async def profiles(self, person_ids):
        found = await super().profiles(person_ids)
        if not self.number:
            self.rows[1] = row_of(1, "alice", "A35")
            self.number = 1
            await self.people.refresh()
        return found

    async def site(self):
        return {}, 0

    async def versions(self):
        return 0, self.number

    async def people_changed_since(self, sequence):
        return self.number, [1] if sequence < self.number else []


async def test_who_changes_while_she_is_read_is_not_kept_as_she_was():
    store = Changing([row_of(1, "alice", "A1")])
    store.people = people = People(store)
    await people.refresh()
    ((before, _),) = (await people.profiles([1])).values()
    ((after, _),) = (await people.profiles([1])).values()
    assert before.wants != after.wants
    assert len(people._profiles) == 1


class Saving(FewPeople):
    """Each change of anybody is told, and so is each of the site."""

    def __init__(self, rows):
        super().__init__(rows)
        self.sequence, self.version, self.document = 0, 0, {}

    async def site(self):
        return self.document, self.version

    async def versions(self):
        return self.version, self.sequence

    async def people_changed_since(self, sequence):
        return self.sequence, list(self.rows)


async def test_of_wants_that_were_changed_nothing_is_kept_for_ever(monkeypatch):
    monkeypatch.setattr(profiles, "MOST_KEPT", 10)
    store = Saving([row_of(1, "alice", "A1"), row_of(2, "bob", "A1")])
    people, kinds = People(store), set()
    for number in range(50):
        store.sequence = number
        store.rows = {key: replace(row, document={"mutes": {f"o/{number}": "full"}}) for key, row in store.rows.items()}
        await people.refresh()
        first, second = [profile.kind for profile, _ in (await people.profiles([1, 2])).values()]
        assert first == second and first not in kinds
        kinds.add(first)
    assert len(people._kinds) <= 10


async def test_who_is_kept_is_reached_as_the_site_says_now():
    store = Saving([row_of(1, "alice", "A1")])
    people = People(store)
    await people.refresh()
    ((before, _),) = (await people.profiles([1])).values()
    store.version, store.document = 1, {"pull": ["web"]}
    await people.refresh()
    ((after, _),) = (await people.profiles([1])).values()
    assert before.reachable - after.reachable == {"feed"} and before.kind != after.kind
    store.version, store.document = 2, {"pull": ["web"], "hourly_cap": 7}
    await people.refresh()
    assert (await people.profiles([1]))[1][0] is after
