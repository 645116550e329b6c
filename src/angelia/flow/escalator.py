"""Due escalations -> the next step: another agent, another person; until somebody answers, or the chain is over and the last resort is told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from angelia import telemetry, tracing
from angelia.flow.fallbacks import successor
from angelia.flow.intake import Intake
from angelia.flow.planner import standing_of
from angelia.flow.profiles import People
from angelia.flow.voice import Voice
from angelia.model.delivery import Delivery, Reason, State
from angelia.model.errors import StoreUnavailable
from angelia.model.message import Message, Recipient
from angelia.model.person import Address
from angelia.planning.decision import Decision, Profile, Resolution, Verdict
from angelia.planning.escalation import PREFIX, remaining, target_of
from angelia.planning.estimate import roles_in
from angelia.planning.fallback import PULL
from angelia.planning.resolve import judged, resolve
from angelia.store import DueEscalation, LedgerRow, Step, Store, Successor

BATCH = 100
LEASE = timedelta(seconds=30)
_AT_ONCE = frozenset({Verdict.NOW, Verdict.DEFERRED})
_WAITS = frozenset({State.HELD, State.DUE})


@dataclass(slots=True)
class _Told:
    """Whom one step tells."""

    own: list[Successor] = field(default_factory=list)
    others: list[tuple[LedgerRow, Sequence[Delivery]]] = field(default_factory=list)

    @property
    def is_anybody(self) -> bool:
        return bool(self.own or self.others)


class Escalator:
    """The stage that goes on with what nobody answers. Two may work on one message: the store lets one of them write."""

    name = "escalator"

    def __init__(self, store: Store, people: People, intake: Intake, wake: Callable[[], None], entered: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._people = people
        self._new_id = intake.new_id
        self._voice = Voice(intake.accept)
        self._wake = wake
        self._entered = entered  # what is read in an inbox is there from now on

    def is_restless(self) -> bool:
        """All that waits is in the store."""
        return False

    async def drain(self) -> None:
        """Nothing is in hand between turns."""

    async def turn(self, now: datetime) -> int:
        """Go on with those whose time has come."""
        due = await self._store.due_escalations(BATCH, LEASE, now)
        if not due:
            return 0
        await self._people.refresh()
        messages = await self._store.messages({one.message_id for one in due})
        for one in due:
            if one.ending:
                telemetry.escalations.labels(one.ending).inc()
                continue
            try:
                with tracing.span("escalate", message_id=one.message_id, step=one.step):
                    result = await self._go_on(one, messages.get(one.message_id), now)
            except StoreUnavailable:
                raise
            except Exception:  # noqa: BLE001 - one that can't go on must not hold up the others; its lease brings it back
                telemetry.stage_failures.labels(self.name).inc()
                telemetry.log.exception("escalation_failed", message_id=one.message_id, person_id=one.person_id, step=one.step)
                continue
            telemetry.escalations.labels(result).inc()
        self._wake()
        self._entered()
        return len(due)

    async def _go_on(self, due: DueEscalation, message: Message | None, now: datetime) -> str:
        if message is None or (message.expires_at is not None and message.expires_at <= now):
            return await self._store.record_step(Step(due, due.step, now, ending="expired"), now)
        for place, target in remaining(due.chain, due.step):
            told = await self._told(due, message, place, target, now)
            if told.is_anybody:
                return await self._store.record_step(Step(due, place + 1, now + due.chain.after, told.own, told.others), now)
        # Said first: if we die between the two, it is said again, and is a repeat.
        await self._say_it_is_over(due, message, now)
        return await self._store.record_step(Step(due, len(due.chain.to), now, ending="over"), now)

    async def _told(self, due: DueEscalation, message: Message, place: int, target: str, now: datetime) -> _Told:
        """Nobody, where the step is not possible, not wanted, or was told before: then the next one is taken at once."""
        kind, name = target_of(target)
        if kind == "agent":
            return _Told(own=await self._by_agent(due, message, place, name, now))
        return _Told(others=await self._to_others(due, message, place, name if kind == "person" else target, now))

    async def _by_agent(self, due: DueEscalation, message: Message, place: int, agent: str, now: datetime) -> list[Successor]:
        known = (await self._people.profiles([due.person_id])).get(due.person_id)
        row = await self._store.ledger_row(due.message_id, due.person_id)
        if known is None or row is None:
            return []
        trail = await self._store.trail(due.message_id, due.person_id)
        if any(one.agent == agent and one.message_id is not None and one.state not in _WAITS for one in trail):
            return []
        profile, addresses = known
        said = Decision(agent, Verdict.NOW, Reason.ESCALATED, f"{PREFIX}{place + 1}")
        standing = standing_of(message, profile, roles_in(row.because), {})
        decisions = judged(message, profile, standing, self._people.site, now, [agent], said, is_own=True)
        made = [self._successor(message, profile, addresses, one, now) for one in decisions if one.verdict in _AT_ONCE]
        return [one for one in made if one is not None]

    async def _to_others(
        self, due: DueEscalation, message: Message, place: int, principal: str, now: datetime
    ) -> list[tuple[LedgerRow, Sequence[Delivery]]]:
        recipient = Recipient(principal)
        ids = set((await self._store.person_ids([principal])).values())
        if recipient.group is not None:
            ids |= (await self._store.group_members([recipient.group])).get(recipient.group, frozenset())
        knows = await self._store.ledger_of({(due.message_id, person_id) for person_id in ids})
        profiles = await self._people.profiles({*ids, due.person_id})
        asker = profiles[due.person_id][0].person.login if due.person_id in profiles else "?"
        # Asked as if the sender had named her; but what she may see, only the sender's own word says.
        named = replace(message, recipients=(*message.recipients, recipient))
        found: list[tuple[LedgerRow, Sequence[Delivery]]] = []
        for person_id, (profile, addresses) in profiles.items():
            if person_id not in ids or (due.message_id, person_id) in knows:
                continue
            resolution = resolve(named, profile, standing_of(message, profile, (), {}), self._people.site, now)
            made = self._candidate(message, profile, addresses, resolution, place, now) if resolution is not None else []
            if any(one.delivery.agent not in PULL or not profile.reachable - PULL for one in made):
                decisions = tuple(one.decision for one in made)
                row = LedgerRow(due.message_id, person_id, (f"escalated:{asker}",), decisions, now)
                found.append((row, [one.delivery for one in made]))
        return found

    def _candidate(
        self, message: Message, profile: Profile, addresses: Sequence[Address], resolution: Resolution, place: int, now: datetime
    ) -> list[Successor]:
        """All her ways at once: a digest would come too late. What she switched off stays off."""
        made = []
        for decision in resolution.decisions:
            if decision.verdict is Verdict.DIGEST:
                decision = replace(decision, verdict=Verdict.NOW, due_at=None, schedule="", form="full")
            if decision.verdict in _AT_ONCE:
                reason = Reason.ESCALATED if decision.verdict is Verdict.NOW else decision.reason
                told = replace(decision, reason=reason, decided_by=f"{PREFIX}{place + 1}")
                made.append(self._successor(message, profile, addresses, told, now))
        return [one for one in made if one is not None]

    def _successor(self, message: Message, profile: Profile, addresses: Sequence[Address], decision: Decision, now: datetime) -> Successor | None:
        return successor(self._new_id(), message, profile, addresses, decision, now)

    async def _say_it_is_over(self, due: DueEscalation, message: Message, now: datetime) -> None:
        known = (await self._people.profiles([due.person_id])).get(due.person_id)
        login = known[0].person.login if known is not None else ""
        telemetry.log.warning("nobody_answered", message_id=due.message_id, login=login)
        if self._people.site.last_resort:
            await self._voice.nobody_answered(self._people.site.last_resort, login, message, due.chain.to, now)
