"""Resolutions -> ledger rows and deliveries: addresses chosen, repeats folded, floods turned into a digest."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from angelia import telemetry
from angelia.flow.handover import Born
from angelia.flow.voice import OverflowNotice
from angelia.model.delivery import Delivery, Reason, State
from angelia.model.message import HOUSE, Message, Severity
from angelia.model.person import Address, AddressState
from angelia.model.preference import Site
from angelia.planning.decision import Decision, Profile, Resolution, Verdict
from angelia.planning.escalation import chain_for, first_step_at
from angelia.planning.flood import Caps, Fold, Overflow, judge, window_start
from angelia.store import Copies, FloodMark, LedgerRow, NewEscalation, Plan, RepeatMark, Shared

OVERFLOW = "overflow"
"""The schedule of digests that take what is over the hourly cap."""

MANY = 20
"""Candidates of one message from which it is worth to look who is decided for alike."""

Pair = tuple[int, str]
Key = tuple[int, str, str]


class Candidacy(NamedTuple):
    """One candidate of one message, resolved. A named tuple: of a large audience there are thousands."""

    message: Message
    profile: Profile
    addresses: tuple[Address, ...]
    resolution: Resolution

    @property
    def person_id(self) -> int:
        """Whose."""
        return self.profile.person.person_id


@dataclass(slots=True)
class Chunk:
    """Candidacies of one message that are written together; `is_complete` on its last, `hearing`, whose sign it is, on its first."""

    message: Message
    fence: int
    candidacies: list[Candidacy] = field(default_factory=list)
    unknown: tuple[str, ...] = ()
    is_complete: bool = False
    is_filled: bool = False
    hearing: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what does not press waits with these agents, for somebody who has it in a pull medium already: perhaps she reads it there."""

    wait: timedelta = timedelta(0)
    agents: frozenset[str] = frozenset()


class _Ways(NamedTuple):
    """What a resolution asks of each who has it: agents that are judged by what she got before, decisions that need an address of hers."""

    judged: tuple[str, ...]
    addressed: tuple[Decision, ...]


@dataclass(slots=True)
class _Group:
    """Candidates with one resolution who differ in their addresses only; for each the ids of those, as `_Ways.addressed` asks for them."""

    first: Candidacy
    person_ids: list[int] = field(default_factory=list)
    address_ids: list[tuple[int | None, ...]] = field(default_factory=list)


