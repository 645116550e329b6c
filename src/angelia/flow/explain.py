"""Why, or why not: the answer for one message and one person, from the ledger."""

from collections import Counter
from collections.abc import Sequence

from angelia.flow.rights import is_open_to
from angelia.model.delivery import Delivery, Reason, State
from angelia.model.message import Message
from angelia.model.moments import public_id, to_text
from angelia.model.person import Person
from angelia.planning.decision import Decision, Verdict
from angelia.store import Answer, Escalated, LedgerRow, Store

Explanation = dict[str, object]


async def explain(store: Store, message: Message, person: Person) -> Explanation:
    """What was decided for her about this message, by what, and what came of it.

    Shape: {message, type, login, is_candidate, because: [text], reasons: [the same as stored], agents: {agent: {outcome, reason, text,
    decided_by, due_at}}, deliveries: [{id, agent, state, attempts, error, ...}], answers: [{login, seen_at, seen_by, acknowledged_at,
    acknowledged_by}], escalation: {step, to, due_at, ended_at, ending} or null, summary}. Answers are hers, and those of others who took it
    over. For one who may not see a restricted message nothing but "not a candidate" is said.
    """
    row = await store.ledger_row(message.message_id, person.person_id)
    answer: Explanation = {
        "message": public_id("msg", message.message_id),
        "type": message.type,
        "login": person.login,
        "is_candidate": row is not None,
        "because": [],
        "reasons": [],
        "agents": {},
        "deliveries": [],
        "answers": [],
        "escalation": None,
    }
    if row is None:
        may_see = is_open_to(message, await store.names_of(person.person_id))
        answer["summary"] = _why_not(message, person, may_see=may_see)
        return answer
    trail = await store.trail(message.message_id, person.person_id)
    answer["reasons"] = list(row.because)
    answer["because"] = [because_text(reason, message) for reason in row.because]
    answer["agents"] = by_agent(row.decisions)
    answer["deliveries"] = [_delivery(delivery) for delivery in trail]
    answer["answers"] = [_answer(*told) for told in await answers_of(store, message.message_id, person)]
    escalated = await store.escalation(message.message_id, person.person_id)
    answer["escalation"] = None if escalated is None else _escalation(escalated)
    answer["decided_at"] = to_text(row.decided_at)
    own = [delivery for delivery in trail if delivery.message_id is not None]
    answer["summary"] = _summary_of(own) if own else _summary(row)
    return answer


def _why_not(message: Message, person: Person, *, may_see: bool) -> str:
    if not person.is_active:
        return f"{person.login} is not active, so nothing is decided for her."
    if not may_see:
        return f"{person.login} is not a candidate for this message: it is restricted, and she is none of those who may see it."
    return (
        f"{person.login} is not a candidate for this message: it does not name her or a group of hers, she has no role on "
        f"{message.object or 'its object'} that {message.type} is told to, no rule of hers matches, and she does not follow it "
        "(or the message is not planned yet)."
    )


def because_text(reason: str, message: Message) -> str:
    """A candidate's reason in words: `role:maintainer` becomes "you are maintainer of KDE/okular"."""
    kind, _, value = reason.partition(":")
    match kind:
        case "to" | "cc":
            said = next((r.reason for r in message.recipients if r.kind == kind and r.reason), "")
            return f"the sender named you ({kind})" + (f": {said}" if said else "")
        case "group":
            return f"you are in the group {value}"
        case "role":
            return f"you are {value} of {message.object}"
        case "rule":
            return f"your rule {value} matches"
        case "follow":
            return f"you follow {message.object}"
        case "escalated":
            return f"{value} has not answered it"
    return reason


def by_agent(decisions: Sequence[Decision]) -> dict[str, Explanation]:
    """The decisions by agent; where single addresses of one were decided for, each by `mail:alice@example.org`."""
    counts = Counter(decision.agent for decision in decisions)
    return {_place(decision, counts[decision.agent]): decided(decision) for decision in decisions}


