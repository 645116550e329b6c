"""A migration that dies: its process is killed before a statement, or before its COMMIT."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from itertools import chain, count
from typing import Any

from sqlalchemy import Engine, event

from angelia.stores.sql import upgrade

COMMIT = 0
_processes = multiprocessing.get_context("forkserver")


def killed_upgrades(url: str, every: int = 1) -> Iterator[int]:
    """Upgrade again and again: killed before COMMIT (0), then before its first statement and `every` statements later; yields after each death.

    The last one lives.
    """
    _processes.set_forkserver_preload([__name__])
    for number in chain((COMMIT,), count(1, every)):
        process = _processes.Process(target=upgrade_and_die, args=(url, number))
        process.start()
        process.join(30)
        if process.exitcode == 0:
            return
        if process.exitcode != -signal.SIGKILL:
            raise RuntimeError(f"the upgrade ended with {process.exitcode} before statement {number}")
        yield number


def upgrade_and_die(url: str, number: int) -> None:
    """Killed before the statement of this number, from 1; 0 is its COMMIT."""
    seen = 0

    def die_if(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", die_if)
    if number == COMMIT:
        event.listen(Engine, "commit", lambda _: os.kill(os.getpid(), signal.SIGKILL))
    upgrade(url)
