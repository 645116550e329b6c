"""ping: what a source says at the address of an expectation; around a command it says how that went. The hub's absence harms no command."""

import os
import subprocess
import sys
import time
from collections import deque
from typing import IO

import click
import httpx2

from angelia.cli.outcome import Failure

TRIES = 3
TIMEOUT = 10.0  # seconds
MOST_KEPT = 10_000  # bytes of what a command says, the last ones
NOT_FOUND, NOT_RUN = 127, 126
"""Exit codes of a shell, where a command is not there, or can't be run."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[ADDRESS] [COMMAND]...")
@click.option("--start", "said", flag_value="start", help="A run begins.")
@click.option("--fail", "said", flag_value="fail", help="It failed.")
@click.option("--code", type=click.IntRange(0, 255), default=None, help="It ended with this exit code.")
@click.option("--text", default="", help="What it says, for the history.")
def ping(words: tuple[str, ...], said: str | None, code: int | None, text: str) -> None:
    """Say at ADDRESS that all is well; or run COMMAND, say before that it begins and after how it ended, and end as it did.

    The end of what it prints goes into the history. Put -- before a COMMAND that has options. With the address in ANGELIA_PING, where a list
    of processes does not show it, all words are the COMMAND.
    """
    kept = os.environ.get("ANGELIA_PING", "")
    address, command = (kept, words) if kept else ("".join(words[:1]), words[1:])
    if not address.startswith(("http://", "https://")):
        raise Failure("the address of an expectation begins with http:// or https://", 2)
    if command:
        sys.exit(_around(address, command))
    rest = "" if said is None and code is None else f"/{said if code is None else code}"
    if fault := _say(address + rest, text.encode()):
        raise Failure(fault)


def _around(address: str, command: tuple[str, ...]) -> int:
    _warn(_say(f"{address}/start"))
    code, kept = _run(command)
    _warn(_say(f"{address}/{code}", kept))
    return code


def _run(command: tuple[str, ...]) -> tuple[int, bytes]:
    """Its exit code, as a shell has it, and the end of what it printed, which goes on to our own output as it comes."""
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # noqa: S603 - it is what the caller asks for
    except OSError as error:
        text = f"{command[0]}: {error.strerror}"
        click.echo(f"angelia: {text}", err=True)
        return (NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUN), text.encode()
    with process:
        assert process.stdout is not None
        kept = _passed_on(process.stdout)
    code = process.returncode
    return (128 - code if code < 0 else code), kept


def _passed_on(output: IO[bytes]) -> bytes:
    kept: deque[bytes] = deque()
    size = 0
    while part := output.read1(MOST_KEPT):  # type: ignore[attr-defined]
        sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
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
