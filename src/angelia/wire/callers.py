"""Who calls: bearer tokens of sources and persons, checked against the store with a short memory."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from math import ceil
from time import monotonic

from angelia import telemetry
from angelia.model.errors import Forbidden, NotAuthenticated, Rate, RateLimited
from angelia.model.person import Person
from angelia.store import Source, Store

REMEMBERED = 1.0  # seconds; a revoked token is refused in every process, and ends its streams, within 5 s (promise P19)
MOST_REMEMBERED = 10_000
USES_AT_ONCE = 500
ANONYMOUS = "anonymous"
READING, WRITING = frozenset({"read", "write", "admin"}), frozenset({"write", "admin"})
"""Scopes of a person's token, any of which will do."""


def new_secret() -> str:
    """A token: 256 random bits, shown once."""
    return f"ang_{secrets.token_urlsafe(32)}"


def secret_hash(secret: str) -> str:
    """What the store keeps. The secret has full entropy, so a fast hash is enough."""
    return sha256(secret.encode()).hexdigest()


def _secret_of(authorization: bytes) -> str | None:
    """The token in an Authorization header; None where there is none that could be one."""
    scheme, _, secret = authorization.partition(b" ")
    if scheme.lower() != b"bearer" or not secret or len(secret) > 512 or not secret.isascii():
        return None
    return secret.decode()


@dataclass(slots=True)
class Caller:
    """Who calls, and what it may do. `source` posts; `person` reads and writes hers; an admin everything."""

    source: Source | None = None
    person: Person | None = None
    scopes: frozenset[str] = frozenset()
    is_trusted: bool = False
    bucket: "Bucket | None" = field(default=None, repr=False)

    @property
    def is_admin(self) -> bool:
        """The operator at the machine, or an administrator with a token that says admin."""
        return self.is_trusted or (self.person is not None and self.person.is_admin and "admin" in self.scopes)

    @property
    def may_read(self) -> bool:
        """Is this more than a token that is good for posting only?"""
        return self.is_admin or not self.scopes.isdisjoint(READING)

    @property
    def name(self) -> str:
        """As it stands in the audit log and as a message's source."""
        if self.person is not None:
            return f"person:{self.person.login}"
        if self.source is not None:
            return self.source.name
        return "operator" if self.is_trusted else ANONYMOUS

    def check_post(self, key: str, severity: str) -> None:
        """May it post this type with this severity, now? Forbidden or RateLimited if not."""
        self.check_right(key, severity)
        self.take(1)

    def take(self, count: int) -> None:
        """So many messages are posted at once: RateLimited where that is too much now, and then none of them counts."""
        if self.bucket is not None:
            self.bucket.take(count)

    @property
    def rate(self) -> Rate | None:
        """What it may post, where that is bounded."""
        return None if self.bucket is None else self.bucket.state()

    def check_right(self, key: str, severity: str) -> None:
        """May it post this type with this severity? Forbidden if not. Counts nothing."""
        source = self.source
        if source is None:
            if self.person is not None and not self.scopes & {"post", "admin"}:
                raise Forbidden("this token may not post; make one with the scope post")
            return
        if not source.is_active:
            raise Forbidden("this source is switched off")
        if source.subtrees and not any(key == tree or key.startswith(f"{tree}.") for tree in source.subtrees):
            raise Forbidden(f"this source may post {', '.join(source.subtrees)}, not {key}")
        if severity == "urgent" and not source.may_be_urgent:
            raise Forbidden("this source may not post urgent messages")


def by_session(person: Person) -> Caller:
    """Who comes with a session: she may do whatever is hers to do."""
    return Caller(person=person, scopes=frozenset({"read", "write", "post"} | ({"admin"} if person.is_admin else set())))


