"""Who comes to a stream: credentials by header, subprotocol, frame or session; from which pages browsers may come."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import HTTPConnection

from angelia.flow.cursor import check_pattern
from angelia.model.errors import Forbidden, InvalidInput, NotAuthenticated, NotFound
from angelia.web.signin.sessions import Sessions
from angelia.web.stream.forms import outer_name
from angelia.wire.admission import NOBODY, Admission, Guest, Verdict
from angelia.wire.asgi import Scope, headers_of
from angelia.wire.callers import by_session

PROTOCOL = "angelia.v1"
TOKEN_PROTOCOL = "angelia.token."  # noqa: S105
ME = "me"
Again = Callable[[], Awaitable[Guest]]
_IN_QUERY = frozenset({"token", "access_token", "jwt", "authorization"})


async def _nobody() -> Guest:
    return NOBODY


@dataclass(frozen=True, slots=True)
class Entry:
    """Looks who comes. `origins`: pages that browsers may come from."""

    admission: Admission
    sessions: Sessions
    origins: frozenset[str]

    async def meet(self, scope: Scope) -> tuple[Guest, Again]:
        """Who it is, and how to ask again later. Forbidden for pages of others, NotAuthenticated for credentials that are not good."""
        headers = headers_of(scope)
        if any(name.lower() in _IN_QUERY for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)):
            raise NotAuthenticated("a token in a URL ends in logs; send it as Authorization, as subprotocol or in the first frame")
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1") not in self.origins:
            raise Forbidden("this page may not follow streams here; see streams.origins")
        token = self._token(headers.get(b"authorization", b""), scope.get("subprotocols", ()))
        if token:
            return await self.admission.guest(token), lambda: self.admission.guest(token)
        # A cookie is sent by browsers without being asked, so the page must be known.
        is_own_page = origin is not None or headers.get(b"sec-fetch-site") == b"same-origin"
        if headers.get(b"cookie") and is_own_page:
            connection = HTTPConnection(dict(scope) | {"type": "http"})
            guest = await self._session(connection)
            if guest.is_somebody:
                return guest, lambda: self._session(connection)
        return NOBODY, _nobody

    async def _session(self, connection: HTTPConnection) -> Guest:
        found = await self.sessions.find(connection)
        if found is None:
            return NOBODY
        _, person = found
        return Guest(caller=by_session(person))

    @staticmethod
    def _token(authorization: bytes, offered: Any) -> str:
        if authorization:
            scheme, _, token = authorization.decode("latin-1").partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise NotAuthenticated("send the token as Authorization: Bearer ...")
            return token.strip()
        for word in offered:
            if word.startswith(TOKEN_PROTOCOL):
                return str(word[len(TOKEN_PROTOCOL) :])
        return ""

    @property
    def rights(self) -> int:
        """Another number once somebody lost rights, as far as this process has heard."""
        return self.admission.rights + self.sessions.version

    async def check_held(self, guest: Guest, held: Iterable[tuple[str, str]]) -> None:
        """May the guest keep these bindings? They have inner names: what one person followed of her own is not another's with his token."""
        for exchange, key in list(held):
            name, _ = await self.bindable(guest, outer_name(exchange), key, is_held=True)
            if name != exchange:
                raise Forbidden("this is the stream of somebody else's deliveries")

    async def bindable(self, guest: Guest, exchange: object, key: object, *, is_held: bool = False) -> tuple[str, str]:
        """The binding by its inner name, if the guest may have it; else InvalidInput, NotAuthenticated, Forbidden, NotFound.

        `is_held`: the guest has it already (see `Admission.check`).
        """
        pattern = check_pattern(key)
        if not isinstance(exchange, str):
            raise InvalidInput("the exchange is a text", "exchange")
        if exchange == ME:
            person = guest.caller.person if guest.caller is not None else None
            if person is None or not guest.caller or not guest.caller.may_read:
                raise _refusal(guest, "the stream of your own deliveries needs your own credentials, with the scope read")
            return f"{ME}/{person.person_id}", pattern
        match await self.admission.check(guest, exchange, pattern, is_held=is_held):
            case Verdict.GRANTED:
                return exchange, pattern
            case Verdict.UNKNOWN:
                raise NotFound(f"there is no exchange {exchange[:100]!r}")
        raise _refusal(guest, f"you may not follow {exchange!r} with this key")


def _refusal(guest: Guest, text: str) -> NotAuthenticated | Forbidden:
    return Forbidden(text) if guest.is_somebody else NotAuthenticated(text)


def bindings_of(query: bytes) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """The bindings in a query (`exchange=wf.task&key=ok1.%23`, several times; without key all of it) and what else it says."""
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=200)
    except (ValueError, UnicodeError):
        raise InvalidInput("this is no query that we can read", is_syntax=True) from None
    found: list[tuple[str, str]] = []
    rest: dict[str, str] = {}
    has_key = True
    for name, value in pairs:
        if name == "exchange":
            found.append((value, "#"))
            has_key = False
        elif name == "key":
            if not found or has_key:
                raise InvalidInput("each key follows its exchange", "key")
            found[-1] = found[-1][0], value
            has_key = True
        elif name in rest or name not in ("since", "limit"):
            raise InvalidInput("there are exchange, key, since and limit, the last two once", name)
        else:
            rest[name] = value
    if not found:
        raise InvalidInput("say which exchange to follow: ?exchange=...&key=...", "exchange")
    return found, rest
