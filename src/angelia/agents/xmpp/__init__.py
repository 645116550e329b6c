"""XMPP: letters as chat messages to people and rooms (RFC 6121, XEP-0045), as plain text, so that nothing in them can be markup."""

import asyncio
import importlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from angelia.agent import Letter, Surroundings
from angelia.model.delivery import Later, Outcome, Refused, Sent
from angelia.model.errors import BadSettings
from angelia.model.moments import public_id
from angelia.model.person import Address
from angelia.rendering.render import plain_content
from angelia.rendering.text import shortened

MOST_TEXT = 8_000
"""Bytes of text. A server must take stanzas of 10,000 bytes (RFC 6120, 13.12); most take 65,536, which this is not above once escaped."""
LOOK_AGAIN = timedelta(minutes=5)
_ADDRESS = re.compile(r"(?:xmpp:)?([\w.!#$%*+=^`{|}~-]{1,200})@([A-Za-z0-9.-]{1,200})(\?join)?", re.IGNORECASE)
_JID = re.compile(r"[^\s@/\x00-\x1f]{1,200}@[A-Za-z0-9.-]{1,200}(?:/[^\s]{1,200})?")
_SERVER = re.compile(r"([A-Za-z0-9.-]{1,200}|\[[0-9a-fA-F:.]{2,45}\]):([0-9]{1,5})")
_NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LOOPBACK = frozenset({"127.0.0.1", "[::1]", "localhost"})
# Conditions that pass, whatever type the server gives them.
_PASSING = frozenset(
    {
        "internal-server-error",
        "recipient-unavailable",
        "remote-server-not-found",
        "remote-server-timeout",
        "resource-constraint",
        "undefined-condition",
    }
)


@dataclass(frozen=True, slots=True)
class XmppSettings:
    """`jid` and `password` of the hub's account; `server` as `host:port` where DNS does not know it; `ca_file` an authority of the site's own.

    `allow_plain` goes without TLS, on loopback only. `nick` is the hub's name in rooms. `wait_while_busy`, in seconds, is how long a letter that
    is not urgent waits while she is away or does not want to be disturbed; 0 asks for nobody's presence. `timeout` in seconds.
    """

    jid: str = ""
    password: str = ""
    server: str = ""
    ca_file: str = ""
    allow_plain: bool = False
    nick: str = "angelia"
    wait_while_busy: int = 0
    timeout: float = 15.0
    concurrency: int = 20

    def __post_init__(self) -> None:
        """Say at the start what would fail at night."""
        if not _JID.fullmatch(self.jid) or not self.password:
            raise BadSettings("agents.xmpp.jid and agents.xmpp.password are those of the hub's account, such as hub@example.org")
        found = _SERVER.fullmatch(self.server)
        if self.server and (found is None or not 0 < int(found[2]) < 65_536):
            raise BadSettings("agents.xmpp.server is host:port, or empty where DNS knows it")
        if self.allow_plain and (found is None or found[1] not in _LOOPBACK):
            raise BadSettings("agents.xmpp.allow_plain is for a server on this machine: agents.xmpp.server starts with 127.0.0.1, [::1] or localhost")
        if not self.nick.strip() or _NOT_IN_XML.search(self.nick):
            raise BadSettings("agents.xmpp.nick is the hub's name in rooms")
        if self.timeout <= 0 or self.concurrency < 1 or self.wait_while_busy < 0:
            raise BadSettings("agents.xmpp: timeout and concurrency are above 0, wait_while_busy is not below")


