"""What every store promises of ways on, as tests: a failure and what stands in for it, a step and what it tells, are written at once, and once."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import count

from angelia.model.delivery import Delivery, Reason, State
from angelia.model.moments import first_id
from angelia.model.preference import Escalation, Until
from angelia.planning.decision import Decision, Verdict
from angelia.store import DueEscalation, InboxQuery, LedgerRow, NewEscalation, Plan, Settlement, Slot, Step, Store, Successor
from angelia_testing.suites.store import LEASE, MINUTE, NOW, a_digest, delivery, planned, row

CHAIN = Escalation(10 * MINUTE, ("pager", "person:bob"))
FAILED = (State.BOUNCED, Reason.REFUSED)
_ids = count(1_000)


def successor(message_id: int, agent: str, person_id: int = 1, state: State = State.DUE, due_at: datetime = NOW) -> Successor:
    """A way on by an agent."""
    made = delivery(next(_ids), message_id, agent, state, due_at, person_id, reason=Reason.FALLBACK)
    return Successor(made, Decision(agent, Verdict.NOW, Reason.FALLBACK, "fallback:mail"))


async def claimed(store: Store, *agents: str) -> list[Delivery]:
    """All that is due by these agents, under a lease."""
    return await store.claim_deliveries(agents, 100, LEASE, NOW)


def failure(one: Delivery, *successors: Successor) -> Settlement:
    """It was refused."""
    return Settlement(one.delivery_id, one.fence, *FAILED, error="no", successors=successors)


async def standing(store: Store, message_id: int, person_id: int = 1) -> list[tuple[str, State]]:
    """How the deliveries of a message stand."""
    return sorted((one.agent, one.state) for one in await store.trail(message_id, person_id) if one.message_id is not None)


async def escalating(store: Store, number: int, chain: Escalation = CHAIN) -> None:
    """A message to person 1 that goes on."""
    await store.add_messages([row(number)])
    (found,) = await store.claim_messages(10, LEASE, NOW)
    decided = (Decision("mail", Verdict.NOW, Reason.CHOSEN, "site:*"),)
    ledger = [LedgerRow(number, 1, ("to",), decided, NOW)]
    begun = [NewEscalation(number, 1, chain, NOW + chain.after)]
    plan = Plan(found.message, found.fence, ledger, [delivery(100 + number, number)], escalations=begun)
    assert await store.record_plans([plan], [], [], NOW) == 1


async def due(store: Store, at: datetime = NOW + 10 * MINUTE) -> list[DueEscalation]:
    """What is due then, under a lease."""
    return await store.due_escalations(10, LEASE, at)


class WaysOnSuite:
    """The promises of `settle`, `bounce`, and of `angelia.store.EscalationStore`."""

    async def test_the_first_of_the_order_that_was_not_tried_stands_in(self, store: Store) -> None:
        await planned(store, 1, [delivery(11, 1), delivery(12, 1, "web", State.DELIVERED, ended_at=NOW)])
        (mail,) = await claimed(store, "mail")
        offered = [successor(1, "mail"), successor(1, "pager"), successor(1, "horn")]
        assert await store.settle([failure(mail, *offered)], NOW) == 1
        assert await standing(store, 1) == [("mail", State.BOUNCED), ("pager", State.DUE), ("web", State.DELIVERED)]
        (pager,) = await claimed(store, "pager")
        assert pager.reason is Reason.FALLBACK
        assert await store.settle([failure(pager, *offered)], NOW) == 1
        (horn,) = await claimed(store, "horn")
        assert await store.settle([failure(horn, *offered)], NOW) == 1
        assert await claimed(store, "mail", "pager", "horn") == []
        found = await store.ledger_row(1, 1)
        assert found is not None and [decision.agent for decision in found.decisions] == ["mail", "web", "pager", "horn"]
        assert await store.check() == []

    async def test_a_late_worker_brings_nothing_on_its_way(self, store: Store) -> None:
        await planned(store, 1, [delivery(11, 1)])
        (mail,) = await claimed(store, "mail")
        assert await store.settle([failure(mail, successor(1, "pager"))], NOW) == 1
        assert await store.settle([failure(mail, successor(1, "horn"))], NOW) == 0
        assert await standing(store, 1) == [("mail", State.BOUNCED), ("pager", State.DUE)]

    async def test_nothing_stands_in_for_what_reached_her_or_may_or_was_seen(self, store: Store) -> None:
        for number, state in ((1, State.DELIVERED), (2, State.HELD), (3, State.DUE)):
            other = delivery(20 + number, number, "horn", state, NOW + MINUTE, ended_at=NOW if state.is_final else None)
            await planned(store, number, [delivery(10 + number, number), other])
        for number in (4, 5):
            await planned(store, number, [delivery(10 + number, number), delivery(20 + number, number, "web", State.DELIVERED, ended_at=NOW)])
        await store.answer(1, [4], "web", NOW, is_acknowledged=False)
        await store.mark(1, InboxQuery(), [25], "read", NOW)
        found = await claimed(store, "mail")
        assert await store.settle([failure(one, successor(one.message_id or 0, "pager")) for one in found], NOW) == 5
        assert await claimed(store, "pager") == []

    async def test_of_ways_that_fail_at_once_one_stands_in(self, store: Store) -> None:
        numbers = range(1, 13)
        for number in numbers:
            await planned(store, number, [delivery(100 + number, number), delivery(200 + number, number, "horn")])
        both = [*await claimed(store, "mail"), *await claimed(store, "horn")]
        told = await asyncio.gather(*(store.settle([failure(one, successor(one.message_id or 0, "pager"))], NOW) for one in both))
        assert sum(told) == len(both) == 24
        assert sorted(one.message_id or 0 for one in await claimed(store, "pager")) == list(numbers)
        assert await store.check() == []

    async def test_each_item_of_a_digest_goes_on(self, store: Store) -> None:
        for number in (1, 2):
            await planned(store, number, [delivery(10 + number, number, state=State.HELD, schedule="daily")])
        slot = Slot(1, "mail", 0, "daily", NOW)
        assert await store.record_digest(a_digest(50, slot, [11, 12]), NOW)
        assert [one.delivery_id for one in await store.digest_items(50)] == [11, 12]
        (digest,) = await claimed(store, "mail")
        ways = [successor(number, "pager", state=State.HELD) for number in (1, 2)]
        assert await store.settle([failure(digest, *ways)], NOW) == 1
        for number in (1, 2):
            assert await standing(store, number) == [("mail", State.BOUNCED), ("pager", State.HELD)]

    async def test_a_report_that_comes_later_counts_once(self, store: Store) -> None:
        await planned(store, 1, [delivery(11, 1)])
        assert not await store.bounce(11, "no", [successor(1, "pager")], NOW)
        (mail,) = await claimed(store, "mail")
        await store.settle([Settlement(11, mail.fence, State.DELIVERED, Reason.CHOSEN)], NOW)
        told = await asyncio.gather(*(store.bounce(11, "no", [successor(1, "pager")], NOW) for _ in range(5)))
        assert sorted(told) == [False] * 4 + [True]
        assert await standing(store, 1) == [("mail", State.BOUNCED), ("pager", State.DUE)]
        assert not await store.bounce(99, "no", [], NOW)

    async def test_a_step_is_due_once_and_comes_again_after_its_lease(self, store: Store) -> None:
        await escalating(store, 1)
        assert await due(store, NOW + 9 * MINUTE) == []
        many = await asyncio.gather(*(due(store) for _ in range(5)))
        (first,) = [one for found in many for one in found]
        assert (first.step, first.chain, first.ending) == (0, CHAIN, "")
        (second,) = await due(store, NOW + 10 * MINUTE + 2 * LEASE)
        assert await store.record_step(Step(first, 1, NOW + 20 * MINUTE), NOW) == "stale"
        assert await store.record_step(Step(second, 1, NOW + 20 * MINUTE, [successor(1, "pager")]), NOW) == "told"
        assert await store.record_step(Step(second, 1, NOW + 20 * MINUTE, [successor(1, "horn")]), NOW) == "stale"
        assert await standing(store, 1) == [("mail", State.DUE), ("pager", State.DUE)]
        (third,) = await due(store, NOW + 20 * MINUTE)
        assert third.step == 1
        assert await store.record_step(Step(third, 2, NOW, ending="over"), NOW) == "over"
        assert await due(store, NOW + timedelta(days=1)) == []
        found = await store.escalation(1, 1)
        assert found is not None and (found.step, found.ending, found.ended_at) == (1, "over", NOW)
        assert await store.escalation(2, 1) is None
        assert await store.check() == []

    async def test_what_came_under_a_clock_that_was_ahead_goes_on_now(self, store: Store) -> None:
        late, early = first_id(NOW + timedelta(days=3)), first_id(NOW - timedelta(days=3))
        for number in (late, early):
            await escalating(store, number)
        await store.forget_future(NOW)
        assert [one.message_id for one in await due(store, NOW)] == [late]

    async def test_a_step_makes_candidates_once(self, store: Store) -> None:
        await escalating(store, 1)
        (one,) = await due(store)

        def bob(number: int) -> tuple[LedgerRow, Sequence[Delivery]]:
            decided = (Decision("mail", Verdict.NOW, Reason.ESCALATED, "escalate:1"),)
            return LedgerRow(1, 2, ("escalated:alice",), decided, NOW), [delivery(number, 1, person_id=2)]

        assert await store.record_step(Step(one, 1, NOW + 20 * MINUTE, others=[bob(31), bob(32)]), NOW) == "told"
        assert await standing(store, 1, 2) == [("mail", State.DUE)]
        assert await store.check() == []

    async def test_an_answer_ends_it_whenever_it_comes(self, store: Store) -> None:
        hers = Escalation(10 * MINUTE, ("pager",), by_anybody=False)
        for number, chain in ((1, CHAIN), (2, hers), (3, Escalation(10 * MINUTE, ("pager",), until=Until.SEEN))):
            await escalating(store, number, chain)
        found = {one.message_id: one for one in await due(store)}
        assert set(found) == {1, 2, 3}
        for number in (1, 2):
            others: list[tuple[LedgerRow, Sequence[Delivery]]] = [(LedgerRow(number, 2, ("to",), (), NOW), [])]
            assert await store.record_step(Step(found[number], 1, NOW + 20 * MINUTE, others=others), NOW) == "told"
        assert await store.answer(2, [1, 2], "web", NOW, is_acknowledged=True) == [1, 2]
        assert await store.answer(1, [3], "web", NOW, is_acknowledged=False) == [3]
        # Between the claim and its record: then nothing of the step is written.
        assert await store.record_step(Step(found[3], 1, NOW + 20 * MINUTE, [successor(3, "pager")]), NOW) == "seen"
        assert await standing(store, 3) == [("mail", State.DUE)]
        later = {one.message_id: one.ending for one in await due(store, NOW + 20 * MINUTE)}
        assert later == {1: "acknowledged", 2: ""}

    async def test_what_waits_in_a_digest_goes_at_once(self, store: Store) -> None:
        await planned(store, 1, [delivery(11, 1, state=State.HELD, due_at=NOW + 600 * MINUTE, schedule="daily")])
        await escalating(store, 2)
        (one,) = await due(store)
        assert await store.record_step(Step(one, 1, NOW + 20 * MINUTE, [successor(1, "mail")]), NOW) == "told"
        (mail, *_) = [found for found in await claimed(store, "mail") if found.message_id == 1]
        assert (mail.delivery_id, mail.schedule, mail.reason) == (11, "", Reason.FALLBACK)
        assert await store.check() == []
