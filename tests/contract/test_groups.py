"""Groups with addresses of their own, on SQLite and PostgreSQL alike."""

from datetime import UTC, datetime, timedelta

import pytest

from angelia.model.errors import NotFound
from angelia.model.person import Address, AddressState, Group, Person

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


def own(value, agent="mail"):
    return Address(address_id=0, person_id=0, agent=agent, value=value, state=AddressState.OK, verified_at=NOW)


async def test_a_group_has_a_principal_with_addresses(store):
    alice = await store.put_person(Person(person_id=0, login="alice"))
    made = await store.put_group(Group(group_id=0, name="qa", title="Quality", members=("alice",)), [own("qa@example.org")])
    principal = await store.person("group:qa")
    assert (principal.group, principal.name, principal.time_zone) == ("qa", "Quality", "UTC")
    assert [(a.value, a.state, a.is_default, a.verified_at) for a in made.addresses] == [("qa@example.org", AddressState.OK, True, NOW)]
    assert await store.group("qa") == made
    assert [group.addresses for group in await store.list_groups()] == [made.addresses]
    assert await store.person_ids(["group:qa", "alice"]) == {"group:qa": principal.person_id, "alice": alice.person_id}
    await store.put_person(Person(person_id=0, login="public:topics"))  # no group, and nobody either
    assert [person.login for person in await store.list_people()] == ["alice"]
    (row,) = await store.profiles([principal.person_id])
    assert (row.person, row.addresses, row.groups) == (principal, made.addresses, ())


async def test_addresses_are_kept_replaced_or_taken_away(store):
    group = Group(group_id=0, name="qa")
    (first,) = (await store.put_group(group, [own("qa@example.org")])).addresses
    await store.set_address(first.address_id, state=AddressState.BOUNCING, now=NOW)
    assert [a.state for a in (await store.put_group(group)).addresses] == [AddressState.BOUNCING]
    again = (await store.put_group(group, [own("qa@example.org"), own("@room", "chat")])).addresses
    assert [(a.address_id == first.address_id, a.agent, a.state) for a in again] == [
        (True, "mail", AddressState.OK),
        (False, "chat", AddressState.OK),
    ]
    assert [a.value for a in (await store.put_group(group, [own("new@example.org")])).addresses] == ["new@example.org"]
    assert (await store.put_group(group, [])).addresses == ()


async def test_planners_hear_of_a_changed_group(store):
    await store.put_group(Group(group_id=0, name="qa"))
    principal = await store.person("group:qa")
    sequence, _ = await store.people_changed_since(-1)
    await store.put_group(Group(group_id=0, name="qa"), [own("qa@example.org")])
    assert (await store.people_changed_since(sequence))[1] == [principal.person_id]


async def test_a_group_that_was_deleted_comes_back_under_its_number(store):
    await store.put_group(Group(group_id=0, name="qa"), [own("qa@example.org")])
    before = await store.person("group:qa")
    assert await store.delete_group("qa")
    assert not (await store.person("group:qa")).is_active
    assert await store.addresses(before.person_id) == []
    newcomer = await store.put_person(Person(person_id=0, login="alice"))
    assert newcomer.person_id != before.person_id
    await store.put_group(Group(group_id=0, name="qa"))
    assert await store.person("group:qa") == before


async def test_a_group_is_no_member_and_has_no_role_itself(store):
    alice = await store.put_person(Person(person_id=0, login="alice"))
    await store.put_group(Group(group_id=0, name="qa", members=("alice",)), [own("qa@example.org")])
    with pytest.raises(NotFound):
        await store.put_group(Group(group_id=0, name="all", members=("group:qa",)))
    await store.put_relations("KDE/okular", {"reviewer": ["group:qa"]})
    assert await store.related_ids("KDE/okular") == {"reviewer": {alice.person_id}}


async def test_a_code_verifies_a_groups_address(store):
    await store.put_group(Group(group_id=0, name="qa"))
    principal = await store.person("group:qa")
    made = await store.add_address(Address(address_id=0, person_id=principal.person_id, agent="mail", value="qa@example.org"))
    await store.put_code(made.address_id, "right", NOW + timedelta(minutes=1))
    assert await store.try_code(made.address_id, "right", NOW)
    assert [a.state for a in (await store.group("qa")).addresses] == [AddressState.OK]
