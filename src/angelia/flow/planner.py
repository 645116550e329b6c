"""Accepted messages -> deliveries: gather the facts, let `resolve` decide for each candidate, record ledger and deliveries at once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import inf
from time import monotonic
from types import TracebackType
from typing import Self, TypeVar

from angelia import telemetry, tracing
from angelia.directory import Directory, Failed, Members
from angelia.flow.handover import LEASE, LONGEST_PROMISE, PLANNING, Born, HandOver
from angelia.flow.intake import MESSAGES, Intake
from angelia.flow.outbox import Candidacy, Chunk, Outbox, Patience
from angelia.flow.profiles import People, group_agents
from angelia.flow.rights import is_open_to, names_of
from angelia.flow.voice import Voice
from angelia.model.errors import StoreUnavailable
from angelia.model.expectation import Sign, SignKind
from angelia.model.message import Message
from angelia.model.payload import message_of
from angelia.model.person import Address, AddressState
from angelia.planning.decision import Profile, Resolution, Standing
from angelia.planning.defaults import filled
from angelia.planning.following import places_of
from angelia.planning.resolve import Alike
from angelia.store import ClaimedMessage, Plan, Store

T = TypeVar("T")
BATCH = 500
CHUNK = 1_000  # candidates in one transaction: bounds memory, the time that a write takes, and how long the loop decides without a pause
MOST_AHEAD = 0.25  # seconds of one turn in which intake claims what comes for the next
MOST_ATTEMPTS = 5
ASK_AGAIN = timedelta(seconds=30)
MOST_QUESTIONS = 120  # an hour of a relation source that does not answer, then an operator must look


@dataclass(slots=True)
class _Facts:
    """What was read for one batch."""

    ids: Mapping[str, int]
    members: Mapping[str, frozenset[int]]
    groups: Mapping[str, Profile] = field(default_factory=dict)
    relations: dict[str, Members | Failed] = field(default_factory=dict)
    followed: frozenset[str] = frozenset()


class Planner:
    """The stage that turns messages into deliveries."""

    name = "planner"

    def __init__(
        self,
        store: Store,
        people: People,
        directory: Directory,
        intake: Intake,
        wake: Callable[[], None],
        patience: Patience | None = None,
        planned: Callable[[], None] = lambda: None,
        hand_over: HandOver[Born] | None = None,
    ) -> None:
        """`hand_over`: to the relay of this process, where there is one."""
        self._hand_over = hand_over or HandOver(wake)
        self._accepted = intake.hand_over
        self._began = 0.0
        self._now: datetime | None = None
        self._patience = patience
        self._planned = planned  # what is read in an inbox is delivered by that
        self._store = store
        self._people = people
        self._directory = directory
        self._new_ids = intake.new_ids
        self._speak = Voice(intake.accept).overflow
        self._wake = wake

    def is_restless(self) -> bool:
        """All that waits is in the store."""
        return False

    async def drain(self) -> None:
        """What intake claimed for us is planned: others would wait for its lease."""
        await self._accepted.close(LONGEST_PROMISE)
        if self._accepted.has_given and self._now is not None:
            with suppress(StoreUnavailable):  # then its lease brings it back
                await self.turn(self._now)

    async def turn(self, now: datetime) -> int:
        """Plan up to a batch of messages, oldest first."""
        self._began, self._now = monotonic(), now
        claimed = await self._claimed(now)
        if not claimed:
            return 0
        await self._people.refresh()
        facts = await self._facts([item.message for item in claimed])
        planned: list[tuple[ClaimedMessage, Chunk]] = []
        for item in claimed:
            try:
                with tracing.span("plan", message_id=item.message.message_id, type=item.message.type, attempt=item.attempts):
                    last = await self._plan(item, facts, now)
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - one poisonous message must not hold up the others
                await self._fail(item, error, now)
                continue
            if last is not None:
                planned.append((item, last))
        await self._record_all(planned, now)
        return len(claimed)

    async def _claimed(self, now: datetime) -> list[ClaimedMessage]:
        """What intake claimed for us, and what waits in the store. While we know of no more there, intake may go on to claim."""
        given = [row for _, rows in self._accepted.take() for row in rows]
        room = max(1, BATCH - len(given))
        # Asked for though much was given: what waits there is older, and none of what intake goes on to claim may overtake it.
        found = await self._store.claim_messages(room, PLANNING, now)
        if len(found) < room:
            # Who plans for long keeps nothing from the others meanwhile.
            self._accepted.offer({MESSAGES: BATCH}, MOST_AHEAD if found or given else inf)
        if not given:
            return found
        born = [ClaimedMessage(message_of(row.message_id, row.source, row.received_us, row.payload), row.fence, row.attempts) for row in given]
        return sorted(found + born, key=lambda item: item.message.message_id)

    async def _record_all(self, planned: Sequence[tuple[ClaimedMessage, Chunk]], now: datetime) -> None:
        """All in one transaction; where one of them can't be written, each in its own, so that it holds up none of the others."""
        try:
            await self._record([chunk for _, chunk in planned], now)
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 - told of the one that it is
            for item, chunk in planned:
                try:
                    await self._record([chunk], now)
                except StoreUnavailable:
                    raise
                except Exception as error:  # noqa: BLE001
                    await self._fail(item, error, now)

    async def _fail(self, item: ClaimedMessage, error: Exception, now: datetime) -> None:
        telemetry.log.exception("planning_failed", message_id=item.message.message_id, attempts=item.attempts)
        # Whatever is wrong with it, it came.
        if hearing := self._people.listeners.hearing(item.message):
            await self._store.note_signs(dict.fromkeys(hearing, Sign(SignKind.MESSAGE, item.message.received_at)))
        why = f"{type(error).__name__}: {error}"
        if item.attempts >= MOST_ATTEMPTS:
            await self._park(item, why)
        else:
            await self._store.postpone_message(item.message.message_id, item.fence, now + timedelta(seconds=2**item.attempts), why)

    async def _park(self, item: ClaimedMessage, why: str) -> None:
        telemetry.planned.labels("parked").inc()
        telemetry.log.error("message_parked", message_id=item.message.message_id, why=why)
        await self._store.park_message(item.message.message_id, item.fence, why)

    async def _facts(self, messages: Sequence[Message]) -> _Facts:
        names = {recipient.principal for message in messages for recipient in message.recipients}
        groups = {name[6:] for name in names if name.startswith("group:")}
        refs = sorted({message.object for message in messages if message.object})
        places = {place for ref in refs for place in places_of(ref)}
        ids, members, followed, answers = await asyncio.gather(  # all at once: a source that is slow holds a turn up once, not once an object
            self._store.person_ids(names) if names else _nothing({}),
            self._store.group_members(groups) if groups else _nothing({}),
            self._store.followed(places) if places else _nothing(frozenset()),
            asyncio.gather(*(self._relations(ref) for ref in refs)),
        )
        facts = _Facts(ids, members, followed=followed, relations=dict(zip(refs, answers, strict=True)))
        if groups:
            known = await self._people.profiles([key for name, key in facts.ids.items() if name.startswith("group:")])
            own = group_agents(profile for profile, _ in known.values())
            facts.groups = {group: profile for profile, _ in known.values() if (group := profile.person.group) is not None and group in own}
        return facts

    async def _relations(self, ref: str) -> Members | Failed:
        try:
            return await self._directory.relations(ref)
        except Exception as error:  # noqa: BLE001 - a directory's bug is no answer, and must not stop the planning of all
            telemetry.log.exception("directory_failed", directory=self._directory.name, object=ref)
            return Failed(f"{type(error).__name__}: {error}")

    async def _plan(self, item: ClaimedMessage, facts: _Facts, now: datetime) -> Chunk | None:
        """The last chunk of a message, to be written with those of others; a large audience is written chunk by chunk before."""
        # Here and not at intake, which must stay fast and needs to know nothing; and not where messages are read, where each reader would
        # have to know the types, and what was decided would change under the feet of explain when an operator changes a type.
        message = filled(item.message, self._people.defaults)
        is_filled = message is not item.message
        relations = facts.relations.get(message.object, _NOBODY)
        members = relations if isinstance(relations, Members) else _NOBODY
        hearing = self._people.listeners.hearing(item.message)
        chunk = Chunk(message, item.fence, unknown=_unknown(message, facts), is_filled=is_filled, hearing=hearing)
        decide = Alike(message, self._people.site, now)
        own = _own_ways(message, facts, members, decide)
        async with _Ahead() as ahead:
            async for person_ids in self._candidates(message, facts, members):
                for start in range(0, len(person_ids), CHUNK):
                    if len(chunk.candidacies) >= CHUNK:
                        await ahead.start(self._record([chunk], now))
                        chunk = Chunk(message, item.fence, is_filled=is_filled)
                    undecided = await self._undecided(item, person_ids[start : start + CHUNK])
                    chunk.candidacies += await self._decide(message, undecided, members, own, decide)
        if isinstance(relations, Failed):
            await self._ask_again(item, chunk, relations.why, now)
            return None
        telemetry.planned.labels("planned").inc()
        chunk.is_complete = True
        return chunk

    async def _ask_again(self, item: ClaimedMessage, chunk: Chunk, why: str, now: datetime) -> None:
        """A relation source that failed is not one that knows nobody (case B9): serve those whom we know, ask again for the others."""
        await self._record([chunk], now)
        if item.attempts > MOST_QUESTIONS:
            await self._park(item, f"the relation source does not answer: {why}")
            return
        telemetry.planned.labels("postponed").inc()
        await self._store.postpone_message(item.message.message_id, item.fence, now + ASK_AGAIN, why)

    async def _candidates(self, message: Message, facts: _Facts, members: Members) -> AsyncIterator[list[int]]:
        near = {facts.ids[r.principal] for r in message.recipients if r.principal in facts.ids}
        for recipient in message.recipients:
            if recipient.group is not None:
                near |= facts.members.get(recipient.group, frozenset())
        for person_ids in members.by_role.values():
            near |= person_ids
        near |= self._people.with_rules_for(message)
        if near:
            yield sorted(near)
        followed = [place for place in places_of(message.object) if place in facts.followed]
        for place in followed:
            last: int | None = 0
            while last is not None:
                followers = await self._store.followers(place, last, CHUNK)
                yield [person_id for person_id in followers if person_id not in near]
                last = followers[-1] if len(followers) == CHUNK else None
                if len(followed) > 1:  # who follows it and what it is a part of is a candidate once
                    near.update(followers)

    async def _undecided(self, item: ClaimedMessage, person_ids: Collection[int]) -> Collection[int]:
        """Those for whom nothing is decided yet: where it was claimed before, some may be served, and what they got stands."""
        if item.fence == 1:
            return person_ids
        served = await self._store.ledger_of({(item.message.message_id, person_id) for person_id in person_ids})
        return [person_id for person_id in person_ids if (item.message.message_id, person_id) not in served]

    async def _decide(
        self, message: Message, person_ids: Collection[int], members: Members, own: Mapping[str, frozenset[str]], decide: Alike
    ) -> list[Candidacy]:
        candidacies = []
        site_falls_back = bool(self._people.site.fallback)
        # Who stands alike is told alike, without a look at each: a large audience mostly follows, and has no part in it.
        same = _STANDS_BY if message.readers is None and not members.by_role and not own else None
        for profile, addresses in (await self._people.profiles(person_ids)).values():
            standing = same or standing_of(message, profile, roles_of(profile.person.person_id, members), own)
            resolution = decide(profile, standing)
            if resolution is None:
                continue
            if (site_falls_back or profile.wants.fallback) and (lost := _lost(resolution, addresses)):
                resolution = decide(replace(profile, reachable=profile.reachable - lost, kind=0), standing)
            if resolution is not None:
                candidacies.append(Candidacy(message, profile, addresses, resolution))
        return candidacies

    async def _record(self, chunks: Sequence[Chunk], now: datetime) -> None:
        if not chunks:
            return
        outbox = Outbox(self._people.site, self._new_ids, now, self._patience, self._hand_over.promise)
        flood, repeats = await self._store.flood_marks(*outbox.needs(chunks))
        try:
            plans = outbox.plans(chunks, flood, repeats)
            await self._write(plans, outbox, now)
        finally:
            self._hand_over.withdraw(outbox.promised)
        outbox.count()
        self._planned()
        if outbox.is_anything_due:
            self._wake()
        if outbox.notices:
            await self._speak(outbox.notices)

    async def _write(self, plans: Sequence[Plan], outbox: Outbox, now: datetime) -> None:
        if not outbox.born:
            await self._store.record_plans(plans, outbox.flood_marks, outbox.repeat_marks, now)
            return
        ours = await self._store.record_and_claim(plans, outbox.flood_marks, outbox.repeat_marks, LEASE, now)
        given = [born for born in outbox.born if born.delivery.delivery_id in ours]
        self._hand_over.give(given, [born.delivery.agent for born in given], self._began)


