"""Change notices of the system: they only hurry, polling finds what they miss. Not for network shares.

On Linux by its own calls (inotify(7)): a line is looked at the moment it is written, and nothing runs while nothing happens. Elsewhere by the
library watchfiles (extra `watch`), which looks for news itself some fifty times a second.
"""

import ctypes
import logging
import os
import select
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

log = logging.getLogger("angelia.watch")
IS_OWN = sys.platform == "linux"
_FLAGS = 0o2004000  # IN_CLOEXEC and IN_NONBLOCK
_EVENTS = 0x0002 | 0x0080 | 0x0100 | 0x0200  # IN_MODIFY, IN_MOVED_TO, IN_CREATE, IN_DELETE: what a writer and a rotation do
_PATIENCE = 0.5  # seconds in which the end is noticed


def hurry(folders: set[Path], wake: Callable[[], None], stopping: threading.Event) -> threading.Thread:
    """Call `wake` when something changes in one of the folders, until `stopping` is set."""
    there = sorted(folder for folder in folders if folder.is_dir())
    thread = threading.Thread(target=_by_the_system if IS_OWN else _by_library, args=(there, wake, stopping), name="notices", daemon=True)
    thread.start()
    return thread


def _by_the_system(folders: list[Path], wake: Callable[[], None], stopping: threading.Event) -> None:
    system = ctypes.CDLL(None, use_errno=True)
    eye = system.inotify_init1(_FLAGS)
    if eye < 0:
        log.warning("no change notices (%s): files are looked at by the clock", os.strerror(ctypes.get_errno()))
        return
    try:
        for folder in folders:
            if system.inotify_add_watch(eye, os.fsencode(folder), _EVENTS) < 0:
                log.warning("no change notices of %s: %s", ascii(str(folder)), os.strerror(ctypes.get_errno()))
        waiting = select.poll()
        waiting.register(eye, select.POLLIN)
        while not stopping.is_set():
            if waiting.poll(_PATIENCE * 1_000):
                # What they say does not matter, nor whether some were thrown away for want of room: all is looked at.
                os.read(eye, 1 << 16)
                wake()
    finally:
        os.close(eye)


def _by_library(folders: list[Path], wake: Callable[[], None], stopping: threading.Event) -> None:
    if not folders:
        return
    watch = import_module("watchfiles").watch
    for _ in watch(*folders, stop_event=stopping, recursive=False, debounce=50, step=20, ignore_permission_denied=True, watch_filter=None):
        wake()
