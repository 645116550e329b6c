"""Where a message goes when it did not reach her: the next agent of an order, hers or the site's. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from angelia.model.delivery import Reason, State
from angelia.model.preference import Site, Wants

PREFIX = "fallback:"
"""`decided_by` of what came this way: with the agent that failed."""
PULL = frozenset({"web", "feed"})
"""What lies there has reached nobody until it is read."""
_ON_ITS_WAY = frozenset({State.HELD, State.DUE, State.SENDING, State.DIGESTED, State.DELIVERED})


@dataclass(frozen=True, slots=True)
class Order:
    """Agents, the first first. `is_own`: her own list, which counts more than what the site switched off."""

    agents: tuple[str, ...] = ()
    is_own: bool = False


def order_of(wants: Wants, site: Site) -> Order:
    """Hers, be it an empty one, else the site's."""
    return Order(wants.fallback, is_own=True) if wants.fallback is not None else Order(site.fallback)


def is_failure(state: State, reason: Reason) -> bool:
    """Did a delivery end so that its message has to go another way? What was withheld at her wish, or is out of date, has not failed."""
    match state:
        case State.BOUNCED | State.DEAD:
            return True
        case State.EXPIRED:
            return reason is Reason.LIFETIME_OVER
        case State.SUPPRESSED:
            return reason is Reason.NO_VERIFIED_ADDRESS
    return False


def still_to_try(tried: Iterable[tuple[str, State]], order: Sequence[str]) -> tuple[str, ...]:
    """The agents of the order that may be tried after these deliveries of one message to one person; none where one of them reached her, or may."""
    trail = [(agent, state) for agent, state in tried if agent not in PULL]
    if any(state in _ON_ITS_WAY for _, state in trail):
        return ()
    had = {agent for agent, _ in trail} | PULL
    return tuple(agent for agent in dict.fromkeys(order) if agent not in had)