class Bucket:
    """A token bucket: `rate` a second, with a burst of ten seconds."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._level = max(1.0, rate * 10)
        self._seen_at = monotonic()

    def take(self, count: int) -> None:
        """Take so many, or say when to come back."""
        now = monotonic()
        most = max(1.0, self._rate * 10)
        self._level = min(most, self._level + (now - self._seen_at) * self._rate)
        self._seen_at = now
        # A batch above the burst is taken on credit once the bucket is full: it could never fit.
        if self._level < min(count, most):
            wait = (min(count, most) - self._level) / self._rate
            raise RateLimited("more is posted with this token than its rate allows", wait, self.state())
        self._level -= count

    def state(self) -> Rate:
        """What it allows, and what is left of it since it was last asked."""
        most = max(1.0, self._rate * 10)
        return Rate("posts", int(most), ceil(most / self._rate), max(0, int(self._level)), ceil((most - self._level) / self._rate))


class Callers:
    """Finds who calls by the Authorization header (RFC 6750)."""

    def __init__(
        self, store: Store, now: Callable[[], datetime], *, open_posting: bool, trusts_caller: bool, post_rate: float = 0.0, key: bytes = b""
    ) -> None:
        """`post_rate` is how many messages a second one person may post; 0 for any number. Who has `key` is the operator."""
        self._store = store
        self._now = now
        self._post_rate = post_rate
        self._anonymous = Caller(source=Source(name=ANONYMOUS, may_be_urgent=False)) if open_posting else None
        self._operator = Caller(is_trusted=True, scopes=frozenset({"admin"}))
        self._trusted = self._operator if trusts_caller else None
        self._key = key
        self._known: dict[str, tuple[float, Caller]] = {}
        self._buckets: dict[str, tuple[float, Bucket]] = {}
        self._asking: dict[str, asyncio.Task[Caller]] = {}
        self._used: set[int] = set()
        self.version = 0
        self._noting: asyncio.Task[None] | None = None

    async def of(self, authorization: bytes) -> Caller | None:
        """The caller; None for nobody; NotAuthenticated for credentials that are not good."""
        if self._trusted is not None:
            return self._trusted
        if not authorization:
            return None
        secret = _secret_of(authorization)
        if secret is None:
            raise NotAuthenticated("send the token as Authorization: Bearer ang_...")
        hashed = secret_hash(secret.strip())
        if (remembered := self._remembered(secret, hashed)) is not None:
            return remembered
        # Thousands come at once after a restart: those with the same token share one look.
        asking = self._asking.get(hashed)
        if asking is None:
            asking = self._asking[hashed] = asyncio.get_running_loop().create_task(self._look_up(hashed))
            asking.add_done_callback(lambda done: self._found(hashed, done))
        return await asyncio.shield(asking)

    def known(self, authorization: bytes) -> Caller | None:
        """As `poster`, where no look at the store is needed for it; None where one is, and for what is not good."""
        if self._trusted is not None or not authorization:
            return self._trusted or self._anonymous
        secret = _secret_of(authorization)
        return None if secret is None else self._remembered(secret, secret_hash(secret.strip()))

    def _remembered(self, secret: str, hashed: str) -> Caller | None:
        """Whose it is, where the store need not be asked."""
        if self._key and compare_digest(secret.encode(), self._key):
            return self._operator
        known = self._known.get(hashed)
        return known[1] if known is not None and monotonic() - known[0] < REMEMBERED else None

    def _found(self, hashed: str, asking: "asyncio.Task[Caller]") -> None:
        is_good = not asking.cancelled() and asking.exception() is None
        # What was asked before `forget` must not be remembered after it.
        if self._asking.get(hashed) is asking:
            del self._asking[hashed]
            if len(self._known) > MOST_REMEMBERED:
                self._known.clear()
            if is_good:
                self._known[hashed] = monotonic(), asking.result()

    def forget(self) -> None:
        """Look again at the store: a token was revoked, or a person switched off."""
        self._known.clear()
        self._asking.clear()
        self.version += 1

    async def poster(self, authorization: bytes) -> Caller:
        """The caller of a post; where posting is open nobody needs a token."""
        caller = await self.of(authorization) or self._anonymous
        if caller is None:
            raise NotAuthenticated("posting here needs the token of a source: Authorization: Bearer ang_...")
        return caller

    async def _look_up(self, hashed: str) -> Caller:
        now = self._now()
        token = await self._store.token(hashed)
        if token is None or token.is_revoked or (token.expires_at is not None and token.expires_at <= now):
            raise NotAuthenticated("this token is unknown, expired or revoked")
        if token.last_used_at is None or now - token.last_used_at > timedelta(minutes=10):
            self._note_use(token.token_id)
        kind, _, name = token.owner.partition(":")
        if kind == "person":
            person = await self._store.person(name)
            if person is None or not person.is_active:
                raise NotAuthenticated("the owner of this token is not active")
            return self.sender(person, token.scopes)
        source = await self._store.source(name)
        if source is None:
            raise NotAuthenticated("the source of this token is gone")
        return Caller(source=source, scopes=token.scopes, bucket=self._bucket(source.name, source.rate_per_second))

    def _note_use(self, token_id: int) -> None:
        """When a token was used last is for people to look at: nobody waits until that is written, and all that come together are one write."""
        self._used.add(token_id)
        if self._noting is None or self._noting.done():
            self._noting = asyncio.get_running_loop().create_task(self._write_uses())

    async def _write_uses(self) -> None:
        while self._used:
            some = [self._used.pop() for _ in range(min(USES_AT_ONCE, len(self._used)))]
            try:
                await self._store.touch_tokens(some, self._now())
            except Exception as error:  # noqa: BLE001 - the next use is noted in its place
                telemetry.log.warning("token_use_not_noted", count=len(some), error=str(error))

    def sender(self, person: Person, scopes: frozenset[str]) -> Caller:
        """A person with what she may do; all that she posts, by whatever token or page, counts against one rate."""
        rate = 0.0 if person.is_admin or "post" not in scopes else self._post_rate
        return Caller(person=person, scopes=scopes, bucket=self._bucket(f"person:{person.login}", rate))

    def _bucket(self, name: str, rate: float) -> Bucket | None:
        """One for all tokens of an owner; a person's name has `person:` before it."""
        if rate <= 0:
            return None
        known = self._buckets.get(name)
        if known is None or known[0] != rate:
            if len(self._buckets) > MOST_REMEMBERED:
                self._buckets.clear()
            known = self._buckets[name] = rate, Bucket(rate)
        return known[1]
