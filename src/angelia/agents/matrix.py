"""Matrix: letters by a bot into rooms (Client-Server API v1.11, spec.matrix.org); a letter sent twice shows once."""

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from angelia.agent import Letter, Surroundings
from angelia.model.delivery import Later, Outcome, Refused, Sent
from angelia.model.errors import BadSettings
from angelia.model.moments import public_id
from angelia.model.person import Address
from angelia.outbound import Answer, NoAnswer, Request, host_of
from angelia.rendering.render import Content, render_digest, render_message
from angelia.rendering.text import shortened

MOST_TEXT = 24_000
"""Bytes of text, and of markup: an event has at most 65,536 in all."""
_ROOM = re.compile(
    r"![A-Za-z0-9._~=/+-]{1,200}(?::[A-Za-z0-9.-]{1,200}(?::[0-9]{1,5})?)?|#[A-Za-z0-9._=/+-]{1,200}:[A-Za-z0-9.-]{1,200}(?::[0-9]{1,5})?"
)
_GONE = frozenset({"M_FORBIDDEN", "M_NOT_FOUND", "M_UNKNOWN", "M_INVALID_PARAM", "M_BAD_STATE"})


@dataclass(frozen=True, slots=True)
class MatrixSettings:
    """`server` is the URL of the bot's homeserver, `token` its access token; `allow_servers` names those whose rooms are taken, with commas; empty
    means any. `timeout` in seconds.
    """

    server: str = ""
    token: str = ""
    allow_servers: str = ""
    timeout: float = 15.0
    concurrency: int = 10

    def __post_init__(self) -> None:
        """Say at the start what would fail at night."""
        if not self.server.startswith(("https://", "http://")) or self.server.endswith("/"):
            raise BadSettings("agents.matrix.server is the URL of the homeserver: it starts with https:// or http:// and does not end in /")
        if not self.token.isascii() or not self.token.isprintable() or not self.token or " " in self.token:
            raise BadSettings("agents.matrix.token is the access token of the bot")
        if self.timeout <= 0 or self.concurrency < 1:
            raise BadSettings("agents.matrix: timeout and concurrency are above 0")


class MatrixAgent:
    """Sends letters into rooms, by number or by alias. The bot takes an invitation when it has something to say."""

    name = "matrix"
    is_pull = False
    is_interruptive = True
    is_opt_in = True
    address_example = "!abcdefghijklmnop:example.org"
    Settings = MatrixSettings

    def __init__(self, settings: MatrixSettings, house: Surroundings | None = None) -> None:
        house = house or Surroundings()
        self._settings = settings
        self._templates, self._outbound = house.templates, house.outbound
        self._servers = frozenset(filter(None, (name.strip().lower() for name in settings.allow_servers.split(","))))
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

    def destination(self, letter: Letter) -> str:
        """All rooms hang on the bot's homeserver."""
        del letter
        host, port = host_of(self._settings.server)
        return f"{host}:{port}"

    async def deliver(self, letter: Letter) -> Outcome:
        """Join where that was not done yet, then one `m.room.message`, whose transaction is the delivery."""
        if letter.address is None or self.check_address(letter.address.value) is None:
            return Refused("this is no room", is_address_bad=True)
        value = letter.address.value
        if value not in self._rooms:
            joined = await self._call("POST", f"/join/{quote(value, safe='')}", {})
            room = joined.said.get("room_id") if isinstance(joined, Answer) and joined.status == 200 else None
            if not isinstance(room, str):
                return _outcome(joined, "the bot is not invited to this room")
            self._rooms[value] = room
        key = quote(public_id("dlv", letter.delivery.delivery_id), safe="")
        sent = await self._call("PUT", f"/rooms/{quote(self._rooms[value], safe='')}/send/m.room.message/{key}", self._body(letter))
        if isinstance(sent, Answer) and sent.status == 200:
            return Sent(str(sent.said.get("event_id", "")))
        if isinstance(sent, Answer) and sent.status in (403, 404):
            self._rooms.pop(value, None)  # it was thrown out; if it is invited again, it joins again
        return _outcome(sent, "the bot may not write into this room")

    async def _call(self, method: str, path: str, body: dict[str, Any]) -> Answer | NoAnswer:
        headers = {"Authorization": f"Bearer {self._settings.token}", "Content-Type": "application/json"}
        url = f"{self._settings.server}/_matrix/client/v3{path}"
        content = json.dumps(body, ensure_ascii=False).encode(errors="replace")
        return await self._outbound.fetch(Request(url=url, method=method, headers=headers, content=content, timeout=self._settings.timeout))

    def _body(self, letter: Letter) -> dict[str, Any]:
        if letter.message is not None:
            content = render_message(letter, self.name, letter.delivery.form, self._templates)
        else:
            content = render_digest(letter, self.name, self._templates)
        return {"msgtype": "m.text", "body": _text(content, letter.web_url)} | _markup(content)

    async def close(self) -> None:
        """The way out belongs to the house."""


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
    said = answer.said
    kind = str(said.get("errcode", ""))[:64]
    if answer.status == 429:
        wait = said.get("retry_after_ms", 5_000)
        return Later(
            "the homeserver limits the bot", timedelta(milliseconds=min(int(wait), 86_400_000)) if isinstance(wait, int | float) else None, False
        )
    if answer.status == 401:
        return Later("the homeserver does not know the bot's token: look at agents.matrix.token")
    if answer.status == 413 or kind == "M_TOO_LARGE":
        return Refused("the homeserver finds this letter too large")
    if answer.status in (400, 403, 404) and kind in _GONE:
        return Refused(forbidden, is_address_bad=True)
    return Later(f"the homeserver answered {answer.status} {kind}".rstrip())
