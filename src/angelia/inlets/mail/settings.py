"""Where mail comes back: a port for the mail server of the site, or a mailbox that is read."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from angelia.model.errors import BadSettings
from angelia.model.setting import say

_PORTS = {"imaps": 993, "imap+starttls": 143, "imap": 143}


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One folder of one account."""

    scheme: str
    host: str
    port: int
    user: str
    password: str
    folder: str


@dataclass(frozen=True, slots=True)
class MailInletSettings:
    """Either way takes the same mail; both may be on."""

    host: str = say("127.0.0.1", "where the mail server of the site brings mail that comes back (LMTP)")
    port: int = say(0, "0 means that no mail is taken there")
    url: str = say("", "mailbox to read: imaps://user:password@host/INBOX or imap+starttls://; imap:// only on this machine; empty means none")
    ca_file: str = say("", "certificates to trust for the mailbox in place of the system's")
    every: int = say(60, "seconds between two looks into the mailbox; sooner where its server says that mail has come (IDLE)")
    done: str = say("", "folder into which mail is moved once it is taken; empty means that it stays and is marked as seen")
    aside: str = say("Not taken", "folder for mail that can't be taken, each with a note that says why")

    def __post_init__(self) -> None:
        """Say at the start what would fail at night."""
        if self.every < 1:
            raise BadSettings("inlets.mail.every is at least 1 second")
        if not self.url:
            return
        parts = urlsplit(self.url)
        if parts.scheme not in _PORTS:
            raise BadSettings("inlets.mail.url starts with imaps:, imap+starttls: or imap:")
        if not parts.hostname or not parts.username or parts.password is None:
            raise BadSettings("inlets.mail.url needs a user, a password and a host, as in imaps://hub:secret@mail.example.org/INBOX")
        if parts.scheme == "imap" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise BadSettings("inlets.mail.url: a password does not go over a network in the clear; use imaps:// or imap+starttls://")
        if not self.aside or any(not name.isascii() or not name.isprintable() for name in (self.aside, self.done, self.mailbox.folder)):
            raise BadSettings("inlets.mail: the names of folders are plain ASCII")

    @property
    def mailbox(self) -> Mailbox:
        """What `url` says."""
        parts = urlsplit(self.url)
        folder = unquote(parts.path.lstrip("/")) or "INBOX"
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return Mailbox(parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme], user, password, folder)
