"""Contract: what the house remembers. Role protocols, small enough to read; `Store` is all of them.

Promises, each a test in `angelia_testing.suites.store`, which SQLite and PostgreSQL run alike:
- A call that returns has been made durable (SQLite synchronous=FULL, PostgreSQL synchronous_commit=on); one that raises has changed nothing.
- What can't be made durable now raises StoreUnavailable, within seconds, and never anything of the driver's.
- Claims are leases: two workers never hold one item; a claim that is not settled comes back after its lease; an old fence changes nothing.
- Repeats are caught by key: message (source, idempotency key), ledger (message, person), delivery (message, person, agent,
  address), digest (person, agent, address, schedule, slot).
Times are aware datetimes in UTC; ids are the 63-bit numbers of `model.moments`; login, group and type names are stored as given.
"""

from typing import Protocol

from angelia.store.announcements import Announcement, AnnouncementStore
from angelia.store.answers import Answer, AnswerStore
from angelia.store.deliveries import Backlog, DeliveryStore, Settlement, Successor
from angelia.store.digests import DigestStore, LeftOut, NewDigest, Slot
from angelia.store.document import Document
from angelia.store.ears import EarStore
from angelia.store.escalations import DueEscalation, Escalated, EscalationStore, NewEscalation, Step
from angelia.store.events import EventStore, ExchangeMark
from angelia.store.expectations import ExpectationNews, ExpectationStore
from angelia.store.experiments import Chore, ExperimentStore, TakenTransition
from angelia.store.inbox import InboxGroup, InboxItem, InboxPage, InboxPart, InboxQuery, InboxStore
from angelia.store.jobs import AddedJob, ClaimedJob, JobQuery, JobStore, Joined
from angelia.store.ledger import LedgerRow, LedgerStore, RuleHits
from angelia.store.messages import ClaimedMessage, Copies, FloodMark, MessageStore, NewMessage, ParkedMessage, Plan, RepeatMark, Shared
from angelia.store.operations import AdministrationStore, OperationsStore, StatisticsStore, TemplateStore, TemplateVersion, Traffic
from angelia.store.people import PersonStore, ProfileRow, RuleRow
from angelia.store.requests import RequestStore, TaskRequest
from angelia.store.signing_in import Session, SignInStore
from angelia.store.site import Feed, SiteStore, Source, Token
from angelia.store.traces import Trace, TraceStore
from angelia.store.upkeep import Upkeep

__all__ = [
    "AddedJob",
    "AdministrationStore",
    "Announcement",
    "AnnouncementStore",
    "Answer",
    "AnswerStore",
    "Backlog",
    "Chore",
    "ClaimedJob",
    "ClaimedMessage",
    "Copies",
    "DeliveryStore",
    "DigestStore",
    "Document",
    "DueEscalation",
    "EarStore",
    "Escalated",
    "EscalationStore",
    "EventStore",
    "ExchangeMark",
    "ExpectationNews",
    "ExpectationStore",
    "ExperimentStore",
    "Feed",
    "FloodMark",
    "InboxGroup",
    "InboxItem",
    "InboxPage",
    "InboxPart",
    "InboxQuery",
    "InboxStore",
    "JobQuery",
    "JobStore",
    "Joined",
    "LedgerRow",
    "LedgerStore",
    "LeftOut",
    "MessageStore",
    "NewDigest",
    "NewEscalation",
    "NewMessage",
    "OperationsStore",
    "ParkedMessage",
    "PersonStore",
    "Plan",
    "ProfileRow",
    "RepeatMark",
    "RequestStore",
    "RuleHits",
    "RuleRow",
    "Session",
    "Settlement",
    "Shared",
    "SignInStore",
    "SiteStore",
    "Slot",
    "Source",
    "StatisticsStore",
    "Step",
    "Store",
    "Successor",
    "TakenTransition",
    "TaskRequest",
    "TemplateStore",
    "TemplateVersion",
    "Token",
    "Trace",
    "TraceStore",
    "Traffic",
    "Upkeep",
]


class Store(
    MessageStore,
    LedgerStore,
    DeliveryStore,
    DigestStore,
    TraceStore,
    AnswerStore,
    EscalationStore,
    PersonStore,
    SiteStore,
    AdministrationStore,
    SignInStore,
    InboxStore,
    EventStore,
    RequestStore,
    EarStore,
    ExperimentStore,
    JobStore,
    AnnouncementStore,
    ExpectationStore,
    Upkeep,
    Protocol,
):
    """All that the house remembers."""
