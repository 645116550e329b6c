"""Upkeep: whether anybody wrote, what the clock brings, and a clock that went back."""

from datetime import timedelta

from angelia.model.delivery import Reason, State
from angelia.model.moments import next_id, to_us
from angelia.store import LedgerRow, Plan, Settlement, Store
from angelia_testing.suites.store.making import LEASE, MINUTE, NOW, delivery, planned, row


class UpkeepSuite:
    """The promises of `angelia.store.Upkeep`."""

    async def test_a_look_says_whether_anybody_wrote(self, store: Store) -> None:
        first = await store.pulse()
        await store.add_messages([row(1)])
        assert await store.pulse() != first

    async def test_the_clock_brings_what_waits_and_not_what_is_over(self, store: Store) -> None:
        assert await store.next_due_at(["mail"], NOW) is None
        await store.add_messages([row(1)])
        assert await store.next_due_at(["mail"], NOW) == NOW
        (claimed,) = await store.claim_messages(1, LEASE, NOW)
        later = [delivery(11, 1, due_at=NOW + 2 * MINUTE), delivery(12, 1, "feed", due_at=NOW + MINUTE)]
        held = delivery(13, 1, "web", State.HELD, NOW + 3 * MINUTE, schedule="daily")
        rows = [LedgerRow(1, 7, ("to",), (), NOW)]
        await store.record_plans([Plan(claimed.message, claimed.fence, rows, [*later, held], is_complete=True)], [], [], NOW)
        assert await store.next_due_at(["mail", "feed"], NOW) == NOW + MINUTE
        assert await store.next_due_at(["mail"], NOW) == NOW + 2 * MINUTE
        assert await store.next_due_at([], NOW) == NOW + 3 * MINUTE

    async def test_what_was_put_off_under_a_clock_that_went_back_is_due_now(self, store: Store) -> None:  # promise P13
        tomorrow = NOW + timedelta(days=1)
        ahead = next_id(to_us(tomorrow), 0, 0)
        later = delivery(ahead + 1, 1, person_id=2, due_at=tomorrow + MINUTE)
        quiet = delivery(ahead + 2, 1, person_id=3, due_at=tomorrow + MINUTE, reason=Reason.QUIET_HOURS)
        await planned(store, 1, [delivery(11, 1), delivery(12, 1, person_id=4), later, quiet])
        first, second = await store.claim_deliveries(["mail"], 2, LEASE, tomorrow)
        await store.settle([Settlement(first.delivery_id, first.fence, State.DUE, Reason.CHOSEN, tomorrow + MINUTE, "451 not now")], tomorrow)
        assert await store.claim_deliveries(["mail"], 9, LEASE, NOW) == []
        assert await store.forget_future(NOW) == 3
        claimed = await store.claim_deliveries(["mail"], 9, LEASE, NOW)
        assert {d.delivery_id for d in claimed} == {11, 12, later.delivery_id}
        assert await store.settle([Settlement(second.delivery_id, second.fence, State.DELIVERED, Reason.CHOSEN)], NOW) == 0
        assert await store.forget_future(NOW) == 0
