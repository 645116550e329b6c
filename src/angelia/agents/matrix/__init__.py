"""Matrix: letters by a bot into rooms, and what people do with them there; a letter sent twice shows once."""

import re
from typing import Any

from angelia.agent import Ear, Letter, Surroundings
from angelia.agents.matrix.hearing import Hearing
from angelia.agents.matrix.settings import MatrixSettings
from angelia.agents.matrix.wire import Homeserver, error_of, in_path, limited_for
from angelia.model.delivery import Later, Outcome, Refused, Sent
from angelia.model.moments import public_id
from angelia.model.person import Address
from angelia.outbound import Answer, NoAnswer, host_of, retry_after_of
from angelia.rendering.render import Content, render_digest, render_message
from angelia.rendering.text import shortened

MOST_TEXT = 24_000
"""Bytes of text, and of markup: an event has at most 65,536 in all."""
_ROOM = re.compile(
    r"![A-Za-z0-9._~=/+-]{1,200}(?::[A-Za-z0-9.-]{1,200}(?::[0-9]{1,5})?)?|#[A-Za-z0-9._=/+-]{1,200}:[A-Za-z0-9.-]{1,200}(?::[0-9]{1,5})?"
)
_GONE = frozenset({"M_FORBIDDEN", "M_NOT_FOUND", "M_UNKNOWN", "M_INVALID_PARAM", "M_BAD_STATE"})


class MatrixAgent:
    """Sends letters into rooms, by number or by alias, and hears reactions and receipts from them."""

    name = "matrix"
    is_pull = False
    is_interruptive = True
    is_opt_in = True
    edits_in_place = True
    address_example = "!abcdefghijklmnop:example.org"
    Settings = MatrixSettings

    def __init__(self, settings: MatrixSettings, house: Surroundings | None = None) -> None:
        house = house or Surroundings()
        self._settings = settings
        self._templates = house.templates
        self._homeserver = Homeserver(settings, house.outbound.to_server(settings.server))
        self._servers = settings.servers
        self._rooms: dict[str, str] = {}
        self.concurrency = settings.concurrency

    def check_address(self, value: str) -> str | None:
        """A room's number or alias, on a server that is allowed."""
        if _ROOM.fullmatch(value) is None:
            return None
        server = value.partition(":")[2].lower()
        return value if not self._servers or not server or server in self._servers else None

    def note(self, address: Address) -> str:
        """There is nothing to know."""
        del address
        return ""

    def link_to(self, code: str) -> str:
        """Where the bot can be invited; the code she writes into the room."""
        del code
        return f"https://matrix.to/#/{self._settings.bot}" if self._settings.bot else ""

    def destination(self, letter: Letter) -> str:
        """All rooms hang on the bot's homeserver."""
        del letter
        host, port = host_of(self._settings.server)
        return f"{host}:{port}"

    async def listen(self, ear: Ear) -> None:
        """Follow the homeserver until cancelled."""
        await Hearing(self._homeserver, self._settings, ear).run()

    async def deliver(self, letter: Letter) -> Outcome:
        """Join where that was not done yet, then one `m.room.message`, whose transaction is the delivery."""
        if letter.address is None or self.check_address(letter.address.value) is None:
            return Refused("this is no room", is_address_bad=True)
        value = letter.address.value
        if value not in self._rooms:
            joined = await self._homeserver.call("POST", f"/join/{in_path(value)}", {})
            room = joined.said.get("room_id") if isinstance(joined, Answer) and joined.status == 200 else None
            if not isinstance(room, str):
                return _outcome(joined, "the bot is not invited to this room")
            self._rooms[value] = room
        sent, receipt = await self._send(letter, self._rooms[value])
        event = sent.said.get("event_id") if isinstance(sent, Answer) and sent.status == 200 else None
        # Without an event it was somebody in between who said yes; to ask again is safe, the transaction is the same.
        if isinstance(event, str) and event:
            return Sent(receipt or event)
        if isinstance(sent, Answer) and sent.status in (403, 404):
            self._rooms.pop(value, None)  # it was thrown out; if it is invited again, it joins again
        return _outcome(sent, "the bot may not write into this room")

    async def _send(self, letter: Letter, room: str) -> tuple[Answer | NoAnswer, str]:
        """The answer, and the receipt where it is not that of a new event. What can't be tied to an earlier event (it is gone, the alias leads
        elsewhere, it stands in a thread itself) stands for itself; the transaction stays the delivery's, so still it shows once.
        """
        path = f"/rooms/{in_path(room)}/send/m.room.message/{in_path(public_id('dlv', letter.delivery.delivery_id))}"
        plain = self._body(letter)
        tied = edited(plain, letter.replaces) if letter.replaces else plain
        if not letter.replaces and letter.thread_root and self._settings.threads:
            tied = plain | {"m.relates_to": in_thread(letter.thread_root)}
        sent = await self._homeserver.call("PUT", path, tied)
        if tied is not plain and isinstance(sent, Answer) and sent.status == 400:
            return await self._homeserver.call("PUT", path, plain), ""
        return sent, letter.replaces

    def _body(self, letter: Letter) -> dict[str, Any]:
        if letter.message is not None:
            content = render_message(letter, self.name, letter.delivery.form, self._templates)
        else:
            content = render_digest(letter, self.name, self._templates)
        # Nobody is mentioned, and that is said: otherwise `@room` in a sender's text would ring for all (specification, 11.13).
        return {"msgtype": "m.text", "body": _text(content, letter.web_url), "m.mentions": {}} | _markup(content)

    async def close(self) -> None:
        """The way out belongs to the house."""


def in_thread(root: str) -> dict[str, Any]:
    """The relation of an event in a thread; clients that know no threads show a reply."""
    return {"rel_type": "m.thread", "event_id": root, "is_falling_back": True, "m.in_reply_to": {"event_id": root}}


def edited(content: dict[str, Any], event_id: str) -> dict[str, Any]:
    """An event that puts this content in the place of an earlier one. Clients that know no edits see its first line: all of it twice would be
    larger than an event may be.
    """
    first = f"* {content['body'].partition(chr(10))[0]}"
    return {
        "msgtype": content["msgtype"],
        "body": shortened(first, 1_000),
        "m.new_content": content,
        "m.mentions": {},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
    }


def _text(content: Content, url: str) -> str:
    text = content.text.strip()
    whole = text if text.startswith(content.subject) else f"{content.subject}\n\n{text}"
    return shortened(whole, MOST_TEXT) + (f"\n\n{url}" if url else "")


def _markup(content: Content) -> dict[str, Any]:
    """Our cleaned HTML, where it fits: half of it would be none."""
    if len(content.html.encode(errors="replace")) > MOST_TEXT:
        return {}
    return {"format": "org.matrix.custom.html", "formatted_body": content.html}


def _outcome(answer: Answer | NoAnswer, forbidden: str) -> Outcome:
    """The errors of the specification: limits wait as long as the server says; a lost room ends the address; a lost token is the operator's."""
    if isinstance(answer, NoAnswer):
        return Later(answer.why)
    kind = error_of(answer)
    if answer.status == 429:
        return Later("the homeserver limits the bot", limited_for(answer), False)
    if answer.status == 401:
        return Later("the homeserver does not know the bot's token: look at agents.matrix.token")
    if answer.status == 413 or kind == "M_TOO_LARGE":
        return Refused("the homeserver finds this letter too large")
    if answer.status in (400, 403, 404) and kind in _GONE:
        return Refused(forbidden, is_address_bad=True)
    return Later(f"the homeserver answered {answer.status} {kind}".rstrip(), retry_after_of(answer.headers.get("retry-after", "")))