class XmppAgent:
    """Sends letters over one connection that stays open. The id of a message is its delivery."""

    name = "xmpp"
    title = "XMPP"
    is_pull = False
    is_interruptive = True
    is_opt_in = True
    address_example = "alice@example.org"
    Settings = XmppSettings

    def __init__(self, settings: XmppSettings, house: Surroundings | None = None) -> None:
        self._settings, self._templates = settings, (house or Surroundings()).templates
        self.concurrency = settings.concurrency
        try:
            # Reading the library takes a third of a second: not on sites without this agent.
            self._library = importlib.import_module("angelia.agents.xmpp.connection")
        except ImportError as error:
            raise BadSettings(f"agents.xmpp needs the extra xmpp: pip install 'angelia[xmpp]' ({error})") from error
        self._connection: Any = None
        self._opening: asyncio.Task[Any] | None = None

    def check_address(self, value: str) -> str | None:
        """`alice@example.org`, or a room as `room@conference.example.org?join`."""
        found = _ADDRESS.fullmatch(value)
        return f"{found[1]}@{found[2]}{found[3] or ''}".lower() if found else None

    def note(self, address: Address) -> str:
        """There is nothing to know."""
        del address
        return ""

    def destination(self, letter: Letter) -> str:
        """All hang on the hub's own server."""
        del letter
        return self._settings.server or self._settings.jid.partition("@")[2].partition("/")[0]

    async def deliver(self, letter: Letter) -> Outcome:
        """Join where it is a room, then one message."""
        value = None if letter.address is None else self.check_address(letter.address.value)
        if value is None:
            return Refused("this is nobody's address", is_address_bad=True)
        connection = None
        try:
            async with asyncio.timeout(self._settings.timeout):
                connection = await self._connected()
                return await self._tell(connection, value.removesuffix("?join"), letter, is_room=value.endswith("?join"))
        except TimeoutError:
            if connection is not None:
                connection.abort("the server did not answer")
            return Later(f"the server did not answer within {self._settings.timeout:g} s")
        except ConnectionError as error:
            return Later(str(error))
        except ValueError:
            return Refused("this is nobody's address", is_address_bad=True)

    async def _tell(self, connection: Any, to: str, letter: Letter, *, is_room: bool) -> Outcome:
        if not is_room and self._may_wait(letter) and connection.is_busy(to):
            return Later("she is away, or does not want to be disturbed", LOOK_AGAIN, blames_destination=False)
        key = public_id("dlv", letter.delivery.delivery_id)
        failure = await connection.join(to) if is_room else None
        if failure is None:
            failure = await connection.send(to, self._text(letter), key, is_room=is_room)
            if failure is not None and is_room:
                connection.leave(to)
        if failure is None:
            return Sent(key)
        return outcome_of(failure.kind, failure.condition, failure.text, is_room=is_room)

    def _may_wait(self, letter: Letter) -> bool:
        """Is it of a kind that waits, and has it not waited long enough?"""
        delivery = letter.delivery
        if not self._settings.wait_while_busy or delivery.is_urgent:
            return False
        began = delivery.first_tried_at
        return began is None or datetime.now(UTC) - began < timedelta(seconds=self._settings.wait_while_busy)

    async def _connected(self) -> Any:
        """The one connection. All who need it wait for the same try: a wrong password is shown to the server once, not by each letter."""
        if self._connection is not None and self._connection.is_open:
            return self._connection
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._opening)

    async def _open(self) -> Any:
        settings = self._settings
        host, _, port = settings.server.rpartition(":")
        connection = self._library.Connection(
            self._library.Access(
                settings.jid,
                settings.password,
                host.strip("[]"),
                int(port or 0),
                settings.ca_file,
                settings.allow_plain,
                settings.nick,
                settings.wait_while_busy > 0,
            )
        )
        try:
            async with asyncio.timeout(settings.timeout):
                await connection.open()
        except TimeoutError:
            raise ConnectionError(f"the server did not answer within {settings.timeout:g} s") from None
        self._connection = connection
        return connection

    def _text(self, letter: Letter) -> str:
        content = plain_content(letter, self.name, self._templates)
        text = content.text.strip()
        whole = text if text.startswith(content.subject) else f"{content.subject}\n\n{text}"
        end = f"\n\n{letter.web_url}" if letter.web_url else ""
        return _NOT_IN_XML.sub("", shortened(whole, MOST_TEXT - len(end.encode(errors="replace"))) + end)

    async def close(self) -> None:
        """End the session."""
        opening, self._opening = self._opening, None
        connection, self._connection = self._connection, None
        if opening is not None and not opening.done():
            opening.cancel()
            await asyncio.wait([opening])
        if connection is not None:
            await connection.close()


def outcome_of(kind: str, condition: str, text: str = "", *, is_room: bool = False) -> Outcome:
    """What a stanza error means: `wait` and trouble of servers pass, `modify` is about this letter, all else ends the address (RFC 6120, 8.3)."""
    where = "the room" if is_room else "the server"
    why = f"{where} refuses: {condition}" + (f" ({_NOT_IN_XML.sub('', text)[:150]})" if text else "")
    if kind == "wait" or condition in _PASSING:
        return Later(why, blames_destination=False)
    if is_room and condition in ("conflict", "not-acceptable"):
        # The nick is taken, or we were thrown out between joining and sending: the next try joins again.
        return Later(why, blames_destination=False)
    return Refused(why, is_address_bad=kind != "modify" or condition == "jid-malformed")
