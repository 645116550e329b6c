"""The watcher's loop: look, tell, remember; a message is behind us only when it is accepted and the checkpoint is written."""

import hashlib
import importlib
import logging
import signal
import threading
import time
from collections import deque
from pathlib import Path
from types import FrameType
from typing import Any

from angelia.watch import checkpoint
from angelia.watch.settings import WatcherSettings, seconds
from angelia.watch.sinks import Sink
from angelia.watch.watching import Watch

log = logging.getLogger("angelia.watch")
LEAST_REST = 0.02  # seconds
QUIET_SAVES_EVERY = 5.0
"""How often the place in files in which nothing is found is written down: reading them again costs only time."""


class Watcher:
    """All watches of one configuration, with one sink."""

    def __init__(self, settings: WatcherSettings, sink: Sink) -> None:
        self._sink = sink
        self._folder = settings.state
        self.watches = [Watch(watch) for watch in settings.watches]
        self._poll = min(seconds(watch.poll) for watch in settings.watches)
        self._unsent: deque[dict[str, Any]] = deque()
        self._stopping, self._woken = threading.Event(), threading.Event()
        self._has_notices = settings.has_notices
        self._saved: dict[str, bytes] = {}
        self._saved_at = 0.0
        self._is_told = False
        for watch in self.watches:
            watch.restore(checkpoint.load(self._place(watch)))

    def run(self) -> None:
        """Until `stop`. Change notices wake it before its time."""
        log.info("watching %s", ", ".join(watch.settings.name for watch in self.watches))
        if self._has_notices:
            importlib.import_module("angelia.watch.notices").hurry(self._folders(), self._woken.set, self._stopping)
        while not self._stopping.is_set():
            self._woken.clear()
            began = time.monotonic()
            self.turn(time.time())
            # From begin to begin: on a busy machine a look takes long enough to make lines late by it.
            self._woken.wait(max(LEAST_REST, began + self._poll - time.monotonic()))
            # Whoever writes without a pause is looked at as often as that, and no more.
            self._stopping.wait(max(0.0, began + LEAST_REST - time.monotonic()))
        self.close()

    def _folders(self) -> set[Path]:
        return {Path(path).parent for watch in self.watches for path in watch.settings.paths}

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """End after this turn; also as a handler of signals."""
        del number, frame
        self._stopping.set()
        self._woken.set()

    def stop_on_signals(self) -> None:
        """SIGTERM and Ctrl-C end it in good order."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)

    def turn(self, now: float) -> None:
        """One look at everything. Where nothing can be accepted it does not read on: what was found is kept and tried again."""
        self._sink.turn()
        for watch in self.watches:
            if not self._send():
                return
            is_open = True
            for message in watch.turn(now):
                if message is not None:
                    self._unsent.append(message)
                is_open = is_open and self._send()
                if is_open and message is None:
                    self._save()
        if self._send() and (self._is_told or time.monotonic() - self._saved_at >= QUIET_SAVES_EVERY):
            self._save()

    def close(self) -> None:
        """Give files and connections back."""
        if self._send():
            self._save()
        for watch in self.watches:
            watch.close()
        self._sink.close()

    def _send(self) -> bool:
        while self._unsent:
            try:
                self._sink.accept(self._unsent[0])
            except OSError as error:
                log.error("nothing can be told or kept: %s", error)
                return False
            self._unsent.popleft()
            self._is_told = True
        return True

    def _save(self) -> None:
        for watch in self.watches:
            state = watch.state()
            # A bucket fills with time, windows are looked at: only what would be lost by a crash is worth a flush of the disk.
            seen = hashlib.blake2b(repr((state["files"], state["dedup"], state["rates"]["overflows"], state["measurement"][0])).encode()).digest()
            if self._saved.get(watch.settings.name) == seen:
                continue
            try:
                checkpoint.save(self._place(watch), state)
            except OSError as error:
                log.error("the checkpoint can't be written: %s", error)
                return
            self._saved[watch.settings.name] = seen
        self._saved_at, self._is_told = time.monotonic(), False

    def _place(self, watch: Watch) -> Path:
        return self._folder / f"{watch.settings.name}.json"
