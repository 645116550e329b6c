"""Message, MessageType, Tag, Sender, Recipient: what a sender says happened (spec: Hermes message information block)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from functools import lru_cache

from angelia.model.errors import InvalidInput

TYPE_LENGTH = 128
HOUSE = "angelia"
"""The source, and the type subtree, of what the house itself says; nobody else may post as it."""
ADDRESS_TEST = f"{HOUSE}.test"
_TYPE = re.compile(r"[a-z0-9_:-]+(?:\.[a-z0-9_:-]+)*\Z")


class Severity(IntEnum):
    """How much a message presses; ordered, so thresholds compare."""

    LOW = 1
    NORMAL = 2
    HIGH = 3
    URGENT = 4

    @classmethod
    def named(cls, name: str) -> "Severity":
        """`low`, `normal`, `high` or `urgent`, exactly so written."""
        try:
            return _SEVERITIES[name]
        except KeyError:
            raise InvalidInput(f"severity is one of {', '.join(_SEVERITIES)}", "severity") from None

    @property
    def label(self) -> str:
        """The name as it stands in JSON and XML."""
        return self.name.lower()


_SEVERITIES = {severity.label: severity for severity in Severity}


class Wish(StrEnum):
    """What the poster would like; a person's own word always beats it."""

    NOW = "now"
    DIGEST = "digest"


class RecipientKind(StrEnum):
    """How a message names somebody."""

    TO = "to"
    CC = "cc"


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody whom a message names: `principal` is a login, or `group:<name>`."""

    principal: str
    kind: RecipientKind = RecipientKind.TO
    reason: str = ""

    @property
    def group(self) -> str | None:
        """The group's name, or None for a person."""
        return self.principal[6:] if self.principal.startswith("group:") else None


@dataclass(frozen=True, slots=True)
class Sender:
    """Who says it: an identity and a readable name. Taken from the message, not from the poster's login."""

    sender_id: str = ""
    name: str = ""


Params = Mapping[str, str | tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A text that goes with a message as a file, where its medium has files; `name` is plain ASCII without a path."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One statement that something happened.

    `received_at` is ours and orders everything; `occurred_at` is the sender's. `access` lists the logins and `group:` names that may see a
    restricted message. `supersedes` is a key: a later message with the same one makes an earlier one out of date. `has_own_severity` is False
    where the sender gave none: its type may then say one (`planning.defaults`).
    """

    message_id: int
    source: str
    type: str
    received_at: datetime
    occurred_at: datetime
    subject: str = ""
    body: str = ""
    body_format: str = "text"
    sender: Sender = Sender()
    actor: str = ""
    recipients: tuple[Recipient, ...] = ()
    severity: Severity = Severity.NORMAL
    has_own_severity: bool = field(default=False, compare=False)
    tags: tuple[tuple[str, str], ...] = ()
    params: Params = field(default_factory=dict)
    object: str = ""
    object_url: str = ""
    thread: str = ""
    collapse_key: str = ""
    supersedes: str = ""
    expires_at: datetime | None = None
    not_before: datetime | None = None
    wish: Wish | None = None
    language: str = ""
    is_test: bool = False
    is_restricted: bool = False
    access: tuple[str, ...] = ()
    attachment: Attachment | None = None

    @property
    def tried_address(self) -> tuple[str, str] | None:
        """Agent and address where this is a test of one address, said by the house on her demand; else None."""
        if self.type != ADDRESS_TEST or self.source != HOUSE:
            return None
        return str(self.params.get("agent", "")), str(self.params.get("address", ""))

    @property
    def readers(self) -> tuple[str, ...] | None:
        """Who alone may see it, as logins and `group:<name>`: those on its list, without a list those whom it names. None: it is not restricted."""
        if not self.is_restricted:
            return None
        return self.access or tuple(recipient.principal for recipient in self.recipients)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageType:
    """A dotted key that sorts messages, and what the operator says of it. Locks and audience live in the site's wants.

    `default_severity` and the templates `collapse_key` and `thread_key` (`{object}/{params.arch}`) hold for messages that say none themselves,
    also of the types below, unless a nearer one says otherwise (`planning.defaults`). So does `is_public`: what anybody may read without
    signing in; None leaves it to the types above (`flow.topics`).
    """

    key: str
    first_seen_at: datetime
    last_seen_at: datetime
    messages: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    descriptions: Mapping[str, str] = field(default_factory=dict)
    default_severity: Severity | None = None
    collapse_key: str = ""
    thread_key: str = ""
    retention_days: int | None = None
    aliases: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    is_public: bool | None = None
    state: str = "auto"


def checked_type(text: str) -> str:
    """The type in its stored form (lower case), or InvalidInput saying what a type looks like."""
    key = text.lower()
    if len(key) > TYPE_LENGTH or _TYPE.match(key) is None:
        raise InvalidInput(f"a message type is dotted words of letters, digits, '_', ':' or '-', at most {TYPE_LENGTH} characters", "type")
    return key


@lru_cache(maxsize=4_096)
def ancestry(key: str) -> tuple[str, ...]:
    """The type itself, then its parents, nearest first: `a.b.c` gives `a.b.c`, `a.b`, `a`."""
    scopes = [key]
    while (cut := key.rfind(".")) > 0:
        key = key[:cut]
        scopes.append(key)
    return tuple(scopes)