class Outbox:
    """Fills the plans of one turn. In memory only: what it counts is written with the plans, in the same transaction."""

    def __init__(
        self,
        site: Site,
        new_ids: Callable[[int], Sequence[int]],
        now: datetime,
        patience: Patience | None = None,
        promise: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`promise` says whether one more of an agent's may be written as claimed, where it is due at once (see `handover`)."""
        self._promise = promise
        self.promised: list[str] = []
        """An agent for each promise that was made."""
        self.born: list[Born] = []
        self._claimed: list[Delivery] = []
        self._patience = patience or Patience()
        self._site = site
        self._new_ids = new_ids
        self._ways: dict[int, tuple[Resolution, _Ways]] = {}  # by identity: those who are decided for alike have one resolution
        self._now = now
        self._caps = Caps(per_hour=site.hourly_cap)
        self._flood: dict[Pair, FloodMark] = {}
        self._repeats: dict[Key, RepeatMark] = {}
        self._counts: dict[tuple[str, Verdict | State, Reason], int] = {}
        self.flood_marks: list[FloodMark] = []
        self.repeat_marks: list[RepeatMark] = []
        self.notices: list[OverflowNotice] = []
        self.is_anything_due = False

    def needs(self, chunks: Iterable[Chunk]) -> tuple[set[Pair], set[Key]]:
        """Which marks `plans` has to know."""
        pairs: set[Pair] = set()
        keys: set[Key] = set()
        for chunk in chunks:
            for candidacy in chunk.candidacies:
                for agent in self._ways_of(candidacy.resolution).judged:
                    pairs.add((candidacy.person_id, agent))
                    if chunk.message.collapse_key:
                        keys.add((candidacy.person_id, agent, chunk.message.collapse_key))
        return pairs, keys

    def _ways_of(self, resolution: Resolution) -> _Ways:
        known = self._ways.get(id(resolution))
        if known is not None:
            return known[1]
        pushed = [one for one in resolution.decisions if one.verdict.is_delivery and one.agent not in self._site.pull]
        ways = _Ways(tuple(one.agent for one in pushed if one.verdict is Verdict.NOW), tuple(pushed))
        self._ways[id(resolution)] = resolution, ways
        return ways

    def plans(self, chunks: Iterable[Chunk], flood: Mapping[Pair, FloodMark], repeats: Mapping[Key, RepeatMark]) -> list[Plan]:
        """One plan a chunk, in order."""
        self._flood, self._repeats = dict(flood), dict(repeats)
        return [self._plan(chunk) for chunk in chunks]

    def _plan(self, chunk: Chunk) -> Plan:
        ledger: list[LedgerRow] = []
        escalations: list[NewEscalation] = []
        deliveries: list[Delivery] = []
        claimed: list[Delivery] = []
        if chunk.unknown:
            ledger.append(LedgerRow(chunk.message.message_id, 0, chunk.unknown, (), self._now))
        alone, groups = self._grouped(chunk.candidacies)
        for candidacy in alone:
            resolution = candidacy.resolution
            decisions = self._all_settled(candidacy, deliveries)
            row = LedgerRow(chunk.message.message_id, candidacy.person_id, resolution.because, decisions, self._now)
            ledger.append(row)
            if self._claimed:
                self.born += [Born(one, chunk.message, row, candidacy.profile, self._site) for one in self._claimed]
                claimed += self._claimed
                self._claimed = []
            escalations += self._escalations(candidacy, decisions, [candidacy.person_id])
        shared = [self._shared(group, escalations) for group in groups]
        return Plan(
            chunk.message, chunk.fence, ledger, deliveries, chunk.is_complete, chunk.is_filled, escalations, shared, claimed, chunk.hearing
        )  # fmt: skip

    def _grouped(self, candidacies: Sequence[Candidacy]) -> tuple[Sequence[Candidacy], list[_Group]]:
        """Those to settle one by one, and those of a large audience who can be settled together."""
        if len(candidacies) < MANY:
            return candidacies, []
        alone: list[Candidacy] = []
        groups: dict[tuple[int, tuple[bool, ...]], _Group] = {}
        for candidacy in candidacies:
            ways = self._ways_of(candidacy.resolution)
            if ways.judged:
                alone.append(candidacy)
                continue
            # Not `address_id_of` for one without any: most of a large audience may be without.
            own = tuple([address_id_of(candidacy.addresses, one, ()) if candidacy.addresses else None for one in ways.addressed])
            key = id(candidacy.resolution), tuple([one is None for one in own])
            group = groups.get(key)
            if group is None:
                group = groups[key] = _Group(candidacy)
            group.person_ids.append(candidacy.profile.person.person_id)
            group.address_ids.append(own)
        return alone, list(groups.values())

    def _shared(self, group: _Group, escalations: list[NewEscalation]) -> Shared:
        """As the first is settled, so are all; what is counted for her counts for each."""
        counts, self._counts = self._counts, {}
        deliveries: list[Delivery] = []
        decisions = self._all_settled(group.first, deliveries)
        many = len(group.person_ids)
        for key, number in self._counts.items():
            counts[key] = counts.get(key, 0) + number * many
        self._counts = counts
        columns = iter([[one or 0 for one in column] for column in zip(*group.address_ids, strict=True) if column[0] is not None])
        copies = [Copies(one, self._new_ids(many), [0] * many if one.agent in self._site.pull else next(columns)) for one in deliveries]
        escalations += self._escalations(group.first, decisions, group.person_ids)
        return Shared(group.person_ids, group.first.resolution.because, decisions, copies)

    def _all_settled(self, candidacy: Candidacy, deliveries: list[Delivery]) -> tuple[Decision, ...]:
        known = candidacy.resolution.decisions
        decisions = tuple([self._settled(candidacy, decision, deliveries) for decision in known])
        return known if decisions == known else decisions  # one tuple for all who are decided for alike: it is written as text once

    def _escalations(self, candidacy: Candidacy, decisions: Sequence[Decision], person_ids: Iterable[int]) -> list[NewEscalation]:
        chain = chain_for(candidacy.message, candidacy.profile.wants, self._site)
        if chain is None or candidacy.profile.person.group is not None or not any(map(_is_for_her, decisions)):
            return []
        due_at = first_step_at(candidacy.message, chain, self._now)
        return [NewEscalation(candidacy.message.message_id, person_id, chain, due_at) for person_id in person_ids]

    def _settled(self, candidacy: Candidacy, decision: Decision, deliveries: list[Delivery]) -> Decision:
        """The decision as it stands after addresses, repeats and floods; its delivery, if there is one, joins the others."""
        if decision.verdict.is_delivery:
            address_id = address_id_of(candidacy.addresses, decision, self._site.pull)
            if address_id is None:
                decision = replace(decision, verdict=Verdict.SKIPPED, reason=Reason.NO_VERIFIED_ADDRESS)
            elif decision.verdict is Verdict.NOW and decision.agent not in self._site.pull:
                decision = self._judged(candidacy, decision)
        state = self._state(candidacy.message, decision)
        self._count(decision, state)
        if state is None:
            return decision
        due_at = decision.due_at or self._now + self._wait(candidacy, decision)
        # What goes at once is judged, and so settled one by one: what is settled for many together is never claimed.
        is_claimed = state is State.DUE and decision.verdict is Verdict.NOW and due_at <= self._now and self._promise(decision.agent)
        delivery = Delivery(
            delivery_id=self._new_ids(1)[0],
            person_id=candidacy.person_id,
            agent=decision.agent,
            address_id=address_id or 0,
            state=State.SENDING if is_claimed else state,
            due_at=due_at,
            message_id=candidacy.message.message_id,
            schedule=decision.schedule if state is State.HELD else "",
            form=decision.form,
            reason=Reason.EXPIRED if state is State.EXPIRED else decision.reason,
            is_locked=decision.is_locked,
            is_urgent=candidacy.message.severity >= Severity.URGENT,
            ended_at=self._now if state.is_final else None,
            fence=int(is_claimed),
            attempts=int(is_claimed),
            first_tried_at=self._now if is_claimed else None,
        )
        if is_claimed:
            self.promised.append(decision.agent)
            self._claimed.append(delivery)
        else:
            deliveries.append(delivery)
            self.is_anything_due = self.is_anything_due or state is State.DUE
        return decision

    def _wait(self, candidacy: Candidacy, decision: Decision) -> timedelta:
        """None for what presses, is locked, or can be read nowhere else."""
        message = candidacy.message
        if decision.agent not in self._patience.agents or message.severity > Severity.NORMAL or decision.is_locked or message.source == HOUSE:
            return timedelta(0)
        is_readable = any(one.agent in self._site.pull and one.verdict is Verdict.NOW for one in candidacy.resolution.decisions)
        return self._patience.wait if is_readable else timedelta(0)

    def _state(self, message: Message, decision: Decision) -> State | None:
        """How the delivery starts; None where there is none. A pull medium has what is recorded, and takes no digests."""
        if not decision.verdict.is_delivery:
            return None
        if message.expires_at is not None and message.expires_at <= self._now and not decision.is_locked:
            return State.EXPIRED
        is_pull = decision.agent in self._site.pull
        if decision.verdict is Verdict.NOW:
            return State.DELIVERED if is_pull else State.DUE
        if decision.verdict is Verdict.DEFERRED or is_pull:
            return State.DUE
        return State.HELD

    def _judged(self, candidacy: Candidacy, decision: Decision) -> Decision:
        """R11 and R12: fold a repeat; above the cap, into the overflow digest. Urgent and locked ones pass, and count."""
        message, pair = candidacy.message, (candidacy.person_id, decision.agent)
        key: Key = (*pair, message.collapse_key)
        mark, repeat = self._flood.get(pair), self._repeats.get(key) if message.collapse_key else None
        judgement = judge(
            self._now,
            message.collapse_key or None,
            repeat.sent_at if repeat else None,
            mark.sent if mark else 0,
            mark.window_started_at if mark else None,
            self._caps,
            exempt=message.severity >= Severity.URGENT or decision.is_locked or message.source == HOUSE,
            is_told=mark is not None and mark.is_told,
        )
        if isinstance(judgement, Fold):
            return replace(decision, verdict=Verdict.SUPPRESSED, reason=Reason.REPEAT_FOLDED)
        is_told = isinstance(judgement, Overflow) and judgement.is_first
        started_at = window_start(self._now, mark.window_started_at if mark else None)
        self._mark(mark, FloodMark(*pair, started_at, 1, is_told, message.message_id))
        if isinstance(judgement, Overflow):
            if judgement.is_first:
                login = candidacy.profile.person.login
                self.notices.append(OverflowNotice(login, decision.agent, judgement.due_at))
            # One line each, whatever she said of single ones: this digest is there because they are too many.
            return replace(decision, verdict=Verdict.DIGEST, reason=Reason.OVERFLOW, due_at=judgement.due_at, schedule=OVERFLOW, form="short")
        if message.collapse_key:
            self._repeats[key] = RepeatMark(*key, self._now, message.message_id)
            self.repeat_marks.append(self._repeats[key])
        return decision

    def _mark(self, before: FloodMark | None, one: FloodMark) -> None:
        self.flood_marks.append(one)
        if before is not None and before.window_started_at == one.window_started_at:
            one = replace(one, sent=before.sent + one.sent, is_told=before.is_told or one.is_told)
        self._flood[one.person_id, one.agent] = one

    def _count(self, decision: Decision, state: State | None) -> None:
        if state is None or state.is_final:
            key = (decision.agent, decision.verdict if state is None else state, decision.reason)
            self._counts[key] = self._counts.get(key, 0) + 1

    def count(self) -> None:
        """Add what was decided to the metrics; called once the plans are recorded."""
        for (agent, result, reason), number in self._counts.items():
            telemetry.deliveries.labels(agent, result.label if isinstance(result, State) else result.value, reason.value).inc(number)


def _is_for_her(decision: Decision) -> bool:
    """It goes to her, or would if there were an address."""
    return decision.verdict.is_delivery or decision.verdict is Verdict.SKIPPED


def address_id_of(addresses: Sequence[Address], decision: Decision, pull: Collection[str]) -> int | None:
    """The address named by the decision, else the default one, else the oldest; 0 for pull media; None where none is verified."""
    if decision.agent in pull:
        return 0
    usable = [a for a in addresses if a.agent == decision.agent and a.state is AddressState.OK]
    if decision.address:
        usable = [address for address in usable if address.value == decision.address]
    if not usable:
        return None
    return max(usable, key=lambda address: (address.is_default, -address.address_id)).address_id
