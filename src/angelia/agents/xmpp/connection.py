"""One XMPP session (RFC 6120): signed in, rooms joined, and each message followed until the server has answered for it.

A message counts as taken when the server acknowledges it (XEP-0198), or, in a room, when the room shows it to us. The library asks for
acknowledgements before it sends what they are about, so we ask by ourselves. A session that is lost is not resumed: what was under way is
told as lost, and comes again with the same id.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout

from angelia.tls import client_context

_ASK = "<r xmlns='urn:xmpp:sm:3'/>"
_NEVER = 1_000_000_000
_MOST_LATE = 1_000
_IT_IS_WE = 110
_BUSY = frozenset({"away", "dnd", "xa"})


@dataclass(frozen=True, slots=True)
class Access:
    """Where to sign in, and as whom. `host` is "" where DNS knows it; `port` 5223 means TLS from the first byte."""

    jid: str
    password: str
    host: str = ""
    port: int = 0
    ca_file: str = ""
    is_plain_allowed: bool = False
    nick: str = "angelia"
    sees_presence: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A stanza error (RFC 6120, 8.3): its type (`cancel`, `wait`, ...), its condition, and what the server wrote to it."""

    kind: str
    condition: str
    text: str = ""


class _Client(slixmpp.ClientXMPP):
    """The library's client, which does not say that a server, or somebody between, offers no encryption."""

    is_plain_allowed = False

    async def _handle_stream_features(self, features: Any) -> bool | None:
        is_encrypted = self.transport is not None and self.transport.get_extra_info("ssl_object") is not None
        if not is_encrypted and not self.is_plain_allowed and "starttls" not in features["features"]:
            self.event("no_encryption")
            self.abort()
            return True
        return await super()._handle_stream_features(features)


