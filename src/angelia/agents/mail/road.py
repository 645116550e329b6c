"""The roads that mail takes: a mail server over pooled connections, or files in a Maildir."""

import asyncio
import os
import re
import socket
import ssl
from hashlib import blake2b
from pathlib import Path
from time import monotonic
from typing import Protocol

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPException,
    SMTPHeloError,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from angelia import telemetry
from angelia.agents.mail.mime import Envelope
from angelia.agents.mail.settings import MailSettings
from angelia.agents.mail.wire import Wire
from angelia.deadlines import Deadlines
from angelia.model.delivery import Later, Outcome, Refused, Sent
from angelia.model.errors import BadSettings
from angelia.planning.bounces import Bounce
from angelia.rendering.text import one_line
from angelia.tls import client_context

MOST_IDLE = 20.0  # seconds
MOST_PER_CONNECTION = 500


class Road(Protocol):
    """Takes one mail, tells what came of it."""

    async def send(self, sender: str, envelope: Envelope, key: int) -> Outcome:
        """One try; `key` names the delivery."""

    async def close(self) -> None:
        """Give back what is open."""


class MaildirRoad:
    """One Maildir for each address (https://cr.yp.to/proto/maildir.html): written to tmp, flushed, moved to new."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def send(self, sender: str, envelope: Envelope, key: int) -> Outcome:
        """Write it; a full disk is Later."""
        del sender
        try:
            return Sent(await asyncio.to_thread(self._write, envelope, key))
        except OSError as error:
            return Later(f"the mail folder can't be written: {error.strerror}")

    def _write(self, envelope: Envelope, key: int) -> str:
        box = self._root / folder_name(envelope.recipient)
        if not (box / "cur").exists():
            for name in ("tmp", "new", "cur"):
                (box / name).mkdir(parents=True, exist_ok=True)
            for folder in (box, self._root, self._root.parent):
                _flush(folder)
        # The same delivery has the same name: sent twice, it is there once.
        name = f"{key >> 12}.{key}.angelia"
        if (box / "new" / name).exists() or any((box / "cur").glob(f"{name}:*")):
            _flush(box / "new")  # whoever put it there may not have come so far
            return name
        with (box / "tmp" / name).open("wb") as file:
            file.write(envelope.raw.replace(b"\r\n", b"\n"))
            file.flush()
            os.fsync(file.fileno())
        (box / "tmp" / name).rename(box / "new" / name)
        # Its name is in the folder, not in the file: without this a power cut could take a mail that counts as delivered.
        _flush(box / "new")
        return name

    async def close(self) -> None:
        """Nothing is open."""


def _flush(folder: Path) -> None:
    """What was made or moved in a folder stays in it, whatever happens to the machine."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def folder_name(address: str) -> str:
    """A folder for an address: readable, and safe for whatever the address holds."""
    local, _, domain = address.partition("@")
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", local)[:40]
    if safe == local and re.fullmatch(r"[a-z0-9.-]{1,60}", domain) and not domain.startswith("."):
        return f"{safe}@{domain}"
    return f"{safe}-{blake2b(address.encode(), digest_size=6).hexdigest()}"


