"""What comes back from the media: read, acknowledged, verified. One process per site hears each of them, under a lease."""

import asyncio
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from angelia import telemetry
from angelia.agent import Agent, Listen, LostLease, hears
from angelia.flow.verification import MOST_ADDRESSES, kept_link_code
from angelia.model.delivery import Delivery
from angelia.model.errors import AngeliaError
from angelia.store import Store

LEASE = timedelta(seconds=30)
RENEW = 10.0  # seconds; two renewals may fail before somebody else hears
LONGEST_PENANCE = 60.0  # seconds between starts of one that keeps failing
STEADY = 120.0  # seconds after which one that ran counts as well again


class Answering(Protocol):
    """What is done with answers; `by` says where they came from. How many messages changed."""

    async def seen(self, person_id: int, message_ids: Sequence[int], by: str) -> int:
        """She has read these messages."""

    async def acknowledge(self, person_id: int, message_ids: Sequence[int], by: str) -> int:
        """She has taken note of them."""


class HouseEar:
    """The `Ear` of one agent."""

    def __init__(self, store: Store, answers: Answering, agent: Agent, heard: "Heard") -> None:
        self._store, self._answers, self._agent, self._heard = store, answers, agent, heard

    async def seen(self, address: str, receipt: str) -> bool:
        """See Ear."""
        deliveries = await self._of(address, receipt)
        for person_id, message_ids in _messages(deliveries).items():
            await self._answers.seen(person_id, message_ids, self._agent.name)
        return bool(deliveries)

    async def acknowledged(self, address: str, receipt: str) -> bool:
        """See Ear."""
        deliveries = await self._of(address, receipt)
        for person_id, message_ids in _messages(deliveries).items():
            await self._answers.acknowledge(person_id, message_ids, self._agent.name)
        return bool(deliveries)

    async def verified(self, code: str, address: str) -> bool:
        """See Ear. A code is good once, for ten minutes."""
        name, value = self._agent.name, self._agent.check_address(address)
        if value is None:
            return False
        kept = kept_link_code(self._heard.secret, name, code)
        made = await self._store.take_link_code(name, kept, value, MOST_ADDRESSES, self._heard.clock())
        if made is None:
            return False
        said = {"address": made.address_id, "agent": name, "is_verified": True}
        await self._store.audit(f"agent:{name}", "address.link", f"person {made.person_id}", said, self._heard.clock())
        self._heard.changed("people")
        return True

    async def cursor(self) -> str:
        """See Ear."""
        return await self._store.ear_position(self._agent.name)

    async def keep_cursor(self, text: str) -> None:
        """See Ear."""
        if not await self._store.put_ear_position(self._agent.name, self._heard.holder, text):
            raise LostLease(f"another process hears {self._agent.name} now")

    async def _of(self, address: str, receipt: str) -> list[Delivery]:
        """Whose receipt it is. Where an address is named, only what went there: receipts of some media count from 1 in each place."""
        found = await self._store.deliveries_by_receipt(self._agent.name, [receipt]) if receipt else []
        if not address or not found:
            return found
        places = {delivery.address_id: await self._store.address(delivery.address_id) for delivery in found}
        return [delivery for delivery in found if (place := places[delivery.address_id]) is not None and place.value == address]


def _messages(deliveries: Sequence[Delivery]) -> dict[int, list[int]]:
    """Person -> messages."""
    by_person: dict[int, list[int]] = {}
    for delivery in deliveries:
        if delivery.message_id is not None:
            by_person.setdefault(delivery.person_id, []).append(delivery.message_id)
    return by_person


class Heard:
    """Runs what hears, for as long as the house works: under a lease, and again, slower each time, when it fails."""

    def __init__(self, store: Store, answers: Answering, clock: Callable[[], datetime], secret: bytes, changed: Callable[[str], None]) -> None:
        self._store, self._answers = store, answers
        self.clock, self.secret, self.changed = clock, secret, changed
        self.holder = secrets.token_hex(8)

    async def run(self, agents: Mapping[str, Agent]) -> None:
        """Until it is cancelled."""
        able = [(agent, listen) for agent in agents.values() if (listen := hears(agent)) is not None]
        async with asyncio.TaskGroup() as group:
            for agent, listen in able:
                group.create_task(self._keep(agent, listen), name=f"ear {agent.name}")

    async def _keep(self, agent: Agent, listen: Listen) -> None:
        failures = 0
        while True:
            began = self.clock()
            try:
                await self._hear(agent, listen)
                failures = 0
                await asyncio.sleep(RENEW / 2)  # it was not our turn
            except Exception as error:  # noqa: BLE001 - a medium that is away, or an agent's bug, ends no ear
                failures = 1 if (self.clock() - began).total_seconds() > STEADY else failures + 1
                telemetry.stage_failures.labels(f"ear {agent.name}").inc()
                told = telemetry.log.warning if isinstance(error, AngeliaError) else telemetry.log.exception
                told("ear_failed", agent=agent.name, error=str(error), failures=failures)
                await asyncio.sleep(min(LONGEST_PENANCE, 0.5 * 2 ** min(failures, 10)) * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    async def _hear(self, agent: Agent, listen: Listen) -> None:
        """Listen while the lease is ours. Returns where it is another's."""
        if not await self._take(agent.name):
            return
        ear = HouseEar(self._store, self._answers, agent, self)
        hearing = asyncio.ensure_future(listen(ear))
        try:
            while True:
                done, _ = await asyncio.wait([hearing], timeout=RENEW)
                if done:
                    hearing.result()
                    raise LostLease(f"{agent.name} stopped listening")
                if not await self._take(agent.name):
                    return
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            # Where that fails the lease runs out by itself.
            await asyncio.gather(self._store.drop_ear(agent.name, self.holder), return_exceptions=True)

    async def _take(self, name: str) -> bool:
        now = self.clock()
        return await self._store.take_ear(name, self.holder, now + LEASE, now)
