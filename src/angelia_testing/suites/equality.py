"""Two stores under the same random operations: every answer is equal. Subclass `EqualitySuite`, give a fixture `stores` (a pair, opened, empty)."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from angelia.model.delivery import Delivery, Reason, State
from angelia.model.message import Message, Severity
from angelia.model.moments import to_us
from angelia.model.payload import payload_of
from angelia.model.person import Person
from angelia.planning.decision import Decision, Verdict
from angelia.store import ClaimedMessage, InboxQuery, LedgerRow, NewMessage, Plan, Settlement, Store

START = datetime(2026, 11, 24, 9, tzinfo=UTC)
LEASE = timedelta(seconds=20)
STEPS = 120


class Script:
    """Random operations from a seed; the same seed does the same on any store."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.chance, self.now, self.number = store, random.Random(seed), START, 0
        self.claimed: list[ClaimedMessage] = []
        self.sending: list[Delivery] = []

    async def step(self) -> Any:
        self.now += timedelta(seconds=self.chance.randrange(15))
        return await self.chance.choice((self.add, self.claim, self.plan, self.send, self.settle, self.look, self.tidy, self.mark))()

    async def add(self) -> Any:
        rows = []
        for _ in range(self.chance.randrange(1, 4)):
            self.number += 1
            kind, key = self.chance.choice(("a.b", "a.c", "ab")), self.chance.choice((None, "k1", "k2", f"k{self.number}"))
            message = Message(message_id=self.number, source="s", type=kind, received_at=self.now, occurred_at=self.now, subject=key or "",
                              severity=self.chance.choice(tuple(Severity)))  # fmt: skip
            fingerprint = self.chance.choice((b"1", b"2")) if key else b""
            rows.append(NewMessage(self.number, "s", kind, to_us(self.now), payload_of(message), key, fingerprint))
        return await self.store.add_messages(rows)

    async def claim(self) -> Any:
        found = await self.store.claim_messages(self.chance.randrange(1, 4), LEASE, self.now)
        self.claimed += found
        return found

    async def plan(self) -> Any:
        if not self.claimed:
            return None
        item = self.claimed.pop(self.chance.randrange(len(self.claimed)))
        key = item.message.message_id
        if self.chance.random() < 0.2:
            return await self.store.postpone_message(key, item.fence, self.now + LEASE, "later")
        deliveries: list[Delivery] = []
        ledger: list[LedgerRow] = []
        for person_id in (1, 2):
            decisions = []
            for agent, state in (("web", State.DELIVERED), ("mail", self.chance.choice((State.DUE, State.HELD)))):
                self.number += 1
                ended = self.now if state is State.DELIVERED else None
                made = Delivery(delivery_id=10_000 + self.number, person_id=person_id, agent=agent, address_id=0, state=state,
                                due_at=self.now + timedelta(seconds=self.chance.randrange(60)), message_id=key,
                                schedule="daily" if state is State.HELD else "", ended_at=ended)  # fmt: skip
                deliveries.append(made)
                decisions.append(Decision(agent, Verdict.NOW, Reason.CHOSEN, "site:*"))
            ledger.append(LedgerRow(key, person_id, ("to",), tuple(decisions), self.now))
        return await self.store.record_plans([Plan(item.message, item.fence, ledger, deliveries)], [], [], self.now)

    async def send(self) -> Any:
        found = await self.store.claim_deliveries(["mail", "web"], self.chance.randrange(1, 5), LEASE, self.now)
        self.sending += found
        return found

    async def settle(self) -> Any:
        chosen = [self.sending.pop() for _ in range(min(len(self.sending), self.chance.randrange(1, 4)))]
        made = []
        for one in chosen:
            state = self.chance.choice((State.DELIVERED, State.DUE, State.BOUNCED, State.DEAD))
            due = self.now + LEASE if state is State.DUE else None
            made.append(Settlement(one.delivery_id, one.fence, state, Reason.CHOSEN, due, "why", self.chance.random() < 0.5))
        return await self.store.settle(made, self.now) if made else None

    async def look(self) -> Any:
        store, query = (
            self.store,
            InboxQuery(
                subtree=self.chance.choice(("", "a")), state=self.chance.choice(("", "unread", "archived")), is_by_severity=self.chance.random() < 0.5
            ),
        )
        return (
            await store.conservation(), await store.backlog(), await store.due_slots(self.now, 10), await store.inbox(1, query),
            await store.inbox_counts(2, query, "type"), await store.list_messages(person_id=1, subtree="a"), await store.user_types(1),
            await store.next_due_at(["mail"], self.now), await store.history(2, START, 5),
        )  # fmt: skip

    async def tidy(self) -> Any:
        back = await self.store.requeue_expired_leases(self.now)
        dead = await self.store.list_deliveries(states=[State.DEAD, State.BOUNCED])
        replayed = await self.store.replay([one.delivery_id for one in dead[:2]], self.now)
        return back, dead, replayed, await self.store.check()

    async def mark(self) -> Any:
        change = self.chance.choice(("read", "unread", "archive", "unarchive"))
        return await self.store.mark(1, InboxQuery(subtree=self.chance.choice(("", "ab"))), None, change, self.now)


class EqualitySuite:
    """No store may answer otherwise than the other."""

    @pytest.mark.parametrize("seed", range(6))
    async def test_the_same_operations_give_the_same_answers(self, stores: tuple[Store, Store], seed: int) -> None:
        for store in stores:
            for login in ("alice", "bob"):
                await store.put_person(Person(person_id=0, login=login))
        scripts = [Script(store, seed) for store in stores]
        for number in range(STEPS):
            one, two = await asyncio.gather(*(script.step() for script in scripts))
            assert one == two, f"seed {seed}, step {number}: {one!r:.500} and {two!r:.500}"
