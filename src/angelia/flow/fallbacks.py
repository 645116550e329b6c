"""A failure -> the ways on: which agents may stand in for one that did not reach her, judged by today's wishes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from angelia.flow.outbox import address_id_of
from angelia.flow.planner import standing_of
from angelia.flow.profiles import People
from angelia.model.delivery import Delivery, Reason, State
from angelia.model.message import Message, Severity
from angelia.model.person import Address
from angelia.planning.decision import Decision, Profile, Verdict
from angelia.planning.estimate import roles_in
from angelia.planning.fallback import PREFIX, PULL, order_of
from angelia.planning.resolve import judged
from angelia.store import LedgerRow, Store, Successor


class Fallbacks:
    """Offers successors to whoever records a failure; which of them is taken, the store sees when it is recorded."""

    def __init__(self, store: Store, people: People, new_id: Callable[[], int]) -> None:
        self._store = store
        self._people = people
        self._new_id = new_id

    async def after(self, failed: Delivery, now: datetime) -> list[Successor]:
        """What may stand in for a delivery that failed; for a digest, for each of its items."""
        known = (await self._people.profiles([failed.person_id])).get(failed.person_id)
        if known is None or not order_of(known[0].wants, self._people.site).agents:
            return []
        is_digest = failed.message_id is None
        items = await self._store.digest_items(failed.digest_id or 0) if is_digest else [failed]
        ids = {item.message_id for item in items if item.message_id is not None}
        messages = await self._store.messages(ids)
        ledger = await self._store.ledger_of({(message_id, failed.person_id) for message_id in ids})
        found: list[Successor] = []
        for message in messages.values():
            row = ledger.get((message.message_id, failed.person_id))
            if row is not None:
                found += self._of_message(failed, message, row, known, now)
        return found

    def _of_message(
        self, failed: Delivery, message: Message, row: LedgerRow, known: tuple[Profile, tuple[Address, ...]], now: datetime
    ) -> list[Successor]:
        if message.tried_address is not None or (message.expires_at is not None and message.expires_at <= now):
            return []
        (profile, addresses), order = known, order_of(known[0].wants, self._people.site)
        roles = roles_in(row.because)
        said = Decision(failed.agent, Verdict.NOW, Reason.FALLBACK, PREFIX + failed.agent)
        agents = [agent for agent in order.agents if agent != failed.agent and agent not in PULL]
        decisions = judged(message, profile, standing_of(message, profile, roles, {}), self._people.site, now, agents, said, is_own=order.is_own)
        schedule = failed.schedule if failed.message_id is None else ""
        made = (successor(self._new_id(), message, profile, addresses, one, now, schedule) for one in decisions)
        return [one for one in made if one is not None]

    async def bounced(self, delivery: Delivery, why: str, now: datetime) -> bool:
        """A report came long after the medium had taken it: the delivery failed after all. False where that is known, or it was another end."""
        await self._people.refresh()
        return await self._store.bounce(delivery.delivery_id, why, await self.after(delivery, now), now)


def successor(
    delivery_id: int,
    message: Message,
    profile: Profile,
    addresses: Sequence[Address],
    decision: Decision,
    now: datetime,
    schedule: str = "",
) -> Successor | None:
    """The delivery of a decision, None where it is not to be or has no address. What was in a digest goes into one again: `schedule`."""
    address_id = address_id_of(addresses, decision, PULL)
    if not decision.verdict.is_delivery or address_id is None:
        return None
    if schedule and decision.verdict in (Verdict.NOW, Verdict.DEFERRED):
        decision = replace(decision, verdict=Verdict.DIGEST, due_at=decision.due_at or now, schedule=schedule, form="short")
    is_held = decision.verdict in (Verdict.DIGEST, Verdict.HELD)
    delivery = Delivery(
        delivery_id=delivery_id,
        person_id=profile.person.person_id,
        agent=decision.agent,
        address_id=address_id,
        state=State.HELD if is_held else State.DUE,
        due_at=decision.due_at or now,
        message_id=message.message_id,
        schedule=decision.schedule if is_held else "",
        form=decision.form,
        reason=decision.reason,
        is_locked=decision.is_locked,
        is_urgent=message.severity >= Severity.URGENT,
    )
    return Successor(delivery, decision)
