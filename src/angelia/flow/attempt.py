"""One try of one letter: what its agent says of it, and what is recorded for that."""

from datetime import datetime, timedelta

from angelia import telemetry, tracing
from angelia.agent import Agent, Letter
from angelia.deadlines import Deadlines
from angelia.model.delivery import Delivery, Later, Outcome, Reason, Refused, Sent, Skipped, State
from angelia.planning.retry import next_attempt
from angelia.store import Settlement

LONGEST_TRY = 40.0  # seconds; an agent that takes longer is cut off before its lease ends
MOST_CRASHES = 5


def destination_of(agent: Agent, letter: Letter) -> str:
    """What the circuit breaker counts by; an agent that fails to tell has one destination, itself."""
    try:
        return f"{agent.name}:{agent.destination(letter)}"
    except Exception:  # noqa: BLE001 - an agent's bug, told here; its try has its own outcome
        telemetry.log.exception("agent_failed", agent=agent.name, delivery_id=letter.delivery.delivery_id)
        return f"{agent.name}:"


async def attempt(agent: Agent, letter: Letter, deadlines: Deadlines) -> tuple[Outcome, bool]:
    """What the agent says. What it did not foresee is Later, and told: (outcome, was it a crash)."""
    if not tracing.is_on():
        return await _attempt(agent, letter, deadlines)
    delivery = letter.delivery
    about = {"delivery_id": delivery.delivery_id, "message_id": delivery.message_id, "digest_id": delivery.digest_id}
    with tracing.span("deliver", agent=delivery.agent, attempt=letter.attempt, **about):
        outcome, is_crash = await _attempt(agent, letter, deadlines)
        tracing.note(outcome=type(outcome).__name__.lower())
        return outcome, is_crash


async def _attempt(agent: Agent, letter: Letter, deadlines: Deadlines) -> tuple[Outcome, bool]:
    try:
        with deadlines.within(LONGEST_TRY):
            return await agent.deliver(letter), False
    except TimeoutError:
        return Later("the agent took too long"), False
    except Exception as error:  # noqa: BLE001 - the one place where an agent's bug becomes an outcome
        telemetry.log.exception("agent_failed", agent=agent.name, delivery_id=letter.delivery.delivery_id)
        return Later(f"{type(error).__name__}: {error}", blames_destination=False), True


def settle(delivery: Delivery, outcome: Outcome, now: datetime, lifetime: timedelta, *, is_crash: bool = False) -> Settlement:
    """Delivery x outcome x now -> what to record. Pure."""
    key, fence = delivery.delivery_id, delivery.fence
    match outcome:
        case Sent(receipt):
            return Settlement(key, fence, State.DELIVERED, delivery.reason, error=receipt)
        case Refused(why):
            return Settlement(key, fence, State.BOUNCED, Reason.REFUSED, error=why)
        case Skipped(reason):
            return Settlement(key, fence, State.SUPPRESSED, reason)
        case Later(why, retry_after):
            if is_crash and delivery.attempts >= MOST_CRASHES:
                return Settlement(key, fence, State.DEAD, Reason.POISON, error=why)
            due_at = next_attempt(delivery.attempts, delivery.first_tried_at or now, now, retry_after, lifetime, delivery.delivery_id)
            if due_at is None:
                return Settlement(key, fence, State.EXPIRED, Reason.LIFETIME_OVER, error=why)
            return Settlement(key, fence, State.DUE, delivery.reason, due_at, why)


def put_off(delivery: Delivery, allowed_at: datetime, lifetime: timedelta, *, is_down: bool = True) -> Settlement:
    """While its destination rests a delivery waits, and grows old: of many that wait only the probes are really tried. Pure.

    `is_down` where it rests since it failed a moment ago. While a probe is under way nobody knows, and nothing runs out: after days in which
    the agent was paused or the hub away it would be all that waits.
    """
    why = delivery.last_error or "the destination rests"
    if is_down and delivery.first_tried_at is not None and allowed_at - delivery.first_tried_at > lifetime:
        return Settlement(delivery.delivery_id, delivery.fence, State.EXPIRED, Reason.LIFETIME_OVER, error=why, is_attempt=False)
    return Settlement(delivery.delivery_id, delivery.fence, State.DUE, delivery.reason, allowed_at, why, is_attempt=False)
