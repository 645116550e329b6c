"""ping: what a source says at the address of an expectation; around a command it says how that went. The hub's absence harms no command."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from types import FrameType
from typing import IO, Self

import click
import httpx2

from angelia.cli.outcome import Failure

TRIES = 3
TIMEOUT = 10.0  # seconds
MOST_KEPT = 10_000  # bytes of what a command says, the last ones
NOT_FOUND, NOT_RUN = 127, 126
"""Exit codes of a shell, where a command is not there, or can't be run."""
KILLED = 128
"""With the number of a signal added, the exit code of a shell for what that signal ended."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) if os.name == "posix" else ()


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[ADDRESS] [COMMAND]...")
@click.option("--start", "is_start", is_flag=True, help="A run begins.")
@click.option("--fail", "is_failure", is_flag=True, help="It failed.")
@click.option("--code", type=click.IntRange(0, 255), default=None, help="It ended with this exit code.")
@click.option("--text", default=None, help="What it says, for the history.")
def ping(words: tuple[str, ...], *, is_start: bool, is_failure: bool, code: int | None, text: str | None) -> None:
    """Say at ADDRESS that all is well; or run COMMAND, say before that it begins and after how it ended, and end as it did.

    The end of what it prints goes into the history. Put -- before a COMMAND that has options. With the address in ANGELIA_PING, where a list
    of processes does not show it, all words are the COMMAND.
    """
    kept = os.environ.get("ANGELIA_PING", "")
    address, command = (kept, words) if kept else ("".join(words[:1]), words[1:])
    if not address.startswith(("http://", "https://")):
        raise Failure("the address of an expectation begins with http:// or https://", 2)
    said = ["start"] * is_start + ["fail"] * is_failure + [str(code)] * (code is not None)
    if len(said) > 1:
        raise Failure("--start, --fail and --code: say one of them", 2)
    if command:
        if command[0].startswith("-"):
            raise Failure(f"there is no option {command[0]}", 2)
        if said or text is not None:
            raise Failure("--start, --fail, --code and --text are not for a COMMAND; its own options stand after --", 2)
        sys.exit(_around(address, command))
    if fault := _say("/".join([address, *said]), (text or "").encode()):
        raise Failure(fault)


def _around(address: str, command: tuple[str, ...]) -> int:
    """A signal ends the command and not us, so that its end is told in any case."""
    with _PassedOn() as signals:
        _warn(_say(f"{address}/start"))
        code, kept = _run(command, signals)
        _warn(_say(f"{address}/{code}", kept))
    return code


class _PassedOn:
    """Signals that are meant for a command go to it; one that comes before it began keeps it from being run."""

    def __init__(self) -> None:
        self.first = 0
        self._process: subprocess.Popen[bytes] | None = None
        now = {number: signal.getsignal(number) for number in SIGNALS}
        self._before = {number: heed for number, heed in now.items() if heed is not signal.SIG_IGN}  # nohup's stays, for the command too

    def __enter__(self) -> Self:
        for number in self._before:
            signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        for number, heed in self._before.items():
            signal.signal(number, heed)

    def to(self, process: subprocess.Popen[bytes]) -> None:
        """From now on; what came while it began comes late."""
        self._process = process
        if self.first:
            self._pass_on(self.first)

    def _pass_on(self, number: int, _: FrameType | None = None) -> None:
        self.first = self.first or number
        if self._process is not None and not (number == signal.SIGINT and _is_at_keyboard()):
            self._process.send_signal(number)


def _is_at_keyboard() -> bool:
    """Whether keys of the terminal reach us: then they reach the command by themselves, and many take a second Ctrl+C for more than one."""
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def _run(command: tuple[str, ...], signals: _PassedOn) -> tuple[int, bytes]:
    """Its exit code, as a shell has it, and the end of what it printed, which goes on to our own output as it comes."""
    if signals.first:
        return KILLED + signals.first, b""
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # noqa: S603 - it is what the caller asks for
    except OSError as error:
        text = f"{command[0]}: {error.strerror}"
        click.echo(f"angelia: {text}", err=True)
        return (NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUN), text.encode(errors="surrogateescape")
    signals.to(process)
    with process:
        assert process.stdout is not None
        kept = _passed_on(process.stdout)
    code = process.returncode
    return (KILLED - code if code < 0 else code), kept


def _passed_on(output: IO[bytes]) -> bytes:
    kept: deque[bytes] = deque()
    size = 0
    while part := output.read1(MOST_KEPT):  # type: ignore[attr-defined]
        try:
            sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
        except OSError:
            # Nobody reads on: the command need not hear of it, and what it prints goes on to nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        kept.append(part)
        size += len(part)
        while size - len(kept[0]) >= MOST_KEPT:
            size -= len(kept.popleft())
    return b"".join(kept)[-MOST_KEPT:]


def _say(address: str, text: bytes = b"") -> str:
    """What is wrong, "" where it was heard. An address that is refused is not asked again."""
    fault = ""
    for number in range(TRIES):
        if number:
            time.sleep(2**number / 2)
        try:
            answer = httpx2.post(address, content=text, headers={"Content-Type": "text/plain"}, timeout=TIMEOUT)
        except httpx2.InvalidURL as error:
            return f"this is no address of a hub: {error}"
        except httpx2.HTTPError as error:
            fault = f"the hub does not answer: {error}"
            continue
        if answer.status_code == 200:
            return ""
        fault = f"the hub answered {answer.status_code}"
        if answer.status_code < 500 and answer.status_code != 429:
            break
    return fault


def _warn(fault: str) -> None:
    if fault:
        click.echo(f"angelia: {fault}", err=True)


commands = {"ping": ping}
