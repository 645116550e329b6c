"""Reports that a delivery failed after it was taken -> the books, its address, and a notice by what else reaches her."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from angelia import telemetry
from angelia.flow.voice import Voice
from angelia.model.delivery import Delivery, Reason, State
from angelia.model.person import Address, AddressState
from angelia.planning.bounces import Bounce, ends_address
from angelia.store import Store

_ENDED = frozenset({AddressState.BOUNCING, AddressState.DEAD})

Record = Callable[[Delivery, str, datetime], Awaitable[bool]]
"""Writes into the books that a delivery came back, and which way its message goes on; was it news?"""


class Bounces:
    """Where every inlet brings what came back. The same report again changes nothing."""

    def __init__(self, store: Store, voice: Voice, clock: Callable[[], datetime], record: Record) -> None:
        self._store, self._voice, self._clock, self._record = store, voice, clock, record

    async def came_back(self, delivery_id: int, bounce: Bounce) -> bool:
        """Record it: whether it was news. StoreUnavailable where it must be brought again."""
        delivery = (await self._store.deliveries([delivery_id])).get(delivery_id)
        if delivery is None or delivery.state not in (State.DELIVERED, State.SENDING):
            return False
        address = await self._store.address(delivery.address_id) if delivery.address_id else None
        if address is not None:
            await self._judge(delivery, address, bounce)
        # Last: if we die before it, the report comes again, and what was said is a repeat.
        is_news = await self._record(delivery, bounce.why, self._clock())
        if is_news:
            telemetry.deliveries.labels(delivery.agent, State.BOUNCED.label, Reason.CAME_BACK.value).inc()
        return is_news

    async def _judge(self, delivery: Delivery, address: Address, bounce: Bounce) -> None:
        """The address first, so that the notice is not sent there."""
        now = self._clock()
        profiles = await self._store.profiles([address.person_id])
        if not profiles:
            return
        login = profiles[0].person.login
        if address.state in _ENDED or ends_address(bounce, await self._others_at(delivery), now):
            if address.state not in _ENDED:
                await self._store.set_address(address.address_id, state=AddressState.BOUNCING, now=now)
            await self._voice.address_refused(login, address.agent, address.value, bounce.why, now)
        else:
            await self._voice.came_back(login, address.agent, address.value, bounce.why, now)

    async def _others_at(self, delivery: Delivery) -> list[datetime]:
        """When other deliveries to the same address came back; the newest hundred failures of this person tell enough."""
        failed = await self._store.list_deliveries(states={State.BOUNCED}, agent=delivery.agent, person_id=delivery.person_id)
        hers = (one for one in failed if one.address_id == delivery.address_id and one.reason is Reason.CAME_BACK)
        return [one.ended_at for one in hers if one.ended_at is not None]