async def _nothing(empty: T) -> T:
    """What is known where nothing was asked."""
    return empty


class _Ahead:
    """One chunk is written while the next is decided; never more than one, so memory stays flat. At the end all is written, or it raises."""

    def __init__(self) -> None:
        self._writing: asyncio.Task[None] | None = None

    async def start(self, writing: Coroutine[None, None, None]) -> None:
        """Begin to write, once the one before is written."""
        try:
            await self._finish()
        except BaseException:
            writing.close()
            raise
        self._writing = asyncio.create_task(writing)
        await asyncio.sleep(0)  # it starts now, not when deciding next waits for something

    async def _finish(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            await self._finish()
        elif self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)  # what failed first is what is told


def _lost(resolution: Resolution, addresses: Collection[Address]) -> frozenset[str]:
    """Agents that were to go to addresses by name, none of which is usable: for this message they do not reach her."""
    named: dict[str, list[str]] = {}
    for decision in resolution.decisions:
        if decision.verdict.is_delivery:
            named.setdefault(decision.agent, []).append(decision.address)
    usable = {(address.agent, address.value) for address in addresses if address.state is AddressState.OK}
    return frozenset(agent for agent, values in named.items() if all(value and (agent, value) not in usable for value in values))


_NOBODY = Members({})
_NO_ROLES: frozenset[str] = frozenset()
_STANDS_BY = Standing()


