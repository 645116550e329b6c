"""Contract: what the house remembers. Role protocols, small enough to read; `Store` is all of them.

Promises, each a test in tests/contract/test_store.py, which SQLite and PostgreSQL run alike:
- A call that returns has been made durable (SQLite synchronous=FULL, PostgreSQL synchronous_commit=on); one that raises has changed nothing.
- What can't be made durable now raises StoreUnavailable, within seconds, and never anything of the driver's.
- Claims are leases: two workers never hold one item; a claim that is not settled comes back after its lease; an old fence changes nothing.
- Repeats are caught by key: message (source, idempotency key), ledger (message, person), delivery (message, person, agent,
  address), digest (person, agent, address, schedule, slot).
Times are aware datetimes in UTC; ids are the 63-bit numbers of `model.moments`; login, group and type names are stored as given.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple, Protocol

from angelia.inlet import Receipt
from angelia.model.delivery import Delivery, Reason, State
from angelia.model.event import Event, Position
from angelia.model.experiment import Experiment, ExperimentState, Resource, StoredTransition, Transition
from angelia.model.message import Message, MessageType
from angelia.model.person import Address, AddressState, Group, Person
from angelia.planning.digest import Digest
from angelia.planning.estimate import Count
from angelia.planning.resolve import Decision
from angelia.planning.retry import Breaker

Document = Mapping[str, object]


# ---- messages -------------------------------------------------------------------------------------------------------------------


class NewMessage(NamedTuple):
    """A row on its way in; `payload` as in `model.payload`, `received_us` in microseconds since 1970."""

    message_id: int
    source: str
    type: str
    received_us: int
    payload: str
    idempotency_key: str | None = None
    fingerprint: bytes = b""


@dataclass(frozen=True, slots=True)
class ClaimedMessage:
    """A message that this worker may plan until its lease ends. `attempts` counts claims, this one included."""

    message: Message
    fence: int
    attempts: int


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """What was decided for one candidate, and why; kept for explain."""

    message_id: int
    person_id: int
    because: tuple[str, ...]
    decisions: tuple[Decision, ...]
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class FloodMark:
    """How much went at once to one person by one agent in the window that began then."""

    person_id: int
    agent: str
    window_started_at: datetime
    sent: int


@dataclass(frozen=True, slots=True)
class RepeatMark:
    """When a collapse key last went at once to one person by one agent."""

    person_id: int
    agent: str
    key: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """What a planner records for one claimed message. With `is_complete` False it is one chunk of several (many recipients).

    `is_filled`: its type said what the sender did not; the message is stored anew as it now is, so that all who read it see the same.
    """

    message: Message
    fence: int
    ledger: Sequence[LedgerRow] = ()
    deliveries: Sequence[Delivery] = ()
    is_complete: bool = True
    is_filled: bool = False


@dataclass(frozen=True, slots=True)
class ParkedMessage:
    """A message that planning can't get past; an operator sees it with its error."""

    message: Message
    attempts: int
    error: str


class MessageStore(Protocol):
    """Messages from acceptance to plan."""

    async def add_messages(self, rows: Sequence[NewMessage]) -> list[Receipt]:
        """Make them durable together with whatever else waits (group commit); one receipt a row, in order. New types are registered."""

    async def claim_messages(self, limit: int, lease: timedelta, now: datetime) -> list[ClaimedMessage]:
        """The oldest that nobody has planned, holds, or has postponed beyond now."""

    async def record_plans(self, plans: Sequence[Plan], flood: Sequence[FloodMark], repeats: Sequence[RepeatMark], now: datetime) -> int:
        """All in one transaction: ledger, deliveries, the persons' lists of types, marks; the messages are planned. Returns how many plans
        still held their fence; the others change nothing.
        """

    async def postpone_message(self, message_id: int, fence: int, until: datetime, why: str) -> None:
        """Give the claim back; ask again at `until`."""

    async def park_message(self, message_id: int, fence: int, why: str) -> None:
        """Put a poisonous message aside."""

    async def parked_messages(self, limit: int) -> list[ParkedMessage]:
        """Those put aside, oldest first."""

    async def unpark_messages(self, message_ids: Collection[int]) -> int:
        """Let them be planned again; how many there were."""

    async def flood_marks(
        self, pairs: Collection[tuple[int, str]], keys: Collection[tuple[int, str, str]]
    ) -> tuple[dict[tuple[int, str], FloodMark], dict[tuple[int, str, str], RepeatMark]]:
        """The marks of (person, agent) and of (person, agent, collapse key), as far as there are any."""

    async def messages(self, message_ids: Collection[int]) -> dict[int, Message]:
        """Messages by id; missing ones are left out."""

    async def list_messages(
        self, *, person_id: int | None, subtree: str = "", source: str = "", before_id: int | None = None, limit: int = 100
    ) -> list[Message]:
        """Newest first, below `before_id`: all (person_id None), or those of which she is a candidate; `subtree` is a type with all below."""


