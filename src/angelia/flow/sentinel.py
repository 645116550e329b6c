"""Expectations whose time is over fall silent; that, and each end of it, is told once, by messages through intake."""

from datetime import datetime, timedelta

from angelia import telemetry
from angelia.inlet import Accept, Draft, drafted
from angelia.model.message import HOUSE
from angelia.planning.expecting import news_of
from angelia.store import ExpectationNews, Store

BATCH = 100
LEASE = timedelta(seconds=60)


class Sentinel:
    """The stage that notices what does not come. Whoever looks, a silence is written once; what is told has a key, so telling twice tells once."""

    name = "sentinel"

    def __init__(self, store: Store, accept: Accept, base_url: str) -> None:
        self._store, self._accept, self._base_url = store, accept, base_url

    def is_restless(self) -> bool:
        """All that waits is in the store."""
        return False

    async def drain(self) -> None:
        """Nothing is in hand between turns."""

    async def turn(self, now: datetime) -> int:
        """Look at those whose time is over, then tell what changed."""
        silent = await self._store.find_silences(BATCH, now)
        told = await self._store.claim_expectation_news(BATCH, LEASE, now)
        if told:
            await self._accept(HOUSE, [self._draft(one) for one in told])
            await self._store.settle_expectation_news([one.moment.number for one in told])
        for one in told:
            telemetry.expectation_news.labels(one.moment.after.label).inc()
        return silent + len(told)

    def _draft(self, one: ExpectationNews) -> Draft:
        message = news_of(one.expectation, one.moment, one.login, self._base_url)
        # What happened makes a message: its words may be other ones where the terms were changed between two tries.
        key = f"expectation {one.moment.number}"
        return drafted(message, key, key)
