"""Where messages go: to the hub through a spool, so that a message is accepted once it is durable here or there."""

import logging
import time
from pathlib import Path
from typing import Any, Protocol

from angelia.client import Client, NotAllowed, Refused, Spool
from angelia.watch.settings import HubSettings

log = logging.getLogger("angelia.watch")
AGAIN_AFTER = 5.0
FLUSH_AT_ONCE = 200


class Sink(Protocol):
    """Takes messages for good."""

    def accept(self, message: dict[str, Any]) -> None:
        """Durable when it returns. OSError where it can't be made so now: the watcher stops reading until it can."""

    def turn(self) -> None:
        """Do what is to be done from time to time."""

    def close(self) -> None:
        """Give everything back."""


class HubSink:
    """Posts to the hub; what it can't take now waits in a folder. A hub that is down is not asked for each message."""

    def __init__(self, settings: HubSettings, spool: Path) -> None:
        self._spool = Spool(spool)
        self._client = Client(settings.url, token=settings.token, spool=spool, timeout=settings.timeout)
        self._direct = Client(settings.url, token=settings.token, timeout=settings.timeout)
        self._asks_at = 0.0
        self._is_waiting = bool(self._spool.waiting())

    def accept(self, message: dict[str, Any]) -> None:
        """To the hub, else to the folder; behind what waits there already."""
        if not self._is_waiting:
            try:
                self._direct.send(**message)
            except NotAllowed as error:
                self._later(f"the hub does not know the token, or it may not post this: {error}")
            except Refused as error:
                log.error("the hub will never take %s: %s", message["idempotency_key"], error)
                self._refuse(message, str(error))
                return
            except OSError as error:
                self._later(str(error))
            else:
                return
        self._spool.put(message)
        self._is_waiting = True

    def turn(self) -> None:
        """Send what waits, oldest first, when it is time to ask again."""
        if not self._is_waiting or time.monotonic() < self._asks_at:
            return
        sent, left = self._client.flush(FLUSH_AT_ONCE)
        self._is_waiting = left > 0
        if left and sent < FLUSH_AT_ONCE:
            self._later(f"{left} messages wait")
        if sent:
            log.info("%d messages that waited are sent, %d wait", sent, left)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()
        self._direct.close()

    def _later(self, why: str) -> None:
        self._asks_at = time.monotonic() + AGAIN_AFTER
        log.warning("%s; messages are kept in %s", why, self._spool.folder)

    def _refuse(self, message: dict[str, Any], why: str) -> None:
        before = set(self._spool.waiting())
        self._spool.put(message)
        for path in set(self._spool.waiting()) - before:
            self._spool.refuse(path, why)
