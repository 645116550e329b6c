"""Mail that comes back: an LMTP server (RFC 2033) for the mail server of the site; a delivery report (RFC 3464) ends its address."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes
from email.message import Message as Mail
from importlib import import_module
from typing import Any

from angelia import telemetry
from angelia.flow.voice import Voice
from angelia.inlet import Accept
from angelia.model.errors import AngeliaError
from angelia.model.person import AddressState
from angelia.model.return_path import delivery_of
from angelia.model.setting import say
from angelia.rendering.text import one_line
from angelia.store import Store

MOST_BYTES = 1 << 20
"""A report may carry the mail that failed; what is larger is refused before it is read."""


@dataclass(frozen=True, slots=True)
class MailInletSettings:
    """`port` 0 means that no mail is taken."""

    host: str = say("127.0.0.1", "where the mail server of the site brings mail that comes back (LMTP)")
    port: int = say(0, "0 means that no mail is taken")


class MailInlet:
    """Takes mail to signed return paths only, and never answers: so there are no loops."""

    name = "mail"

    def __init__(self, settings: MailInletSettings, store: Store, secret: bytes, clock: Callable[[], datetime]) -> None:
        self._settings, self._store, self._secret, self._clock = settings, store, secret, clock
        self._voice: Voice | None = None
        self.fault = ""
        self.port = settings.port

    async def run(self, accept: Accept) -> None:
        """Take mail until cancelled."""
        lmtp = import_module("aiosmtpd.lmtp")  # slow, and few hubs take mail
        self._voice = Voice(accept)

        def connection() -> Any:
            return lmtp.LMTP(self, data_size_limit=MOST_BYTES, enable_SMTPUTF8=True, hostname="angelia", timeout=60)

        try:
            server = await asyncio.get_running_loop().create_server(connection, self._settings.host, self._settings.port)
        except OSError as error:
            self.fault = f"can't listen on {self._settings.host}:{self._settings.port}: {error.strerror}"
            telemetry.log.error("inlet_failed", inlet=self.name, error=self.fault)
            return
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            await server.serve_forever()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802 - the library's name
        """One signed return path a mail: each recipient of LMTP has a reply of its own, and reports have one."""
        del server, session, options
        if envelope.rcpt_tos:
            return "452 4.5.3 One recipient at a time"
        if delivery_of(address, self._secret) is None:
            return "550 5.1.1 No such address"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the library's name
        """250 once it is recorded. What is no report of a failure (an absence note, a delay) is taken and forgotten."""
        del server, session
        delivery_id, why = delivery_of(envelope.rcpt_tos[0], self._secret), failure_in(envelope.content)
        if delivery_id is not None and why:
            try:
                await self._failed(delivery_id, why)
            except AngeliaError as error:
                telemetry.log.warning("report_not_recorded", delivery_id=delivery_id, error=str(error))
                return "451 4.3.0 Try again later"
        return "250 2.0.0 OK"

    async def _failed(self, delivery_id: int, why: str) -> None:
        delivery = (await self._store.deliveries([delivery_id])).get(delivery_id)
        address = await self._store.address(delivery.address_id) if delivery is not None and delivery.address_id else None
        if address is None or address.state is AddressState.DEAD or self._voice is None:
            return
        rows = await self._store.profiles([address.person_id])
        if not rows:
            return
        # Said first: if we die between the two, the report comes again, and the notice is a repeat.
        await self._voice.address_refused(rows[0].person.login, address.agent, address.value, why, self._clock())
        await self._store.set_address(address.address_id, state=AddressState.BOUNCING, now=self._clock())


def failure_in(raw: bytes) -> str:
    """Why a mail failed for good, by its report; "" if this is no such report. Delays and relays are none."""
    mail = message_from_bytes(raw)
    if mail.get_content_type() != "multipart/report" or not mail.is_multipart():
        return ""
    for part in mail.get_payload():
        if isinstance(part, Mail) and part.get_content_type() == "message/delivery-status":
            for block in part.get_payload():
                if isinstance(block, Mail) and _is_failure(block):
                    return one_line(str(block.get("Diagnostic-Code") or block.get("Status")), 200)
    return ""


def _is_failure(block: Mail) -> bool:
    action, status = str(block.get("Action", "")), str(block.get("Status", ""))
    return action.strip().lower() == "failed" and status.strip().startswith("5")
