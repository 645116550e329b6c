"""What the hub does, told on an exchange to whoever follows: after the fact, in order, bounded, and never in anybody's way."""

import asyncio
import contextlib
import json
import secrets
from collections import deque
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from angelia import telemetry
from angelia.broker import Broker
from angelia.inlet import Draft, Receipt, Taken
from angelia.model.delivery import Delivery, State
from angelia.model.errors import AngeliaError, BrokerUnavailable
from angelia.model.event import Event
from angelia.model.job import Job
from angelia.model.moments import public_id, to_text

MOST_WAITING = 10_000
AT_ONCE = 500
PAUSE = 1.0  # seconds after the broker took nothing


class Announcer:
    """Events `message.accepted.<type>`, `message.<answer>.<means>`, `delivery.<state>.<agent>`, `inbox.<change>` and `job.<state>.<instrument>`.

    While the broker is away they wait in memory, and go out in order once it is back; each has an id, by which one that comes twice is known.
    What is over the bound is dropped, and counted.
    """

    def __init__(self, broker: Broker, exchange: str, clock: Callable[[], datetime]) -> None:
        self._broker = broker
        self._exchange = exchange
        self._clock = clock
        self._waiting: deque[Event] = deque()
        self._name, self._last = secrets.token_hex(6), 0
        self._is_away = False
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

    def job(self, job: Job) -> None:
        """A job has entered another state."""
        told = {"id": job.public_id, "instrument": job.instrument, "product": job.product, "state": job.state.label, "attempt": job.attempt}
        if job.reason:
            told["reason"] = str(job.reason)
        self._tell(f"job.{job.state.label}.{job.instrument}", told)

    def _tell(self, key: str, told: dict[str, Any]) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._drop(1)
            return
        self._waiting.append(self._event(key, told | {"at": to_text(self._clock())}))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._publish())

    async def _publish(self) -> None:
        while self._waiting:
            some = list(islice(self._waiting, AT_ONCE))
            try:
                await self._broker.publish(some)
            except BrokerUnavailable as error:
                if not self._is_away:
                    telemetry.log.warning("announcements_wait", error=str(error))
                self._is_away = True
                await asyncio.sleep(PAUSE)
                continue
            except AngeliaError as error:
                # One that can't be published must not hold up all others for ever.
                telemetry.log.warning("not_announced", count=len(some), error=str(error))
                self._drop(len(some))
            self._is_away = False
            for _ in some:
                self._waiting.popleft()

    def _drop(self, count: int) -> None:
        telemetry.broker_published.labels(self._exchange, "dropped").inc(count)

    def _event(self, key: str, told: dict[str, Any]) -> Event:
        body = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
        self._last += 1
        properties = {"app_id": "angelia", "message_id": f"{self._name}-{self._last}"}
        return Event(self._exchange, key.encode()[:255].decode(errors="ignore"), body, "application/json", properties=properties)

    async def close(self) -> None:
        """What waits is published, within a second; the rest is dropped."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await asyncio.gather(self._task, return_exceptions=True)
        if self._waiting:
            telemetry.log.warning("not_announced", count=len(self._waiting), error="the hub stops while the broker is away")
            self._drop(len(self._waiting))
