"""The words of one mail transaction over a connection that the library made: few writes, few wakings, one limit of time for each answer.

aiosmtplib makes the connection, secures it and logs in, which happens once for hundreds of mails. For each mail it makes a timer, a lock and
a wait for each of four commands, and changes the text twice by regular expressions, which costs about as much as to build the mail. Where
the server takes commands before it has answered those before (RFC 2920), a mail is two round trips here instead of four.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import cast

from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPReadTimeoutError,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from angelia.deadlines import Deadlines

MOST_ANSWER = 32_768  # bytes of what is not understood yet
_LONE_ENDS = re.compile(rb"\r\n|\n|\r")
_MALFORMED = -1  # what no answer has


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said to one command; the lines of a long one are joined by line ends."""

    code: int
    text: str


class Wire(asyncio.Protocol):
    """One connection, from when it is ready for mail; one transaction at a time. What raises leaves it unusable, except that RSET mends a refusal."""

    def __init__(self, connection: SMTP, deadlines: Deadlines, seconds: float) -> None:
        """Takes the connection over: the library hears no more of it. `seconds` is how long the server may take for one answer."""
        if connection.transport is None:
            raise SMTPServerDisconnected("Connection lost")
        self._transport = cast("asyncio.Transport", connection.transport)
        self._deadlines, self._seconds = deadlines, seconds
        self._takes_ahead = connection.supports_extension("pipelining")
        self._has_size = connection.supports_extension("size")
        self._buffer = b""
        self._lines: list[bytes] = []
        self._answers: list[Answer] = []
        self._expected = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_broken = False
        self.mails, self.used_at = 0, 0.0
        self._transport.set_protocol(self)

    @property
    def is_usable(self) -> bool:
        """Is it open, and did all that came belong to a question?"""
        return not self._is_broken and not self._transport.is_closing()

    async def transmit(self, sender: str, recipient: str, raw: bytes) -> str:
        """One mail; the server's last words. An exception of aiosmtplib's where it is not taken."""
        size = f" SIZE={len(raw)}" if self._has_size else ""
        ahead = (_command(f"MAIL FROM:<{sender}>{size}"), _command(f"RCPT TO:<{recipient}>"), b"DATA\r\n")
        if self._takes_ahead:
            answers = await self._ask(b"".join(ahead), len(ahead))
            if len(answers) == len(ahead) and answers[2].code == 354 and not _is_taken(answers):
                # It goes on in spite of its refusal: an end at once makes it an empty mail to nobody, which it refuses (RFC 2920, 3.1).
                await self._ask(b".\r\n", 1)
            _check(answers, sender, recipient)
        else:
            answers = []
            for command in ahead:
                answers += await self._ask(command, 1)
                _check(answers, sender, recipient)
        (last,) = await self._ask(dotted(raw), 1)
        if last.code != 250:
            raise SMTPDataError(last.code, last.text)
        return last.text

    async def reset(self) -> bool:
        """RSET after a refusal: may the connection be used again?"""
        return (await self._ask(b"RSET\r\n", 1))[0].code == 250

    async def quit(self) -> None:
        """Say goodbye, wait a second for the answer, close."""
        try:
            if self.is_usable:
                self._seconds = 1.0
                await self._ask(b"QUIT\r\n", 1)
        except (SMTPServerDisconnected, SMTPResponseException, SMTPReadTimeoutError):
            pass  # it is closed anyway
        finally:
            self.close()

    def close(self) -> None:
        """At once."""
        self._transport.close()

    async def _ask(self, data: bytes, count: int) -> list[Answer]:
        """Write, and wait for so many answers."""
        if not self.is_usable:
            raise SMTPServerDisconnected("Connection lost")
        self._answers, self._expected = [], count
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        try:
            with self._deadlines.within(self._seconds):
                await self._waiter
        except TimeoutError as error:
            raise SMTPReadTimeoutError("Timed out waiting for server response") from error
        finally:
            self._waiter = None
        return self._answers[:count]

    def data_received(self, data: bytes) -> None:
        """Answers, whole or in pieces."""
        if self._waiter is None or self._waiter.done():
            # Often "421 too long idle". Whatever it is, it must not be taken for the answer to what is asked next.
            self._is_broken = True
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._lines.append(line)
            if line[3:4] != b"-":
                self._answers.append(_answer(self._lines))
                self._lines = []
        size = len(self._buffer) + sum(map(len, self._lines))
        if size > MOST_ANSWER or any(answer.code < 0 for answer in self._answers):
            self._fail(SMTPResponseException(_MALFORMED, "that is no mail server's answer"))
        elif len(self._answers) >= self._expected or (self._answers and self._answers[-1].code == 421):
            # After 421 nothing follows.
            self._is_broken = len(self._answers) > self._expected or self._answers[-1].code == 421
            self._waiter.set_result(None)

    def eof_received(self) -> bool:
        """The transport closes itself."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Whoever waits hears it."""
        del error
        self._fail(SMTPServerDisconnected("Connection lost"))

    def _fail(self, error: Exception) -> None:
        self._is_broken = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


def _answer(lines: list[bytes]) -> Answer:
    code = lines[-1][:3]
    text = lines[0][4:].strip() if len(lines) == 1 else b"\n".join(line[4:].strip() for line in lines)
    return Answer(int(code) if code.isdigit() and len(code) == 3 else _MALFORMED, text.decode("utf-8", "replace"))


def _is_taken(answers: list[Answer]) -> bool:
    return answers[0].code == 250 and answers[1].code in (250, 251)


def _check(answers: list[Answer], sender: str, recipient: str) -> None:
    """Raise for the first of the answers to MAIL, RCPT and DATA that is a no."""
    for answer, wanted in zip(answers, ((250,), (250, 251), (354,)), strict=False):
        if answer.code in wanted:
            continue
        if wanted == (250,):
            raise SMTPSenderRefused(answer.code, answer.text, sender)
        if wanted == (354,):
            raise SMTPDataError(answer.code, answer.text)
        raise SMTPRecipientRefused(answer.code, answer.text, recipient)


def _command(text: str) -> bytes:
    """Checked again, though addresses are: a line end in one would be a command of its own."""
    if not text.isprintable():
        raise ValueError("a command holds a control character")
    return text.encode("ascii") + b"\r\n"


def dotted(raw: bytes) -> bytes:
    """As it goes after DATA: line ends are CRLF, a dot before each line that begins with one, the end (RFC 5321, 4.5.2)."""
    if not raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r"):
        raw = _LONE_ENDS.sub(b"\r\n", raw)
    if not raw.endswith(b"\r\n"):
        raw += b"\r\n"
    if raw.startswith(b"."):
        raw = b"." + raw
    return raw.replace(b"\r\n.", b"\r\n..") + b".\r\n"
