"""What the web is given by the house."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from angelia.agent import Agent
from angelia.broker import Broker
from angelia.flow.answers import Answers
from angelia.flow.dispatcher import Dispatcher
from angelia.flow.streams import Streams
from angelia.inlet import Accept
from angelia.model.claims import NewsWish
from angelia.model.experiment import CleanUp
from angelia.model.job import Job
from angelia.model.person import Address, Person
from angelia.model.preference import Site
from angelia.store import Store
from angelia.web.limits import Limits
from angelia.web.live import Live
from angelia.web.scraping import Scrapers
from angelia.web.signin.providers import Provider
from angelia.web.signin.sessions import Sessions
from angelia.wire.callers import Callers

RIGHTS = "rights"
"""The hint of one process to the others that rights changed."""


@dataclass(frozen=True, slots=True)
class Context:
    """One for each app. `site` is the site's wants as last read; `changed` hurries those who keep copies, `refresh` reads ours again;
    `recipes` give the code of foreign clients that asks for the same as a job, by the client's name.
    `renew` makes a token of the site's anew (of her token, her login, her wishes by agent); None where it signs none.
    """

    store: Store
    accept: Accept
    callers: Callers
    now: Callable[[], datetime]
    agents: Mapping[str, Agent]
    site: Callable[[], Site]
    secret: bytes
    base_url: str
    title: str
    sessions: Sessions
    live: Live
    answers: Answers
    dispatcher: Dispatcher
    broker: Broker
    streams: Streams
    providers: Mapping[str, Provider]
    has_passwords: bool
    proxies: frozenset[str]
    max_body: int
    changed: Callable[[str], None]
    refresh: Callable[[], Awaitable[None]]
    ready: Callable[[], Awaitable[dict[str, str]]]
    verify: Callable[[Address, Person, str], Awaitable[None]]
    recipes: Callable[[Job, Mapping[str, object]], Mapping[str, str]]
    renew: Callable[[str, str, Mapping[str, NewsWish]], str] | None = None
    scrapers: Scrapers = field(default_factory=Scrapers)
    clean_up: CleanUp = field(default_factory=CleanUp)
    limits: Limits = field(default_factory=Limits)

    def rights_changed(self) -> None:
        """Somebody lost rights: here they are looked at again at once, live streams included, and other processes are told."""
        self.forget_rights()
        self.store.wake(RIGHTS)

    def forget_rights(self) -> None:
        """The same as far as this process goes."""
        self.callers.forget()
        self.sessions.forget()
