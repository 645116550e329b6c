"""Web push: letters to the browsers in which she has said so (RFC 8030), sealed so that the push service between can't read them."""

import json
import re
import time
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import EntryPoint
from typing import Any
from urllib.parse import urlsplit

from angelia.agent import Letter, Surroundings
from angelia.model.delivery import Later, Outcome, Refused, Sent
from angelia.model.errors import BadSettings
from angelia.model.message import Severity
from angelia.model.person import Address
from angelia.outbound import Answer, NoAnswer, Request, host_of, outcome_of, retry_after_of
from angelia.rendering.render import plain_content
from angelia.rendering.text import shortened

# Loaded where the agent is switched on, and only there: the library costs every start a tenth of a second.
_SEALING = EntryPoint("sealing", "angelia.agents.webpush.sealing", "angelia.agents.webpush")
_ADDRESS = re.compile(r"(https?://[^#]{1,800})#([A-Za-z0-9_-]{87})\.([A-Za-z0-9_-]{22})")
_URGENCIES = {Severity.LOW: "low", Severity.NORMAL: "normal", Severity.HIGH: "high", Severity.URGENT: "high"}
MOST_TITLE, MOST_TEXT = 200, 2_400
"""Bytes; as JSON they may become longer, but not above what fits into one push."""


@dataclass(frozen=True, slots=True)
class WebpushSettings:
    """`contact` is where push services may complain: `mailto:` or `https://`; `ttl` in seconds is how long they keep a letter for a browser that
    is closed; `timeout` in seconds.
    """

    contact: str = ""
    ttl: int = 86_400
    timeout: float = 10.0
    concurrency: int = 50
    allow_http: bool = False

    def __post_init__(self) -> None:
        """Say at the start what would fail at night."""
        if not self.contact.startswith(("mailto:", "https://")):
            raise BadSettings("agents.webpush.contact is where push services can reach you, such as mailto:operator@example.org")
        if self.timeout <= 0 or self.concurrency < 1 or not 0 <= self.ttl <= 2_419_200:
            raise BadSettings("agents.webpush: timeout and concurrency are above 0, ttl is at most 28 days")


class WebpushAgent:
    """Sends letters to browsers. An address is what a browser was given when it subscribed: `<endpoint>#<p256dh>.<auth>`."""

    name = "webpush"
    title = "Web push"
    is_pull = False
    is_interruptive = True
    is_opt_in = True
    address_example = (
        f"https://push.example.org/v1/7f3c#BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8.{'A' * 22}"
    )
    Settings = WebpushSettings

    def __init__(self, settings: WebpushSettings, house: Surroundings | None = None) -> None:
        house = house or Surroundings()
        self._settings = settings
        self._templates, self._outbound = house.templates, house.outbound
        self._sealing = _SEALING.load()
        self._identity = self._sealing.Identity(house.secret, settings.contact)
        self.concurrency = settings.concurrency

    @property
    def browser_key(self) -> str:
        """What a browser needs to subscribe."""
        return str(self._identity.public)

    def check_address(self, value: str) -> str | None:
        """An endpoint that the hub may call, with the keys of one browser."""
        return value if self._subscription(value) is not None else None

    def _subscription(self, value: str) -> tuple[str, bytes, bytes] | None:
        """(endpoint, public key, shared secret) of a good address."""
        match = _ADDRESS.fullmatch(value)
        if match is None or value.count("://") != 1 or self._outbound.fault_of(match[1]):
            return None
        if not match[1].startswith("https:") and not self._settings.allow_http:
            return None
        point, auth = self._sealing.unpacked(match[2]), self._sealing.unpacked(match[3])
        return (match[1], point, auth) if self._sealing.is_point(point) else None

    def shown(self, value: str) -> str:
        """The push service, and a mark by which two browsers of hers differ: with the endpoint anybody could fill its queue."""
        return f"{host_of(value.partition('#')[0])[0]} ({sha256(value.encode()).hexdigest()[:4]})"

    def note(self, address: Address) -> str:
        """There is nothing to know: the browser knows it all."""
        del address
        return ""

    def destination(self, letter: Letter) -> str:
        """The push service and its port."""
        host, port = host_of(letter.address.value.partition("#")[0]) if letter.address is not None else ("", 0)
        return f"{host}:{port}"

    async def deliver(self, letter: Letter) -> Outcome:
        """One push. Its topic is the delivery: of a repeat that the browser has not fetched yet, one is shown."""
        found = self._subscription(letter.address.value) if letter.address is not None else None
        if found is None:
            return Refused("this is no subscription of a browser", is_address_bad=True)
        endpoint, point, auth = found
        headers = {
            "Authorization": self._identity.authorization(endpoint, time.time()),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(self._ttl(letter)),
            "Urgency": "normal" if letter.message is None else _URGENCIES[letter.message.severity],
            "Topic": f"d{letter.delivery.delivery_id}",
        }
        content = self._sealing.seal(self._plain(letter), point, auth)
        request = Request(url=endpoint, method="POST", headers=headers, content=content, timeout=self._settings.timeout, most=65_536)
        return _outcome(await self._outbound.fetch(request))

    def _ttl(self, letter: Letter) -> int:
        """Seconds; no longer than the message is of use."""
        ends_at = letter.message.expires_at if letter.message is not None else None
        left = self._settings.ttl if ends_at is None else int(ends_at.timestamp() - time.time())
        return max(0, min(self._settings.ttl, left))

    def _plain(self, letter: Letter) -> bytes:
        """What the browser shows, cut so that it fits also where JSON makes it longer."""
        content = plain_content(letter, self.name, self._templates)
        for most in (MOST_TEXT, MOST_TEXT // 2, MOST_TEXT // 8):
            body: dict[str, Any] = {
                "title": shortened(content.subject, MOST_TITLE),
                "body": shortened(content.text.strip(), most),
                "url": _place(letter),
                "tag": f"d{letter.delivery.delivery_id}",
                "stays": letter.message is not None and letter.message.severity is Severity.URGENT,
            }
            plain = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
            if len(plain) <= self._sealing.MOST_PLAIN:
                break
        return plain

    async def close(self) -> None:
        """The way out belongs to the house."""


def _place(letter: Letter) -> str:
    """Which of our pages a click opens, without the host: the browser has us by the name it knows. What has no place of its own is a code."""
    return urlsplit(letter.web_url).path if letter.web_url else "/addresses"


def _outcome(answer: Answer | NoAnswer) -> Outcome:
    """RFC 8030, 5 and 8.4: 201 is taken; 404 and 410 say that she or the browser ended the subscription."""
    if isinstance(answer, Answer):
        if answer.status in (200, 201, 202):
            return Sent(answer.headers.get("location", "")[-200:] or str(answer.status))
        if answer.status in (404, 410):
            return Refused(f"this browser takes nothing any more ({answer.status}): switch it on again in that browser", is_address_over=True)
        if answer.status == 413:
            return Refused("the push service finds this letter too long (413)")
        if answer.status == 429:
            # One browser that gets too much is no reason to let all others rest.
            return Later(
                "the push service wants fewer letters (429)", retry_after_of(answer.headers.get("retry-after", "")), blames_destination=False
            )
        if answer.status in (401, 403):
            return Later(f"the push service does not take this hub's key ({answer.status}): was the hub's secret changed?", blames_destination=False)
    return outcome_of(answer)
