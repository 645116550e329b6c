"""One mailbox over IMAP (RFC 9051), blocking: what is new, one mail, put it away. It runs in a thread."""

import imaplib
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, parseaddr
from socket import SHUT_RDWR, socket
from threading import Lock
from typing import Any

from angelia.inlets.mail.settings import Mailbox, MailInletSettings
from angelia.rendering.text import one_line
from angelia.tls import client_context

COMMAND_TIMEOUT = 30.0  # seconds
_SIZE = re.compile(rb"RFC822\.SIZE (\d+)")
_IDLE = b"idling"


class MailboxFailed(Exception):
    """The server or the way to it failed: again, over a new connection."""


@dataclass(frozen=True, slots=True)
class Found:
    """A mail as it lies there; `raw` is its head alone where it is larger than what was asked for."""

    uid: int
    raw: bytes
    is_whole: bool = True


class ImapMailbox:
    """A connection with the folder selected, once it is opened. Every failure of the server or the network is MailboxFailed.

    `close` may come from another thread: what is under way there fails.
    """

    def __init__(self, settings: MailInletSettings) -> None:
        self._settings = settings
        self._box = settings.mailbox
        self._capabilities: frozenset[str] = frozenset()
        self._lock, self._is_closed = Lock(), False
        self._opened: imaplib.IMAP4 | None = None
        self.validity = 0

    def open(self) -> None:
        """Connect, sign in, select."""
        with _guarded():
            made = _connected(self._box, self._settings.ca_file)
            with self._lock:
                self._opened = made
                if self._is_closed:  # nobody waits for it any more
                    _end(made)
                    raise MailboxFailed("closed")
            self.validity = int(self._selected())

    @property
    def _imap(self) -> imaplib.IMAP4:
        if self._opened is None:
            raise MailboxFailed("not open")
        return self._opened

    def _selected(self) -> bytes:
        self._imap.login(self._box.user, self._box.password)
        words = bytes(_asked(self._imap.capability())[0] or b"")  # those of before the login are fewer
        self._capabilities = frozenset(words.decode("ascii", "replace").upper().split())
        _asked(self._imap.select(_quoted(self._box.folder)))
        return bytes(self._imap.response("UIDVALIDITY")[1][0] or b"0")

    @property
    def can_wait(self) -> bool:
        """Does the server say by itself that mail has come (RFC 2177)?"""
        return "IDLE" in self._capabilities

    @property
    def socket(self) -> socket:
        """What becomes readable when the server speaks."""
        return self._imap.socket()

    def newer(self, uid: int) -> list[int]:
        """The numbers of all mails after `uid`, in order."""
        self._imap.untagged_responses.pop("EXISTS", None)  # what comes from here on may not be in the answer
        found = self._uid("SEARCH", "UID", f"{uid + 1}:*")
        numbers = {int(number) for line in found if isinstance(line, bytes) for number in line.split()}
        return sorted(number for number in numbers if number > uid)  # "9:*" holds the last mail even if that is 8

    def read(self, uid: int, most: int) -> Found | None:
        """One mail, left unseen; None where somebody took it away."""
        sized = _SIZE.search(b" ".join(_bytes_of(self._uid("FETCH", str(uid), "(RFC822.SIZE)"))))
        if sized is None:
            return None
        is_whole = int(sized.group(1)) <= most
        raw = _literal(self._uid("FETCH", str(uid), "(BODY.PEEK[])" if is_whole else f"(BODY.PEEK[HEADER]<0.{most}>)"))
        return None if raw is None else Found(uid, raw, is_whole)

    def taken(self, uid: int) -> None:
        """Put away what is recorded."""
        self._uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Seen)")
        if self._settings.done:
            self._move(uid, self._settings.done)

    def put_aside(self, uid: int, why: str, now: datetime) -> None:
        """Move what can't be taken, unchanged, after a note that says why."""
        head = _literal(self._uid("FETCH", str(uid), "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")) or b""
        about = parseaddr(head[:500].decode("ascii", "replace").partition(":")[2])[1]
        reason = one_line(why, 300).encode("ascii", "replace").decode()
        lines = ["From: Angelia <angelia@localhost>", f"Date: {format_datetime(now)}", "Auto-Submitted: auto-generated", f"X-Angelia-Aside: {reason}"]
        lines += [f"In-Reply-To: <{about}>"] if about and about.isprintable() else []
        note = "\r\n".join([*lines, f"Subject: Not taken: {reason[:150]}", "", f"The mail that follows was not taken: {reason}", ""]).encode()
        folder = self._settings.aside
        self._make(folder)
        with _guarded():
            _asked(self._imap.append(_quoted(folder), "", "", note))
        self._move(uid, folder)

    def begin_waiting(self) -> bool:
        """From now on `socket` is readable when something comes; end it by `end_waiting`. True where something has come already: said with
        another answer since the last search, before the server's "go on", or right behind that and read with it. It is not said again.
        """
        has_come = bool(self._imap.untagged_responses.pop("EXISTS", None))
        with _guarded():
            self._imap.send(_IDLE + b" IDLE\r\n")
            while not (line := self._line()).startswith(b"+"):
                if line.startswith(_IDLE):
                    raise imaplib.IMAP4.error(line.decode("ascii", "replace"))
                has_come = has_come or line.rstrip().upper().endswith(b"EXISTS")
            return has_come or self._has_read_ahead()

    def _has_read_ahead(self) -> bool:
        wire = self.socket
        usual = wire.gettimeout()
        wire.setblocking(False)
        try:
            with suppress(ssl.SSLWantReadError):
                return bool(self._imap.file.peek(1))  # type: ignore[union-attr]
            return False
        finally:
            wire.settimeout(usual)

    def end_waiting(self) -> None:
        """Take commands again."""
        with _guarded():
            self._imap.send(b"DONE\r\n")
            while not self._line().startswith(_IDLE):
                pass

    def close(self) -> None:
        """Give the connection back, in whatever state it is."""
        with self._lock:
            self._is_closed = True
            if self._opened is not None:
                _end(self._opened)

    def _line(self) -> bytes:
        line = self._imap.readline()
        if not line:
            raise imaplib.IMAP4.abort("the connection was closed")
        return bytes(line)

    def _move(self, uid: int, folder: str) -> None:
        self._make(folder)
        if "MOVE" in self._capabilities:
            self._uid("MOVE", str(uid), _quoted(folder))
            return
        self._uid("COPY", str(uid), _quoted(folder))
        self._uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)")
        if "UIDPLUS" in self._capabilities:  # without it, it stays marked as deleted: others' deletions are not ours to end
            self._uid("EXPUNGE", str(uid))

    def _make(self, folder: str) -> None:
        with _guarded():
            self._imap.create(_quoted(folder))  # that it is there already is no failure

    def _uid(self, command: str, *arguments: str) -> list[Any]:
        with _guarded():
            return _asked(self._imap.uid(command, *arguments))


