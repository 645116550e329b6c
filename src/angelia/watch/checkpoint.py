"""What the watcher remembers over a restart: one file, replaced whole, so that a crash leaves the old or the new one."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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


def sync_folder(folder: Path) -> None:
    """Make a rename in it durable, where the system can do that for folders."""
    if os.name == "nt":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
