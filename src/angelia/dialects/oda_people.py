"""The ODA dialect's callers: whom a token names, what she may, and how the hub comes to know her."""

import re
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from angelia.dialects.oda_wire import Asked, NotUnderstood, RoleMissing, not_authorized
from angelia.flow.wants import change_wants
from angelia.model.claims import Claims, NewsWish, read_claims
from angelia.model.errors import Conflict, NotAuthenticated
from angelia.model.job import Principal
from angelia.model.person import Address, AddressState, Person
from angelia.model.preference import Site
from angelia.store import Store
from angelia.wire.site_tokens import Expired, SiteTokens

_AGAIN = "please try to logout and login again. If already logged out, please clean the cookies, and resubmit you request."
EXPIRED = f"The token provided is expired, {_AGAIN}"
INVALID = f"The token provided is not valid, {_AGAIN}"
NO_LOGIN = "The token provided names nobody: it has neither sub nor email."
_MAIL = re.compile(r"[^@\s,;<>\"()]{1,64}@[^@\s,;<>\"()]{1,190}")
_ROOM = re.compile(r"![^\s:]{1,200}(:[^\s]{1,200})?")
MAIL, CHAT = "mail", "matrix"
"""The two agents of which tokens speak."""
_MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class Guest:
    """Who asks. `claims` is None for the public."""

    principal: Principal
    claims: Claims | None = None
    token: str = ""

    @property
    def roles(self) -> frozenset[str]:
        """None of them where the token says nothing of roles."""
        return self.principal.roles


PUBLIC = Guest(Principal(""))


class OdaPeople:
    """Reads tokens. Without a secret of the site every token is none of ours."""

    def __init__(
        self, store: Store, tokens: SiteTokens | None, now: Callable[[], datetime], changed: Callable[[str], None], *,
        site: Callable[[], Site], agents: Collection[str], is_old: bool = False,
    ) -> None:  # fmt: skip
        self._store, self._tokens, self._now, self._changed = store, tokens, now, changed
        self._site, self._agents, self._is_old = site, agents, is_old
        self._known: dict[str, Claims] = {}
        self._read_before: dict[bytes, Guest] = {}

    @property
    def tokens(self) -> SiteTokens:
        """What signs; NotAuthenticated where the site has no secret."""
        if self._tokens is None:
            raise NotAuthenticated(INVALID)
        return self._tokens

    def guest(self, asked: Asked) -> Guest:
        """The public where no token is given; an error in the envelope of exceptions for a bad one."""
        token = asked.text("token")
        if token in ("", "None"):
            return PUBLIC
        try:
            return self._read(token)
        except Expired:
            raise not_authorized(EXPIRED) from None
        except NotAuthenticated as error:
            if self._is_old and token.count(".") != 2:
                instrument = asked.text("instrument") or "mock"
                raise NotUnderstood(f"[ InstrumentQueryBackEnd : {instrument[:64]} ] constructor failed: Not enough segments") from None
            raise not_authorized(NO_LOGIN if str(error) == NO_LOGIN else INVALID) from None

    def with_roles(self, asked: Asked, action: str = "", roles: Collection[str] = ()) -> Guest:
        """Somebody with all these roles; RoleMissing says in plain text what lacks."""
        token = asked.text("token")
        if token in ("", "None"):
            raise RoleMissing("A token must be provided.")
        try:
            guest = self._read(token)
        except Expired:
            raise RoleMissing("The token provided is expired.") from None
        except NotAuthenticated:
            raise RoleMissing("The token provided is not valid.") from None
        if missing := sorted(set(roles) - guest.roles):
            raise RoleMissing(
                f"Unfortunately, your privileges are not sufficient to {action}.\n"
                f"Your privilege roles include {sorted(guest.roles)}, but the following roles are missing: {', '.join(missing)}."
            )
        return guest

    def _read(self, token: str) -> Guest:
        # A client that polls sends the same token each second; only its end can change what it is worth.
        key = sha256(token.encode("utf-8", "replace")).digest()
        kept = self._read_before.get(key)
        if kept is None:
            kept = self._verified(token)
            if len(self._read_before) >= _MOST_KNOWN:
                self._read_before.clear()
            self._read_before[key] = kept
        ends_at = kept.claims.expires_at if kept.claims is not None else None
        if ends_at is not None and ends_at <= self._now():
            raise Expired(EXPIRED)
        return kept

    def _verified(self, token: str) -> Guest:
        claims = read_claims(self.tokens.read(token, self._now()))
        login = claims.login.strip()
        if not login or len(login) > 255 or not login.isprintable():
            raise NotAuthenticated(NO_LOGIN)
        return Guest(Principal(login, claims.roles or frozenset()), claims, token)

    async def introduce(self, guest: Guest) -> None:
        """The site vouches for her and for her addresses: from now on she can be told, and as her token says where she says nothing herself."""
        claims = guest.claims
        if claims is None or self._known.get(guest.principal.login) == claims:
            return
        login = guest.principal.login
        person = await self._store.person(login)
        is_new = person is None
        if person is None:
            try:
                person = await self._store.put_person(Person(person_id=0, login=login, name=claims.name[:200]))
            except Conflict:  # she asked twice at once
                return
        if is_new and _MAIL.fullmatch(login):
            await self._add_address(person, MAIL, login)
        if _ROOM.fullmatch(claims.room):
            await self._add_address(person, CHAT, claims.room)
        await self._take_wishes(claims, login)
        self._changed("people")
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[login] = claims

    async def _add_address(self, person: Person, agent: str, value: str) -> None:
        held = await self._store.addresses(person.person_id)
        if agent in self._agents and all(address.agent != agent or address.value != value for address in held):
            made = Address(
                address_id=0, person_id=person.person_id, agent=agent, value=value, state=AddressState.OK, origin="directory", verified_at=self._now()
            )  # fmt: skip
            with suppress(Conflict):
                await self._store.add_address(made)

    async def _take_wishes(self, claims: Claims, login: str) -> None:
        wishes = {agent: _said(wish) for agent, wish in ((MAIL, claims.mail), (CHAT, claims.chat)) if agent in self._agents}

        def change(document: dict[str, Any]) -> None:
            document["jobs_by_token"] = wishes
            # A token asks to be told at all; she may have said otherwise, of jobs or of everything.
            if not document.get("preferences"):
                document["preferences"] = {"job": dict.fromkeys(wishes, "now")}

        await change_wants(self._store, login, change, self._site(), self._now())


def _said(wish: NewsWish) -> dict[str, Any]:
    return {name: value for name, value in asdict(wish).items() if value is not None}
