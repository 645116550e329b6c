"""Signing in: passwords, sessions, identities at providers."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from angelia.model.person import Person


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

    async def last_here(self, now: datetime, limit: int) -> list[int]:
        """Who has a session that is not over, the last to use one first: their ids."""

    async def list_sessions(self, person_id: int, now: datetime) -> list[Session]:
        """Hers that have not ended, last used first."""

    async def end_sessions(self, person_id: int, session_ids: Collection[int] | None = None) -> int:
        """Those of her sessions, or all; how many there were."""

    async def end_provider_sessions(self, provider: str, subject: str, provider_session: str) -> int:
        """Back-channel logout: by the provider's session, by subject, or by both; how many ended."""

    async def forget_sessions(self, now: datetime) -> int:
        """Delete those that have ended."""
