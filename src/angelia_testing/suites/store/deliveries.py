"""Deliveries: claimed by one, settled once; forgotten in the end."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from angelia.inlet import Taken
from angelia.model.delivery import Delivery, Reason, State
from angelia.model.message import MessageType
from angelia.model.moments import next_id, to_us
from angelia.planning.retry import Breaker
from angelia.store import InboxQuery, Plan, RepeatMark, Settlement, Slot, Store
from angelia_testing.suites.store.making import LEASE, MINUTE, NOW, a_digest, delivery, planned, row


class DeliverySuite:
    """The promises of `angelia.store.DeliveryStore`."""

    async def test_which_agents_have_something_due(self, store: Store) -> None:
        held = delivery(14, 1, "feed", State.HELD)
        await planned(store, 1, [delivery(11, 1), delivery(12, 1, "web", due_at=NOW + MINUTE), delivery(13, 1, "chat"), held])
        asked = ["mail", "web", "feed", "none"]
        assert await store.due_agents(asked, NOW) == {"mail"}
        assert await store.due_agents(asked, NOW + MINUTE) == {"mail", "web"}
        assert await store.due_agents([], NOW) == frozenset()
        await store.claim_deliveries(["mail"], 10, LEASE, NOW)
        assert await store.due_agents(asked, NOW) == frozenset()

    async def test_deliveries_are_claimed_settled_and_fenced(self, store: Store) -> None:
        await planned(store, 1, [delivery(11, 1), delivery(12, 1, "feed"), delivery(13, 1, "web", due_at=NOW + MINUTE)])
        assert await store.next_due_at(["mail", "feed", "web"], NOW) == NOW
        (claimed,) = await store.claim_deliveries(["mail"], 10, LEASE, NOW)
        assert (claimed.delivery_id, claimed.state, claimed.attempts, claimed.first_tried_at) == (11, State.SENDING, 1, NOW)
        assert await store.claim_deliveries(["mail"], 10, LEASE, NOW) == []
        assert await store.requeue_expired_leases(NOW) == 0
        assert await store.requeue_expired_leases(NOW + 2 * MINUTE) == 1
        late = Settlement(11, claimed.fence, State.DELIVERED, Reason.CHOSEN)
        assert await store.settle([late], NOW) == 0
        (again,) = await store.claim_deliveries(["mail"], 10, LEASE, NOW + 2 * MINUTE)
        assert again.attempts == 2
        later = Settlement(11, again.fence, State.DUE, Reason.CHOSEN, NOW + 5 * MINUTE, "451 not now")
        assert await store.settle([later], NOW) == 1
        assert await store.claim_deliveries(["mail"], 10, LEASE, NOW + 4 * MINUTE) == []
        (third,) = await store.claim_deliveries(["mail"], 10, LEASE, NOW + 5 * MINUTE)
        assert third.last_error == "451 not now"
        assert await store.settle([Settlement(11, third.fence, State.BOUNCED, Reason.REFUSED, error="550")], NOW) == 1
        assert [d.delivery_id for d in await store.list_deliveries(states=[State.BOUNCED, State.DEAD])] == [11]
        assert await store.replay([11, 12], NOW) == 1
        assert (await store.deliveries([11]))[11].attempts == 0
        counts = await store.conservation()
        assert sum(counts.values()) == 3

    async def test_what_is_given_back_untried_was_never_begun(self, store: Store) -> None:  # promise P8: its lifetime begins with its first try
        await planned(store, 1, [delivery(11, 1), delivery(12, 1, person_id=2)])
        (first, second), later, put_off = await store.claim_deliveries(["mail"], 2, LEASE, NOW), NOW + timedelta(days=5), "its destination rests"
        rests = Settlement(12, second.fence, State.DUE, Reason.CHOSEN, error=put_off, is_attempt=False)
        await store.settle([Settlement(11, first.fence, State.DUE, Reason.CHOSEN, is_attempt=False), rests], NOW)
        assert [(one.attempts, one.first_tried_at) for _, one in sorted((await store.deliveries([11, 12])).items())] == [(0, None), (0, NOW)]
        again, rested = await store.claim_deliveries(["mail"], 2, LEASE, later)
        assert (again.attempts, again.first_tried_at, rested.first_tried_at) == (1, later, NOW)
        failed = Settlement(11, again.fence, State.DUE, Reason.CHOSEN, error="451 not now")
        await store.settle([failed, Settlement(12, rested.fence, State.DUE, Reason.CHOSEN, is_attempt=False)], later)
        for at in (later, later + MINUTE):
            claimed = await store.claim_deliveries(["mail"], 2, LEASE, at)
            known = {one.delivery_id: (one.attempts, one.first_tried_at, one.last_error) for one in claimed}
            assert known == {11: (2, later, "451 not now"), 12: (1, NOW, put_off)}
            await store.settle([Settlement(one.delivery_id, one.fence, State.DUE, Reason.CHOSEN, is_attempt=False) for one in claimed], at)

    async def test_urgent_ones_are_claimed_before_all_that_wait(self, store: Store) -> None:  # figure R20
        waiting = [delivery(10 + n, 1, person_id=n) for n in range(5)]
        await planned(store, 1, [*waiting, delivery(20, 1, due_at=NOW + MINUTE, person_id=9, is_urgent=True)])
        assert [d.delivery_id for d in await store.claim_deliveries(["mail"], 2, LEASE, NOW)] == [10, 11]
        claimed = await store.claim_deliveries(["mail"], 2, LEASE, NOW + MINUTE)
        assert [(d.delivery_id, d.is_urgent) for d in claimed] == [(20, True), (12, False)]

    async def test_a_time_without_workers_makes_nothing_older(self, store: Store) -> None:  # promise P13
        await planned(store, 1, [delivery(11, 1), delivery(12, 1, person_id=2), delivery(13, 1, person_id=3, due_at=NOW + MINUTE)])
        first, second = await store.claim_deliveries(["mail"], 2, LEASE, NOW)
        await store.settle([Settlement(first.delivery_id, first.fence, State.DUE, Reason.CHOSEN, NOW + MINUTE, "451 not now")], NOW)

        async def tried() -> list[datetime | None]:
            return [found.first_tried_at for _, found in sorted((await store.deliveries([11, 12, 13])).items())]

        assert await store.attend(NOW, is_back=True) == timedelta()
        assert await store.attend(NOW + 30 * MINUTE, is_back=True) == 30 * MINUTE  # begun anew
        assert await tried() == [NOW, NOW, None]
        later = NOW + timedelta(days=6)
        assert await store.attend(later, is_back=False) == timedelta(days=6) - 30 * MINUTE  # the clock of another one, that was there all the time
        assert await tried() == [NOW, NOW, None]
        assert await store.attend(later + timedelta(hours=1), is_back=True) == timedelta(hours=1)
        assert await tried() == [NOW + timedelta(hours=1)] * 2 + [None]
        assert await store.attend(NOW, is_back=True) == -timedelta(days=6, hours=1)
        assert await tried() == [NOW - timedelta(days=6)] * 2 + [None]
        assert await store.settle([Settlement(second.delivery_id, second.fence, State.DELIVERED, Reason.CHOSEN)], NOW) == 1

    async def test_an_address_is_cut_off_where_others_are_reached_and_it_is_not(self, store: Store) -> None:  # promise P8
        number, since = next_id(to_us(NOW), 0, 0), NOW - timedelta(days=5)
        hers = replace(delivery(number + 1, number), address_id=7)
        another = replace(delivery(number + 2, number, person_id=2), address_id=8)
        by_chat = replace(delivery(number + 3, number, agent="chat"), address_id=9)
        await planned(store, number, [hers, another, by_chat])

        async def ends(made: Delivery, state: State, at: datetime) -> None:
            claimed = {d.delivery_id: d for d in await store.claim_deliveries([made.agent], 9, LEASE, at)}
            others = [
                Settlement(d.delivery_id, d.fence, State.DUE, Reason.CHOSEN, at, is_attempt=False)
                for d in claimed.values()
                if d.delivery_id != made.delivery_id
            ]
            await store.settle([Settlement(made.delivery_id, claimed[made.delivery_id].fence, state, Reason.CHOSEN), *others], at)

        assert not await store.is_cut_off(hers, since)  # nobody was reached: it may be the agent
        await ends(by_chat, State.DELIVERED, NOW)
        assert not await store.is_cut_off(hers, since)
        await ends(another, State.DELIVERED, NOW)
        assert await store.is_cut_off(hers, since)
        assert not await store.is_cut_off(hers, NOW + MINUTE)  # nobody since then
        assert not await store.is_cut_off(another, since)
        await ends(hers, State.DELIVERED, NOW + MINUTE)
        assert not await store.is_cut_off(hers, since)
        assert not await store.is_cut_off(hers, NOW + MINUTE)

    async def test_four_workers_never_hold_one_delivery(self, store: Store) -> None:  # figure R15
        deliveries = [delivery(1000 + n, 1, person_id=n) for n in range(400)]
        await planned(store, 1, deliveries)
        seen: list[int] = []

        async def worker() -> None:
            while claimed := await store.claim_deliveries(["mail"], 7, LEASE, NOW):
                seen.extend(one.delivery_id for one in claimed)
                await store.settle([Settlement(one.delivery_id, one.fence, State.DELIVERED, Reason.CHOSEN) for one in claimed], NOW)

        await asyncio.gather(*(worker() for _ in range(4)))
        assert sorted(seen) == [1000 + n for n in range(400)]
        assert await store.conservation() == {State.DELIVERED: 400}

    async def test_what_was_delivered_comes_back_once(self, store: Store) -> None:
        slot = Slot(1, "mail", 0, "daily", NOW)
        await planned(store, 1, [delivery(11, 1, state=State.HELD, schedule="daily")])
        await planned(store, 2, [delivery(12, 2)])
        assert await store.record_digest(a_digest(100, slot, [11]), NOW)
        assert not await store.bounce(101, "too early", (), NOW)
        claimed = {one.delivery_id: one for one in await store.claim_deliveries(["mail"], 10, LEASE, NOW)}
        await store.settle([Settlement(101, claimed[101].fence, State.DELIVERED, Reason.CHOSEN)], NOW)
        assert await store.bounce(101, "550 \x00gone", (), NOW + MINUTE)
        assert await store.bounce(12, "before it was recorded", (), NOW)
        assert await store.settle([Settlement(12, claimed[12].fence, State.DELIVERED, Reason.CHOSEN)], NOW) == 0
        found = await store.deliveries([11, 101, 12])
        assert {(one.state, one.reason) for one in found.values()} == {(State.BOUNCED, Reason.CAME_BACK)}
        assert (found[101].last_error, found[101].ended_at) == ("550 gone", NOW + MINUTE)
        assert not await store.bounce(101, "again", (), NOW) and not await store.bounce(999, "nobody's", (), NOW)
        assert await store.replay([101], NOW) == 1
        assert (await store.deliveries([11]))[11].state is State.DIGESTED
        assert await store.check() == []

    async def test_what_waits_can_be_cancelled(self, store: Store) -> None:
        await planned(store, 1, [delivery(11, 1), delivery(12, 1, "feed")], object="KDE/okular")
        await planned(store, 2, [delivery(13, 2)], kind="wiki.change")
        assert await store.cancel_waiting(1, agent="mail", subtree="obs", reason=Reason.UNSUBSCRIBED, now=NOW) == 1
        assert await store.cancel_waiting(1, about=lambda message: message.object == "KDE/okular", reason=Reason.MUTED, now=NOW) == 1
        assert await store.cancel_waiting(2, reason=Reason.MUTED, now=NOW) == 0
        assert (await store.deliveries([11]))[11].reason is Reason.UNSUBSCRIBED

    async def test_pauses_and_breakers(self, store: Store) -> None:
        await store.pause_agent("mail", True)
        assert await store.paused_agents() == {"mail"}
        await store.pause_agent("mail", False)
        assert await store.paused_agents() == frozenset()
        breaker = Breaker(5, NOW, NOW + MINUTE)
        await store.put_breakers({"mail:x": breaker, "mail:y": Breaker()})
        assert await store.breakers() == {"mail:x": breaker}

    async def test_what_was_read_by_one_agent_is_seen(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number in (1, 2):
            await planned(store, number, [delivery(10 + number, number, **web), delivery(20 + number, number)])
        assert await store.seen({(1, 1), (2, 1)}) == set()
        await store.mark(1, InboxQuery(), [11], "read", NOW)
        assert await store.seen({(1, 1), (2, 1), (1, 2)}) == {(1, 1)}
        await store.mark(1, InboxQuery(), [11], "unread", NOW)
        assert await store.seen({(1, 1)}) == set() == await store.seen(set())

    async def test_retention_by_type_keeps_what_still_waits(self, store: Store) -> None:
        await store.put_type(MessageType(key="obs", first_seen_at=NOW, last_seen_at=NOW, retention_days=1))
        old = NOW - timedelta(days=10)
        await planned(store, 1, [delivery(11, 1, "web", State.DELIVERED, ended_at=old)], at=old)
        await planned(store, 2, [delivery(12, 2)], at=old)
        await planned(store, 3, [delivery(13, 3, "web", State.DELIVERED, ended_at=old)], at=old, kind="wiki.change")
        assert await store.purge(NOW, timedelta(days=30), 100) == 1
        assert set(await store.messages([1, 2, 3])) == {2, 3}
        assert await store.purge(NOW, timedelta(days=5), 100) == 1
        assert set(await store.messages([1, 2, 3])) == {2}
        assert await store.check() == []

    async def test_old_keys_and_marks_are_forgotten_in_slices(self, store: Store) -> None:
        old = NOW - timedelta(days=8)
        await store.add_messages([row(number, f"k{number}", at=old) for number in range(1, 26)])
        await store.add_messages([row(number, f"k{number}") for number in range(26, 31)])
        (claimed,) = await store.claim_messages(1, LEASE, NOW)
        marks = [RepeatMark(1, "mail", f"k{number}", NOW - timedelta(hours=20 + number)) for number in range(12)]
        await store.record_plans([Plan(claimed.message, claimed.fence)], [], marks, NOW)
        assert [await store.forget(NOW, 10) for _ in range(4)] == [10, 10, 5, 0]
        assert set((await store.flood_marks([(1, "mail")], [(1, "mail", f"k{number}") for number in range(12)]))[1]) == {
            (1, "mail", f"k{number}") for number in range(5)
        }
        again = await store.add_messages([row(number + 100, f"k{number}") for number in range(1, 31)])
        assert [receipt.taken for receipt in again] == [Taken.NEW] * 25 + [Taken.REPEAT] * 5
