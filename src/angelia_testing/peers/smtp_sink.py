"""A fast mail server in a process of its own that writes down all it takes: Postfix's smtp-sink."""

import os
import re
import shutil
from collections import Counter, defaultdict
from pathlib import Path

from angelia_testing.peers.process import Server, free_port, missing, scratch

PROGRAM = Path("/usr/sbin/smtp-sink")
_RECIPIENT = re.compile(rb"^X-Rcpt-Args: <([^>\r\n]*)>", re.MULTILINE)
_ID = re.compile(rb"^Message-ID: *(<[^>]*>)", re.MULTILINE)
_SUBJECT = re.compile(rb"^Subject: *([^\r\n]*)", re.MULTILINE)


class SmtpSink:
    """Takes every mail for anybody. What it took is read from its file."""

    def __init__(self) -> None:
        if not PROGRAM.exists():
            missing("smtp-sink (of Postfix)")
        self.folder = scratch("sink")
        (self.folder / "mails").mkdir()
        self.port = free_port()
        self.url = f"smtp://127.0.0.1:{self.port}"
        self.start()

    def start(self, *refused: str) -> None:
        """Take mail, from now on or again; these commands (`rcpt`) are refused for good."""
        user = ["-u", "postfix"] if os.geteuid() == 0 else []
        if user:
            shutil.chown(self.folder / "mails", "postfix")
        argv = [
            str(PROGRAM),
            *user,
            *(["-f", ",".join(refused)] if refused else []),
            "-d",
            str(self.folder / "mails" / "m."),
            f"127.0.0.1:{self.port}",
            "200",
        ]
        self.server = Server("smtp-sink", argv, [self.port], self.folder)

    def pause(self) -> None:
        """Gone: connections are refused."""
        self.server.stop()

    def mails(self) -> list[tuple[str, str, str]]:
        """Recipient, Message-ID and subject of each mail that came whole; one that was broken off has no end."""
        return [mail for path in (self.folder / "mails").iterdir() if (mail := _read(path)) is not None]

    def by_subject(self) -> Counter[str]:
        """How often each subject came."""
        return Counter(subject for _, _, subject in self.mails())

    def ids_of(self) -> dict[tuple[str, str], list[str]]:
        """The Message-IDs that came for each recipient and subject."""
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for recipient, key, subject in self.mails():
            found[recipient, subject].append(key)
        return found

    def empty(self) -> None:
        """Forget what came."""
        for path in (self.folder / "mails").iterdir():
            path.unlink()

    def stop(self) -> None:
        """Stop and forget."""
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(path: Path) -> tuple[str, str, str] | None:
    head = path.read_bytes()
    recipient, key, subject = _RECIPIENT.search(head), _ID.search(head), _SUBJECT.search(head)
    if not head.rstrip().endswith(b"--") or recipient is None or key is None or subject is None:
        return None
    return recipient[1].decode(), key[1].decode(), subject[1].decode()
