"""Contract: topic exchanges, and what was published on them lately."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from angelia.model.errors import NotFound
from angelia.model.event import Event, Position
from angelia.model.setting import say


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """One exchange that the hub knows: a table `[exchanges."<name>"]`."""

    kind: str = say("topic", "topic or direct")
    declare: bool = say(True, "make it where it is missing; off where its owner does")
    keys: str = say("", "of a direct exchange: routing keys of other publishers that are followed, too, with commas; only for RabbitMQ")
    keep_seconds: int = say(86_400, "how long events can be replayed")
    keep_bytes: int = say(268_435_456, "how many bytes of events can be replayed; the oldest go first")
    access: str = say("admin", "who may follow it live: public, signed-in, admin, claim or check")
    claim: str = say("", "for claim: the claim of the caller's token that must contain the checked word of the key")
    check_url: str = say("", "for check: asked with the caller's token; {word} stands for the checked word. It answers a JSON status of ok")
    word: int = say(1, "for claim and check: which word of the key is checked, from 1; wildcards are refused up to it")
    first_words: str = say("", "for claim and check: what the first word may be, with commas; empty means anything")
    open_words: str = say("", "for claim and check: words that are open to all who have a token, with commas")


@dataclass(frozen=True, slots=True)
class Replay:
    """What was missed: events in order. `is_complete`: nothing between what was asked and `until` is lacking. `until` is where to go on from:
    the head, or with `has_more` a place before it, where a limit came first: of events, of bytes, of what is no event.
    """

    events: Sequence[Event]
    is_complete: bool
    until: Position
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """In place of events that are lost to a follower: what comes next begins after `resumes_at`."""

    resumes_at: Position


class Broker(Protocol):
    """Exchanges of one site, shared by all its processes.

    Promises, each a test in `angelia_testing.suites.broker`:
    - `publish` returns once the events would survive a restart of the broker (publisher confirm): all of them, or BrokerUnavailable within its
      time limit.
    - `follow` gives every event of one exchange once, in order, in lists; it never ends by itself. While the broker is away it waits and comes
      back; what it can't make up is told by one Gap, never by silence.
    - `replay` never gives an event that is not after `since`; where the memory does not reach back so far, or the epoch is another,
      `is_complete` is False and the events are what is left. A position ahead of the head gives no events and is not complete.
    - Who asks for `replay` again from `until` as long as it `has_more` comes to the head and misses nothing, even where a part holds no event.
    - Headers that are a text, a number or a truth come as they went; what is nested may be lost (RabbitMQ's streams keep none).
    - An exchange that is not in `exchanges` is NotFound; an event that no broker could take (`check_event`) is InvalidInput: nothing is published.
    - An exchange that does not exist is told by `faults` and looked for again; it never disturbs the others.
    - Closing ends all followers.
    """

    name: str
    exchanges: Mapping[str, ExchangeSettings]

    async def publish(self, events: Sequence[Event]) -> None:
        """Publish, in order. Unroutable is no error: nobody listens. BrokerUnavailable does not say what was taken: publishing again may double."""

    async def head(self, exchange: str) -> Position:
        """Where the exchange stands now: everything published before this call is at or before it."""

    def follow(self, exchange: str, since: Position | None = None) -> AsyncGenerator[Sequence[Event] | Gap, None]:
        """Events after `since`, or after where it stands when the first are asked for. Close it (`aclose`) when done."""

    async def replay(self, exchange: str, since: Position, limit: int = 10_000) -> Replay:
        """At most `limit` events after `since`, up to the head."""

    async def faults(self) -> dict[str, str]:
        """What is not well, by exchange ("" for the broker itself): empty means well."""

    async def close(self) -> None:
        """Give back connections; called once."""


def missing_exchange(name: str) -> NotFound:
    """For a name that no table of the settings holds."""
    return NotFound(f'there is no exchange {name!r}; a table [exchanges."<name>"] in the settings makes one')
