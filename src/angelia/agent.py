"""Contract: how a delivery leaves the house (Letter in, Outcome out), and how what people do with it comes back (Ear)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from angelia.model.delivery import Delivery, Outcome
from angelia.model.errors import AngeliaError
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

    For agents that edit in place (see `edits_in_place`): `thread_root` is the receipt of the first letter of the same thread (or object) at this
    address, "" for the first; `replaces` is the receipt of the letter that tells of the same running thing and which this one brings up to date,
    "" where this one stands for itself. An agent that edits returns the receipt by which people see the letter, which is that of the first.
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
    replaces: str = ""
    thread_root: str = ""


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
    - One that people know by another name than its own has a `title` (see `title_of`).
    - One whose addresses are secrets has `shown(value)`: what is said in their place on pages, in messages and logs (see `shown_by`).
    - One that also hears has `async def listen(self, ear: Ear) -> None`: it runs until it is cancelled; the house runs it once per site, and again,
      slower each time, when it raises (see `hears`). `link_to(code)`, which not all have, is a URL that hands over a code for `ear.verified`.
    - One that can change what it sent has `edits_in_place = True`: its letters come with `replaces` and `thread_root`, those to one address
      one after another (see `edits_in_place`).
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


def title_of(name: str, agent: object) -> str:
    """What people call this agent: its own title, or its name with a capital."""
    return str(getattr(agent, "title", "")) or name.capitalize()


class Ear(Protocol):
    """What an agent that hears tells the house. Addresses are in canonical form; `receipt` is what the agent gave as `Sent(receipt)`.

    An `address` of "" stands for any: for media whose receipts are unique, where the agent has made sure that the receipt belongs to the place.
    All doors may be called twice; they raise StoreUnavailable, and then nothing was taken.
    """

    async def seen(self, address: str, receipt: str) -> bool:
        """She has read it. False where no delivery of this agent has this receipt at this address."""

    async def acknowledged(self, address: str, receipt: str) -> bool:
        """She has taken note, and says so. False as in `seen`."""

    async def verified(self, code: str, address: str) -> bool:
        """Somebody wrote this code at this address: it is the address of her for whom the code was made. False where the code is none, or over."""

    async def cursor(self) -> str:
        """How far the medium was heard, as last kept; "" at the very first."""

    async def keep_cursor(self, text: str) -> None:
        """So far it is heard: a restart goes on from here. Raises LostLease where another node has taken over."""


class LostLease(AngeliaError):
    """Another node hears in our place."""


Listen = Callable[[Ear], Awaitable[None]]


def hears(agent: object) -> Listen | None:
    """How this agent listens, None where it only speaks."""
    listen: Listen | None = getattr(agent, "listen", None)
    return listen


def link_to(agent: object, code: str) -> str:
    """A URL that hands over this code in one click, "" where she must write it herself."""
    made: Callable[[str], str] | None = getattr(agent, "link_to", None)
    return "" if made is None else made(code)


def edits_in_place(agent: object) -> bool:
    """Can this agent change what it sent?"""
    return bool(getattr(agent, "edits_in_place", False))