class SmtpRoad:
    """Connections to one server, kept while there is mail (RFC 5321)."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        self._idle: list[Wire] = []
        self._deadlines = Deadlines()
        try:
            self._tls = client_context(settings.ca_file)
        except OSError as error:
            raise BadSettings(f"agents.mail.ca_file: {error.strerror}") from None

    async def send(self, sender: str, envelope: Envelope, key: int) -> Outcome:
        """One try over a connection that is idle, or a new one."""
        del key
        wire: Wire | None = None
        outcome: Outcome | None = None
        try:
            wire = self._taken() or Wire(await self._connect(), self._deadlines, self._settings.command_timeout)
            outcome = Sent(one_line(await wire.transmit(sender, envelope.recipient, envelope.raw), 200))
        except SMTPAuthenticationError as error:
            # The operator's fault, not the reader's: nothing bounces, all waits until it is mended.
            telemetry.log.error("mail_login_refused", code=error.code, reply=one_line(error.message))
            outcome = Later(f"the mail server refuses our login: {error.code}")
        except (SMTPException, OSError, TimeoutError, ssl.SSLError) as error:
            outcome = outcome_of(error)
        finally:
            # Cut off in the middle by whatever else, it would take the next mail for a part of this one.
            if wire is not None and outcome is None:
                wire.close()
        if wire is not None:
            await self._keep(wire, outcome)
        return outcome

    def _taken(self) -> Wire | None:
        """The connection that was used last, where one is fit."""
        now = monotonic()
        while self._idle:
            wire = self._idle.pop()
            if wire.is_usable and now - wire.used_at < MOST_IDLE and wire.mails < MOST_PER_CONNECTION:
                return wire
            wire.close()
        return None

    async def _connect(self) -> SMTP:
        host, port = self._settings.server
        connection = SMTP(
            hostname=host,
            port=port,
            timeout=self._settings.connect_timeout,
            use_tls=self._settings.scheme == "smtps",
            start_tls=self._settings.scheme == "smtp+starttls",
            tls_context=self._tls,
            local_hostname=socket.gethostname(),
        )
        try:
            await connection.connect()
            if connection.is_ehlo_or_helo_needed:
                await _greet(connection)
            if self._settings.login is not None:
                await connection.login(*self._settings.login)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _keep(self, wire: Wire, outcome: Outcome) -> None:
        """For the next mail. A refusal leaves the connection usable after RSET; anything else may have left it half-way."""
        if isinstance(outcome, Refused) and wire.is_usable:
            try:
                is_fit = await wire.reset()
            except SMTPException:
                is_fit = False
        else:
            is_fit = isinstance(outcome, Sent) and wire.is_usable
        if not is_fit:
            wire.close()
            return
        wire.mails, wire.used_at = wire.mails + 1, monotonic()
        self._idle.append(wire)

    async def close(self) -> None:
        """Say goodbye on idle connections."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(wire.quit() for wire in idle))


async def _greet(connection: SMTP) -> None:
    """EHLO, or HELO for a server that knows no other."""
    try:
        await connection.ehlo()
    except SMTPHeloError:
        await connection.helo()


_STATUS = re.compile(r"5\.\d{1,3}\.\d{1,3}")
_BAD_ADDRESS = frozenset({550, 551, 553})
_TRY_AGAIN_ELSEWHERE = frozenset({421, 450, 451, 452, 454, 530, 534, 535, 538})


def _is_of_address(message: str) -> bool:
    """Many servers say 550 for a policy or a full mailbox, too: a status after the code (RFC 2034) tells them apart."""
    status = _STATUS.match(message)
    return status is None or Bounce(status.group(), message).is_hard


def outcome_of(error: BaseException) -> Outcome:
    """What an error means (RFC 5321, 4.2.1): 5yz is for good, all else is for later. A lost reply may mean a second mail with the same Message-ID."""
    if isinstance(error, SMTPResponseException):
        reply = f"{error.code} {one_line(error.message, 300)}"
        if isinstance(error, SMTPConnectError) or error.code < 500 or error.code in _TRY_AGAIN_ELSEWHERE:
            # One mailbox that is greylisted says nothing about the server.
            return Later(reply, blames_destination=not isinstance(error, SMTPRecipientRefused))
        return Refused(reply, is_address_bad=isinstance(error, SMTPRecipientRefused) and error.code in _BAD_ADDRESS and _is_of_address(error.message))
    if isinstance(error, ssl.SSLCertVerificationError) or isinstance(error.__cause__, ssl.SSLCertVerificationError):
        telemetry.log.error("mail_certificate_refused", error=str(error))
        return Later("the mail server's certificate can't be verified")
    if isinstance(error, SMTPTimeoutError | TimeoutError):
        return Later("the mail server does not answer in time")
    if isinstance(error, SMTPServerDisconnected):
        return Later("the mail server closed the connection")
    return Later(f"the mail server can't be reached: {one_line(str(error), 200)}")
