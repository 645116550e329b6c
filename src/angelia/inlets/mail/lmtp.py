"""Mail that comes back, brought by the mail server of the site (LMTP, RFC 2033)."""

import asyncio
from importlib import import_module
from typing import Any

from angelia import telemetry
from angelia.inlet import Accept
from angelia.inlets.mail.door import MOST_BYTES, AnswerTo, Door
from angelia.inlets.mail.settings import MailInletSettings
from angelia.model.errors import Conflict, StoreUnavailable

_LATER = "451 4.3.0 Try again later"


class MailInlet:
    """Takes mail to signed addresses only, and never answers: so there are no loops."""

    name = "mail"

    def __init__(self, settings: MailInletSettings, door: Door) -> None:
        self._settings, self._door = settings, door
        self.fault = ""
        self.port = settings.port

    async def run(self, accept: Accept) -> None:
        """Take mail until cancelled; what it has to say goes through its door."""
        del accept
        lmtp = import_module("aiosmtpd.lmtp")  # slow, and few hubs take mail

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
        """One signed address a mail: each recipient of LMTP has a reply of its own, and such mail has one."""
        del server, session, options
        if envelope.rcpt_tos:
            return "452 4.5.3 One recipient at a time"
        try:
            meaning = await self._door.meaning(address)
        except StoreUnavailable:
            return _LATER
        if meaning is None:
            return "550 5.1.1 No such address"
        if isinstance(meaning, AnswerTo) and meaning.is_late:
            return "550 5.7.1 This answer comes too late: please answer on the web"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the library's name
        """250 once it is recorded. What is neither a report of a failure nor an answer (an absence note, a delay) is taken and forgotten."""
        del server, session
        try:
            meaning = await self._door.meaning(envelope.rcpt_tos[0])
            if meaning is not None:
                sender = "" if envelope.mail_from == "<>" else envelope.mail_from
                await self._door.take(meaning, envelope.content, sender or "")
        except (StoreUnavailable, Conflict) as error:
            telemetry.log.warning("mail_not_recorded", error=str(error))
            return _LATER
        except Exception:  # noqa: BLE001 - a mail that can't be read must not come for five days
            telemetry.mail_back.labels("poison").inc()
            telemetry.log.exception("mail_not_taken", address=envelope.rcpt_tos[0])
            return "554 5.3.0 This mail can't be read"
        return "250 2.0.0 OK"
