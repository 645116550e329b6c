"""ntfy: push to phones by the publish protocol of ntfy (docs.ntfy.sh/publish), to the site's server or to one that she names."""

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from angelia.agent import Letter, Surroundings
from angelia.model.delivery import Outcome, Refused
from angelia.model.errors import BadSettings
from angelia.model.message import Severity
from angelia.model.person import Address
from angelia.outbound import Request, host_of, outcome_of
from angelia.rendering.render import plain_content
from angelia.rendering.text import shortened

MOST_TEXT = 4_000
"""Bytes: from 4,096 on the server would turn the text into an attachment."""
MOST_TITLE = 250
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PRIORITIES = {Severity.LOW: 2, Severity.NORMAL: 3, Severity.HIGH: 4, Severity.URGENT: 5}


@dataclass(frozen=True, slots=True)
class NtfySettings:
    """`server` is the site's own, the only one that is given `token`; `timeout` in seconds."""

    server: str = "https://ntfy.sh"
    token: str = ""
    timeout: float = 10.0
    concurrency: int = 20
    allow_http: bool = False

    def __post_init__(self) -> None:
        """Say at the start what would fail at night."""
        if not self.server.startswith(("https://", "http://")) or self.server.endswith("/"):
            raise BadSettings("agents.ntfy.server starts with https:// or http:// and does not end in /")
        if self.timeout <= 0 or self.concurrency < 1:
            raise BadSettings("agents.ntfy: timeout and concurrency are above 0")


class NtfyAgent:
    """Publishes letters to topics. An address is a topic of the site's server (`alice-7f3c`), or the URL of one elsewhere."""

    name = "ntfy"
    title = "ntfy"
    is_pull = False
    is_interruptive = True
    is_opt_in = True
    address_example = "alice-alarms-7f3c"
    Settings = NtfySettings

    def __init__(self, settings: NtfySettings, house: Surroundings | None = None) -> None:
        house = house or Surroundings()
        self._settings = settings
        self._templates, self._outbound = house.templates, house.outbound
        self._to_own = house.outbound.to_server(settings.server)
        self.concurrency = settings.concurrency

    def check_address(self, value: str) -> str | None:
        """A topic, or server and topic as one URL."""
        if "://" not in value:
            return value if _TOPIC.fullmatch(value) else None
        place = self._place(value)
        return None if place is None else f"{place[0]}/{place[1]}"

    def _place(self, value: str) -> tuple[str, str] | None:
        """(server, topic) of a good address."""
        if "://" not in value:
            return (self._settings.server, value) if _TOPIC.fullmatch(value) else None
        if len(value) > 255 or self._outbound.fault_of(value):
            return None
        parts = urlsplit(value)
        topic = parts.path.removeprefix("/")
        if not _TOPIC.fullmatch(topic) or parts.query or (parts.scheme != "https" and not self._settings.allow_http):
            return None
        return f"{parts.scheme}://{parts.netloc.lower()}", topic

    def note(self, address: Address) -> str:
        """What to subscribe to."""
        place = self._place(address.value)
        return "" if place is None else f"{place[0]}/{place[1]}"

    def destination(self, letter: Letter) -> str:
        """The server and its port."""
        place = self._place(letter.address.value) if letter.address is not None else None
        host, port = host_of(place[0] if place is not None else self._settings.server)
        return f"{host}:{port}"

    async def deliver(self, letter: Letter) -> Outcome:
        """One publication. Its sequence id is that of the delivery: a repeat takes the place of the first on the phone."""
        place = self._place(letter.address.value) if letter.address is not None else None
        if place is None:
            return Refused("this is no topic", is_address_bad=True)
        server, topic = place
        headers = {"Content-Type": "application/json"}
        is_own = server == self._settings.server
        if self._settings.token and is_own:
            headers["Authorization"] = f"Bearer {self._settings.token}"
        body = json.dumps(self._body(letter, topic), ensure_ascii=False).encode(errors="replace")
        request = Request(url=server + "/", method="POST", headers=headers, content=body, timeout=self._settings.timeout, most=65_536)
        return outcome_of(await (self._to_own if is_own else self._outbound).fetch(request))

    def _body(self, letter: Letter, topic: str) -> dict[str, Any]:
        content = plain_content(letter, self.name, self._templates)
        priority = _PRIORITIES[letter.message.severity] if letter.message is not None else 3
        body = {
            "topic": topic,
            "title": shortened(content.subject, MOST_TITLE),
            "message": shortened(content.text.strip(), MOST_TEXT),
            "priority": priority,
            "sequence_id": f"d{letter.delivery.delivery_id}",
        }
        return body | ({"click": letter.web_url} if letter.web_url else {})

    async def close(self) -> None:
        """The way out belongs to the house."""
