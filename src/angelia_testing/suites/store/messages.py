"""Messages: kept once, claimed, planned, parked."""

import asyncio
from dataclasses import replace
from datetime import datetime

from angelia.inlet import Taken
from angelia.model.delivery import Reason, State
from angelia.model.errors import AngeliaError
from angelia.model.moments import to_us
from angelia.model.preference import Escalation
from angelia.planning.decision import Decision, Verdict
from angelia.store import Copies, FloodMark, LedgerRow, NewEscalation, Plan, RepeatMark, Settlement, Shared, Store
from angelia_testing.suites.store.making import LEASE, MINUTE, NOW, claimed_at_birth, delivery, message, planned, row


class MessageSuite:
    """The promises of `angelia.store.MessageStore`."""

    async def test_repeats_are_caught_by_key(self, store: Store) -> None:  # case B5
        rows = (row(1, "k"), row(2, "k"), row(3, "k", b"other"), row(4, "k", source="x"))
        first, again, other, elsewhere = [(await store.add_messages([one]))[0] for one in rows]
        assert (first.taken, first.message_id) == (Taken.NEW, 1)
        assert (again.taken, again.message_id) == (Taken.REPEAT, 1)
        assert (other.taken, other.message_id) == (Taken.CONFLICT, 1)
        assert (elsewhere.taken, elsewhere.message_id) == (Taken.NEW, 4)

    async def test_fifty_at_once_with_one_key_are_one_message(self, store: Store) -> None:  # figure R14
        receipts = await asyncio.gather(*(store.add_messages([row(100 + n, f"key{n % 10}")]) for n in range(500)))
        new = [receipt for (receipt,) in receipts if receipt.taken is Taken.NEW]
        assert len(new) == 10
        assert len({receipt.message_id for (receipt,) in receipts}) == 10
        assert len(await store.list_messages(person_id=None, limit=1000)) == 10

    async def test_many_keys_and_many_parked_at_once(self, store: Store) -> None:
        rows = [row(number, f"key{number}") for number in range(1, 3001)]
        assert {receipt.taken for receipt in await store.add_messages(rows)} == {Taken.NEW}
        assert {receipt.taken for receipt in await store.add_messages(rows)} == {Taken.REPEAT}
        assert await store.unpark_messages(range(40_000)) == 0

    async def test_a_bad_row_refuses_only_whoever_brought_it(self, store: Store) -> None:
        await store.add_messages([row(1)])
        rows = [row(1), *(row(number) for number in range(10, 15)), row(20)._replace(payload='{"type":"a","subject":"\ud800"}')]
        answers = await asyncio.gather(*(store.add_messages([one]) for one in rows), return_exceptions=True)
        assert [isinstance(answer, AngeliaError) for answer in answers] == [True, *[False] * 5, True]
        assert set(await store.messages(range(30))) == {1, 10, 11, 12, 13, 14}

    async def test_types_are_registered_with_their_parents(self, store: Store) -> None:
        await store.add_messages([row(1)])
        assert [entry.key for entry in await store.types()] == ["obs", "obs.build", "obs.build.fail"]

    async def test_a_type_is_known_only_once_it_is_committed(self, store: Store) -> None:
        await store.add_messages([row(1, kind="x.one")])
        answers = await asyncio.gather(store.add_messages([row(1, kind="x.two")]), return_exceptions=True)
        assert isinstance(answers[0], AngeliaError)
        await store.add_messages([row(2, kind="x.two")])
        assert "x.two" in {entry.key for entry in await store.types()}

    async def test_a_claimed_message_is_nobody_elses_until_its_lease_ends(self, store: Store) -> None:
        await store.add_messages([row(n) for n in range(1, 6)])
        first = await store.claim_messages(3, LEASE, NOW)
        second = await store.claim_messages(3, LEASE, NOW)
        assert [item.message.message_id for item in (*first, *second)] == [1, 2, 3, 4, 5]
        assert await store.claim_messages(3, LEASE, NOW) == []
        late = await store.claim_messages(10, LEASE, NOW + 2 * MINUTE)
        assert len(late) == 5
        assert late[0].attempts == 2
        stale = Plan(first[0].message, first[0].fence, [], [delivery(9, 1)])
        assert await store.record_plans([stale], [], [], NOW) == 0
        assert await store.trail(1, 1) == []

    async def test_a_message_claimed_at_birth_is_as_after_a_claim(self, store: Store) -> None:
        await store.add_messages([row(1)._replace(lease_us=to_us(NOW + LEASE), fence=1, attempts=1), row(2)])
        assert [(one.message.message_id, one.fence) for one in await store.claim_messages(10, LEASE, NOW)] == [(2, 1)]
        assert await store.claim_messages(10, LEASE, NOW) == []
        assert await store.record_plans([Plan(message(1), 1, deliveries=[delivery(11, 1)], is_complete=False)], [], [], NOW) == 1
        (again, _) = await store.claim_messages(10, LEASE, NOW + LEASE)
        assert (again.message.message_id, again.fence, again.attempts) == (1, 2, 2)
        assert await store.record_plans([Plan(message(1), 1)], [], [], NOW) == 0

    async def test_parked_and_postponed_messages(self, store: Store) -> None:
        await store.add_messages([row(1), row(2)])
        one, two = await store.claim_messages(2, LEASE, NOW)
        await store.postpone_message(1, one.fence, NOW + MINUTE, "later")
        await store.park_message(2, two.fence, "poison")
        assert await store.claim_messages(2, LEASE, NOW) == []
        assert [item.message.message_id for item in await store.claim_messages(2, LEASE, NOW + MINUTE)] == [1]
        assert [(item.message.message_id, item.error) for item in await store.parked_messages(10)] == [(2, "poison")]
        assert await store.unpark_messages([2]) == 1
        assert len(await store.claim_messages(2, LEASE, NOW)) == 1

    async def test_a_plan_that_comes_twice_is_there_once(self, store: Store) -> None:
        claimed = await planned(store, 1, [delivery(11, 1), delivery(12, 1, "web", State.DELIVERED, ended_at=NOW)])
        again = Plan(claimed.message, claimed.fence, [LedgerRow(1, 1, ("to",), (), NOW)], [delivery(13, 1)])
        assert await store.record_plans([again], [], [], NOW) == 0
        assert [d.delivery_id for d in await store.trail(1, 1)] == [11, 12]
        kept = await store.ledger_row(1, 1)
        assert kept is not None and kept.because == ("to", "role:maintainer")
        assert (await store.user_types(1))[0][::3] == ("obs.build.fail", 1)
        assert await store.check() == []

    async def test_which_message_waits_longest_with_nobody_at_it(self, store: Store) -> None:  # promise P17
        assert await store.oldest_undecided(NOW) is None
        await store.add_messages([row(number, at=NOW + number * MINUTE) for number in (1, 2, 3, 4)])
        later = NOW + 10 * MINUTE
        assert await store.oldest_undecided(later) == NOW + MINUTE
        first, second, third = await store.claim_messages(3, LEASE, later)
        assert await store.oldest_undecided(later) == NOW + 4 * MINUTE  # somebody is at the others
        await store.postpone_message(first.message.message_id, first.fence, later, "a directory does not answer")
        await store.postpone_message(second.message.message_id, second.fence, later, "")  # given back, for no fault of its own
        await store.park_message(third.message.message_id, third.fence, "poison")
        assert await store.oldest_undecided(later + LEASE) == NOW + 2 * MINUTE

    async def test_chunks_of_one_plan(self, store: Store) -> None:
        await store.add_messages([row(1)])
        (claimed,) = await store.claim_messages(1, LEASE, NOW)
        for start in (0, 50, 100):
            rows = [LedgerRow(1, person, ("follow",), (), NOW) for person in range(start + 1, start + 51)]
            await store.record_plans([Plan(claimed.message, claimed.fence, rows, [], is_complete=start == 100)], [], [], NOW)
        assert len(await store.ledger_rows(1)) == 150
        assert await store.claim_messages(1, LEASE, NOW + 2 * MINUTE) == []

    async def test_what_is_shared_is_written_for_each(self, store: Store) -> None:
        await store.add_messages([row(1)])
        (claimed,) = await store.claim_messages(1, LEASE, NOW)
        decided = (Decision("web", Verdict.NOW, Reason.CHOSEN, "site:*"), Decision("mail", Verdict.NOW, Reason.CHOSEN, "site:*"))
        read = Copies(delivery(0, 1, "web", State.DELIVERED, ended_at=NOW, form="short"), [11, 12, 13], [0, 0, 0])
        sent = Copies(delivery(0, 1, "mail", reason=Reason.LOCKED), [21, 22, 23], [7, 8, 9])
        plan = Plan(
            claimed.message, claimed.fence, [LedgerRow(1, 4, ("to",), (), NOW)], [delivery(31, 1, "feed", person_id=4)],
            shared=[Shared([1, 2, 3], ("follow", "role:qa"), decided, [read, sent])],
        )  # fmt: skip
        assert await store.record_plans([plan], [], [], NOW) == 1
        assert await store.ledger_rows(1) == [
            *(LedgerRow(1, person_id, ("follow", "role:qa"), decided, NOW) for person_id in (1, 2, 3)),
            LedgerRow(1, 4, ("to",), (), NOW),
        ]
        found = await store.deliveries([11, 12, 13, 21, 22, 23, 31])
        assert found[12] == delivery(12, 1, "web", State.DELIVERED, ended_at=NOW, form="short", person_id=2)
        assert found[23] == replace(delivery(23, 1, "mail", reason=Reason.LOCKED, person_id=3), address_id=9)
        assert len(found) == 7
        assert [[kind for kind, *_ in await store.user_types(person_id)] for person_id in (1, 3, 4)] == [[claimed.message.type]] * 3
        assert [one.delivery_id for one in await store.claim_deliveries(["mail"], 10, LEASE, NOW)] == [21, 22, 23]

    async def test_what_is_claimed_at_birth_is_as_after_a_claim(self, store: Store) -> None:
        await store.add_messages([row(1), row(2)])
        first, second = await store.claim_messages(10, LEASE, NOW)
        born = [claimed_at_birth(delivery(10 + number, first.message.message_id, person_id=number)) for number in range(3)]
        plan = Plan(first.message, first.fence, deliveries=[delivery(20, 1, "feed")], claimed=born)
        assert await store.record_and_claim([plan], [], [], LEASE, NOW) == {10, 11, 12}
        assert await store.conservation() == {State.SENDING: 3, State.DUE: 1}
        assert await store.claim_deliveries(["mail"], 10, LEASE, NOW) == []
        assert list((await store.deliveries([10])).values()) == [born[0]]
        assert await store.settle([Settlement(10, 1, State.DELIVERED, Reason.CHOSEN)], NOW) == 1
        assert await store.requeue_expired_leases(NOW + LEASE) == 0
        assert await store.requeue_expired_leases(NOW + LEASE + MINUTE) == 2
        assert await store.settle([Settlement(11, 1, State.DELIVERED, Reason.CHOSEN)], NOW) == 0
        again = await store.claim_deliveries(["mail"], 10, LEASE, NOW + 2 * MINUTE)
        assert [(one.delivery_id, one.attempts) for one in again] == [(11, 2), (12, 2)]
        # What was there before may have been sent: whoever plans it again does not hold it. Nor does one who lost the message.
        repeat = claimed_at_birth(delivery(30, second.message.message_id))
        assert await store.record_and_claim([Plan(second.message, second.fence, claimed=[repeat], is_complete=False)], [], [], LEASE, NOW) == {30}
        same = replace(repeat, delivery_id=31)
        assert await store.record_and_claim([Plan(second.message, second.fence, claimed=[same], is_complete=False)], [], [], LEASE, NOW) == set()
        stale = claimed_at_birth(delivery(32, 2, person_id=5))
        assert await store.record_and_claim([Plan(second.message, second.fence - 1, claimed=[stale])], [], [], LEASE, NOW) == set()
        assert sorted(await store.deliveries([30, 31, 32])) == [30]

    async def test_flood_marks_and_repeat_marks(self, store: Store) -> None:
        await store.add_messages([row(1)])
        (claimed,) = await store.claim_messages(1, LEASE, NOW)
        flood, repeat = FloodMark(1, "mail", NOW, 5), RepeatMark(1, "mail", "k", NOW)
        await store.record_plans([Plan(claimed.message, claimed.fence)], [flood], [repeat], NOW)
        assert await store.flood_marks([(1, "mail")], [(1, "mail", "k")]) == ({(1, "mail"): flood}, {(1, "mail", "k"): repeat})

    async def test_what_goes_at_once_is_counted_whoever_counts(self, store: Store) -> None:
        await store.add_messages([row(number) for number in range(1, 5)])
        claimed = await store.claim_messages(4, LEASE, NOW)

        async def counted(number: int, window_started_at: datetime, *, is_told: bool = False, is_stale: bool = False) -> FloodMark:
            one = claimed[number - 1]
            mark = FloodMark(1, "mail", window_started_at, 1, is_told, number)
            rows = [LedgerRow(number, 1, ("to",), (), NOW)]
            await store.record_plans([Plan(one.message, one.fence + is_stale, rows, is_complete=False)], [mark], [], NOW)
            return (await store.flood_marks([(1, "mail")], []))[0][1, "mail"]

        assert await counted(1, NOW) == FloodMark(1, "mail", NOW, 1)
        # Whoever read the marks before that adds to it, and both may have told her.
        assert await counted(2, NOW, is_told=True) == FloodMark(1, "mail", NOW, 2, is_told=True)
        assert await counted(3, NOW, is_told=True) == FloodMark(1, "mail", NOW, 3, is_told=True)
        assert await counted(4, NOW, is_stale=True) == FloodMark(1, "mail", NOW, 3, is_told=True)
        earlier = NOW - 180 * MINUTE  # the clock went back
        assert await counted(4, earlier) == FloodMark(1, "mail", earlier, 1)

    async def test_a_later_plan_adds_nothing_for_those_who_were_served(self, store: Store) -> None:
        await store.add_messages([row(1)])
        (first,) = await store.claim_messages(1, LEASE, NOW)
        decided = (Decision("mail", Verdict.NOW, Reason.CHOSEN, "site:*"),)
        rows = [LedgerRow(1, person_id, ("to",), decided, NOW) for person_id in range(1, 5)]
        mail = [delivery(10 + person_id, 1, person_id=person_id) for person_id in range(1, 5)]
        chain = Escalation(10 * MINUTE, ("chat",))

        def plan(fence: int, *, again: bool) -> tuple[Plan, list[FloodMark], list[RepeatMark]]:
            made = [replace(one, delivery_id=one.delivery_id + 10 * again, address_id=9 * again) for one in mail]
            copies = Copies(replace(mail[2], address_id=9 * again), [23, 24] if again else [13], [9, 9] if again else [0])
            whole = Plan(
                first.message, fence, rows[:2] if again else rows[:1], made[1:2] if again else [], is_complete=False,
                shared=[Shared([3, 4] if again else [3], ("follow",), decided, [copies])], claimed=[claimed_at_birth(made[0])],
                escalations=[NewEscalation(1, 1, chain, NOW + 10 * MINUTE)],
            )  # fmt: skip
            served = (1, 2) if again else (1,)
            flood = [FloodMark(person_id, "mail", NOW, 1, message_id=1) for person_id in served]
            return whole, flood, [RepeatMark(person_id, "mail", "k", NOW + MINUTE * again, 1) for person_id in served]

        one, flood, repeats = plan(first.fence, again=False)
        assert await store.record_and_claim([one], flood, repeats, LEASE, NOW) == {11}
        await store.postpone_message(1, first.fence, NOW, "a directory does not answer")
        (second,) = await store.claim_messages(1, LEASE, NOW)
        again, flood, repeats = plan(second.fence, again=True)
        assert await store.record_and_claim([again], flood, repeats, LEASE, NOW) == frozenset()
        assert sorted(await store.deliveries(range(30))) == [11, 13, 22, 24]
        assert {person_id: (await store.user_types(person_id))[0][3] for person_id in range(1, 5)} == dict.fromkeys(range(1, 5), 1)
        pairs = [(person_id, "mail") for person_id in (1, 2)]
        floods, repeated = await store.flood_marks(pairs, [(*pair, "k") for pair in pairs])
        assert [floods[pair].sent for pair in pairs] == [1, 1]
        assert [repeated[*pair, "k"].sent_at for pair in pairs] == [NOW, NOW + MINUTE]
        assert await store.check() == []