# ---- the ledger -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RuleHits:
    """How often one rule spoke in the time that is counted, and when it last did (which may be before)."""

    count: int
    last_at: datetime


class LedgerStore(Protocol):
    """What was decided, for explain and for trying changes on history."""

    async def ledger_row(self, message_id: int, person_id: int) -> LedgerRow | None:
        """What was decided for her about this message."""

    async def ledger_of(self, pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], LedgerRow]:
        """Rows by (message id, person id), in one read; missing ones are left out."""

    async def ledger_rows(self, message_id: int, after_person_id: int = 0, limit: int = 1000) -> list[LedgerRow]:
        """All candidates of a message, by person id."""

    async def history(
        self, person_id: int, since: datetime, limit: int, *, subtree: str = "", rule_id: str = "", before_id: int | None = None
    ) -> list[tuple[Message, LedgerRow]]:
        """Her candidacies since then, newest first, below message `before_id`; of one subtree; or only those in which a rule of hers spoke."""

    async def recent(self, person_id: int, since: datetime, limit: int, before_id: int | None = None) -> list[tuple[Message, tuple[str, ...] | None]]:
        """All messages since then, newest first, below `before_id`; each with why she was a candidate, None where she was none."""

    async def rule_hits(self, person_id: int, since: datetime, counted_from: datetime, limit: int) -> dict[str, RuleHits]:
        """By id, the rules that spoke for her since then (as a reason, or by what they decided), counted from `counted_from` on. Looks at
        the newest `limit` of her candidacies in which any rule spoke.
        """

    async def counts_since(self, person_id: int, since: datetime, limit: int) -> list[Count]:
        """How many of her candidacies since then (of the newest `limit`) were of which type, for which reasons."""

    async def trail(self, message_id: int, person_id: int) -> list[Delivery]:
        """Her deliveries of a message, digests that carried it included, in order."""


# ---- deliveries -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of one claimed delivery. `state` DUE means again at `due_at`; `is_attempt` False gives the attempt back."""

    delivery_id: int
    fence: int
    state: State
    reason: Reason
    due_at: datetime | None = None
    error: str = ""
    is_attempt: bool = True


@dataclass(frozen=True, slots=True)
class Slot:
    """A digest that is due: the bucket and its slot."""

    person_id: int
    agent: str
    address_id: int
    schedule: str
    slot_at: datetime