def roles_of(person_id: int, members: Members) -> frozenset[str]:
    """The roles of one person."""
    if not members.by_role:
        return _NO_ROLES
    return frozenset(role for role, person_ids in members.by_role.items() if person_id in person_ids)


def standing_of(message: Message, profile: Profile, roles: Iterable[str], own: Mapping[str, frozenset[str]]) -> Standing:
    """How she stands to a message. A restricted one without a list is for those whom it names; with one, for those on the list."""
    has_access = message.readers is None or is_open_to(message, names_of(profile))
    return Standing(frozenset(roles), has_access, own)


def _own_ways(message: Message, facts: _Facts, members: Members, decide: Alike) -> Mapping[str, frozenset[str]]:
    """By group, the agents that bring it to an address of the group's own: what does not go there, by whatever wish, its members get themselves."""
    ways: dict[str, frozenset[str]] = {}
    named = {recipient.group for recipient in message.recipients}
    for group, profile in facts.groups.items():
        if group in named:
            resolution = decide(profile, standing_of(message, profile, roles_of(profile.person.person_id, members), {}))
            ways[group] = frozenset(one.agent for one in resolution.decisions if one.verdict.is_delivery) if resolution else frozenset()
    return ways


def _unknown(message: Message, facts: _Facts) -> tuple[str, ...]:
    """Recipients who don't exist are told to the operator, and don't stop the others (requirement H-34)."""
    missing = tuple(
        f"unknown:{r.principal}" for r in message.recipients if (r.principal not in facts.ids if r.group is None else r.group not in facts.members)
    )
    if missing:
        telemetry.log.warning("recipient_unknown", message_id=message.message_id, recipients=missing)
    return missing
