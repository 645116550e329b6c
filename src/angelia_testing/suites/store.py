"""What every store promises, as tests: subclass `StoreSuite`, give a fixture `store` (opened, empty)."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from angelia.inlet import Taken
from angelia.model.delivery import Delivery, Reason, State
from angelia.model.errors import AngeliaError, Conflict, InvalidInput, NotFound
from angelia.model.message import Message, MessageType, Recipient, Severity
from angelia.model.moments import first_id, next_id, to_us
from angelia.model.payload import payload_of
from angelia.model.person import Address, AddressState, Group, Person
from angelia.planning.digest import DigestItem, assemble
from angelia.planning.resolve import Decision, Verdict
from angelia.planning.retry import Breaker
from angelia.store import (
    Answer,
    ClaimedMessage,
    Copies,
    Feed,
    FloodMark,
    InboxQuery,
    LedgerRow,
    NewDigest,
    NewMessage,
    Plan,
    RepeatMark,
    RuleRow,
    Session,
    Settlement,
    Shared,
    Slot,
    Source,
    Store,
    Token,
    Trace,
)

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
LEASE = timedelta(seconds=60)
MINUTE = timedelta(minutes=1)


def message(number: int, kind: str = "obs.build.fail", at: datetime = NOW, **fields: Any) -> Message:
    """A message of the source ci."""
    return Message(message_id=number, source="ci", type=kind, received_at=at, occurred_at=at, **fields)


def row(
    number: int,
    key: str | None = None,
    fingerprint: bytes = b"f",
    kind: str = "obs.build.fail",
    source: str = "ci",
    at: datetime = NOW,
    **fields: Any,
) -> NewMessage:
    """A message as intake hands it to the store."""
    return NewMessage(number, source, kind, to_us(at), payload_of(message(number, kind, at, **fields)), key, fingerprint if key else b"")


def delivery(
    number: int,
    message_id: int | None = None,
    agent: str = "mail",
    state: State = State.DUE,
    due_at: datetime = NOW,
    person_id: int = 1,
    **fields: Any,
) -> Delivery:
    """A delivery to person 1."""
    return Delivery(delivery_id=number, person_id=person_id, agent=agent, address_id=0, state=state, due_at=due_at, message_id=message_id,
                    **fields)  # fmt: skip


def claimed_at_birth(made: Delivery) -> Delivery:
    """As a planner hands it to the store for a relay of its own process."""
    return replace(made, state=State.SENDING, fence=1, attempts=1, first_tried_at=NOW)


async def planned(store: Store, number: int, deliveries: Sequence[Delivery], person_id: int = 1, **fields: Any) -> ClaimedMessage:
    """A message with its plan recorded."""
    await store.add_messages([row(number, **fields)])
    (claimed,) = await store.claim_messages(10, LEASE, NOW)
    decided = tuple(Decision(d.agent, Verdict.NOW, Reason.CHOSEN, "site:*") for d in deliveries)
    ledger = [LedgerRow(number, person_id, ("to", "role:maintainer"), decided, NOW)]
    assert await store.record_plans([Plan(claimed.message, claimed.fence, ledger, deliveries)], [], [], NOW) == 1
    return claimed


def a_digest(number: int, slot: Slot, item_ids: Sequence[int], **ends: Any) -> NewDigest:
    """A digest of these items, and its delivery."""
    content = assemble([DigestItem(delivery_id=n, message_id=n, type="a.b", subject="s", occurred_at=NOW) for n in item_ids], NOW).digest
    assert content is not None
    made = delivery(number + 1, digest_id=number, schedule=slot.schedule)
    return NewDigest(number, slot, content, made, item_ids, **ends)


class StoreSuite:
    """The promises of `angelia.store.Store`."""

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

    async def test_types_are_registered_with_their_parents(self, store: Store) -> None:
        await store.add_messages([row(1)])
        assert [entry.key for entry in await store.types()] == ["obs", "obs.build", "obs.build.fail"]

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

    async def test_candidacies_are_counted_by_type_and_reason(self, store: Store) -> None:
        early, late = first_id(NOW - timedelta(days=8)), first_id(NOW - timedelta(days=1))
        for number, kind in ((early, "old.one"), (late, "obs.build.fail"), (late + 1, "obs.build.fail"), (late + 2, "obs.request")):
            await store.add_messages([row(number, kind=kind)])
            (claimed,) = await store.claim_messages(1, LEASE, NOW)
            because = ("role:maintainer", "follow") if kind == "obs.build.fail" else ("to",)
            ledger = [LedgerRow(number, 1, because, (), NOW), LedgerRow(number, 2, ("to",), (), NOW)]
            await store.record_plans([Plan(claimed.message, claimed.fence, ledger, [])], [], [], NOW)
        assert await store.counts_since(1, NOW - timedelta(days=7), 100) == [
            ("obs.build.fail", ("role:maintainer", "follow"), 2),
            ("obs.request", ("to",), 1),
        ]
        assert await store.counts_since(1, NOW - timedelta(days=7), 1) == [("obs.request", ("to",), 1)]
        assert await store.counts_since(3, NOW - timedelta(days=7), 100) == []

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

    async def test_what_rules_did_is_found_in_the_ledger(self, store: Store) -> None:
        first = first_id(NOW)
        await store.add_messages([row(first + n) for n in range(5)])
        claimed = await store.claim_messages(10, LEASE, NOW)
        said = ["rule:a", "follow", "rule:a\nrule:b", "rule:a_", 'rule:"q"']
        off = (Decision("mail", Verdict.SUPPRESSED, Reason.RULE_OFF, "rule:off"),)
        for n, item in enumerate(claimed):
            decided = LedgerRow(first + n, 1, tuple(said[n].split("\n")), off if n == 1 else (), NOW + n * MINUTE)
            await store.record_plans([Plan(item.message, item.fence, [decided] if n != 4 else [])], [], [], NOW + n * MINUTE)
        hits = await store.rule_hits(1, NOW - MINUTE, NOW + MINUTE, 100)
        assert {rule: (hit.count, hit.last_at) for rule, hit in hits.items()} == {
            "a": (1, NOW + 2 * MINUTE), "b": (1, NOW + 2 * MINUTE), "off": (1, NOW + MINUTE), "a_": (1, NOW + 3 * MINUTE),
        }  # fmt: skip
        assert await store.rule_hits(1, NOW + MINUTE, NOW, 100) == {}
        assert await store.rule_hits(2, NOW, NOW, 100) == {}
        spoke = {rule: [m.message_id - first for m, _ in await store.history(1, NOW, 10, rule_id=rule)] for rule in ("a", "b", "off", "a_", "x")}
        assert spoke == {"a": [2, 0], "b": [2], "off": [1], "a_": [3], "x": []}
        assert [m.message_id - first for m, _ in await store.history(1, NOW, 2, subtree="obs", before_id=first + 3)] == [2, 1]
        assert await store.history(1, NOW, 2, subtree="ob") == []
        seen = await store.recent(1, NOW, 3)
        assert [(m.message_id - first, because) for m, because in seen] == [(4, None), (3, ("rule:a_",)), (2, ("rule:a", "rule:b"))]
        assert [m.message_id - first for m, _ in await store.recent(1, NOW, 10, first + 2)] == [1, 0]
        assert await store.recent(1, NOW + MINUTE, 10) == []

    async def test_the_roles_of_one_person(self, store: Store) -> None:
        alice, bob = [await store.put_person(Person(person_id=0, login=login)) for login in ("alice", "bob")]
        await store.put_group(Group(group_id=0, name="qa", members=("alice",)))
        await store.put_relations("KDE/okular", {"maintainer": ["alice", "bob"], "reviewer": ["group:qa"]})
        await store.put_relations("KDE/kate", {"reviewer": ["group:qa", "bob"]})
        assert await store.roles_of(alice.person_id) == {"KDE/okular": frozenset({"maintainer", "reviewer"}), "KDE/kate": frozenset({"reviewer"})}
        assert await store.roles_of(bob.person_id) == {"KDE/okular": frozenset({"maintainer"}), "KDE/kate": frozenset({"reviewer"})}
        assert await store.roles_of(99) == {}

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

    async def test_which_agents_have_something_due(self, store: Store) -> None:
        held = delivery(14, 1, "feed", State.HELD)
        await planned(store, 1, [delivery(11, 1), delivery(12, 1, "web", due_at=NOW + MINUTE), delivery(13, 1, "chat"), held])
        asked = ["mail", "web", "feed", "none"]
        assert await store.due_agents(asked, NOW) == {"mail"}
        assert await store.due_agents(asked, NOW + MINUTE) == {"mail", "web"}
        assert await store.due_agents([], NOW) == frozenset()
        await store.claim_deliveries(["mail"], 10, LEASE, NOW)
        assert await store.due_agents(asked, NOW) == frozenset()

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

    async def test_a_message_claimed_at_birth_is_as_after_a_claim(self, store: Store) -> None:
        await store.add_messages([row(1)._replace(lease_us=to_us(NOW + LEASE), fence=1, attempts=1), row(2)])
        assert [(one.message.message_id, one.fence) for one in await store.claim_messages(10, LEASE, NOW)] == [(2, 1)]
        assert await store.claim_messages(10, LEASE, NOW) == []
        assert await store.record_plans([Plan(message(1), 1, deliveries=[delivery(11, 1)], is_complete=False)], [], [], NOW) == 1
        (again, _) = await store.claim_messages(10, LEASE, NOW + LEASE)
        assert (again.message.message_id, again.fence, again.attempts) == (1, 2, 2)
        assert await store.record_plans([Plan(message(1), 1)], [], [], NOW) == 0

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

    async def test_urgent_ones_are_claimed_before_all_that_wait(self, store: Store) -> None:  # figure R20
        waiting = [delivery(10 + n, 1, person_id=n) for n in range(5)]
        await planned(store, 1, [*waiting, delivery(20, 1, due_at=NOW + MINUTE, person_id=9, is_urgent=True)])
        assert [d.delivery_id for d in await store.claim_deliveries(["mail"], 2, LEASE, NOW)] == [10, 11]
        claimed = await store.claim_deliveries(["mail"], 2, LEASE, NOW + MINUTE)
        assert [(d.delivery_id, d.is_urgent) for d in claimed] == [(20, True), (12, False)]

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

    async def test_a_slot_has_one_digest_and_its_end_is_the_items_end(self, store: Store) -> None:
        slot = Slot(1, "mail", 0, "daily", NOW)
        for number in (1, 2, 3):
            await planned(store, number, [delivery(10 + number, number, state=State.HELD, schedule="daily")])
        assert await store.due_slots(NOW - MINUTE, 10) == []
        assert await store.due_slots(NOW, 10) == [slot]
        assert [item.delivery_id for item, _ in await store.held_items(slot, 10)] == [11, 12, 13]
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

    async def test_late_items_move_to_the_next_slot(self, store: Store) -> None:
        slot = Slot(1, "mail", 0, "daily", NOW)
        await planned(store, 1, [delivery(11, 1, state=State.HELD, schedule="daily")])
        assert await store.record_digest(a_digest(100, slot, [11]), NOW)
        await planned(store, 2, [delivery(12, 2, state=State.HELD, schedule="daily")])
        assert not await store.record_digest(a_digest(200, slot, [12]), NOW)
        assert await store.move_items([11, 12], NOW + MINUTE) == 1
        assert [one.slot_at for one in await store.due_slots(NOW + MINUTE, 10)] == [NOW + MINUTE]

    async def test_an_empty_slot_is_dropped(self, store: Store) -> None:
        slot = Slot(1, "mail", 0, "daily", NOW)
        await planned(store, 1, [delivery(11, 1, state=State.HELD, schedule="daily")])
        await planned(store, 2, [delivery(12, 2, state=State.HELD, schedule="daily")])
        await planned(store, 3, [delivery(13, 3, state=State.HELD, schedule="daily")])
        await store.drop_slot(slot, [11], [], NOW, seen_ids=[12], lost_ids=[13])
        assert await store.due_slots(NOW, 10) == []
        assert await store.conservation() == {State.EXPIRED: 1, State.SUPPRESSED: 2}
        ended = await store.deliveries([12, 13])
        assert (ended[12].reason, ended[13].reason) == (Reason.SEEN, Reason.ACCESS_LOST)

    async def test_what_waits_can_be_cancelled(self, store: Store) -> None:
        await planned(store, 1, [delivery(11, 1), delivery(12, 1, "feed")], object="KDE/okular")
        await planned(store, 2, [delivery(13, 2)], kind="wiki.change")
        assert await store.cancel_waiting(1, agent="mail", subtree="obs", reason=Reason.UNSUBSCRIBED, now=NOW) == 1
        assert await store.cancel_waiting(1, object_ref="KDE/okular", reason=Reason.MUTED, now=NOW) == 1
        assert await store.cancel_waiting(2, reason=Reason.MUTED, now=NOW) == 0
        assert (await store.deliveries([11]))[11].reason is Reason.UNSUBSCRIBED

    async def test_marks_pauses_and_breakers(self, store: Store) -> None:
        await store.add_messages([row(1)])
        (claimed,) = await store.claim_messages(1, LEASE, NOW)
        flood, repeat = FloodMark(1, "mail", NOW, 5), RepeatMark(1, "mail", "k", NOW)
        await store.record_plans([Plan(claimed.message, claimed.fence)], [flood], [repeat], NOW)
        assert await store.flood_marks([(1, "mail")], [(1, "mail", "k")]) == ({(1, "mail"): flood}, {(1, "mail", "k"): repeat})
        await store.pause_agent("mail", True)
        assert await store.paused_agents() == {"mail"}
        await store.pause_agent("mail", False)
        assert await store.paused_agents() == frozenset()
        breaker = Breaker(5, NOW, NOW + MINUTE)
        await store.put_breakers({"mail:x": breaker, "mail:y": Breaker()})
        assert await store.breakers() == {"mail:x": breaker}

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

    async def test_who_was_here_last_comes_first(self, store: Store) -> None:
        """Who has several sessions is named once, by the last that was used; sessions that are over do not count."""
        people = {login: await store.put_person(Person(person_id=0, login=login)) for login in ("alice", "bob", "carol")}
        for login, secret, seen, ends in (("alice", "a", 1, 9), ("alice", "b", 4, 9), ("bob", "c", 3, 9), ("carol", "d", 5, 5)):
            person_id, seen_at, ends_at = people[login].person_id, NOW + seen * MINUTE, NOW + ends * MINUTE
            await store.open_session(Session(person_id=person_id, created_at=NOW, seen_at=seen_at, ends_at=ends_at), secret)
        wanted = [people[login].person_id for login in ("alice", "bob")]
        assert await store.last_here(NOW + 6 * MINUTE, 10) == wanted
        assert await store.last_here(NOW + 6 * MINUTE, 1) == wanted[:1]

    async def test_identities_at_providers(self, store: Store) -> None:
        alice = await store.put_person(Person(person_id=0, login="alice"))
        bob = await store.put_person(Person(person_id=0, login="bob"))
        await store.link_identity("https://b", "1", alice.person_id)
        await store.link_identity("https://a", "2", alice.person_id)
        await store.link_identity("https://a", "2", bob.person_id)
        assert await store.identities(alice.person_id) == [("https://a", "2"), ("https://b", "1")]
        assert await store.identities(bob.person_id) == []
        assert await store.person_of_identity("https://a", "2") == alice
        assert await store.person_of_identity("https://a", "1") is None
        ways: dict[str, Any] = {"opening": ["https://a", "https://b"], "has_passwords": True}
        assert not await store.unlink_identity("https://a", "2", bob.person_id, **ways)
        assert not await store.unlink_identity("https://a", "1", alice.person_id, **ways)
        for provider, secret in (("https://a", "sa"), ("https://b", "sb"), ("", "sp")):
            session = Session(person_id=alice.person_id, provider=provider, created_at=NOW, seen_at=NOW, ends_at=NOW + MINUTE)
            await store.open_session(session, secret)
        assert await store.unlink_identity("https://b", "1", alice.person_id, **ways)
        assert {session.provider for session in await store.list_sessions(alice.person_id, NOW)} == {"https://a", ""}
        with pytest.raises(Conflict):
            await store.unlink_identity("https://a", "2", alice.person_id, **ways)
        assert await store.identities(alice.person_id) == [("https://a", "2")]
        await store.put_password(alice.person_id, "hash", NOW)
        with pytest.raises(Conflict):
            await store.unlink_identity("https://a", "2", alice.person_id, opening=["https://a"], has_passwords=False)
        assert await store.unlink_identity("https://a", "2", alice.person_id, **ways)
        await store.put_password(alice.person_id, None, NOW)
        await store.link_identity("https://gone", "3", alice.person_id)
        assert await store.unlink_identity("https://gone", "3", alice.person_id, **ways), "it opened nothing"
        await store.link_identity("https://a", "2", alice.person_id)
        await store.link_identity("https://b", "1", alice.person_id)
        removals = [store.unlink_identity(*one, alice.person_id, **ways) for one in (("https://a", "2"), ("https://b", "1"))]
        made = await asyncio.gather(*removals, return_exceptions=True)
        assert sorted(isinstance(one, Conflict) for one in made) == [False, True], "one of two at once leaves the other"
        assert len(await store.identities(alice.person_id)) == 1
        feed = await store.add_feed(Feed(person_id=alice.person_id, title="T", query={}, created_at=NOW), "secret")
        assert await store.feed("secret") == feed
        await store.put_person(replace(alice, is_active=False))
        assert await store.feed("secret") is None

    async def test_what_was_sent_is_found_by_its_receipt_and_its_thread(self, store: Store) -> None:
        traces = [
            Trace("$1", "x", "$1", "job", is_progress=True),
            Trace("$1", "x", "$1", "job", is_progress=True),  # edited in place: one receipt for both
            Trace("$3", "x", "$1", "job"),
            Trace("", "y"),
        ]
        for number, trace in enumerate(traces, 1):
            await planned(store, number, [replace(delivery(number * 10, number), address_id=7)])
            (claimed,) = await store.claim_deliveries(["mail"], 10, LEASE, NOW)
            done = Settlement(claimed.delivery_id, claimed.fence, State.DELIVERED, Reason.CHOSEN, error=trace.receipt, trace=trace)
            assert await store.settle([replace(done, fence=99)], NOW) == 0
            assert number == 2 or await store.deliveries_by_receipt("mail", [trace.receipt]) == []  # an old fence keeps nothing
            assert await store.settle([done], NOW) == 1
            if number == 2:
                assert await store.traces({(7, "x", "job"), (7, "", ""), (8, "x", "job"), (7, "job", "x")}) == {
                    (7, "x", "job"): (trace, trace), (7, "", ""): (None, None), (8, "x", "job"): (None, None), (7, "job", "x"): (None, None),
                }  # fmt: skip
        assert [d.delivery_id for d in await store.deliveries_by_receipt("mail", ["$1", "$3", "$9", "bad\x00"])] == [10, 20, 30]
        assert await store.deliveries_by_receipt("chat", ["$1"]) == await store.deliveries_by_receipt("mail", [""]) == []
        assert (await store.traces({(7, "x", "job")}))[7, "x", "job"] == (traces[2], traces[2])
        later = NOW + timedelta(days=200)
        while await store.purge(later, timedelta(days=90), 100):
            pass
        assert await store.deliveries_by_receipt("mail", ["$1"]) == []
        assert (await store.traces({(7, "x", "job")}))[7, "x", "job"] == (None, None)

    async def test_one_letter_begins_a_thread_at_an_address(self, store: Store) -> None:
        for number in range(1, 6):
            await planned(store, number, [replace(delivery(number * 10, number), address_id=7)])
        claimed = {one.delivery_id: one for one in await store.claim_deliveries(["mail"], 10, LEASE, NOW)}
        asking = [store.claim_roots([(number, 7, "x"), (number + 30, 8, f"of {number}")]) for number in (10, 20)]
        given = [found for one in await asyncio.gather(*asking) for found in one]
        assert sorted(given) in ([10, 40, 50], [20, 40, 50]), "of two that ask at once one may; another address is another thread"
        first = min(given)
        second, third = 30 - first, 30
        assert await store.claim_roots([(first, 7, "x")]) == {first}, "who has the word keeps it"
        assert await store.claim_roots([(second, 7, "x"), (third, 7, "y\x00")]) == {third}
        assert (await store.traces({(7, "x", "")}))[7, "x", ""] == (None, None), "nothing is there yet"
        assert await store.deliveries_by_receipt("mail", [""]) == []
        failed = Settlement(first, claimed[first].fence, State.DUE, Reason.CHOSEN, NOW + MINUTE)
        await store.settle([failed], NOW)
        assert await store.claim_roots([(second, 7, "x")]) == {second}, "what failed begins nothing"
        trace = Trace("$2", "x", "$2")
        await store.settle([Settlement(second, claimed[second].fence, State.DELIVERED, Reason.CHOSEN, trace=trace)], NOW)
        assert await store.claim_roots([(third, 7, "x")]) == await store.claim_roots([]) == set(), "it has begun"
        assert (await store.traces({(7, "x", "")}))[7, "x", ""][0] == trace

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

    async def test_the_site_its_sources_and_tokens(self, store: Store) -> None:
        assert await store.site() == ({}, 0)
        assert await store.versions() == (0, (await store.people_changed_since(-1))[0])
        assert await store.put_site({"preferences": {}}) == 1
        assert (await store.versions())[0] == 1
        with pytest.raises(Conflict):
            await store.put_site({}, expected_version=0)
        source = await store.put_source(Source(name="ci", subtrees=("obs",)))
        assert await store.source("ci") == source
        token = await store.add_token(Token(owner="source:ci", scopes=frozenset({"post"}), created_at=NOW), "hash")
        assert await store.token("hash") == token
        await store.touch_tokens([token.token_id], NOW)
        assert await store.revoke_token(token.token_id)
        revoked = await store.token("hash")
        assert revoked is not None and revoked.is_revoked
        await store.put_type(MessageType(key="a.b", first_seen_at=NOW, last_seen_at=NOW, aliases=("A_B",)))
        assert await store.type_aliases() == {"a_b": "a.b"}
        for is_public in (True, False, None):
            await store.put_type(MessageType(key="p.q", first_seen_at=NOW, last_seen_at=NOW, is_public=is_public))
            assert [entry.is_public for entry in await store.types(["p", "p.q"])] == [None, is_public]
        with pytest.raises(Conflict):
            await store.put_type(MessageType(key="c", first_seen_at=NOW, last_seen_at=NOW, aliases=("a_b",)))
        await store.put_template("k", "text")
        assert await store.templates() == {"k": "text"}
        await store.audit("root", "did", "it", {"x": 1}, NOW)
        assert (await store.audit_log())[0]["action"] == "did"
        assert await store.new_node() != await store.new_node()

    async def test_feeds(self, store: Store) -> None:
        alice = await store.put_person(Person(person_id=0, login="alice"))
        feed = await store.add_feed(Feed(person_id=alice.person_id, title="t", query={"type": "obs"}, created_at=NOW), "h1")
        assert await store.feed("h1") == feed
        assert await store.touch_feed(feed.feed_id, NOW, 5 * MINUTE)
        assert not await store.touch_feed(feed.feed_id, NOW + 5 * MINUTE, 5 * MINUTE)
        assert await store.feed("h1") == replace(feed, last_read_at=NOW)
        assert await store.touch_feed(feed.feed_id, NOW + 6 * MINUTE, 5 * MINUTE)
        assert [one.last_read_at for one in await store.list_feeds(alice.person_id)] == [NOW + 6 * MINUTE]
        assert await store.rotate_feed(alice.person_id, feed.feed_id, "h2")
        assert await store.feed("h1") is None
        assert await store.feed("h2") == feed
        assert not await store.rotate_feed(alice.person_id + 1, feed.feed_id, None)
        assert await store.rotate_feed(alice.person_id, feed.feed_id, None)
        assert await store.list_feeds(alice.person_id) == []
        assert not await store.touch_feed(feed.feed_id, NOW, MINUTE)

    async def test_the_inbox_filters_counts_and_marks(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        await planned(store, 1, [delivery(11, 1, **web)], subject="okular failed", object="KDE/okular", tags=(("arch", "s390x"),))
        await planned(store, 2, [delivery(12, 2, **web)], kind="wiki.change", body="a page")
        await planned(store, 3, [delivery(13, 3, **web)], kind="obs_build", subject="not below obs")

        async def ids(**filters: Any) -> list[int]:
            return [item.delivery_id for item in await store.inbox(1, InboxQuery(**filters))]

        assert await ids() == [13, 12, 11]
        assert await ids(subtree="obs") == [11]
        assert await ids(text="OKULAR") == [11]
        assert await ids(tag="arch=s390x") == [11]
        assert await ids(object_ref="KDE/okular", state="unread") == [11]
        assert await ids(limit=1, before_id=13) == [12]
        assert await ids(is_newest_first=False, after_id=11) == [12, 13]
        assert await store.inbox_counts(1, InboxQuery()) == {"total": 3, "unread": 3}
        assert await store.inbox_counts(1, InboxQuery(), "type") == {"obs.build.fail": 1, "wiki.change": 1, "obs_build": 1}
        assert await store.mark(1, InboxQuery(subtree="obs"), None, "read", NOW) == 1
        assert await store.mark(1, InboxQuery(subtree="obs"), [12], "archive", NOW) == 0
        assert await store.mark(1, InboxQuery(), [12], "archive", NOW) == 1
        assert await store.mark(2, InboxQuery(), [13], "archive", NOW) == 0
        assert await ids() == [13, 11]
        assert await ids(state="archived") == [12]
        assert (await store.inbox_counts(1, InboxQuery()))["unread"] == 1

    async def test_entries_are_snoozed_and_come_back_unread(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number in (1, 2, 3):
            await planned(store, number, [delivery(10 + number, number, **web)])

        async def ids(state: str = "") -> list[int]:
            return [item.delivery_id for item in await store.inbox(1, InboxQuery(state=state))]

        await store.mark(1, InboxQuery(), [11], "read", NOW)
        assert await store.mark(1, InboxQuery(), [11, 12], "snooze", NOW, until=NOW + MINUTE) == 2
        assert await store.mark(2, InboxQuery(), [13], "snooze", NOW, until=NOW + MINUTE) == 0
        assert (await ids(), await ids("unread"), await ids("snoozed"), await ids("all")) == ([13], [13], [12, 11], [13, 12, 11])
        assert await store.mark(1, InboxQuery(state="snoozed"), [12], "snooze", NOW, until=NOW + 2 * MINUTE) == 1
        assert [item.snoozed_until for item in await store.inbox(1, InboxQuery(state="snoozed"))] == [NOW + 2 * MINUTE, NOW + MINUTE]
        assert await store.wake_snoozed(NOW) == frozenset()
        assert await store.wake_snoozed(NOW + MINUTE) == {1} and await store.wake_snoozed(NOW + MINUTE) == frozenset()
        assert (await ids(), await ids("unread"), await ids("back")) == ([13, 11], [13, 11], [11])
        assert (await store.inbox_page(1, InboxQuery())).back == 1
        await store.mark(1, InboxQuery(), [11], "read", NOW)
        assert (await ids("back"), (await store.inbox_page(1, InboxQuery())).back) == ([], 0)
        await store.mark(1, InboxQuery(state="all"), [12], "archive", NOW)
        assert await store.wake_snoozed(NOW + 3 * MINUTE) == frozenset() and await ids("archived") == [12]

    async def test_what_was_read_by_one_agent_is_seen(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number in (1, 2):
            await planned(store, number, [delivery(10 + number, number, **web), delivery(20 + number, number)])
        assert await store.seen({(1, 1), (2, 1)}) == set()
        await store.mark(1, InboxQuery(), [11], "read", NOW)
        assert await store.seen({(1, 1), (2, 1), (1, 2)}) == {(1, 1)}
        await store.mark(1, InboxQuery(), [11], "unread", NOW)
        assert await store.seen({(1, 1)}) == set() == await store.seen(set())

    async def test_what_was_answered_by_any_means_is_seen_and_read(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number in (1, 2, 3):
            await planned(store, number, [delivery(10 + number, number, **web)])
        assert await store.answer(1, [2, 2, 99], "mail", NOW, is_acknowledged=False) == [2]
        assert await store.answer(1, [1, 2], "web", NOW + MINUTE, is_acknowledged=True) == [1, 2]
        assert await store.answer(1, [1, 2], "mail", NOW + 2 * MINUTE, is_acknowledged=True) == []
        assert await store.answer(2, [1], "web", NOW, is_acknowledged=True) == []  # it does not concern her
        assert await store.answer(1, [], "web", NOW, is_acknowledged=True) == []
        assert await store.seen({(1, 1), (2, 1), (3, 1), (1, 2)}) == {(1, 1), (2, 1)}
        assert [item.delivery_id for item in await store.inbox(1, InboxQuery(state="unread"))] == [13]
        assert await store.answers([1, 2, 3]) == {
            1: [Answer(1, 1, NOW + MINUTE, "web", NOW + MINUTE, "web")],
            2: [Answer(2, 1, NOW, "mail", NOW + MINUTE, "web")],
        }

    async def test_of_many_answers_at_once_one_counts(self, store: Store) -> None:
        await planned(store, 1, [delivery(11, 1)])
        told = await asyncio.gather(*(store.answer(1, [1], f"means{n}", NOW, is_acknowledged=True) for n in range(20)))
        assert sorted(map(len, told)) == [0] * 19 + [1]

    async def test_the_inbox_groups_and_pages(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number, about in enumerate(("a", "b", "a", "", "a", ""), 1):
            await planned(store, number, [delivery(10 + number, number, **web)], object=about, kind=f"x.{about or 'none'}")

        async def page(group_by: str = "object", shown: int = 2, **filters: Any) -> tuple[list[tuple[str, list[int]]], bool, bool]:
            found = await store.inbox_page(1, InboxQuery(**filters), group_by, shown)
            return [(group.key, [item.delivery_id for item in group.items]) for group in found.groups], found.has_more, found.has_fewer

        assert await page() == ([("", [16]), ("a", [15, 13]), ("", [14]), ("b", [12])], False, False)
        assert await page(limit=2) == ([("", [16]), ("a", [15, 13])], True, False)
        assert await page(limit=1, before_id=15) == ([("", [14])], True, True)
        assert await page(limit=2, after_id=12) == ([("a", [15, 13]), ("", [14])], True, True)
        assert await page(limit=2, is_newest_first=False, after_id=12) == ([("", [14]), ("", [16])], False, True)
        assert await page("", limit=2, before_id=14) == ([("", [13]), ("", [12])], True, True)
        found = await store.inbox_page(1, InboxQuery(subtree="x.a", min_severity=2))
        assert (found.total, found.unread, found.facets["type"]) == (3, 3, {"x.a": 3, "x.b": 1, "x.none": 2})
        assert found.facets["reason"] == {"to": 3, "role": 3} and found.facets["severity"] == {"normal": 3}
        assert await store.inbox_counts(1, InboxQuery(reason="role:maintainer"), "object") == {"a": 3, "b": 1, "": 2}
        assert (await store.inbox_counts(1, InboxQuery(reason="role:main")))["total"] == 0

    async def test_the_inbox_is_grouped_by_a_tag(self, store: Store) -> None:  # requirement H-35
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        tags = [(("priority", "4"),), (("priority", "1"), ("priority", "4")), (("other", "4"),), (("priority", "4"), ("arch", "x"))]
        for number, some in enumerate(tags, 1):
            await planned(store, number, [delivery(10 + number, number, **web)], tags=some)
        found = await store.inbox_page(1, InboxQuery(), "tag:priority")
        groups = [(group.key, group.total, [item.delivery_id for item in group.items]) for group in found.groups]
        assert groups == [("4", 2, [14, 11]), ("", 1, [13]), ("1", 1, [12])]

    async def test_the_inbox_is_ordered_by_severity_too(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number, severity in enumerate((Severity.HIGH, Severity.LOW, Severity.URGENT, Severity.HIGH, Severity.NORMAL), 1):
            await planned(store, number, [delivery(10 + number, number, **web)], severity=severity, object="a" if number < 4 else "")

        async def page(group_by: str = "", **filters: Any) -> tuple[list[int], bool, bool]:
            found = await store.inbox_page(1, InboxQuery(is_by_severity=True, **filters), group_by)
            return [item.delivery_id for group in found.groups for item in group.items], found.has_more, found.has_fewer

        async def ids(**filters: Any) -> list[int]:
            return [item.delivery_id for item in await store.inbox(1, InboxQuery(is_by_severity=True, **filters))]

        falling = [13, 14, 11, 15, 12]
        for is_newest_first, order, onward, back in ((True, falling, "before_id", "after_id"), (False, falling[::-1], "after_id", "before_id")):
            look: dict[str, Any] = {"is_newest_first": is_newest_first, "limit": 2}
            assert await ids(**look) == order[:2] and await ids(**(look | {onward: order[1]})) == order[2:4]
            assert await page(**look) == (order[:2], True, False)
            assert await page(**(look | {onward: order[1]})) == (order[2:4], True, True)
            assert await page(**(look | {onward: order[3]})) == (order[4:], False, True)
            assert await page(**(look | {back: order[4]})) == (order[2:4], True, True)
        one: dict[str, Any] = {"limit": 1}
        assert await page("object", **one) == ([13, 11, 12], True, False)
        assert await page("object", before_id=13) == ([14, 15], False, True)
        assert await ids(min_severity=Severity.HIGH, state="unread") == [13, 14, 11]
        assert await store.mark(1, InboxQuery(is_by_severity=True, before_id=14), None, "read", NOW) == 3
        assert await ids(state="unread", before_id=11) == []  # a cursor that left the view still has its place
        assert (await store.inbox_counts(1, InboxQuery(is_by_severity=True, after_id=14)))["total"] == 1
        for cursor in (99, 0):
            with pytest.raises(InvalidInput):
                await ids(before_id=cursor)

    async def test_the_inbox_finds_texts_as_readers_mean_them(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        texts = ('say "hi" \\ there', "Stra\u00dfe", "line one\nline two", "\u041f\u0440\u0438\u0432\u0435\u0442", "plain")
        for number, text in enumerate(texts, 1):
            await planned(store, number, [delivery(10 + number, number, **web)], body=text, params={"k": "only-in-data"})

        async def ids(text: str) -> list[int]:
            return [item.delivery_id for item in await store.inbox(1, InboxQuery(text=text))]

        for text, expected in {
            '"HI" \\': [11], "STRASSE": [12], "stra\u00dfe": [12], "one\nLINE": [13], "\u043f\u0440\u0438": [14], "Plain": [15],
            "only-in-data": [], "%": [],
        }.items():  # fmt: skip
            assert await ids(text) == expected, text
            assert await ids(text) == expected, text  # as remembered

    async def test_the_inbox_shows_restricted_ones_to_their_readers(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        await planned(store, 1, [delivery(11, 1, **web)], is_restricted=True, access=("group:qa",))
        await planned(store, 2, [delivery(12, 2, **web)], is_restricted=True, recipients=(Recipient("alice"),))
        await planned(store, 3, [delivery(13, 3, **web)])
        for principals, expected in ((None, [13, 12, 11]), ({"alice"}, [13, 12]), ({"bob", "group:qa"}, [13, 11]), (set[str](), [13])):
            seen_by = None if principals is None else frozenset(principals)
            assert [item.delivery_id for item in await store.inbox(1, InboxQuery(seen_by=seen_by))] == expected
            assert [(await store.inbox_entry(1, number, seen_by)) is not None for number in (13, 12, 11)] == [n in expected for n in (13, 12, 11)]
        assert await store.inbox_entry(2, 13) is None

    async def test_marks_are_taken_back_as_a_whole_and_only_the_last(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number in (1, 2, 3):
            await planned(store, number, [delivery(10 + number, number, **web)])
        stamps = {await store.inbox_stamp(1)}

        async def read() -> list[int]:
            return [item.delivery_id for item in await store.inbox(1, InboxQuery(state="read"))]

        assert await store.mark(1, InboxQuery(), [11], "read", NOW) == 1
        stamps.add(await store.inbox_stamp(1))
        assert await store.mark(1, InboxQuery(), None, "read", NOW + MINUTE) == 2
        assert await store.undo_mark(1, NOW, NOW) is None and await store.undo_mark(2, NOW + MINUTE, NOW) is None
        assert await store.mark(1, InboxQuery(), [11], "archive", NOW + 2 * MINUTE, is_undoable=False) == 1
        assert await store.undo_mark(1, NOW + MINUTE, NOW) == 2 and await read() == []
        assert await store.undo_mark(1, NOW + MINUTE, NOW) is None
        stamps.add(await store.inbox_stamp(1))
        assert len(stamps) == 3
        assert [item.delivery_id for item in await store.inbox(1, InboxQuery(state="all"))] == [13, 12, 11]
        with pytest.raises(ValueError, match="odd"):
            await store.mark(1, InboxQuery(), None, "odd", NOW)

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

    async def test_a_bad_row_refuses_only_whoever_brought_it(self, store: Store) -> None:
        await store.add_messages([row(1)])
        rows = [row(1), *(row(number) for number in range(10, 15)), row(20)._replace(payload='{"type":"a","subject":"\ud800"}')]
        answers = await asyncio.gather(*(store.add_messages([one]) for one in rows), return_exceptions=True)
        assert [isinstance(answer, AngeliaError) for answer in answers] == [True, *[False] * 5, True]
        assert set(await store.messages(range(30))) == {1, 10, 11, 12, 13, 14}

    async def test_a_type_is_known_only_once_it_is_committed(self, store: Store) -> None:
        await store.add_messages([row(1, kind="x.one")])
        answers = await asyncio.gather(store.add_messages([row(1, kind="x.two")]), return_exceptions=True)
        assert isinstance(answers[0], AngeliaError)
        await store.add_messages([row(2, kind="x.two")])
        assert "x.two" in {entry.key for entry in await store.types()}

    async def test_many_keys_and_many_parked_at_once(self, store: Store) -> None:
        rows = [row(number, f"key{number}") for number in range(1, 3001)]
        assert {receipt.taken for receipt in await store.add_messages(rows)} == {Taken.NEW}
        assert {receipt.taken for receipt in await store.add_messages(rows)} == {Taken.REPEAT}
        assert await store.unpark_messages(range(40_000)) == 0

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

    async def test_each_change_of_a_template_is_a_version(self, store: Store) -> None:
        for source in ("one", "two", "two", None, None, "one"):
            await store.put_template("k", source, "person:alice", NOW)
        await store.put_template("other", "x", "person:bob", NOW)
        found = await store.template_versions("k")
        assert [(one.source, one.actor, one.at) for one in found] == [(s, "person:alice", NOW) for s in ("one", None, "two", "one")]
        assert len({one.version for one in found}) == 4
        assert await store.templates() == {"k": "one", "other": "x"}
        assert [one.source for one in await store.template_versions("k", 1)] == ["one"]

    async def test_the_audit_log_is_filtered(self, store: Store) -> None:
        for actor, action in (("a", "token.add"), ("b", "token.add"), ("a", "token.revoke"), ("a", "tokens"), ("a", "site.put")):
            await store.audit(actor, action, "x", {}, NOW)
        assert [item["action"] for item in await store.audit_log(actor="a")] == ["site.put", "tokens", "token.revoke", "token.add"]
        assert [item["actor"] for item in await store.audit_log(action="token.add")] == ["b", "a"]
        found = await store.audit_log(action="token.", actor="a")
        assert [item["action"] for item in found] == ["token.revoke", "token.add"]
        assert [item["action"] for item in await store.audit_log(int(str(found[0]["id"])), 1, action="token.")] == ["token.add"]

    async def test_what_is_overdue_and_what_failed_before(self, store: Store) -> None:
        made = [delivery(11 + n, 1, due_at=NOW - n * MINUTE, person_id=1 + n) for n in range(3)]
        await planned(store, 1, made)
        assert await store.overdue(["mail", "web"], NOW, (timedelta(0), MINUTE)) == {"mail": (2, 1), "web": (0, 0)}
        assert await store.retries(["mail"], 10) == []
        (claimed,) = await store.claim_deliveries(["mail"], 1, LEASE, NOW)
        await store.settle([Settlement(claimed.delivery_id, claimed.fence, State.DUE, Reason.CHOSEN, NOW, "not now")], NOW)
        (again,) = await store.retries(["web", "mail"], 10)
        assert (again.delivery_id, again.attempts, again.last_error) == (13, 1, "not now")

    async def test_people_and_objects_are_found_by_a_part(self, store: Store) -> None:
        for login, name in (("alice", "Alice A"), ("bob", "B%b"), ("carol", "CAROL a")):
            await store.put_person(Person(person_id=0, login=login, name=name))
        await store.put_group(Group(group_id=0, name="carols", members=("alice",)))
        await store.put_person(Person(person_id=0, login="public:cars"))
        assert [person.login for person in await store.find_people("cAr")] == ["carol"]
        assert [person.login for person in await store.find_people("%")] == ["bob"]
        assert [person.login for person in await store.find_people("a", "alice", 1)] == ["carol"]
        for ref in ("KDE/okular", "KDE/kate", "x_y"):
            await store.put_relations(ref, {"maintainer": ["alice"], "reviewer": ["bob"]})
        assert await store.objects() == ["KDE/kate", "KDE/okular", "x_y"]
        assert await store.objects("kde", "KDE/kate") == ["KDE/okular"]
        assert await store.objects("_", limit=5) == ["x_y"]

    async def test_traffic_is_counted_where_it_came(self, store: Store) -> None:
        early, late = first_id(NOW), first_id(NOW + timedelta(hours=1))
        for number, kind in ((early + 1, "a.b"), (early + 3, "a.c"), (late + 1, "a.b")):
            await planned(store, number, [delivery(number + 1, number, "web", State.DELIVERED, person_id=number % 5 + 1)], kind=kind)
        (quiet, first, second) = await store.traffic([NOW - timedelta(hours=1), NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=2)])
        assert (quiet.messages, quiet.deliveries, quiet.people) == ({}, {}, frozenset())
        assert first.messages == {("a.b", "ci"): 1, ("a.c", "ci"): 1}
        assert (first.deliveries, second.deliveries) == ({("web", State.DELIVERED): 2}, {("web", State.DELIVERED): 1})
        assert (len(first.people), len(second.people)) == (2, 1)

    async def test_a_sample_of_the_traffic_comes_near(self, store: Store) -> None:
        every = timedelta(seconds=2)
        await store.add_messages([row(first_id(NOW + n * every), at=NOW) for n in range(1_800)])
        (sampled,) = await store.traffic([NOW, NOW + timedelta(hours=1)], 5)
        assert 1_200 <= sampled.messages["obs.build.fail", "ci"] <= 2_400
        assert await store.traffic([NOW, NOW + timedelta(hours=1)], 5) == [sampled]

    async def test_accounts_are_counted(self, store: Store) -> None:
        alice = await store.put_person(Person(person_id=0, login="alice"))
        await store.put_person(Person(person_id=0, login="bob", is_active=False))
        await store.put_group(Group(group_id=0, name="qa", members=("alice",)))
        assert await store.seen_since(NOW) == (2, 1, 0)
        for secret in ("one", "two"):
            await store.open_session(Session(person_id=alice.person_id, created_at=NOW, seen_at=NOW, ends_at=NOW + LEASE), secret)
        assert await store.seen_since(NOW) == (2, 1, 1)
        assert await store.seen_since(NOW + MINUTE) == (2, 1, 0)
