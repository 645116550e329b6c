"""Due deliveries -> agents -> outcomes. The relay tries and records; agents never retry, and never see the store."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain
from time import monotonic

from prometheus_client import Counter, Histogram

from angelia import telemetry
from angelia.agent import Agent, Letter, edits_in_place, hears, shown_by
from angelia.deadlines import Deadlines
from angelia.flow.attempt import LONGEST_TRY, attempt, destination_of, put_off, settle
from angelia.flow.conversation import Conversation, trace_of
from angelia.flow.fallbacks import Fallbacks
from angelia.flow.handover import LEASE, LONGEST_PROMISE, Born, HandOver
from angelia.flow.lane import Lane
from angelia.flow.letters import Letters, Withheld
from angelia.flow.voice import Voice
from angelia.model.delivery import Delivery, Later, Outcome, Reason, Refused, State
from angelia.model.errors import AngeliaError, StoreUnavailable
from angelia.model.person import Address, AddressState
from angelia.planning.fallback import is_failure
from angelia.planning.retry import Breaker, after_failure, after_success, may_try
from angelia.store import Settlement, Store

LONGEST_WAIT = LEASE.total_seconds() - LONGEST_TRY  # seconds that a claimed letter may wait for its try, which must end within the lease
FAILS_LONG = timedelta(hours=24)
"""From the first try of a letter on, its owner hears that it does not reach her (promise P8)."""
CUT_OFF = timedelta(days=4)
"""Who was tried for so long, until a lifetime was over, is switched off where others were reached: five days, less the rest before the last try."""
GROUP = 0.005  # seconds that outcomes wait for company before they are recorded together


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a delivery is tried; per agent, else the default (promise P8)."""

    default: timedelta = timedelta(days=5)
    by_agent: Mapping[str, timedelta] = field(default_factory=dict)

    def of(self, agent: str) -> timedelta:
        """For one agent."""
        return self.by_agent.get(agent, self.default)


