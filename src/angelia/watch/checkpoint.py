"""What the watcher remembers over a restart: one file, replaced whole, so that a crash leaves the old or the new one."""

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from angelia.client import sync_folder
from angelia.model.errors import BadSettings

_TAKEN = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """The folder is this watcher's alone. BadSettings where another one works with it: two would tell all twice, and each spoil the other's place.

    The system gives it back when the process ends, however it ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (folder / "lock").open("ab")
    except OSError as error:
        raise BadSettings(f"{folder} can't be the folder for state: {error.strerror}") from None
    with file:
        try:
            _lock(file.fileno())
        except OSError as error:
            # Some shares know no locks: then nobody is kept from working.
            if error.errno in _TAKEN:
                raise BadSettings(f"another watcher works with {folder}: one is enough, or give this one a state of its own") from None
        yield


def _lock(number: int) -> None:
    if os.name == "nt":
        module = import_module("msvcrt")
        module.locking(number, module.LK_NBLCK, 1)
    else:
        module = import_module("fcntl")
        module.flock(number, module.LOCK_EX | module.LOCK_NB)


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Durable when it returns: written aside, flushed, renamed. OSError where the disk does not take it; the old one stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(state, file, ensure_ascii=False, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def load(path: Path) -> dict[str, Any]:
    """What was saved; nothing where there is none, or where it can't be read (it is kept beside, as `.bad`)."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        state = json.loads(text)
        if isinstance(state, dict):
            return state
    except ValueError:
        pass
    with contextlib.suppress(OSError):
        path.replace(path.with_name(f"{path.name}.bad"))
    return {}
