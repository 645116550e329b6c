"""People: their documents, addresses, groups and relations."""

import asyncio
from dataclasses import replace

import pytest

from angelia.model.errors import Conflict, NotFound
from angelia.model.person import Address, AddressState, Group, Person
from angelia.store import RuleRow, Store
from angelia_testing.suites.store.making import MINUTE, NOW


class PersonSuite:
    """The promises of `angelia.store.PersonStore`."""

    async def test_a_change_of_a_person_touches_its_fields_alone(self, store: Store) -> None:
        alice = await store.put_person(Person(person_id=0, login="alice", name="Alice", language="de"))
        sequence, _ = await store.people_changed_since(-1)
        await asyncio.gather(
            store.change_person(alice.person_id, {"is_active": False, "is_admin": True}),
            store.change_person(alice.person_id, {"name": "Alicia", "time_zone": "Europe/Berlin"}),
        )
        wanted = replace(alice, name="Alicia", time_zone="Europe/Berlin", is_active=False, is_admin=True)
        assert await store.person("alice") == await store.change_person(alice.person_id, {}) == wanted
        assert (await store.people_changed_since(sequence))[1] == [alice.person_id]
        with pytest.raises(NotFound):
            await store.change_person(alice.person_id + 1, {"name": "nobody"})

    async def test_an_administrator_beside_another_is_one_who_is_active(self, store: Store) -> None:
        alice, bob = [await store.put_person(Person(person_id=0, login=login, is_admin=True)) for login in ("alice", "bob")]
        assert await store.has_admin_beside(alice.person_id)
        await store.change_person(bob.person_id, {"is_active": False})
        assert not await store.has_admin_beside(alice.person_id)
        assert await store.has_admin_beside(bob.person_id)

    async def test_people_documents_and_who_changed(self, store: Store) -> None:
        alice = await store.put_person(Person(person_id=0, login="alice", time_zone="Europe/Berlin"))
        with pytest.raises(Conflict):
            await store.put_person(Person(person_id=0, login="alice"))
        sequence, _ = await store.people_changed_since(-1)
        assert await store.put_wants("alice", {"follows": ["a"]}, follows=["a", "b"], rules=[RuleRow(0, "x.#", "p", "v")]) == 1
        with pytest.raises(Conflict):
            await store.put_wants("alice", {}, follows=[], rules=[], expected_version=0)
        with pytest.raises(NotFound):
            await store.put_wants("nobody", {}, follows=[], rules=[])
        assert (await store.people_changed_since(sequence))[1] == [alice.person_id]
        assert (await store.versions())[1] > sequence
        assert await store.wants("alice") == ({"follows": ["a"]}, 1)
        assert await store.followers("b") == [alice.person_id]
        assert await store.followed(["a", "z"]) == {"a"}
        assert [chunk async for chunk in store.rule_rows()] == [[RuleRow(alice.person_id, "x.#", "p", "v")]]
        await store.put_wants("alice", {}, follows=["b"], rules=[], expected_version=1)
        assert await store.followers("a") == []
        assert [chunk async for chunk in store.rule_rows([alice.person_id])] == []

    async def test_the_document_before_the_last_change_is_kept(self, store: Store) -> None:
        await store.put_person(Person(person_id=0, login="alice"))
        assert await store.previous_wants("alice") == ({}, 0)
        await store.put_wants("alice", {"paused": ["mail"]}, follows=[], rules=[])
        assert await store.previous_wants("alice") == ({}, 1)
        await store.put_wants("alice", {}, follows=[], rules=[])
        assert await store.previous_wants("alice") == ({"paused": ["mail"]}, 2)
        with pytest.raises(Conflict):
            await store.put_wants("alice", {"takes_tests": True}, follows=[], rules=[], expected_version=1)
        assert await store.previous_wants("alice") == ({"paused": ["mail"]}, 2)
        with pytest.raises(NotFound):
            await store.previous_wants("nobody")

    async def test_addresses_and_codes(self, store: Store) -> None:
        alice = await store.put_person(Person(person_id=0, login="alice"))
        new = Address(address_id=0, person_id=alice.person_id, agent="mail", value="a@example.org")
        made = await store.add_address(new)
        with pytest.raises(Conflict):
            await store.add_address(new)
        await store.put_code(made.address_id, "right", NOW + MINUTE)
        assert not await store.try_code(made.address_id, "wrong", NOW)
        assert not await store.try_code(made.address_id, "right", NOW + 2 * MINUTE)
        assert await store.try_code(made.address_id, "right", NOW)
        assert not await store.try_code(made.address_id, "right", NOW)
        verified = await store.address(made.address_id)
        assert verified is not None and verified.state is AddressState.OK
        await store.put_code(made.address_id, "right", NOW + MINUTE)
        for _ in range(5):
            await store.try_code(made.address_id, "wrong", NOW)
        assert not await store.try_code(made.address_id, "right", NOW)
        assert await store.codes_sent("mail", "a@example.org", NOW - MINUTE) == 2
        preferred = await store.set_address(made.address_id, is_default=True, now=NOW)
        assert preferred is not None and preferred.is_default
        (profile,) = await store.profiles([alice.person_id])
        assert [address.value for address in profile.addresses] == ["a@example.org"]
        assert await store.delete_address(alice.person_id, made.address_id)
        assert await store.addresses(alice.person_id) == []

    async def test_the_id_of_a_deleted_address_is_given_to_no_other(self, store: Store) -> None:
        """What came back from the old one, or stands in its thread, would be held against whoever got its number."""
        alice, bob = [await store.put_person(Person(person_id=0, login=login)) for login in ("alice", "bob")]
        given: list[int] = []
        for number in range(3):
            made = await store.add_address(Address(address_id=0, person_id=alice.person_id, agent="chat", value=str(number)))
            given.append(made.address_id)
            assert await store.delete_address(alice.person_id, made.address_id)
        await store.put_link_code("chat", bob.person_id, "hash", NOW + MINUTE)
        linked = await store.take_link_code("chat", "hash", "-1", 50, NOW)
        assert linked is not None
        given.append(linked.address_id)
        assert await store.delete_address(bob.person_id, linked.address_id)
        for value in ("qa@example.org", "qa2@example.org"):
            place = Address(address_id=0, person_id=0, agent="mail", value=value, state=AddressState.OK)
            await store.put_group(Group(group_id=0, name="qa"), [place])
            kept = await store.group("qa")
            assert kept is not None
            given += [address.address_id for address in kept.addresses]
        assert len(set(given)) == len(given) == 6

    async def test_a_place_that_has_another_address_now(self, store: Store) -> None:
        alice, bob = [await store.put_person(Person(person_id=0, login=login)) for login in ("alice", "bob")]
        old, other, hers = [
            await store.add_address(Address(address_id=0, person_id=person.person_id, agent=agent, value=value))
            for person, agent, value in ((alice, "chat", "-1"), (alice, "chat", "-3"), (bob, "chat", "-2"))
        ]
        await store.set_address(old.address_id, state=AddressState.BOUNCING, is_default=True, now=NOW)
        await store.add_address(Address(address_id=0, person_id=alice.person_id, agent="mail", value="-2"))
        before = await store.address(old.address_id)
        assert before is not None
        # Another person's, and hers of another agent, are in nobody's way.
        assert await store.move_address(old.address_id, "-2")
        assert await store.address(old.address_id) == replace(before, value="-2")
        (profile,) = await store.profiles([alice.person_id])
        assert sorted((address.agent, address.value) for address in profile.addresses if address.agent == "chat") == [("chat", "-2"), ("chat", "-3")]
        assert await store.move_address(old.address_id, "-2")  # told twice
        assert not await store.move_address(old.address_id, "-3")
        assert await store.move_address(other.address_id, "-1")  # what it left is free
        assert [address.value for address in await store.addresses(alice.person_id)] == ["-2", "-1", "-2"]
        assert await store.address(hers.address_id) == hers
        assert await store.delete_address(alice.person_id, old.address_id)
        assert not await store.move_address(old.address_id, "-4")

    async def test_two_who_move_to_one_address_do_not_both(self, store: Store) -> None:
        alice = await store.put_person(Person(person_id=0, login="alice"))
        made = [await store.add_address(Address(address_id=0, person_id=alice.person_id, agent="chat", value=value)) for value in ("-1", "-2")]
        for number in range(20):
            value = f"new {number}"
            moved = await asyncio.gather(*(store.move_address(address.address_id, value) for address in made), return_exceptions=True)
            assert sorted(map(str, moved)) == ["False", "True"]
            assert [address.value for address in await store.addresses(alice.person_id)].count(value) == 1

    async def test_groups_and_relations(self, store: Store) -> None:
        ids = {login: (await store.put_person(Person(person_id=0, login=login))).person_id for login in ("alice", "bob")}
        await store.put_group(Group(group_id=0, name="qa", members=("alice", "bob")))
        with pytest.raises(NotFound):
            await store.put_group(Group(group_id=0, name="qa", members=("nobody",)))
        assert await store.group_members(["qa", "none"]) == {"qa": frozenset(ids.values())}
        await store.put_relations("KDE/okular", {"maintainer": ["alice", "alice"], "reviewer": ["group:qa"]})
        assert await store.related_ids("KDE/okular") == {"maintainer": {ids["alice"]}, "reviewer": set(ids.values())}
        await store.put_relations("KDE/okular", {})
        assert await store.relations("KDE/okular") == {}
        assert (await store.profiles([ids["bob"]]))[0].groups == ("qa",)
        assert await store.names_of(ids["bob"]) == {"bob", "group:qa"}
        assert await store.names_of(1 << 40) == frozenset()
        assert await store.delete_group("qa")
        assert await store.list_groups() == []

    async def test_the_roles_of_one_person(self, store: Store) -> None:
        alice, bob = [await store.put_person(Person(person_id=0, login=login)) for login in ("alice", "bob")]
        await store.put_group(Group(group_id=0, name="qa", members=("alice",)))
        await store.put_relations("KDE/okular", {"maintainer": ["alice", "bob"], "reviewer": ["group:qa"]})
        await store.put_relations("KDE/kate", {"reviewer": ["group:qa", "bob"]})
        assert await store.roles_of(alice.person_id) == {"KDE/okular": frozenset({"maintainer", "reviewer"}), "KDE/kate": frozenset({"reviewer"})}
        assert await store.roles_of(bob.person_id) == {"KDE/okular": frozenset({"maintainer"}), "KDE/kate": frozenset({"reviewer"})}
        assert await store.roles_of(99) == {}
