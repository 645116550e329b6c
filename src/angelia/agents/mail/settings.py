"""How mail leaves: one URL for the road, and who signs."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from angelia.model.errors import BadSettings
from angelia.model.return_path import MOST_LOCAL

_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_RETURN_PATH = re.compile(r"[A-Za-z0-9._-]{1,32}@[A-Za-z0-9.-]{1,190}")
_ANSWERS = re.compile(rf"[A-Za-z0-9._-]{{1,{MOST_LOCAL}}}@[A-Za-z0-9.-]{{1,190}}")


@dataclass(frozen=True, slots=True)
class MailSettings:
    """`url`: `smtp://host:25` (plain, for a relay on this machine), `smtp+starttls://user:password@host:587`, `smtps://user:password@host:465`, or
    `maildir:/path` for a machine without a mail server. `domain` stands in Message-IDs and List-Ids. Time limits are in seconds.
    `return_path`: where mail that fails comes back, as in bounce@example.org; each letter adds a signed part to it. Empty means `sender`.
    `answers`: where answers by mail come back, as in answer@example.org, each with a signed part of its own for `answers_days` days from when the
    letter was decided; empty means that letters offer none. Both addresses need an inlet for mail.
    """

    url: str = "maildir:mail"
    sender: str = "angelia@localhost"
    sender_name: str = "Angelia"
    return_path: str = ""
    answers: str = ""
    answers_days: int = 60
    domain: str = "localhost"
    ca_file: str = ""
    concurrency: int = 20
    connect_timeout: float = 10.0
    command_timeout: float = 30.0

    def __post_init__(self) -> None:
        """Say at the start what would fail at night."""
        self._check_url()
        if "@" not in self.sender or any(sign in self.sender for sign in " \r\n<>,"):
            raise BadSettings("agents.mail.sender is one plain address, as in angelia@example.org")
        if self.return_path and not _RETURN_PATH.fullmatch(self.return_path):
            raise BadSettings("agents.mail.return_path is one plain address with at most 32 letters before its @, as in bounce@example.org")
        if self.answers and not _ANSWERS.fullmatch(self.answers):
            raise BadSettings(f"agents.mail.answers is one plain address with at most {MOST_LOCAL} letters before its @, as in answer@example.org")
        if not 1 <= self.answers_days <= 3650:
            raise BadSettings("agents.mail.answers_days is 1 to 3650")
        if not self.domain.replace(".", "").replace("-", "").isalnum():
            raise BadSettings("agents.mail.domain is a host name")
        if self.concurrency < 1:
            raise BadSettings("agents.mail.concurrency is at least 1")

    def _check_url(self) -> None:
        scheme = self.url.partition(":")[0]
        if scheme not in {*_PORTS, "maildir"}:
            raise BadSettings("agents.mail.url starts with smtp:, smtp+starttls:, smtps: or maildir:")
        if scheme == "maildir" and not self.url[len("maildir:") :]:
            raise BadSettings("agents.mail.url: maildir: needs a folder, as in maildir:/var/lib/angelia/mail")
        if scheme != "maildir" and not urlsplit(self.url).hostname:
            raise BadSettings("agents.mail.url needs a host, as in smtp://mail.example.org:25")
        try:
            _ = urlsplit(self.url).port
        except ValueError:
            raise BadSettings("agents.mail.url: the port is a number, as in smtp://mail.example.org:25") from None

    def below(self, folder: Path) -> "MailSettings":
        """A relative maildir lies below the hub's data folder."""
        if self.maildir is None or self.maildir.is_absolute():
            return self
        return replace(self, url=f"maildir:{folder / self.maildir}")

    @property
    def maildir(self) -> Path | None:
        """The folder, where mail goes into files."""
        return Path(self.url[len("maildir:") :]) if self.url.startswith("maildir:") else None

    @property
    def server(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or _PORTS[parts.scheme]

    @property
    def scheme(self) -> str:
        """How the connection is secured."""
        return self.url.partition(":")[0]

    @property
    def login(self) -> tuple[str, str] | None:
        """User and password, if the URL has them."""
        parts = urlsplit(self.url)
        return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
