"""The site: its document, sources, tokens, types, feeds, audit."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from angelia.model.message import MessageType
from angelia.store.document import Document


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

    async def versions(self) -> tuple[int, int]:
        """The version of that document and the newest change number of people, in one look: it is asked all the time, and changes seldom."""

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