class Relay:
    """The stage that gives due deliveries to agents: as many at once as each agent allows, one try each."""

    name = "relay"

    def __init__(
        self,
        store: Store,
        agents: Mapping[str, Agent],
        letters: Letters,
        voice: Voice,
        clock: Callable[[], datetime],
        lifetimes: Lifetimes,
        wake: Callable[[], None] = lambda: None,
        wake_senders: Callable[[], None] = lambda: None,
        fallbacks: Fallbacks | None = None,
        hand_over: HandOver[Born] | None = None,
    ) -> None:
        """`wake`: this stage, for there is room for more; `wake_senders`: it and those who hold things back, for what goes another way.
        `hand_over`: from the planner of this process, where there is one.
        """
        self._hand_over = hand_over or HandOver(wake)
        self._store = store
        self._letters = letters
        self._voice = voice
        self._clock = clock
        self._lifetimes = lifetimes
        self._wake, self._wake_senders = wake, wake_senders
        self._fallbacks = fallbacks
        self._failed: dict[int, Delivery] = {}
        self._tries: set[asyncio.Task[None]] = set()
        self._deadlines = Deadlines()
        self._lanes = {name: Lane(agent) for name, agent in agents.items()}
        self._conversation = Conversation()
        self._settled: list[Settlement] = []
        self._flusher: asyncio.Task[None] | None = None
        self._breakers: dict[str, Breaker] | None = None
        self._changed_breakers: set[str] = set()
        self._paused: frozenset[str] = frozenset()
        self._looked_at = 0.0
        self._has_put_off = False
        self._told_of: set[int] = set()  # addresses that fail: the store would tell nobody twice, but need not be asked by each letter

    async def turn(self, now: datetime) -> int:
        """Claim as many as there is room for, and start their tries; outcomes are recorded as they come, and wake us where more may wait."""
        await self._look()
        await self._take_over(now)
        lanes = [lane for name, lane in self._lanes.items() if name not in self._paused]
        asked = {lane.agent.name: lane for lane in lanes if lane.room}
        due = await self._store.due_agents(asked, now) if asked else frozenset()
        # All at once: their transactions are committed together.
        claims = await asyncio.gather(*(self._claim(asked[name], now) for name in sorted(due)), return_exceptions=True)
        for lane in lanes:
            lane.has_more = (lane.has_more and (lane.agent.name not in asked or lane.agent.name in due)) or not lane.room
        for claim in claims:
            if isinstance(claim, BaseException):
                raise claim
        self._hand_over.offer({lane.agent.name: lane.room for lane in lanes if not lane.has_more})
        return sum(claim for claim in claims if isinstance(claim, int))

    async def _take_over(self, now: datetime) -> None:
        """What the planner claimed for us."""
        for since, many in self._hand_over.take():
            deliveries = [born.delivery for born in many]
            written = await self._letters.write(deliveries, now, many)
            for lane in self._lanes.values():
                self._begin(lane, since, [pair for pair in zip(deliveries, written, strict=True) if pair[0].agent == lane.agent.name])

    async def _claim(self, lane: Lane, now: datetime) -> int:
        room, began = lane.room, monotonic()
        claimed = await self._store.claim_deliveries([lane.agent.name], room, LEASE, now)
        lane.has_more = len(claimed) == room
        if not claimed:
            return 0
        written = await self._letters.write(claimed, now)
        self._begin(lane, began, list(zip(claimed, written, strict=True)))
        return len(claimed)

    def _begin(self, lane: Lane, began: float, claimed: Sequence[tuple[Delivery, Letter | Withheld]]) -> None:
        """Letters wait for their places, in order; what is withheld ends. `began`: when their lease did, on the monotonic clock."""
        lane.in_hand += len(claimed)
        for delivery, letter in claimed:
            if isinstance(letter, Withheld):
                is_over = letter.due_at is None
                self._done(delivery, Settlement(delivery.delivery_id, delivery.fence, letter.state, letter.reason, letter.due_at, is_attempt=is_over))
            elif lane.agent.is_pull:
                self._done(delivery, Settlement(delivery.delivery_id, delivery.fence, State.DELIVERED, delivery.reason), letter)
            else:
                lane.waiting.append((began, letter))
        for _ in range(lane.free_places()):
            lane.running += 1
            task = asyncio.create_task(self._work_off(lane))
            self._tries.add(task)
            task.add_done_callback(self._tries.discard)

    async def _work_off(self, lane: Lane) -> None:
        """One of an agent's places: try after try while letters wait."""
        try:
            while (taken := lane.take(destination_of, monotonic())) is not None:
                claimed_at, letter, destination = taken
                began, is_answer = monotonic(), False
                lane.places.began(destination, began)
                try:
                    is_answer = await self._in_turn(lane.agent, letter, claimed_at, destination)
                finally:
                    lane.places.ended(destination, began, is_answer=is_answer)
        finally:
            lane.running -= 1

    async def _in_turn(self, agent: Agent, letter: Letter, claimed_at: float, destination: str) -> bool:
        """One try; where letters are edited, when those before it to the same address are through. Did the destination answer?"""
        if not edits_in_place(agent):
            return await self._try_in_time(agent, letter, claimed_at, destination)
        async with self._conversation.turn(letter.delivery.address_id):
            return await self._try_in_time(agent, self._conversation.newest(letter, claimed_at), claimed_at, destination)

    async def _try_in_time(self, agent: Agent, letter: Letter, claimed_at: float, destination: str) -> bool:
        if monotonic() - claimed_at > LONGEST_WAIT:
            self._give_back(letter.delivery)
            return False
        return await self._try(agent, letter, destination)

    def _give_back(self, delivery: Delivery) -> None:
        """Not tried: it is due as before, for whoever claims it next."""
        self._done(delivery, Settlement(delivery.delivery_id, delivery.fence, State.DUE, delivery.reason, is_attempt=False))

    async def _look(self) -> None:
        if self._breakers is None:
            self._breakers = await self._store.breakers()
        self._has_put_off = bool(self._looked_at) and monotonic() - self._looked_at < 1.0
        if not self._has_put_off:
            self._looked_at = monotonic()
            self._paused = await self._store.paused_agents()
            for name, lane in self._lanes.items():
                for letter in lane.stale(monotonic() - (0.0 if name in self._paused else LONGEST_WAIT)):
                    self._give_back(letter.delivery)
            telemetry.open_breakers.set(sum(breaker.is_open for breaker in self._breakers.values()))
            if self._changed_breakers:
                changed, self._changed_breakers = self._changed_breakers, set()
                await self._store.put_breakers({name: self._breakers[name] for name in changed})
            await self._forget_reset()

    async def _forget_reset(self) -> None:
        """An open breaker that the store no longer holds was closed by an operator."""
        ours = {name for name, breaker in (self._breakers or {}).items() if breaker.is_open} - self._changed_breakers
        if ours and self._breakers is not None:
            kept = await self._store.breakers()
            for name in ours - kept.keys() - self._changed_breakers:
                self._breakers.pop(name, None)

    async def _try(self, agent: Agent, letter: Letter, destination: str) -> bool:
        """One try of one letter, from breaker to settlement. Did the destination answer?"""
        delivery = letter.delivery
        breaker = (self._breakers or {}).get(destination)
        if breaker is not None:
            now = self._clock()
            allowed_at, breaker = may_try(breaker, now)
            if allowed_at is not None:
                is_down = breaker.rests_until is not None and breaker.rests_until > now
                settlement = put_off(delivery, allowed_at, self._lifetimes.of(agent.name), is_down=is_down)
                if is_down:
                    await self._end_try(letter, settlement, now)
                else:
                    self._done(delivery, settlement, letter, now)
                return False
            self._set_breaker(destination, breaker)
        outcome, is_crash = await attempt(agent, letter, self._deadlines)
        now = self._clock()
        self._judge_destination(destination, outcome, now)
        settlement = settle(delivery, outcome, now, self._lifetimes.of(agent.name), is_crash=is_crash)
        await self._end_try(letter, self._traced(agent, letter, outcome, settlement), now)
        if isinstance(outcome, Refused) and (outcome.is_address_bad or outcome.is_address_over):
            await self._address_refused(letter, outcome, now)
        elif isinstance(outcome, Later) and outcome.moved_to:
            await self._address_moved(agent, letter, outcome, now)
        return not (isinstance(outcome, Later) and outcome.blames_destination)

    def _traced(self, agent: Agent, letter: Letter, outcome: Outcome, settlement: Settlement) -> Settlement:
        """With the receipt to be found again, where answers may come by it or a later letter may need it."""
        trace = trace_of(letter, outcome) if edits_in_place(agent) or hears(agent) is not None else None
        if trace is None:
            return settlement
        self._conversation.sent(letter, trace)
        return replace(settlement, trace=trace)

    async def _end_try(self, letter: Letter, settlement: Settlement, now: datetime) -> None:
        self._done(letter.delivery, settlement, letter, now)
        if letter.address is None:
            return
        # If it can't be said now, the next that fails says it.
        with suppress(StoreUnavailable):
            if settlement.reason is Reason.LIFETIME_OVER:
                await self._gave_up(letter, letter.address, settlement.error)
            elif settlement.state is State.DUE:
                await self._failed_again(letter, letter.address, settlement.error)
            elif settlement.state is State.DELIVERED:
                self._told_of.discard(letter.address.address_id)

    async def _failed_again(self, letter: Letter, address: Address, why: str) -> None:
        first_tried_at, now = letter.delivery.first_tried_at, self._clock()
        if first_tried_at is None or now - first_tried_at < FAILS_LONG or address.address_id in self._told_of:
            return
        shown = shown_by(self._lanes[letter.delivery.agent].agent, address.value)
        await self._voice.fails(letter.person.login, letter.delivery.agent, shown, why, now)
        self._told_of.add(address.address_id)

    async def _gave_up(self, letter: Letter, address: Address, why: str) -> None:
        """A lifetime is over. Where nothing else reached the address all the time, and others were reached, nothing more is sent there."""
        delivery, now = letter.delivery, self._clock()
        since, shown = delivery.first_tried_at or now, shown_by(self._lanes[delivery.agent].agent, address.value)
        self._told_of.discard(address.address_id)
        if now - since >= CUT_OFF and await self._store.is_cut_off(delivery, since):
            await self._store.set_address(address.address_id, state=AddressState.BOUNCING, now=now)
            await self._voice.cut_off(letter.person.login, delivery.agent, shown, why, now)
        else:
            await self._voice.gave_up(letter.person.login, delivery.agent, shown, why, now)

    def _judge_destination(self, destination: str, outcome: Outcome, now: datetime) -> None:
        breaker = (self._breakers or {}).get(destination)
        if isinstance(outcome, Later) and outcome.blames_destination:
            self._set_breaker(destination, after_failure(breaker or Breaker(), now))
        elif breaker is not None and breaker != Breaker():
            self._set_breaker(destination, after_success(breaker))

    def _set_breaker(self, destination: str, breaker: Breaker) -> None:
        assert self._breakers is not None
        if self._breakers.get(destination, Breaker()) != breaker:
            self._breakers[destination] = breaker
            self._changed_breakers.add(destination)

    def _done(self, delivery: Delivery, settlement: Settlement, letter: Letter | None = None, now: datetime | None = None) -> None:
        lane = self._lanes[delivery.agent]
        lane.ended(monotonic())
        if lane.has_more and lane.room:
            self._wake()
        self._settled.append(settlement)
        if self._fallbacks is not None and is_failure(settlement.state, settlement.reason):
            self._failed[delivery.delivery_id] = delivery
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        if settlement.state.is_final:
            _count(delivery.agent, settlement.state, settlement.reason).inc()
        if settlement.state is State.DELIVERED and letter is not None and letter.message is not None:
            _latency(delivery.agent).observe(((now or self._clock()) - letter.message.received_at).total_seconds())

    async def _flush(self) -> None:
        """Record outcomes in groups. One that can't be recorded stays here: its lease outlives a short outage, and only then is it tried again."""
        await asyncio.sleep(GROUP)
        while self._settled:
            batch, self._settled = self._settled, []
            try:
                batch = [await self._with_ways_on(entry) for entry in batch]
                await self._store.settle(batch, self._clock())
                self._follow(batch)
            except AngeliaError as error:
                telemetry.log.warning("settle_failed", error=str(error), waiting=len(batch))
                self._settled = batch + self._settled
                await asyncio.sleep(0.5)

    async def _with_ways_on(self, entry: Settlement) -> Settlement:
        """A failure, with what may stand in for it: both are recorded at once, so that a message is neither lost between them nor doubled."""
        failed = self._failed.get(entry.delivery_id)
        if failed is None or self._fallbacks is None or entry.successors:
            return entry
        try:
            return replace(entry, successors=await self._fallbacks.after(failed, self._clock()))
        except AngeliaError:
            raise
        except Exception:  # noqa: BLE001 - what came of a try must never fail to be kept
            telemetry.log.exception("fallback_failed", delivery_id=entry.delivery_id)
            return entry

    def _follow(self, batch: Sequence[Settlement]) -> None:
        for entry in batch:
            self._failed.pop(entry.delivery_id, None)
        if any(entry.successors for entry in batch):
            self._wake_senders()

    async def _address_refused(self, letter: Letter, outcome: Refused, now: datetime) -> None:
        if letter.address is None:
            return
        address, person, name = letter.address, letter.person, letter.delivery.agent
        shown = shown_by(self._lanes[name].agent, address.value)
        try:
            if outcome.is_address_over:
                if await self._store.delete_address(address.person_id, address.address_id):
                    await self._store.audit(f"agent:{name}", "address.delete", person.login, {"address": address.address_id}, now)
                    await self._voice.address_ended(person.login, name, shown, outcome.why, now)
                return
            await self._store.set_address(address.address_id, state=AddressState.BOUNCING, now=now)
            await self._voice.address_refused(person.login, name, shown, outcome.why, now)
        except AngeliaError as error:
            # The next letter to this address is refused again, and told then.
            telemetry.log.warning("refusal_not_recorded", address_id=letter.address.address_id, error=str(error))

    async def _address_moved(self, agent: Agent, letter: Letter, outcome: Later, now: datetime) -> None:
        """It is changed, or refused where she has the new one as well."""
        value = agent.check_address(outcome.moved_to)
        if letter.address is None or value is None:
            return
        with suppress(StoreUnavailable):  # the next letter is told so again
            if not await self._store.move_address(letter.address.address_id, value):
                await self._address_refused(letter, Refused(outcome.why, is_address_bad=True), now)

    def is_restless(self) -> bool:
        """While letters wait here, or a look at what operators changed was put off."""
        return self._has_put_off or bool(self._changed_breakers) or any(lane.in_hand for lane in self._lanes.values())

    async def drain(self) -> None:
        """Give back what waits, let running tries end (their own time limits hold), then record what came of them."""
        await self._hand_over.close(LONGEST_PROMISE)
        for born in chain.from_iterable(many for _, many in self._hand_over.take()):
            self._lanes[born.delivery.agent].in_hand += 1
            self._give_back(born.delivery)
        for lane in self._lanes.values():
            for letter in lane.stale(monotonic() + 1.0):
                self._give_back(letter.delivery)
        if self._tries:
            _, late = await asyncio.wait(self._tries, timeout=7)
            for task in late:
                task.cancel()
        if self._flusher is not None:
            async with asyncio.timeout(2):
                await self._flusher
        if self._breakers and self._changed_breakers:
            await self._store.put_breakers({name: self._breakers[name] for name in self._changed_breakers})


@lru_cache(maxsize=500)
def _count(agent: str, state: State, reason: Reason) -> Counter:
    """Kept, since to find the one of these labels takes longer than to count."""
    return telemetry.deliveries.labels(agent, state.label, reason.value)


@lru_cache(maxsize=100)
def _latency(agent: str) -> Histogram:
    return telemetry.latency.labels(agent)