@dataclass(frozen=True, slots=True)
class NewDigest:
    """One digest for a slot. `item_ids` are the deliveries that it stands for; The others ended without being in it."""

    digest_id: int
    slot: Slot
    content: Digest
    delivery: Delivery
    item_ids: Sequence[int] = ()
    expired_ids: Sequence[int] = ()
    superseded_ids: Sequence[int] = ()
    seen_ids: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one agent."""

    agent: str
    due: int
    held: int
    sending: int
    oldest_due_at: datetime | None


class DeliveryStore(Protocol):
    """Deliveries from plan to end."""

    async def claim_deliveries(self, agents: Collection[str], limit: int, lease: timedelta, now: datetime) -> list[Delivery]:
        """Due ones of these agents, urgent ones first, then oldest due first.

        Each comes as SENDING with its fence raised and its attempt counted, before any try.
        """

    async def settle(self, settlements: Sequence[Settlement], now: datetime) -> int:
        """Record outcomes; an old fence changes nothing. The end of a digest's delivery is the end of its items. Returns how many applied."""

    async def requeue_expired_leases(self, now: datetime) -> int:
        """Deliveries, messages and slots of dead workers come back; how many."""

    async def next_due_at(self, agents: Collection[str], now: datetime) -> datetime | None:
        """When the next delivery or slot is due, None if nothing waits."""

    async def due_slots(self, now: datetime, limit: int) -> list[Slot]:
        """Slots reached, oldest first. Which worker makes a digest is settled by `record_digest`."""

    async def held_items(self, slot: Slot, limit: int) -> list[tuple[Delivery, Message]]:
        """What is held for a slot, oldest message first."""

    async def record_digest(self, digest: NewDigest, now: datetime) -> bool:
        """Found-or-created by its slot: False where another worker made it first, or a listed item was no longer held; then nothing changed."""

    async def drop_slot(
        self, slot: Slot, expired_ids: Sequence[int], superseded_ids: Sequence[int], now: datetime, *, seen_ids: Sequence[int] = ()
    ) -> None:
        """A slot with nothing to say: its items end, no digest is made."""

    async def move_items(self, delivery_ids: Collection[int], due_at: datetime) -> int:
        """Held items go to another slot of the same schedule; those no longer held stay. How many moved."""

    async def digests(self, digest_ids: Collection[int]) -> dict[int, NewDigest]:
        """Digests by id; their `content` as recorded, the delivery as it now stands."""

    async def seen(self, pairs: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
        """Which of these messages these people have read by any agent: (message, person)."""

    async def deliveries(self, delivery_ids: Collection[int]) -> dict[int, Delivery]:
        """Deliveries by id."""

    async def list_deliveries(
        self, *, states: Collection[State], agent: str = "", person_id: int | None = None, before_id: int | None = None, limit: int = 100
    ) -> list[Delivery]:
        """Newest first; the dead letters are `states={DEAD, BOUNCED}`."""

    async def replay(self, delivery_ids: Collection[int], now: datetime) -> int:
        """DEAD and BOUNCED ones become due again with no attempts counted; how many."""

    async def cancel_waiting(self, person_id: int, *, agent: str = "", subtree: str = "", object_ref: str = "", reason: Reason, now: datetime) -> int:
        """Suppress what waits (HELD, DUE) for her and matches all that is given; how many (promise P10)."""

    async def backlog(self) -> list[Backlog]:
        """Per agent, what waits and since when."""

    async def conservation(self) -> dict[State, int]:
        """How many deliveries stand in each state (promise P3)."""

    async def paused_agents(self) -> frozenset[str]:
        """Agents whose backlog is kept back by an operator."""

    async def pause_agent(self, agent: str, is_paused: bool) -> None:
        """Keep an agent's backlog back, or let it go."""

    async def breakers(self) -> dict[str, Breaker]:
        """Circuit breakers by destination, as last put."""

    async def put_breakers(self, breakers: Mapping[str, Breaker]) -> None:
        """Remember them over a restart; a closed one without failures is forgotten."""

    async def purge(self, now: datetime, default_retention: timedelta, limit: int) -> int:
        """Delete messages past the retention of their type (nearest type with `retention_days`, else the default) whose deliveries have all ended,
        with all that belongs to them; and digests past the default whose delivery has ended. How many went, of the kind that had most;
        at most `limit` of each, and fewer where nothing is left.
        """

    async def forget(self, now: datetime, limit: int) -> int:
        """Idempotency keys older than 7 days (promise P9), repeat marks older than a day. Counts and limits like `purge`."""


# ---- people ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """A person with her document and what reaches her."""

    person: Person
    document: Document
    version: int
    addresses: tuple[Address, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleRow:
    """What the candidate index holds of one rule that makes candidates: its pattern and one literal condition, ("", "") for none."""

    person_id: int
    pattern: str
    name: str = ""
    value: str = ""


class PersonStore(Protocol):
    """People, what they want, where they are reached."""

    async def put_person(self, person: Person) -> Person:
        """Create (person_id 0) or change by id. A login that is taken is a Conflict."""

    async def person(self, login: str) -> Person | None:
        """By login; `group:<name>` is a group's principal."""

    async def list_people(self, after_login: str = "", limit: int = 100) -> list[Person]:
        """By login, without the principals of groups and of the public."""

    async def person_ids(self, logins: Collection[str]) -> dict[str, int]:
        """Those that exist."""

    async def profiles(self, person_ids: Collection[int]) -> list[ProfileRow]:
        """What the planner needs of them, in one read."""

    async def people_changed_since(self, sequence: int) -> tuple[int, list[int]]:
        """The newest change number, and who changed after `sequence` (person, document, address, membership). With -1: the number and nobody."""

    async def wants(self, login: str) -> tuple[Document, int]:
        """Her document and its version (0 and empty if she never said anything); NotFound for nobody."""

    async def put_wants(
        self, login: str, document: Document, *, follows: Collection[str], rules: Collection[RuleRow], expected_version: int | None = None
    ) -> int:
        """Replace her document; the new version. Conflict if `expected_version` is not the stored one. `follows` and `rules` are what the
        candidate look-ups find (person_id in `rules` is ignored).
        """

    async def previous_wants(self, login: str) -> tuple[Document, int]:
        """Her document as it was before the last change, and the version that is now; the empty one before the first. NotFound for nobody."""

    async def followers(self, ref: str, after_person_id: int = 0, limit: int = 10_000) -> list[int]:
        """Who follows an object, by person id."""

    async def followed(self, refs: Collection[str]) -> frozenset[str]:
        """Those of the objects that anybody follows."""

    def rule_rows(self, person_ids: Collection[int] | None = None) -> AsyncIterator[Sequence[RuleRow]]:
        """All rule rows (or those of some), in chunks."""

    async def user_types(self, person_id: int) -> list[tuple[str, datetime, datetime, int]]:
        """The types of which she ever was a candidate: key, first and last seen, count."""

    # addresses
    async def add_address(self, address: Address) -> Address:
        """A new one gets its id; the same agent and value of the same person is a Conflict."""

    async def addresses(self, person_id: int) -> list[Address]:
        """Hers, by id."""

    async def address(self, address_id: int) -> Address | None:
        """By id."""

    async def set_address(
        self, address_id: int, *, state: AddressState | None = None, is_default: bool | None = None, now: datetime
    ) -> Address | None:
        """Change state or default; the new value. OK sets verified_at the first time; one default a person and agent."""

    async def delete_address(self, person_id: int, address_id: int) -> bool:
        """False if it was not hers."""

    async def put_code(self, address_id: int, code_hash: str, expires_at: datetime) -> None:
        """The hash of a verification code."""

    async def try_code(self, address_id: int, code_hash: str, now: datetime) -> bool:
        """True once for the right code, in time, within 5 tries."""

    async def codes_sent(self, agent: str, value: str, since: datetime) -> int:
        """How many verification codes went to this place, over all people (checklist S32)."""

    # groups and relations
    async def put_group(self, group: Group, vouched: Collection[Address] | None = None) -> Group:
        """Create or replace by name, members included; logins that don't exist are NotFound. Its principal `group:<name>` (a person of
        that login) comes with it. `vouched` replaces its addresses, all verified by whoever puts them; None leaves them as they are.
        """

    async def group(self, name: str) -> Group | None:
        """By name."""

    async def list_groups(self) -> list[Group]:
        """By name."""

    async def delete_group(self, name: str) -> bool:
        """False if there was none. Its principal becomes inactive and loses its addresses."""

    async def group_members(self, names: Collection[str]) -> dict[str, frozenset[int]]:
        """Person ids by group; unknown groups are left out."""

    async def put_relations(self, ref: str, relations: Mapping[str, Collection[str]]) -> None:
        """Replace the roles on an object: role -> logins and `group:<name>`; an empty mapping removes it."""

    async def relations(self, ref: str) -> dict[str, frozenset[str]]:
        """Role -> logins and `group:<name>`, as put."""

    async def roles_of(self, person_id: int) -> dict[str, frozenset[str]]:
        """Object -> roles, for all objects on which she has one, herself or through a group."""

    async def related_ids(self, ref: str) -> dict[str, frozenset[int]]:
        """Role -> person ids, groups expanded."""


# ---- the site -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A system that posts. `subtrees` empty means every type; `hourly_cap` 0 means none."""

    source_id: int = 0
    name: str
    title: str = ""
    subtrees: tuple[str, ...] = ()
    may_be_urgent: bool = True
    rate_per_second: float = 0.0
    contact: str = ""
    is_active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A credential, stored as a hash. `owner` is `source:<name>` or `person:<login>`; scopes are words such as `admin`, `read`, `post`."""

    token_id: int = 0
    owner: str
    title: str = ""
    scopes: frozenset[str] = frozenset()
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    is_revoked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A saved query of one person's inbox, readable by whoever has its token. `last_read_at`: by its present token, to some minutes."""

    feed_id: int = 0
    person_id: int
    title: str
    query: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime
    last_read_at: datetime | None = None
    is_revoked: bool = False


class SiteStore(Protocol):
    """What the operator settles."""

    async def site(self) -> tuple[Document, int]:
        """The site's document and version; empty and 0 at first."""

    async def put_site(self, document: Document, expected_version: int | None = None) -> int:
        """Replace it; Conflict if the version moved."""

    async def put_source(self, source: Source) -> Source:
        """Create or replace by name."""

    async def source(self, name: str) -> Source | None:
        """By name."""

    async def list_sources(self) -> list[Source]:
        """By name."""

    async def add_token(self, token: Token, secret_hash: str) -> Token:
        """Remember a new credential by its hash."""

    async def token(self, secret_hash: str) -> Token | None:
        """By hash; revoked ones too, so that the caller can say so."""

    async def list_tokens(self, owner: str = "") -> list[Token]:
        """By id."""

    async def revoke_token(self, token_id: int) -> bool:
        """False if there is none."""

    async def touch_tokens(self, token_ids: Collection[int], now: datetime) -> None:
        """They were used."""

    async def types(self, keys: Collection[str] | None = None, *, is_curated: bool = False) -> list[MessageType]:
        """Registered types, by key; all, some, or only those of which an operator has said something."""

    async def put_type(self, entry: MessageType) -> None:
        """Create or curate one; missing parents are created. Aliases are case-insensitive and unique (Conflict)."""

    async def type_aliases(self) -> dict[str, str]:
        """Alias in lower case -> key."""

    async def add_feed(self, feed: Feed, secret_hash: str) -> Feed:
        """A new feed."""

    async def feed(self, secret_hash: str) -> Feed | None:
        """By the hash of its token; None if revoked, or if its owner is not active."""

    async def list_feeds(self, person_id: int) -> list[Feed]:
        """Hers, revoked ones left out."""

    async def touch_feed(self, feed_id: int, now: datetime, every: timedelta) -> bool:
        """It was read. False, and nothing is written, where it is known to be read within `every` before now, or is revoked."""

    async def rotate_feed(self, person_id: int, feed_id: int, secret_hash: str | None) -> bool:
        """A new secret, which nobody has read with yet, or None to revoke."""

    async def new_node(self) -> int:
        """A number below 4096 for this process's ids; each call gives the next."""


# ---- templates, operation, statistics -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    """One state of a site template; `source` None where it was taken away."""

    version: int
    key: str
    source: str | None
    actor: str
    at: datetime


class TemplateStore(Protocol):
    """The site's own templates, with every version that they had."""

    async def put_template(self, key: str, source: str | None, actor: str = "", now: datetime | None = None) -> None:
        """Text of a site template (key `<type>/<agent>/<form>/<language>/<part>`), None removes it. Each change adds a version; one that
        changes nothing adds none. A template older than the versions keeps its first text as one, without a time.
        """

    async def templates(self) -> dict[str, str]:
        """All site templates."""

    async def template_versions(self, key: str, limit: int = 100) -> list[TemplateVersion]:
        """Newest first."""


class OperationsStore(Protocol):
    """What operators look at."""

    async def audit(self, actor: str, action: str, target: str, detail: Document, now: datetime) -> None:
        """Append to the audit log. Never a secret."""

    async def audit_log(self, before_id: int | None = None, limit: int = 100, *, actor: str = "", action: str = "") -> list[dict[str, object]]:
        """Newest first: id, at, actor, action, target, detail. `action` is one, or with a dot at its end all that begin so (`token.`)."""

    async def overdue(self, agents: Collection[str], now: datetime, ages: Sequence[timedelta]) -> dict[str, tuple[int, ...]]:
        """For each agent, how many due deliveries were due longer ago than each of `ages`."""

    async def retries(self, agents: Collection[str], limit: int) -> list[Delivery]:
        """Due deliveries that failed before, the longest due of each agent first; looks at the first thousand of each."""

    async def find_people(self, text: str, after_login: str = "", limit: int = 100) -> list[Person]:
        """By login: whose login or name holds `text`, whatever its case; without the principals of groups and of the public."""

    async def objects(self, text: str = "", after: str = "", limit: int = 100) -> list[str]:
        """Objects on which somebody has a role, by name; those that hold `text`."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one stretch of time holds: messages by (type, source), deliveries by (agent, state), and whom they were for."""

    messages: Mapping[tuple[str, str], int] = field(default_factory=dict)
    deliveries: Mapping[tuple[str, State], int] = field(default_factory=dict)
    people: frozenset[int] = frozenset()


class StatisticsStore(Protocol):
    """Numbers over time. Ids hold the time: each question reads the ids of its stretch and no others."""

    async def traffic(self, edges: Sequence[datetime], share: int = 1) -> list[Traffic]:
        """One for each stretch between neighbours of `edges`, in order; a delivery counts where it was planned. With a `share` above 1 only
        one part in so many is read, in a few places of each stretch, and counts are estimates; people are those who were met.
        """

    async def seen_since(self, since: datetime) -> tuple[int, int, int]:
        """People: with an account, of these active, and signed in since then."""


# ---- signing in -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser in which somebody is signed in. `provider` is the issuer that vouched for her, "" for a password of ours."""

    session_id: int = 0
    person_id: int
    provider: str = ""
    device: str = ""
    created_at: datetime
    seen_at: datetime
    ends_at: datetime


class SignInStore(Protocol):
    """Passwords, identities at providers, sessions. Secrets come as hashes only."""

    async def put_password(self, person_id: int, password_hash: str | None, now: datetime) -> None:
        """Set or, with None, remove."""

    async def password(self, person_id: int) -> str | None:
        """The hash of her password, None if she has none."""

    async def link_identity(self, issuer: str, subject: str, person_id: int) -> None:
        """What (issuer, subject) calls itself is this person; one that is linked already stays with whom it is."""

    async def person_of_identity(self, issuer: str, subject: str) -> Person | None:
        """Who that is here."""

    async def identities(self, person_id: int) -> list[tuple[str, str]]:
        """What she is at providers: (issuer, subject), in order."""

    async def unlink_identity(self, issuer: str, subject: str, person_id: int, opening: Collection[str], *, has_passwords: bool) -> bool:
        """Hers no more; the sessions that its issuer opened for her end. False if it is not hers. Conflict where it is the last way to sign in:
        identities of the issuers in `opening` are ways, and where there are passwords (`has_passwords`) hers is one.
        """

    async def open_session(self, session: Session, secret_hash: str, provider_session: str = "") -> Session:
        """A new one gets its id; `provider_session` is the provider's `sid`."""

    async def session(self, secret_hash: str) -> tuple[Session, Person] | None:
        """By the hash of its cookie, with whose it is; the caller looks at the times."""

    async def touch_session(self, session_id: int, now: datetime) -> None:
        """It was used."""

    async def list_sessions(self, person_id: int, now: datetime) -> list[Session]:
        """Hers that have not ended, last used first."""

    async def end_sessions(self, person_id: int, session_ids: Collection[int] | None = None) -> int:
        """Those of her sessions, or all; how many there were."""

    async def end_provider_sessions(self, provider: str, subject: str, provider_session: str) -> int:
        """Back-channel logout: by the provider's session, by subject, or by both; how many ended."""

    async def forget_sessions(self, now: datetime) -> int:
        """Delete those that have ended."""


# ---- the inbox ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxQuery:
    """A view of one inbox. Empty fields do not filter. `tag` is `name=value`. `reason` is `role`, `rule`, `follow`, `to`, `cc` or `group`, or one
    of them with its value (`role:maintainer`). `state`: unread, read, archived, all, or "" for all but archived. `seen_by`: the principals of
    the reader as they are now (her login, `group:<name>`): restricted messages for others are left out (promise P14); None looks at no rights.
    `is_by_severity`: what presses most comes first, and of equals the newest; where `is_newest_first` is False it is the other way round. Only
    the newest 20,000 entries are ordered so. In each order `before_id` asks for what stands below that entry, `after_id` for what stands above.
    """

    state: str = ""
    subtree: str = ""
    source: str = ""
    tag: str = ""
    reason: str = ""
    object_ref: str = ""
    thread: str = ""
    min_severity: int = 1
    text: str = ""
    agent: str = "web"
    is_newest_first: bool = True
    is_by_severity: bool = False
    before_id: int | None = None
    after_id: int | None = None
    limit: int = 50
    seen_by: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class InboxItem:
    """One entry: the message as delivered to her, and what she did with it."""

    delivery_id: int
    message: Message
    because: tuple[str, ...]
    delivered_at: datetime
    read_at: datetime | None = None
    archived_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class InboxGroup:
    """Entries of a view that share an object or a thread; `items` are the first of them, `first_id` is where it stands in the order of the view."""

    key: str
    first_id: int
    total: int
    unread: int
    items: tuple[InboxItem, ...]


@dataclass(frozen=True, slots=True)
class InboxPage:
    """One page of a view with its numbers. `facets`: by `type`, `source`, `severity` and `reason`, how many there would be with that filter
    instead of the view's own of that name. `has_more` and `has_fewer`: is there a page after and before it in the order of the view?
    """

    groups: tuple[InboxGroup, ...]
    total: int
    unread: int
    facets: Mapping[str, Mapping[str, int]]
    has_more: bool = False
    has_fewer: bool = False


class InboxStore(Protocol):
    """What was delivered to the pull media, as the person sees it."""

    async def inbox(self, person_id: int, query: InboxQuery) -> list[InboxItem]:
        """A page of the view; InvalidInput where it is ordered by severity and its cursor is no entry of hers."""

    async def inbox_page(self, person_id: int, query: InboxQuery, group_by: str = "", shown: int = 3) -> InboxPage:
        """A page with its numbers, of one look: `limit` entries, each a group by itself, or with `group_by` (object, thread) `limit` groups with
        at most `shown` entries each. A message without object or thread is a group by itself. The page is the one nearest to its cursor, which
        is the `first_id` of a group.
        """

    async def inbox_entry(self, person_id: int, delivery_id: int, seen_by: frozenset[str] | None = None) -> InboxItem | None:
        """One entry, if it is hers and she may see it."""

    async def inbox_counts(self, person_id: int, query: InboxQuery, group_by: str = "") -> dict[str, int]:
        """Counts of the view: by type, source, object, thread, severity, reason or `tag:<name>`; "" gives {"unread", "total"}."""

    async def inbox_stamp(self, person_id: int) -> str:
        """Another text once something newer is in her web inbox, or she marked something; cheap to ask."""

    async def mark(
        self, person_id: int, query: InboxQuery, delivery_ids: Collection[int] | None, change: str, now: datetime, *, is_undoable: bool = True
    ) -> int:
        """Bulk `read`, `unread`, `archive`, `unarchive` of the listed ids that fall in the view, or of the whole view; how many changed.
        The last one that `is_undoable` can be taken back, by its time.
        """

    async def undo_mark(self, person_id: int, marked_at: datetime, now: datetime) -> int | None:
        """Take back her change of that time; how many entries changed, None where it is not the last one."""


# ---- events ---------------------------------------------------------------------------------------------------------------------


class ExchangeMark(NamedTuple):
    """Where an exchange stands: sequences 1 to `head` were given, those up to `pruned` are forgotten; `total` bytes were published."""

    name: str
    epoch: str
    head: int
    pruned: int
    total: int


class EventStore(Protocol):
    """Events of the embedded broker, for a while."""

    async def exchange_marks(self, names: Collection[str]) -> dict[str, ExchangeMark]:
        """Of these exchanges; one that is not there is made, with an epoch that it keeps."""

    async def exchange_epoch(self, name: str, lost: str = "") -> str:
        """The epoch of an exchange whose events are kept elsewhere. `lost` is one whose memory is gone: where it is still that, another is made."""

    async def last_states(self, names: Collection[str]) -> dict[str, str]:
        """What was last seen of each name, as far as it is known."""

    async def put_last_states(self, states: Mapping[str, str], now: datetime) -> None:
        """Remember them."""

    async def forget_states(self, before: datetime, limit: int) -> int:
        """Forget those that were not put since; at most `limit`. How many there were."""

    async def append_events(self, events: Sequence[Event], now: datetime) -> list[Position]:
        """Make them durable on exchanges that are there. Sequences have no holes and become visible in order. One position an event, in order."""

    async def read_events(self, exchange: str, epoch: str, after: int, limit: int, most_bytes: int) -> list[Event]:
        """The oldest that are kept and above `after`: at most `limit`, and at most so many bytes where they are more than one."""

    async def prune_events(self, exchange: str, before: datetime, keep_bytes: int, limit: int) -> int:
        """Forget the oldest, while they are older or more than the bytes to keep; at most `limit`. How many there were."""


# ---- experiments ----------------------------------------------------------------------------------------------------------------


class TakenTransition(NamedTuple):
    """What became of a reported transition: its number, whether it came for the first time, and its experiment as it is now."""

    number: int
    is_new: bool
    experiment: Experiment | None


class Chore(Enum):
    """What is still to be done with a transition that was taken: publish it on exchanges, tell people."""

    PUBLISH = "publish"
    TELL = "tell"

    @property
    def lease(self) -> str:
        """The name of the lease under which one worker does it."""
        return f"transitions.{self.value}"


class ExperimentStore(Protocol):
    """Experiments, their resources, and what was reported of them; the transitions that wait for a chore are the outbox."""

    async def add_transitions(self, reported: Sequence[Transition], now: datetime) -> list[TakenTransition]:
        """Make all durable, or none: IllegalTransition names the index and the field of one that has no place in the table of states. Numbers
        become visible in order. One that says nothing new (the same reporter, the same words and time) is a repeat. The experiment of a
        resource is remembered from the first event that names it; one that is not known yet is made, with a key of its own.
        """

    async def claim_transitions(self, chore: Chore, limit: int, lease: timedelta, now: datetime) -> list[StoredTransition]:
        """The oldest that wait for the chore, in order. One worker at a time holds them all, until it settles or the lease ends."""

    async def settle_transitions(self, chore: Chore, numbers: Collection[int]) -> None:
        """The chore is done for these; the claim ends, also where there are none."""

    async def experiment(self, experiment_id: int) -> Experiment | None:
        """By id."""

    async def list_experiments(
        self,
        *,
        login: str | None = None,
        groups: Collection[str] = (),
        reporter: str | None = None,
        state: ExperimentState | None = None,
        path: str = "",
        before_id: int | None = None,
        limit: int = 100,
    ) -> list[Experiment]:
        """Newest first: all, those of a person (hers, or of one of the groups), or those of whom a source reported the create."""

    async def transitions_of(self, experiment_id: int, before: int | None = None, limit: int = 100) -> list[StoredTransition]:
        """The history of an experiment and its resources, last taken first."""

    async def resources_of(self, experiment_id: int) -> list[Resource]:
        """By path."""

    async def forget_experiments(self, now: datetime, retention: timedelta, limit: int) -> int:
        """Delete those that are over and of which nothing was heard for so long, those that never ended after four times as long, and what
        belongs to none; never what still waits for a chore. How many there were.
        """


class Upkeep(Protocol):
    """Opening, closing, and the state of the store itself."""

    async def open(self) -> None:
        """Connect; SchemaMismatch unless the schema is this version's; asserts durability settings."""

    async def close(self) -> None:
        """Finish what waits, then disconnect."""

    async def ping(self) -> None:
        """StoreUnavailable unless a write could be made durable now."""

    async def check(self) -> list[str]:
        """Integrity and conservation; one line a fault, empty if all is well."""

    async def backup(self, path: str) -> None:
        """A consistent copy into a new file, under load."""

    async def release_leases(self) -> int:
        """For the only worker, at its start: whoever held something is gone. How much came back."""

    async def forget_future(self, now: datetime) -> int:
        """For every worker, at its start: what was put off under a clock that went back since is due now. What is held for a slot keeps its time."""

    def wake(self, topic: str) -> None:
        """A hint to other processes (`messages`, `deliveries`, `people`); may be lost."""

    def hints(self) -> AsyncIterator[str]:
        """Topics that other processes woke; ends on close. One reader gets each."""

    def hear(self, ear: Callable[[str], None]) -> None:
        """Call it with each such topic, beside whoever reads `hints`; it must not wait."""


class AdministrationStore(TemplateStore, OperationsStore, StatisticsStore, Protocol):
    """What the pages of administrators need beyond the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """Somebody wants to be told once: `event` is `wf.task.<status>` of the task or of any task of the instance. `document` is what was posted (JSON).
    `matched_at`: the event came; `triggered_at`: it was said, or will not be.
    """

    request_id: str
    user_id: str
    event: str
    task_id: str
    instance_id: str
    document: str
    created_at: datetime
    matched_at: datetime | None = None
    triggered_at: datetime | None = None


class RequestStore(Protocol):
    """Requests to be told when a task ends, and how far exchanges were read."""

    async def put_task_request(self, request: TaskRequest) -> bool:
        """Keep a new one; False if its id is taken."""

    async def task_requests(self, user_id: str | None, limit: int = 10_000) -> list[TaskRequest]:
        """Those of one user, or all, by id."""

    async def count_waiting_requests(self, user_id: str) -> int:
        """How many of hers have not been said."""

    async def match_task_requests(self, user_id: str, event: str, task_id: str, instance_id: str, now: datetime) -> int:
        """Her requests for this event on this task or instance are due; how many became so."""

    async def matched_task_requests(self, limit: int = 1_000) -> list[TaskRequest]:
        """Those that are due and not said, the longest due first."""

    async def end_task_requests(self, request_ids: Collection[str], now: datetime) -> None:
        """They are said."""

    async def forget_task_requests(self, before: datetime) -> None:
        """Forget those made before."""

    async def stream_position(self, name: str) -> str:
        """How far a reader was, "" for a new one."""

    async def put_stream_position(self, name: str, position: str) -> None:
        """So far it is."""


class Store(
    MessageStore,
    LedgerStore,
    DeliveryStore,
    PersonStore,
    SiteStore,
    AdministrationStore,
    SignInStore,
    InboxStore,
    EventStore,
    RequestStore,
    ExperimentStore,
    Upkeep,
    Protocol,
):
    """All that the house remembers."""
