"""Contract: how a delivery leaves the house (Letter in, Outcome out)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from angelia.model.delivery import Delivery, Outcome
from angelia.model.message import Message
from angelia.model.person import Address, Person
from angelia.outbound import Outbound
from angelia.planning.digest import Digest

Templates = Callable[[], Mapping[str, str]]
"""The site's own templates: `<type or *>/<agent>/<form>/<language>/<part>` -> source; part is subject, text or html."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the house lends to an agent beside its settings: the site's templates, the one way out for HTTP requests, and the key from which
    it may derive keys of its own.
    """

    templates: Templates = dict
    outbound: Outbound = field(default_factory=Outbound)
    secret: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What an agent is given for one try: the delivery, the person, the address, and exactly one of message and digest.

    `because` are the reasons why she gets it, `decided_by` the rule or scope (`rule:2`, `site:obs.build`); `unsubscribe_url` acts on POST and
    asks on GET, "" where none can be made; `attempt` counts from 1.
    """

    delivery: Delivery
    person: Person
    address: Address | None
    message: Message | None = None
    digest: Digest | None = None
    because: tuple[str, ...] = ()
    decided_by: str = ""
    unsubscribe_url: str = ""
    web_url: str = ""
    slot_at: datetime | None = None
    attempt: int = 1
    sample: Sequence[Message] = field(default=())


class Agent(Protocol):
    """Sends letters by one medium.

    Promises, each a test in `angelia_testing.suites.agent`:
    - `deliver` makes one try and returns; it never retries, sleeps for a retry, or raises for what a peer answers.
    - The same letter twice carries the same id, so that a repeat is recognisable (Message-ID, transaction id).
    - `check_address` is pure and refuses what could be read as more than one address.
    - It can be cancelled while it tries; no text of a letter becomes a header, a recipient or a key of what is sent.
    - `address_example` is what an address looks like, shown beside the field where one is typed; "" where there are none.
    - `is_pull` media are complete once recorded: the relay never calls them.
    - `is_opt_in` ones exist only where the operator has written their table of settings, be it an empty one.
    - One with a `browser_key` has addresses that browsers make: the page for addresses shows a button that subscribes with that key, and adds
      `<endpoint>#<p256dh>.<auth>` (the keys in base64 for URLs). It is an attribute that others need not have.
    - One whose addresses are secrets has `shown(value)`: what is said in their place on pages, in messages and logs (see `shown_by`).
    """

    name: str
    is_pull: bool
    is_interruptive: bool
    is_opt_in: bool
    concurrency: int
    address_example: str

    def check_address(self, value: str) -> str | None:
        """The address in its canonical form, or None if it is none."""

    def note(self, address: Address) -> str:
        """What she must know at the other end of an address that is hers, such as the key of signatures; "" for nothing. Shown to her alone."""

    def destination(self, letter: Letter) -> str:
        """What the circuit breaker counts by: a host, a domain; never a person."""

    async def deliver(self, letter: Letter) -> Outcome:
        """One try."""

    async def close(self) -> None:
        """Give back connections; a second call does nothing."""


def shown_by(agent: object, value: str) -> str:
    """What an address of this agent is called where others may read along: itself, or what its agent says in its place."""
    shown: Callable[[str], str] | None = getattr(agent, "shown", None)
    return value if shown is None else shown(value)
