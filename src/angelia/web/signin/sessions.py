"""Sessions: a random cookie, stored as a hash; new at each sign-in, ended by rest, by age, by herself, by her provider."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from angelia.model.person import Person
from angelia.store import Session, Store
from angelia.wire.callers import secret_hash

IDLE = timedelta(hours=8)
LONGEST = timedelta(days=7)
TOUCH = timedelta(minutes=5)
REMEMBERED = 1.0  # seconds; what was ended is refused in every process, and ends its streams, within 5 s (promise P19)
MOST_REMEMBERED = 10_000
_BY_THEMSELVES = frozenset({"/inbox/live", "/api/v1/stream"})
"""What open pages ask without her: it does not keep a session from ending by rest."""


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(self, store: Store, now: Callable[[], datetime], base_url: str) -> None:
        self._store = store
        self._now = now
        # The prefix makes browsers refuse the cookie unless it is secure, of this host and for every path; over plain HTTP there is no such thing.
        self.is_secure = base_url.startswith("https://")
        self.cookie = "__Host-angelia" if self.is_secure else "angelia"
        self._known: dict[str, tuple[float, tuple[Session, Person] | None]] = {}
        self.version = 0

    async def open(self, request: Request, response: Response, person: Person, provider: str = "", provider_session: str = "") -> None:
        """Sign her in: a new secret each time, so that one planted before is worth nothing (session fixation)."""
        await self._end(request)
        now, secret = self._now(), secrets.token_urlsafe(32)
        session = Session(
            person_id=person.person_id,
            provider=provider,
            device=request.headers.get("user-agent", ""),
            created_at=now,
            seen_at=now,
            ends_at=now + LONGEST,
        )
        await self._store.open_session(session, secret_hash(secret), provider_session)
        lasts = int(LONGEST.total_seconds())
        response.set_cookie(self.cookie, secret, max_age=lasts, path="/", secure=self.is_secure, httponly=True, samesite="lax")

    async def close(self, request: Request, response: Response) -> None:
        """End the session of this request, if there is one."""
        await self._end(request)
        response.delete_cookie(self.cookie, path="/", secure=self.is_secure, httponly=True, samesite="lax")

    async def _end(self, request: Request) -> None:
        found = await self.find(request)
        if found is not None:
            session, person = found
            await self._store.end_sessions(person.person_id, [session.session_id])
            self.forget()

    async def find(self, request: HTTPConnection) -> tuple[Session, Person] | None:
        """The session of a request and whose it is, None where there is none that is good."""
        secret = request.cookies.get(self.cookie, "")
        if not secret or len(secret) > 100 or not secret.isascii():
            return None
        hashed, now = secret_hash(secret), self._now()
        known = self._known.get(hashed)
        if known is None or monotonic() - known[0] > REMEMBERED:
            if len(self._known) > MOST_REMEMBERED:
                self._known.clear()
            known = self._known[hashed] = monotonic(), await self._store.session(hashed)
        if known[1] is None:
            return None
        session, person = known[1]
        if not person.is_active or session.ends_at <= now or session.seen_at + IDLE <= now:
            return None
        if session.seen_at + TOUCH <= now and request.url.path not in _BY_THEMSELVES:
            await self._store.touch_session(session.session_id, now)
            self._known[hashed] = known[0], (replace(session, seen_at=now), person)
        return session, person

    def forget(self) -> None:
        """Look again at the store: something was ended."""
        self._known.clear()
        self.version += 1