class Connection:
    """Opened once; when it is lost, another is made."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._pending: dict[str, asyncio.Future[Failure | None]] = {}
        self._rooms: dict[str, asyncio.Lock] = {}
        self._joined: set[str] = set()
        self._late: dict[str, Failure] = {}
        self._why = ""
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._client = self._made()

    def _made(self) -> _Client:
        access = self._access
        client = _Client(access.jid, access.password, ssl_context=client_context(access.ca_file))
        client.is_plain_allowed = client.enable_plaintext = access.is_plain_allowed
        client.enable_starttls = not access.is_plain_allowed
        client.plugin["feature_mechanisms"].config["unencrypted_scram"] = access.is_plain_allowed
        client.enable_direct_tls = not access.is_plain_allowed and (not access.host or access.port == 5223)
        if access.port == 5223:
            client.enable_starttls = False
        # Strangers may not fill the roster.
        client.roster.auto_authorize = client.roster.auto_subscribe = False
        client.register_plugin("xep_0030")
        client.register_plugin("xep_0045")
        client.register_plugin("xep_0198", {"allow_resume": False, "window": _NEVER})
        client.register_plugin("xep_0199")
        client.register_plugin("xep_0359")
        for name, seen in (
            ("session_start", self._started),
            ("disconnected", self._ended),
            ("failed_all_auth", self._not_let_in),
            ("ssl_invalid_chain", self._not_trusted),
            ("no_encryption", self._not_encrypted),
            ("stanza_acked", self._acknowledged),
            ("message_error", self._refused),
            ("groupchat_message", self._shown),
            ("groupchat_presence", self._seen_in_room),
            ("presence_error", self._kept_out),
        ):
            client.add_event_handler(name, seen)
        return client

    @property
    def is_open(self) -> bool:
        """May it be used?"""
        return self._ready.done() and not self._ready.cancelled() and self._ready.exception() is None and not self._why

    async def open(self) -> None:
        """Sign in. ConnectionError says why not."""
        try:
            waiting = await self._client.connect(self._access.host or None, self._access.port or None)
            if waiting is not None:  # the library would try on for ever
                waiting.cancel()
                raise ConnectionError("the server can't be reached")
            await self._ready
        except BaseException:
            self._drop()
            raise

    async def send(self, to: str, body: str, key: str, *, is_room: bool) -> Failure | None:
        """One message; None once the server has taken it. ConnectionError if the session is lost before.

        Some servers acknowledge first and refuse then: the next message to the same place is refused in its stead.
        """
        if (late := self._late.pop(to, None)) is not None:
            return late
        message = self._client.make_message(mto=slixmpp.JID(to), mbody=body, mtype="groupchat" if is_room else "chat")
        message["id"] = message["origin_id"]["id"] = key
        # The same letter may be tried twice at once by who had lost its lease: each waits for its own answer.
        answer = self._pending.get(key)
        if answer is None or answer.done():
            answer = self._pending[key] = asyncio.get_running_loop().create_future()
        try:
            message.send()
            if not is_room:
                await self._ask(key)
            return await asyncio.shield(answer)
        finally:
            self._pending.pop(key, None)

    async def _ask(self, key: str) -> None:
        if "stream_management" in self._client.features:
            self._client.send(_ASK)
            return
        # Servers answer in order (RFC 6120, 10.1): who answers this has had the message.
        with contextlib.suppress(IqError, IqTimeout):
            await self._client.plugin["xep_0199"].send_ping(slixmpp.JID(self._client.boundjid.domain))
        self._settle(key, None)

    async def join(self, room: str) -> Failure | None:
        """Be in the room; a room that is not there is not made."""
        async with self._rooms.setdefault(room, asyncio.Lock()):
            if room in self._joined:
                return None
            try:
                await self._client.plugin["xep_0030"].get_info(jid=slixmpp.JID(room), cached=False)
            except IqError as error:
                if error.condition == "item-not-found":
                    return Failure(error.etype, error.condition, error.text)
            presence = self._client.make_presence(pto=slixmpp.JID(f"{room}/{self._access.nick}"))
            presence["muc_join"]["history"]["maxstanzas"] = "0"
            answer: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()
            self._pending[room] = answer
            try:
                presence.send()
                failure = await answer
            finally:
                self._pending.pop(room, None)
            if failure is None:
                self._joined.add(room)
            return failure

    def leave(self, room: str) -> None:
        """Forget that we were in the room: the next message joins again."""
        self._joined.discard(room)

    def is_busy(self, jid: str) -> bool:
        """Is she away, or does not want to be disturbed, wherever she is signed in? Asks to see her presence where it is not shown to us."""
        person = self._client.client_roster[slixmpp.JID(jid).bare]
        if not person["to"] and not person["pending_out"]:
            person.subscribe()
        return bool(person.resources) and all(place.get("show") in _BUSY for place in person.resources.values())

    async def close(self) -> None:
        """End the session; a second call does nothing."""
        self._why = self._why or "the session was closed"
        if self._client.transport is not None:
            await self._client.disconnect(1.0, ignore_send_queue=True)
        self._drop()

    def abort(self, why: str) -> None:
        """End it without a word: the server does not answer."""
        self._why = self._why or why
        self._drop()

    def _drop(self) -> None:
        self._client.cancel_connection_attempt()
        self._client.abort()
        if self._client._run_out_filters is not None:  # the library leaves this task behind
            self._client._run_out_filters.cancel()
        self._fail(self._why or "the connection was given up")

    # ---- what comes from the server

    async def _started(self, _: Any) -> None:
        if self._access.sees_presence:
            with contextlib.suppress(IqError, IqTimeout):
                await self._client.get_roster()
        self._client.send_presence()
        if not self._ready.done():
            self._ready.set_result(None)

    def _ended(self, reason: Any) -> None:
        self._why = self._why or (f"the connection was lost: {reason}"[:200] if reason else "the connection was lost")
        self._fail(self._why)

    def _not_let_in(self, _: Any) -> None:
        self._why = "the server does not let the hub in: look at agents.xmpp.jid and agents.xmpp.password"
        self._fail(self._why)

    def _not_trusted(self, error: Any) -> None:
        self._why = f"the server's certificate is not good: {error}"[:200]
        self._fail(self._why)
        self._client.abort()

    def _not_encrypted(self, _: Any) -> None:
        self._why = "the server offers no encryption"
        self._fail(self._why)

    def _acknowledged(self, stanza: Any) -> None:
        if stanza.name == "message" and stanza["type"] != "groupchat":
            self._settle(stanza["id"], None)

    def _refused(self, stanza: Any) -> None:
        error = stanza["error"]
        failure = Failure(error["type"], error["condition"], error["text"])
        answer = self._pending.get(stanza["id"])
        if answer is not None and not answer.done():
            answer.set_result(failure)
        elif failure.kind != "wait" and len(self._late) < _MOST_LATE:
            self._late[stanza["from"].bare] = failure

    def _shown(self, stanza: Any) -> None:
        if stanza["from"].bare in self._joined and stanza["from"].resource == self._access.nick:
            self._settle(stanza["id"], None)

    def _seen_in_room(self, presence: Any) -> None:
        room = presence["from"].bare
        if _IT_IS_WE in presence["muc"]["status_codes"]:
            if presence["type"] == "unavailable":
                self.leave(room)
            else:
                self._settle(room, None)

    def _kept_out(self, presence: Any) -> None:
        error = presence["error"]
        self._settle(presence["from"].bare, Failure(error["type"], error["condition"], error["text"]))

    def _settle(self, key: str, failure: Failure | None) -> None:
        answer = self._pending.get(key)
        if answer is not None and not answer.done():
            answer.set_result(failure)

    def _fail(self, why: str) -> None:
        futures: list[asyncio.Future[Any]] = [self._ready, *self._pending.values()]
        for waiting in futures:
            if not waiting.done():
                waiting.set_exception(ConnectionError(why))
                waiting.exception()  # nobody may be there to read it