def _place(decision: Decision, count: int) -> str:
    return f"{decision.agent}:{decision.address}" if decision.address and count > 1 else decision.agent


def decided(decision: Decision) -> Explanation:
    """One decision: outcome, reason and who decided, each also in words, and when it is due."""
    return {
        "outcome": decision.verdict.value,
        "reason": decision.reason.value,
        "text": REASONS[decision.reason],
        "decided_by": decision.decided_by,
        "decided_by_text": origin_text(decision.decided_by),
        "due_at": None if decision.due_at is None else to_text(decision.due_at),
        "schedule": decision.schedule,
    }


def origin_text(decided_by: str) -> str:
    """Who spoke, in words, with where it is inherited from."""
    kind, _, value = decided_by.partition(":")
    match kind:
        case "rule":
            return f"your rule {value}"
        case "preference":
            return "your setting for everything" if value == "*" else f"your setting for {value} and what is below it"
        case "site":
            return "the site's default for everything" if value == "*" else f"the site's default for {value} and what is below it"
        case "unknown":
            return "your setting for types that nobody has settled"
        case "lock":
            return f"the operator locked {value}"
        case "group":
            return f"the group {value} has an address of its own"
        case "mute":
            return f"you muted {value}"
        case "fallback":
            return f"{value} could not reach you"
        case "escalate":
            return f"step {value} of an escalation: nobody had answered"
    return decided_by.replace("_", " ")


def _delivery(delivery: Delivery) -> Explanation:
    return {
        "id": public_id("dlv", delivery.delivery_id),
        "agent": delivery.agent,
        "state": delivery.state.label,
        "reason": delivery.reason.value,
        "text": REASONS[delivery.reason],
        "due_at": to_text(delivery.due_at),
        "attempts": delivery.attempts,
        "digest": None if delivery.digest_id is None else public_id("dig", delivery.digest_id),
        "ended_at": None if delivery.ended_at is None else to_text(delivery.ended_at),
        "last_error": delivery.fault,
        "receipt": delivery.receipt,
    }


async def answers_of(store: Store, message_id: int, person: Person) -> list[tuple[str, Answer]]:
    """Her answer, and those of others who took it over, which concerns all who got it; each with its login."""
    told = (await store.answers([message_id])).get(message_id, [])
    found = [answer for answer in told if answer.person_id == person.person_id or answer.acknowledged_at is not None]
    rows = await store.profiles([answer.person_id for answer in found]) if found else []
    logins = {row.person.person_id: row.person.login for row in rows}
    return [(logins[answer.person_id], answer) for answer in found if answer.person_id in logins]


def _answer(login: str, answer: Answer) -> Explanation:
    return {
        "login": login,
        "seen_at": to_text(answer.seen_at),
        "seen_by": answer.seen_by,
        "acknowledged_at": None if answer.acknowledged_at is None else to_text(answer.acknowledged_at),
        "acknowledged_by": answer.acknowledged_by,
    }


def _escalation(escalated: Escalated) -> Explanation:
    """How far it has gone on: `step` of its steps `to` were done or passed over."""
    return {
        "step": escalated.step,
        "to": list(escalated.chain.to),
        "due_at": None if escalated.ending else to_text(escalated.due_at),
        "ended_at": None if escalated.ended_at is None else to_text(escalated.ended_at),
        "ending": escalated.ending,
    }


def _summary(row: LedgerRow) -> str:
    delivered = [d for d in row.decisions if d.verdict.is_delivery]
    if not delivered:
        reasons = ", ".join(sorted({REASONS[d.reason] for d in row.decisions})) or REASONS[Reason.NOT_STATED]
        return f"A candidate, but nothing is delivered: {reasons}."
    parts = [f"{d.agent} {_when(d)}" for d in delivered]
    return f"Delivered by {', '.join(parts)}."


