"""Ears: one process hears an agent at a time, and codes that come by it."""

from angelia.model.person import Address, AddressState, Person
from angelia.store import Store
from angelia_testing.suites.store.making import MINUTE, NOW


class EarSuite:
    """The promises of `angelia.store.EarStore`."""

    async def test_one_hears_at_a_time(self, store: Store) -> None:
        assert await store.take_ear("chat", "a", NOW + MINUTE, NOW) and await store.take_ear("chat", "a", NOW + 2 * MINUTE, NOW)
        assert not await store.take_ear("chat", "b", NOW + MINUTE, NOW)
        assert await store.take_ear("other", "b", NOW + MINUTE, NOW)
        assert await store.ear_position("chat") == ""
        assert await store.put_ear_position("chat", "a", "s1") and not await store.put_ear_position("chat", "b", "s0")
        assert await store.take_ear("chat", "b", NOW + 4 * MINUTE, NOW + 3 * MINUTE)
        assert not await store.put_ear_position("chat", "a", "s0")
        assert await store.ear_position("chat") == "s1"
        await store.drop_ear("chat", "a")
        assert not await store.take_ear("chat", "a", NOW + 4 * MINUTE, NOW + 3 * MINUTE)
        await store.drop_ear("chat", "b")
        assert await store.take_ear("chat", "a", NOW + 4 * MINUTE, NOW + 3 * MINUTE)

    async def test_a_code_makes_the_place_where_it_comes_in_an_address(self, store: Store) -> None:
        alice = await store.put_person(Person(person_id=0, login="alice"))
        await store.put_link_code("chat", alice.person_id, "old", NOW + MINUTE)
        await store.put_link_code("chat", alice.person_id, "new", NOW + MINUTE)
        assert await store.take_link_code("chat", "old", "room", 5, NOW) is None
        assert await store.take_link_code("mail", "new", "room", 5, NOW) is None
        assert await store.take_link_code("chat", "new", "room", 5, NOW + MINUTE) is None
        made = await store.take_link_code("chat", "new", "room", 5, NOW)
        assert made is not None
        assert made == Address(
            address_id=made.address_id, person_id=alice.person_id, agent="chat", value="room", state=AddressState.OK, is_default=True, verified_at=NOW
        )  # fmt: skip
        assert await store.take_link_code("chat", "new", "room", 5, NOW) is None
        await store.set_address(made.address_id, state=AddressState.BOUNCING, now=NOW)
        await store.put_link_code("chat", alice.person_id, "again", NOW + MINUTE)
        assert await store.take_link_code("chat", "again", "room", 1, NOW) == made  # it is there, so there is none too many
        await store.put_link_code("chat", alice.person_id, "more", NOW + MINUTE)
        assert await store.take_link_code("chat", "more", "elsewhere", 1, NOW) is None
        assert await store.addresses(alice.person_id) == [made]
