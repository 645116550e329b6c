"""Change notices of the system (extra `watch`): they only hurry, polling finds what they miss. Not for network shares."""

import threading
from collections.abc import Callable
from pathlib import Path

import watchfiles


def hurry(folders: set[Path], wake: Callable[[], None], stopping: threading.Event) -> threading.Thread:
    """Call `wake` when something changes in one of the folders, until `stopping` is set."""
    there = [folder for folder in folders if folder.is_dir()]

    def run() -> None:
        if not there:
            return
        for _ in watchfiles.watch(
            *there, stop_event=stopping, recursive=False, debounce=50, step=20, ignore_permission_denied=True, watch_filter=None
        ):
            wake()

    thread = threading.Thread(target=run, name="notices", daemon=True)
    thread.start()
    return thread
