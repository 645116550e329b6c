"""Mail without a hub: the bot's table `mail` (user, password, port, server, recipients), one letter for each recipient."""

import logging
import smtplib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from typing import Any

from angelia.model.errors import BadSettings
from angelia.tls import client_context
from angelia.watch.outbox import Never, NotNow
from angelia.watch.settings import secret_in
from angelia.watch.words import clean, one_line

log = logging.getLogger("angelia.watch")
_NAMES = frozenset({"user", "password", "password_file", "port", "server", "recipients", "from", "ca_file", "timeout", "plain_login"})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class DirectMail:
    """A server and those who hear of everything. `plain_login`: give the password where the server offers no encryption."""

    server: str
    port: int
    recipients: tuple[str, ...]
    user: str = ""
    password: str = ""
    sender: str = ""
    ca_file: str = ""
    timeout: float = 20.0
    is_plain_login: bool = False

    def send(self, message: dict[str, Any]) -> None:
        """One try. Who has it already is not in `rest`; who can't have it now keeps nobody else from it."""
        left, refused, later = list(message.get("recipients") or self.recipients), list[str](), list[str]()
        try:
            try:
                server = self._connected()
            except ValueError as error:
                # A password or a name of a server with letters that can't be said there is the operator's to mend, too.
                raise OSError(str(error)) from None
            try:
                for recipient in list(left):
                    try:
                        server.send_message(self._letter(message, recipient), self.sender, [recipient])
                    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as error:
                        # Each has a mail of her own, so what is said of one says nothing of the others.
                        code, why = _refusal(error, recipient)
                        if code < 500:
                            later.append(why)
                            continue
                        refused.append(why)
                        log.error("mail: %s", why)
                    left.remove(recipient)
            finally:
                # What is taken is taken, however the server says good-bye.
                with suppress(smtplib.SMTPException, OSError):
                    server.quit()
                server.close()
        except smtplib.SMTPResponseException as error:
            text = error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else str(error.smtp_error)
            words = f"{error.smtp_code} {one_line(text)}"
            # A wrong password or a server that wants another one is the operator's to mend: nothing is thrown away for it.
            raise NotNow(words, rest=message | {"recipients": left}) from None
        except (smtplib.SMTPException, OSError) as error:
            raise NotNow(f"{self.server}: {one_line(str(error))}", rest=message | {"recipients": left}) from None
        if later:
            raise NotNow("; ".join(later), rest=message | {"recipients": left}, is_alone=True)
        if refused:
            raise Never("; ".join(refused))

    def _connected(self) -> smtplib.SMTP:
        context = client_context(self.ca_file)
        if self.port == 465:
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.server, self.port, timeout=self.timeout, context=context)
            is_safe = True
        else:
            server = smtplib.SMTP(self.server, self.port, timeout=self.timeout)
            is_safe = self.server in _LOOPBACK
        try:
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
                is_safe = True
            if self.user and self.password and server.has_extn("auth"):
                if not is_safe and not self.is_plain_login:
                    raise OSError("the server offers no encryption: the password is not sent (plain_login would)")
                server.login(self.user, self.password)
        except BaseException:
            with suppress(OSError):
                server.close()
            raise
        return server

    def _letter(self, message: Mapping[str, Any], recipient: str) -> EmailMessage:
        letter = EmailMessage()
        letter["From"], letter["To"] = self.sender, recipient
        letter["Subject"] = one_line(str(message.get("subject", ""))) or "message"
        letter["Date"] = formatdate(message.get("kept_at"))
        letter["Message-ID"] = f"<{message['idempotency_key']}@watch.angelia>"
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(clean(str(message.get("body") or message.get("subject", ""))))
        if file := message.get("attachment"):
            letter.add_attachment(clean(str(file["text"])), filename=str(file["name"]))
        return letter


def _refusal(error: smtplib.SMTPRecipientsRefused | smtplib.SMTPDataError, recipient: str) -> tuple[int, str]:
    """Code and words."""
    code, said = error.recipients[recipient] if isinstance(error, smtplib.SMTPRecipientsRefused) else (error.smtp_code, error.smtp_error)
    return code, f"{recipient}: {code} {one_line(said.decode(errors='replace') if isinstance(said, bytes) else said)}"


def direct_mail(table: Mapping[str, Any]) -> DirectMail:
    """From the table. BadSettings names what is wrong."""
    if unknown := set(table) - _NAMES:
        raise BadSettings(f"mail.{min(unknown)} is no setting; there are {', '.join(sorted(_NAMES))}")
    server, user, recipients = str(table.get("server", "")), str(table.get("user", "")), table.get("recipients")
    if not server or not isinstance(recipients, list) or not recipients:
        raise BadSettings("mail needs server and recipients")
    sender = str(table.get("from", "")) or (user if "@" in user else f"{user or 'angelia'}@{server}")
    for address in (sender, *recipients):
        if not isinstance(address, str) or "@" not in address or not address.isprintable() or " " in address:
            raise BadSettings(f"mail: {address!r} is no address")
    try:
        port, timeout = int(table.get("port", 25)), float(table.get("timeout", 20))
    except (TypeError, ValueError):
        raise BadSettings("mail.port is a number") from None
    if not 0 < port < 65_536 or not timeout > 0:
        raise BadSettings("mail.port is a number from 1 to 65535, and mail.timeout more than 0 seconds")
    password = str(table.get("password", "")) or (secret_in(Path(table["password_file"])) if table.get("password_file") else "")
    return DirectMail(server, port, tuple(recipients), user, password, sender, str(table.get("ca_file", "")), timeout, bool(table.get("plain_login")))
