"""What the hub does, told on an exchange to whoever follows. Best effort: bounded, after the fact, and never in anybody's way."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from angelia import telemetry
from angelia.broker import Broker
from angelia.inlet import Draft, Receipt, Taken
from angelia.model.delivery import Delivery, State
from angelia.model.errors import AngeliaError
from angelia.model.event import Event
from angelia.model.moments import public_id, to_text

MOST_WAITING = 10_000
AT_ONCE = 500
PAUSE = 1.0  # seconds after the broker took nothing


class Announcer:
    """Events `message.accepted.<type>`, `message.<answer>.<means>`, `delivery.<state>.<agent>` and `inbox.<change>`.

    What is over the bound is dropped, and counted.
    """

    def __init__(self, broker: Broker, exchange: str, clock: Callable[[], datetime]) -> None:
        self._broker = broker
        self._exchange = exchange
        self._clock = clock
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def accepted(self, source: str, drafts: Sequence[Draft], receipts: Sequence[Receipt]) -> None:
        """New messages were made durable."""
        for draft, receipt in zip(drafts, receipts, strict=True):
            if receipt.taken is Taken.NEW:
                self._tell(f"message.accepted.{draft.type}", {"id": public_id("msg", receipt.message_id), "type": draft.type, "source": source})

    def settled(self, ended: Sequence[tuple[Delivery, State]]) -> None:
        """Tries of deliveries were recorded."""
        for delivery, state in ended:
            if state.is_final:
                told = {"id": public_id("dlv", delivery.delivery_id), "agent": delivery.agent, "state": state.label}
                if delivery.message_id:
                    told["message"] = public_id("msg", delivery.message_id)
                self._tell(f"delivery.{state.label}.{delivery.agent}", told)

    def answered(self, login: str, answer: str, message_ids: Collection[int], by: str) -> None:
        """Somebody saw messages, or acknowledged them; by some means."""
        ids = [public_id("msg", key) for key in sorted(message_ids)[:AT_ONCE]]
        self._tell(f"message.{answer}.{by}", {"login": login, "count": len(message_ids), "messages": ids})

    def marked(self, login: str, change: str, count: int, delivery_ids: Collection[int] | None) -> None:
        """Somebody read, archived, or took it back."""
        if count:
            ids = [public_id("dlv", key) for key in delivery_ids] if delivery_ids is not None and len(delivery_ids) <= AT_ONCE else None
            self._tell(f"inbox.{change}", {"login": login, "count": count, "deliveries": ids})

    def _tell(self, key: str, told: dict[str, Any]) -> None:
        if len(self._waiting) >= MOST_WAITING:
            telemetry.broker_published.labels(self._exchange, "dropped").inc()
            return
        self._waiting.append((key, told | {"at": to_text(self._clock())}))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._publish())

    async def _publish(self) -> None:
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            try:
                await self._broker.publish([self._event(key, told) for key, told in some])
            except AngeliaError as error:
                # Whether they were taken nobody knows: to tell twice is worse here than not at all.
                telemetry.log.warning("not_announced", count=len(some), error=str(error))
                await asyncio.sleep(PAUSE)

    def _event(self, key: str, told: dict[str, Any]) -> Event:
        body = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
        return Event(self._exchange, key.encode()[:255].decode(errors="ignore"), body, "application/json", properties={"app_id": "angelia"})

    async def close(self) -> None:
        """What waits is published, within a second."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await asyncio.gather(self._task, return_exceptions=True)
