"""Webhooks: a signed POST to a URL of hers, as Standard Webhooks has it (standardwebhooks.com, specification 1.0.0)."""

import base64
import hmac
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from angelia.agent import Letter, Surroundings
from angelia.model.delivery import Outcome, Refused
from angelia.model.errors import BadSettings
from angelia.model.moments import public_id, to_text
from angelia.model.person import Address
from angelia.outbound import MOST_URL, Request, host_of, outcome_of
from angelia.rendering.facts import as_json, facts_of
from angelia.rendering.render import plain_content


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """`timeout` in seconds. Each URL has a key of its own, made from the hub's secret and `key_number`; while `old_key_number` is set, what is
    sent has two signatures, so that receivers can change keys one after the other.
    """

    timeout: float = 10.0
    concurrency: int = 50
    allow_http: bool = False
    key_number: int = 1
    old_key_number: int = 0

    def __post_init__(self) -> None:
        """Say at the start what would fail at night."""
        if self.timeout <= 0 or self.concurrency < 1 or self.key_number < 1 or self.old_key_number < 0:
            raise BadSettings("agents.webhook: timeout, concurrency and key_number are above 0, old_key_number is 0 for none")


class WebhookAgent:
    """Posts letters as JSON."""

    name = "webhook"
    is_pull = False
    is_interruptive = False
    is_opt_in = True
    address_example = "https://hooks.example.org/angelia"
    Settings = WebhookSettings

    def __init__(self, settings: WebhookSettings, house: Surroundings | None = None) -> None:
        house = house or Surroundings()
        self._settings = settings
        self._templates, self._outbound, self._secret = house.templates, house.outbound, house.secret
        self.concurrency = settings.concurrency
        # Asked for each letter, mostly for the same few URLs.
        self._signer = lru_cache(maxsize=2_000)(lambda url, number: hmac.new(self._key(url, number), digestmod="sha256"))
        self._checked = lru_cache(maxsize=2_000)(self._address_of)

    def check_address(self, value: str) -> str | None:
        """One URL that the hub may call, scheme and host in lower case; https unless the site allows less."""
        return self._checked(value)

    def _address_of(self, value: str) -> str | None:
        if len(value) > MOST_URL or value.count("://") != 1 or self._outbound.fault_of(value):
            return None
        parts = urlsplit(value)
        if parts.scheme != "https" and not self._settings.allow_http:
            return None
        return parts._replace(scheme=parts.scheme.lower(), netloc=parts.netloc.lower()).geturl()

    def note(self, address: Address) -> str:
        """The key of signatures, in the form that verifiers take."""
        return "whsec_" + base64.b64encode(self._key(address.value, self._settings.key_number)).decode()

    def _key(self, url: str, number: int) -> bytes:
        return hmac.digest(self._secret, f"webhook\0{number}\0{url}".encode(), "sha256")

    def destination(self, letter: Letter) -> str:
        """The host and its port."""
        host, port = host_of(letter.address.value) if letter.address is not None else ("", 0)
        return f"{host}:{port}"

    async def deliver(self, letter: Letter) -> Outcome:
        """One POST. 2xx is sent, 410 ends the address, all else is tried again: receivers are mended."""
        if letter.address is None or self.check_address(letter.address.value) is None:
            return Refused("this is no URL that the hub may call", is_address_bad=True)
        body = as_json(self._body(letter))
        headers = self._signed(letter.address.value, public_id("dlv", letter.delivery.delivery_id), int(time.time()), body)
        request = Request(url=letter.address.value, method="POST", headers=headers, content=body, timeout=self._settings.timeout, most=65_536)
        return outcome_of(await self._outbound.fetch(request))

    def _body(self, letter: Letter) -> dict[str, Any]:
        message, content = letter.message, plain_content(letter, self.name, self._templates)
        if message is None:
            data: dict[str, Any] = {"subject": content.subject, "text": content.text, "schedule": letter.delivery.schedule}
            return {"type": "digest", "timestamp": to_text(letter.slot_at or letter.delivery.due_at), "data": data | self._for_whom(letter)}
        data = {"subject": content.subject, "text": content.text} | facts_of(message, letter.because)
        return {"type": message.type, "timestamp": to_text(message.occurred_at), "data": data | self._for_whom(letter)}

    def _for_whom(self, letter: Letter) -> dict[str, Any]:
        return {"person": letter.person.login, "attempt": letter.attempt, "url": letter.web_url}

    def _signed(self, url: str, key: str, now: int, body: bytes) -> dict[str, str]:
        signed = f"{key}.{now}.".encode() + body
        numbers = [number for number in (self._settings.key_number, self._settings.old_key_number) if number]
        signatures = [base64.b64encode(self._signature(url, number, signed)).decode() for number in numbers]
        return {
            "Content-Type": "application/json",
            "webhook-id": key,
            "webhook-timestamp": str(now),
            "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        }

    def _signature(self, url: str, number: int, signed: bytes) -> bytes:
        """By a copy of what was prepared: `hmac.digest` gives the interpreter's lock away each time, and gets it back late beside busy threads."""
        made = self._signer(url, number).copy()
        made.update(signed)
        return made.digest()

    async def close(self) -> None:
        """The way out belongs to the house."""
