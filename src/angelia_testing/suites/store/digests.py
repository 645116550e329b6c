"""Digests: one for a slot, whoever makes it."""

from datetime import timedelta

from angelia.model.delivery import Reason, State
from angelia.store import LeftOut, Settlement, Slot, Store
from angelia_testing.suites.store.making import LEASE, MINUTE, NOW, a_digest, delivery, planned


class DigestSuite:
    """The promises of `angelia.store.DigestStore`."""

    async def test_a_slot_has_one_digest_and_its_end_is_the_items_end(self, store: Store) -> None:
        slot = Slot(1, "mail", 0, "daily", NOW)
        for number in (1, 2, 3):
            await planned(store, number, [delivery(10 + number, number, state=State.HELD, schedule="daily")])
        assert await store.due_slots(NOW - MINUTE, 10) == []
        assert await store.due_slots(NOW, 10) == [slot]
        assert [item.delivery_id for item in await store.held_items(slot, 10)] == [11, 12, 13]
        assert [item.delivery_id for item in await store.held_items(slot, 2)] == [11, 12]
        assert await store.record_digest(a_digest(100, slot, [11, 12], expired_ids=[13]), NOW)
        assert not await store.record_digest(a_digest(200, slot, [11, 12]), NOW)
        assert await store.due_slots(NOW, 10) == []
        assert (await store.digests([100]))[100].content == a_digest(100, slot, [11, 12]).content
        (claimed,) = await store.claim_deliveries(["mail"], 10, LEASE, NOW)
        assert (claimed.delivery_id, claimed.digest_id) == (101, 100)
        await store.settle([Settlement(101, claimed.fence, State.BOUNCED, Reason.REFUSED)], NOW)
        found = await store.deliveries([11, 12, 13])
        assert [found[key].state for key in (11, 12, 13)] == [State.BOUNCED, State.BOUNCED, State.EXPIRED]
        assert await store.replay([101], NOW) == 1
        assert (await store.deliveries([11]))[11].state is State.DIGESTED
        assert len(await store.trail(1, 1)) == 2
        assert await store.check() == []

    async def test_late_items_move_to_the_next_slot(self, store: Store) -> None:
        slot = Slot(1, "mail", 0, "daily", NOW)
        await planned(store, 1, [delivery(11, 1, state=State.HELD, schedule="daily")])
        assert await store.record_digest(a_digest(100, slot, [11]), NOW)
        await planned(store, 2, [delivery(12, 2, state=State.HELD, schedule="daily")])
        assert not await store.record_digest(a_digest(200, slot, [12]), NOW)
        assert await store.move_items([11, 12], NOW + MINUTE) == 1
        assert [one.slot_at for one in await store.due_slots(NOW + MINUTE, 10)] == [NOW + MINUTE]

    async def test_an_empty_slot_is_dropped(self, store: Store) -> None:
        await planned(store, 1, [delivery(11, 1, state=State.HELD, schedule="daily")])
        await planned(store, 2, [delivery(12, 2, state=State.HELD, schedule="daily")])
        await planned(store, 3, [delivery(13, 3, state=State.HELD, schedule="daily")])
        await planned(store, 4, [delivery(14, 4, state=State.HELD, schedule="daily")])
        await planned(store, 5, [delivery(15, 5, state=State.HELD, schedule="daily")])
        await store.drop_items(LeftOut(expired_ids=[11], seen_ids=[12], lost_ids=[13], superseded_ids=[14], unwanted={Reason.OFF: [15]}), NOW)
        assert await store.due_slots(NOW, 10) == []
        assert await store.conservation() == {State.EXPIRED: 1, State.SUPPRESSED: 4}
        ended = [one.reason for _, one in sorted((await store.deliveries([11, 12, 13, 14, 15])).items())]
        assert ended == [Reason.EXPIRED, Reason.SEEN, Reason.ACCESS_LOST, Reason.SUPERSEDED, Reason.OFF]

    async def test_old_digests_go_with_their_deliveries(self, store: Store) -> None:
        for number in range(1, 6):
            slot = Slot(1, "mail", 0, "daily", NOW + number * MINUTE)
            await planned(store, number, [delivery(10 + number, number, state=State.HELD, schedule="daily", due_at=slot.slot_at)])
            assert await store.record_digest(a_digest(100 * number, slot, [10 + number]), NOW)
        sent = await store.claim_deliveries(["mail"], 4, LEASE, NOW + 10 * MINUTE)
        await store.settle([Settlement(one.delivery_id, one.fence, State.DELIVERED, Reason.CHOSEN) for one in sent], NOW)
        later = NOW + timedelta(days=20)
        while await store.purge(later, timedelta(days=10), 3) == 3:
            pass
        assert list(await store.digests([100, 200, 300, 400, 500])) == [500]
        assert set(await store.messages(range(1, 6))) == {5}