def _summary_of(trail: Sequence[Delivery]) -> str:
    """What came of it, which is more than what was decided: much can happen to what waits."""
    went = [d.agent for d in trail if d.state is State.DELIVERED]
    waits = [_waiting(d) for d in trail if not d.state.is_final]
    lost = [f"{d.agent} ({d.state.label}: {REASONS[d.reason]})" for d in trail if d.state.is_final and d.state is not State.DELIVERED]
    told = (("Delivered by", went), ("Under way:", waits), ("Not delivered:", lost))
    return " ".join(f"{what} {', '.join(which)}." for what, which in told if which)


def _waiting(delivery: Delivery) -> str:
    due = to_text(delivery.due_at)
    if delivery.state is State.HELD and delivery.schedule:
        return f"{delivery.agent} in the {delivery.schedule} digest at {due}"
    return f"{delivery.agent} ({delivery.state.label}, due {due})"


def _when(decision: Decision) -> str:
    if decision.verdict is Verdict.NOW:
        return "at once"
    due = "" if decision.due_at is None else f" at {to_text(decision.due_at)}"
    return f"in the {decision.schedule} digest{due}" if decision.verdict is not Verdict.DEFERRED else f"later,{due}"


REASONS = {
    Reason.CHOSEN: "wanted at once",
    Reason.LOCKED: "the operator locked this type: it always comes",
    Reason.SCHEDULE: "wanted in a digest",
    Reason.QUIET_HOURS: "quiet hours: it comes when they end",
    Reason.HOLD_KEPT: "away: it waits for the catch-up digest",
    Reason.NOT_BEFORE: "the sender asked not to deliver it earlier",
    Reason.OVERFLOW: "above the hourly cap: it comes in the overflow digest",
    Reason.FALLBACK: "another way failed: it comes by the next one of the order",
    Reason.ESCALATED: "nobody had answered: it went on to the next step",
    Reason.OFF: "switched off for this type",
    Reason.RULE_OFF: "a rule switched it off",
    Reason.NOT_STATED: "nobody asked for it by this agent",
    Reason.OWN_ACTION: "she did it herself",
    Reason.MUTED: "the object is muted",
    Reason.MUTED_FULLY: "the object is muted fully",
    Reason.GROUP_NOT_ACCEPTED: "it came through a group from which she does not take it this way",
    Reason.GROUP_ADDRESS: "it went once to the group's own address",
    Reason.PAUSED: "the agent is paused",
    Reason.NO_VERIFIED_ADDRESS: "there is no verified address",
    Reason.HOLD_DROPPED: "away: she asked to drop it",
    Reason.HOLD_SILENT: "away: interruptive agents are silent and never replay",
    Reason.TEST_TRAFFIC: "test traffic, which she does not take",
    Reason.REPEAT_FOLDED: "the same was sent less than 15 minutes before",
    Reason.JOB_STEP: "a step of a job that is not told for itself",
    Reason.JOB_SHORT: "the job ended sooner than she wants to be told of",
    Reason.JOB_TOLD: "the same was told of this job before",
    Reason.JOB_TIME_UNKNOWN: "nobody knows how long the job took",
    Reason.UNSUBSCRIBED: "she unsubscribed while it waited",
    Reason.ACCESS_LOST: "she lost the right to see it while it waited",
    Reason.PERSON_INACTIVE: "her account was deactivated while it waited",
    Reason.SUPERSEDED: "a later message made it out of date",
    Reason.SEEN: "she had read it elsewhere before it could go",
    Reason.EXPIRED: "it expired before it could go",
    Reason.REFUSED: "the receiving side refused it for good",
    Reason.CAME_BACK: "it was taken, and came back later",
    Reason.LIFETIME_OVER: "it could not be delivered within its lifetime",
    Reason.POISON: "it made the agent fail again and again",
}
"""Every Reason in words; a test holds this complete, and docs/reference/reasons.md the same."""