def _end(imap: imaplib.IMAP4) -> None:
    # First the socket, which wakes a thread that reads from it; what it reads with can be closed only then.
    with suppress(OSError, ValueError):
        imap.socket().shutdown(SHUT_RDWR)
    with suppress(OSError, ValueError):
        imap.shutdown()


def _connected(box: Mailbox, ca_file: str) -> imaplib.IMAP4:
    if box.scheme == "imap":
        return imaplib.IMAP4(box.host, box.port, timeout=COMMAND_TIMEOUT)
    context = client_context(ca_file)
    if box.scheme == "imaps":
        return imaplib.IMAP4_SSL(box.host, box.port, ssl_context=context, timeout=COMMAND_TIMEOUT)
    plain = imaplib.IMAP4(box.host, box.port, timeout=COMMAND_TIMEOUT)
    try:
        plain.starttls(context)
    except BaseException:
        _end(plain)
        raise
    return plain


@contextmanager
def _guarded() -> Iterator[None]:
    try:
        yield
    except (imaplib.IMAP4.error, OSError, ValueError) as error:
        raise MailboxFailed(_said(error)) from error


def _asked(answer: tuple[str, list[Any]]) -> list[Any]:
    if answer[0] != "OK":
        raise imaplib.IMAP4.error(str(answer[1][:1]))
    return answer[1]


def _said(error: Exception) -> str:
    return one_line(str(error) or type(error).__name__, 200)


def _bytes_of(lines: list[Any]) -> Iterator[bytes]:
    for line in lines:
        yield from (part for part in (line if isinstance(line, tuple) else (line,)) if isinstance(part, bytes))


def _literal(lines: list[Any]) -> bytes | None:
    """What the server sent as a literal, the first of the answer."""
    return next((bytes(line[1]) for line in lines if isinstance(line, tuple)), None)


def _quoted(folder: str) -> str:
    escaped = folder.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
