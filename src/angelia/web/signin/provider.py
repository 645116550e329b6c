"""An OpenID Connect provider: what it says of itself, its keys, a code for an identity, and what it has ended."""

import asyncio
import base64
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from hmac import compare_digest
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from angelia import telemetry
from angelia.outbound import Answer, Outbound, Request, host_of
from angelia.web.signin.claims import BadToken, check_id_token, check_logout, document, identity_of
from angelia.web.signin.providers import Ended, Flow, Identity, OidcSettings, ProviderAway, SignInFailed
from angelia.web.signin.signatures import Keys, UnknownKey, keys_of, verified

FRESH = 3_600.0
"""Seconds for which a provider's description of itself is used before it is asked again."""
REST = 5.0
"""Seconds for which a provider that failed is left alone."""
KEYS_REST = 60.0
"""Seconds between two looks at a provider's keys, whatever comes meanwhile."""
MOST_USED = 10_000
_MOST_BYTES = 262_144
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_OPTIONAL = ("userinfo_endpoint", "end_session_endpoint")


class OidcProvider:
    """See Provider. `clock` counts seconds for what is kept; `now` is the time of day, in seconds since 1970.

    It has a way out of its own: the operator wrote the issuer's host down, so that one may stand on an inner network; what the issuer names may not.
    """

    def __init__(
        self,
        name: str,
        settings: OidcSettings,
        allow: str = "",
        ca_file: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.settings = settings
        self._outbound = Outbound(allow, ca_file=ca_file, hosts=(host_of(settings.issuer),))
        self._clock = clock
        self._now = now
        self._described: tuple[float, dict[str, Any]] | None = None
        self._rests_until = 0.0
        self._keys: Keys = ()
        self._keys_seen_at: float | None = None
        self._asking = asyncio.Lock()
        self._used: OrderedDict[str, float] = OrderedDict()

    @property
    def title(self) -> str:
        """As people know it."""
        return self.settings.title or self.name

    async def leave(self, flow: Flow, back: str) -> str:
        """See Provider."""
        described = await self._description()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(flow.verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": back,
            "scope": self.settings.scopes,
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        place = described["authorization_endpoint"]
        return f"{place}{'&' if '?' in place else '?'}{urlencode(asked)}"

    async def arrive(self, flow: Flow, back: str, code: str, issuer: str) -> Identity:
        """See Provider."""
        described = await self._description()
        self._check_issuer(described, issuer)
        tokens = await self._exchange(described, code, back, flow.verifier)
        access_token, id_token = tokens.get("access_token"), tokens.get("id_token")
        if not isinstance(access_token, str) or not isinstance(id_token, str) or not access_token.isascii():
            raise BadToken("it gave no tokens for the code")
        claims, algorithm = await self._verified(described, id_token, ("jwt",))
        check_id_token(claims, algorithm, self.settings, flow.nonce, access_token, self._now())
        more = await self._more(described, access_token)
        return identity_of(claims, more, self.settings)

    async def ended(self, token: str) -> Ended:
        """See Provider."""
        claims, _ = await self._verified(await self._description(), token, ("jwt", "logout+jwt"))
        now = self._now()
        ended, used, until = check_logout(claims, self.settings, now)
        while self._used and (next(iter(self._used.values())) < now or len(self._used) >= MOST_USED):
            self._used.popitem(last=False)
        if used in self._used:
            raise BadToken("this came before")
        self._used[used] = until
        return ended

    async def goodbye(self, place: str) -> str:
        """See Provider."""
        try:
            end = (await self._description()).get("end_session_endpoint", "")
        except ProviderAway:
            return ""
        asked = urlencode({"client_id": self.settings.client_id, "post_logout_redirect_uri": place})
        return f"{end}{'&' if '?' in end else '?'}{asked}" if end else ""

    def _check_issuer(self, described: dict[str, Any], issuer: str) -> None:
        """RFC 9207: the answer to one provider's question must not be taken to another."""
        is_promised = described.get("authorization_response_iss_parameter_supported") is True
        if (issuer or is_promised) and not compare_digest(issuer.encode(), self.settings.issuer.encode()):
            raise SignInFailed("refused", "the answer names another issuer")

    async def _description(self) -> dict[str, Any]:
        """Its description of itself; an old one serves while it can't be asked for a new one."""
        async with self._asking:
            kept = self._described
            if kept is not None and self._clock() - kept[0] < FRESH:
                return kept[1]
            try:
                described = await self._fetch_description()
            except SignInFailed:
                if kept is None:
                    raise
                return kept[1]
            self._described = self._clock(), described
            return described

    async def _fetch_description(self) -> dict[str, Any]:
        url = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        described = await self._document(Request(url=url))
        if described.get("issuer") != self.settings.issuer:
            raise self._away("it calls itself by another name than oidc.issuer")
        for name in (*_ENDPOINTS, *_OPTIONAL):
            place = described.get(name)
            if place is None and name in _OPTIONAL:
                continue
            if not isinstance(place, str) or self._is_unfit(place):
                raise self._away(f"its {name} can't be used")
        return described

    def _is_unfit(self, place: str) -> bool:
        # What begins with https must go on so: the secret and the codes of all who sign in go there.
        return bool(self._outbound.fault_of(place)) or (self.settings.issuer.startswith("https:") and urlsplit(place).scheme != "https")

    def _away(self, why: str) -> ProviderAway:
        self._rests_until = self._clock() + REST
        telemetry.log.warning("provider_failed", provider=self.name, why=why)
        return ProviderAway(why)

    async def _ask(self, request: Request) -> Answer:
        """One question. A provider that failed just now is not asked: a thousand people must not wait for it one after another."""
        if self._clock() < self._rests_until:
            raise ProviderAway("it failed a moment ago")
        answer = await self._outbound.fetch(request)
        if not isinstance(answer, Answer):
            raise self._away(answer.why)
        if answer.status >= 500 or answer.status == 429:
            raise self._away(f"it answered {answer.status}")
        return answer

    async def _document(self, request: Request) -> dict[str, Any]:
        answer = await self._ask(self._limited(request))
        if answer.status != 200:
            raise self._away(f"it answered {answer.status}")
        try:
            return document(answer.body)
        except BadToken as error:
            raise self._away(str(error)) from None

    def _limited(self, request: Request) -> Request:
        headers = {"Accept": "application/json"} | dict(request.headers)
        return Request(
            url=request.url, method=request.method, headers=headers, content=request.content, timeout=self.settings.timeout, most=_MOST_BYTES
        )

    async def _verified(self, described: dict[str, Any], token: str, kinds: Collection[str]) -> tuple[dict[str, Any], str]:
        """By the keys that we have, else by new ones: at most one look a minute, however many tokens with unknown keys come."""
        is_new = self._keys_seen_at is None
        if is_new:
            await self._look_at_keys(described)
        try:
            return verified(token, self._keys, self.settings.accepted, kinds)
        except UnknownKey:
            if is_new or not await self._look_at_keys(described):
                raise
        return verified(token, self._keys, self.settings.accepted, kinds)

    async def _look_at_keys(self, described: dict[str, Any]) -> bool:
        now = self._clock()
        if self._keys_seen_at is not None and now - self._keys_seen_at < KEYS_REST:
            return False
        # Counted before the answer is here: those who wait for the same must not each ask.
        before, self._keys_seen_at = self._keys_seen_at, now
        try:
            self._keys = keys_of(await self._document(Request(url=described["jwks_uri"])))
        except ProviderAway:
            # Without any keys nobody could sign in for a minute: then the shorter rest of a provider that failed is enough.
            if before is None:
                self._keys_seen_at = None
            raise
        return True

    async def _secret(self) -> str:
        if not self.settings.client_secret_file:
            return self.settings.client_secret
        try:
            return (await asyncio.to_thread(Path(self.settings.client_secret_file).read_text, "utf-8")).strip()
        except (OSError, UnicodeError) as error:
            raise self._away(f"client_secret_file can't be read: {error}") from None

    async def _exchange(self, described: dict[str, Any], code: str, back: str, verifier: str) -> dict[str, Any]:
        """RFC 6749, section 4.1.3; the client proves itself by Basic (2.3.1), or in the body where the provider knows only that."""
        secret = await self._secret()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": verifier}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        methods = described.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if secret and "client_secret_basic" in methods:
            pair = f"{quote(self.settings.client_id, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self.settings.client_id} | ({"client_secret": secret} if secret else {})
        request = Request(url=described["token_endpoint"], method="POST", headers=headers, content=urlencode(form).encode())
        answer = await self._ask(self._limited(request))
        if answer.status != 200:
            # Not its words: they may hold what we sent.
            raise SignInFailed("stale", f"it did not take the code: {answer.status}")
        return document(answer.body)

    async def _more(self, described: dict[str, Any], access_token: str) -> dict[str, Any]:
        """What userinfo adds (Core 1.0, section 5.3): many providers put names and groups only there."""
        place = described.get("userinfo_endpoint")
        if place is None:
            return {}
        answer = await self._ask(self._limited(Request(url=place, headers={"Authorization": f"Bearer {access_token}"})))
        if answer.status != 200:
            raise SignInFailed("refused", f"userinfo answered {answer.status}")
        if not answer.headers.get("content-type", "").startswith("application/json"):
            raise SignInFailed("refused", "userinfo is not JSON; a signed one is not spoken here")
        more = document(answer.body)
        if not isinstance(more.get("sub"), str):
            raise BadToken("userinfo does not say of whom it speaks")
        return more

    async def close(self) -> None:
        """See Provider."""
        await self._outbound.close()
