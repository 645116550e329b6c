"""The updates of a bot, as the Bot API keeps them: until an offset says that they were taken, and for one who asks at a time."""

import threading
import time
from typing import Any

from angelia_testing.peers.telegram_wire import Wrong

_CONFLICT = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"


class Updates:
    """What waits for the bot. `is_taken_elsewhere`: as if a webhook were set; `polls` counts questions, `offsets` are those that came with them."""

    def __init__(self) -> None:
        self.is_taken_elsewhere = False
        self.offsets: list[int] = []
        self._waiting: list[dict[str, Any]] = []
        self._presses: set[str] = set()
        self._newest = 100
        self._turn = 0
        self._is_stopped = False
        self._changed = threading.Condition()

    @property
    def polls(self) -> int:
        """How often was asked."""
        return len(self.offsets)

    def put(self, update: dict[str, Any]) -> None:
        """One more."""
        with self._changed:
            self._newest += 1
            self._waiting.append({"update_id": self._newest} | update)
            self._changed.notify_all()

    def put_press(self, pressed: dict[str, Any]) -> None:
        """A press of a button, with a number of its own."""
        with self._changed:
            name = f"press{self._newest}"
            self._presses.add(name)
        self.put({"callback_query": {"id": name} | pressed})

    def take_press(self, name: str) -> None:
        """It is answered, once."""
        with self._changed:
            if name not in self._presses:
                raise Wrong(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
            self._presses.discard(name)

    def wait(self, offset: int, limit: int, timeout: int) -> list[dict[str, Any]]:
        """One question: what waits, as soon as there is any. Another question ends this one."""
        ends_at = time.monotonic() + timeout
        with self._changed:
            if self.is_taken_elsewhere:
                raise Wrong(409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first")
            self._turn += 1
            turn = self._turn
            self.offsets.append(offset)
            self._changed.notify_all()
            self._waiting = [update for update in self._waiting if update["update_id"] >= offset]
            while not self._waiting and not self._is_stopped and turn == self._turn and (left := ends_at - time.monotonic()) > 0:
                self._changed.wait(left)
            if turn != self._turn:
                raise Wrong(409, _CONFLICT)
            return self._waiting[:limit]

    def stop(self) -> None:
        """Nobody waits any longer."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
