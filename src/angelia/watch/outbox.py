"""Messages on their way without a hub: a folder and a thread for each channel, so that a dead one holds up no other."""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from angelia.client import sync_folder
from angelia.watch import checkpoint

log = logging.getLogger("angelia.watch")
MOST_WAITING = 100_000
MOST_REMEMBERED = 10_000
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0


class Never(Exception):
    """The channel will never take this; the text says why."""


class NotNow(Exception):
    """The channel may take it later: after `seconds`, where it said when. `rest` is what is left to send, if a part went.

    `is_alone`: only this message waits (a mailbox that is full); those behind it go before.
    """

    def __init__(self, text: str, seconds: float | None = None, rest: dict[str, Any] | None = None, *, is_alone: bool = False) -> None:
        super().__init__(text)
        self.seconds = seconds
        self.rest = rest
        self.is_alone = is_alone


Send = Callable[[dict[str, Any]], None]
"""One try: it returns, or raises Never or NotNow."""


class Outbox:
    """A channel's folder. What is put there is durable, and sent in order, but for what waits alone; ids that were sent are known for a while."""

    def __init__(self, name: str, folder: Path, send: Send) -> None:
        self.name, self.folder, self._send = name, folder, send
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sent_file = folder / "sent.txt"
        self._behind = dict.fromkeys(self._remembered())  # keys of what was sent or refused, the last of them last
        waiting = self.waiting()
        self._waiting = {_key_of(path) for path in waiting}
        self._number = max((int(path.stem.partition("-")[0]) for path in waiting), default=0)
        self._alone: dict[Path, tuple[float, float]] = {}  # when it is tried again, and after which pause
        self._stopping, self._woken = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def put(self, message: dict[str, Any]) -> None:
        """Durable when it returns. What was put before under the same key is not put again. OSError where there is no room."""
        key = message["idempotency_key"]
        with self._lock:
            if key in self._waiting or key in self._behind:
                return
            if len(self._waiting) >= MOST_WAITING:
                raise OSError(f"{self.folder} holds {MOST_WAITING} messages: {self.name} has been away for too long")
            self._number = max(self._number + 1, time.time_ns() // 1000)
            checkpoint.save(self.folder / f"{self._number:020d}-{key}.json", message)
            self._waiting.add(key)
        self._woken.set()

    def waiting(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("[0-9]*.json"))

    def stop(self, patience: float = 5.0) -> None:
        """End after the try that is on; what waits stays in the folder."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(patience)

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            self._woken.clear()
            waiting = self.waiting()
            self._alone = {path: self._alone[path] for path in waiting if path in self._alone}
            for path in waiting:
                if self._stopping.is_set():
                    return
                if self._alone.get(path, (0.0, 0.0))[0] > time.monotonic():
                    continue
                wait = self._try(path)
                if wait is None:
                    pause = FIRST_PAUSE
                    continue
                # What was asked for counts; else each try waits twice as long as the last.
                self._stopping.wait(min(LONGEST_PAUSE, wait or pause))
                pause = min(LONGEST_PAUSE, pause * 2)
                break
            else:
                again_at = min((at for at, _ in self._alone.values()), default=time.monotonic() + 60)
                self._woken.wait(max(0.0, again_at - time.monotonic()))

    def _try(self, path: Path) -> float | None:
        """Send one; None when those behind it may go, else the seconds to wait (0 for unknown)."""
        try:
            message = json.loads(path.read_text(encoding="utf-8"))
            self._send(message)
        except NotNow as error:
            log.warning("%s: %s", self.name, error)
            if error.rest is not None:
                with suppress(OSError):
                    checkpoint.save(path, error.rest)
            if not error.is_alone:
                return error.seconds or 0.0
            pause = self._alone.get(path, (0.0, FIRST_PAUSE))[1]
            self._alone[path] = time.monotonic() + (error.seconds or pause), min(LONGEST_PAUSE, pause * 2)
            return None
        except (Never, ValueError) as error:
            log.error("%s will never take this: %s", self.name, error)
            self._set_aside(path, str(error))
        except OSError as error:
            log.warning("%s: %s", self.name, error)
            return 0.0
        else:
            self._done(path)
        self._alone.pop(path, None)
        return None

    def _done(self, path: Path) -> None:
        with self._lock:
            with suppress(OSError), self._sent_file.open("a", encoding="ascii") as file:
                file.write(f"{_key_of(path)}\n")
                file.flush()
                os.fsync(file.fileno())
            path.unlink(missing_ok=True)
            self._leave_behind(path)

    def _set_aside(self, path: Path, why: str) -> None:
        aside = self.folder / "refused"
        aside.mkdir(exist_ok=True)
        with self._lock, suppress(OSError):
            path.replace(aside / path.name)
            self._leave_behind(path)
            (aside / f"{path.stem}.txt").write_text(why, encoding="utf-8")

    def _leave_behind(self, path: Path) -> None:
        key = _key_of(path)
        self._waiting.discard(key)
        self._behind[key] = None
        if len(self._behind) > 2 * MOST_REMEMBERED:
            keys = list(self._behind)[-MOST_REMEMBERED:]
            self._behind = dict.fromkeys(keys)
            self._cut(keys)

    def _remembered(self) -> list[str]:
        """Keys that were sent; the file is cut to the last of them."""
        try:
            keys = self._sent_file.read_text(encoding="ascii", errors="replace").split()
        except OSError:
            return []
        if len(keys) > 2 * MOST_REMEMBERED:
            keys = keys[-MOST_REMEMBERED:]
            self._cut(keys)
        return keys

    def _cut(self, keys: list[str]) -> None:
        """These alone in the file: a crash leaves the old or the new one, and where there is no room the old one stays."""
        part = self._sent_file.with_suffix(".part")
        with suppress(OSError):
            with part.open("w", encoding="ascii") as file:
                file.write("\n".join([*keys, ""]))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._sent_file)
            sync_folder(self.folder)


def _key_of(path: Path) -> str:
    return path.stem.partition("-")[2]


class DirectSink:
    """All channels get each message; it is accepted when it is in the folder of each."""

    def __init__(self, outboxes: list[Outbox]) -> None:
        self._outboxes = outboxes
        for outbox in outboxes:
            outbox.start()

    def accept(self, message: dict[str, Any]) -> None:
        """Into every folder."""
        for outbox in self._outboxes:
            outbox.put(message)

    def turn(self) -> None:
        """The threads do it."""

    def close(self) -> None:
        """End the threads."""
        for outbox in self._outboxes:
            outbox.stop()
