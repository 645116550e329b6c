"""Traces: letters are found by their receipts, and threads by their letters."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from angelia.model.delivery import Reason, State
from angelia.store import Settlement, Store, Trace
from angelia_testing.suites.store.making import LEASE, MINUTE, NOW, delivery, planned


class TraceSuite:
    """The promises of `angelia.store.TraceStore`."""

    async def test_what_was_sent_is_found_by_its_receipt_and_its_thread(self, store: Store) -> None:
        traces = [
            Trace("$1", "x", "$1", "job", is_progress=True),
            Trace("$1", "x", "$1", "job", is_progress=True),  # edited in place: one receipt for both
            Trace("$3", "x", "$1", "job"),
            Trace("", "y"),
        ]
        for number, trace in enumerate(traces, 1):
            await planned(store, number, [replace(delivery(number * 10, number), address_id=7)])
            (claimed,) = await store.claim_deliveries(["mail"], 10, LEASE, NOW)
            done = Settlement(claimed.delivery_id, claimed.fence, State.DELIVERED, Reason.CHOSEN, error=trace.receipt, trace=trace)
            assert await store.settle([replace(done, fence=99)], NOW) == 0
            assert number == 2 or await store.deliveries_by_receipt("mail", [trace.receipt]) == []  # an old fence keeps nothing
            assert await store.settle([done], NOW) == 1
            if number == 2:
                assert await store.traces({(7, "x", "job"), (7, "", ""), (8, "x", "job"), (7, "job", "x")}) == {
                    (7, "x", "job"): (trace, trace), (7, "", ""): (None, None), (8, "x", "job"): (None, None), (7, "job", "x"): (None, None),
                }  # fmt: skip
        assert [d.delivery_id for d in await store.deliveries_by_receipt("mail", ["$1", "$3", "$9", "bad\x00"])] == [10, 20, 30]
        assert await store.deliveries_by_receipt("chat", ["$1"]) == await store.deliveries_by_receipt("mail", [""]) == []
        assert (await store.traces({(7, "x", "job")}))[7, "x", "job"] == (traces[2], traces[2])
        later = NOW + timedelta(days=200)
        while await store.purge(later, timedelta(days=90), 100):
            pass
        assert await store.deliveries_by_receipt("mail", ["$1"]) == []
        assert (await store.traces({(7, "x", "job")}))[7, "x", "job"] == (None, None)

    async def test_one_letter_begins_a_thread_at_an_address(self, store: Store) -> None:
        for number in range(1, 6):
            await planned(store, number, [replace(delivery(number * 10, number), address_id=7)])
        claimed = {one.delivery_id: one for one in await store.claim_deliveries(["mail"], 10, LEASE, NOW)}
        asking = [store.claim_roots([(number, 7, "x"), (number + 30, 8, f"of {number}")]) for number in (10, 20)]
        given = [found for one in await asyncio.gather(*asking) for found in one]
        assert sorted(given) in ([10, 40, 50], [20, 40, 50]), "of two that ask at once one may; another address is another thread"
        first = min(given)
        second, third = 30 - first, 30
        assert await store.claim_roots([(first, 7, "x")]) == {first}, "who has the word keeps it"
        assert await store.claim_roots([(second, 7, "x"), (third, 7, "y\x00")]) == {third}
        assert (await store.traces({(7, "x", "")}))[7, "x", ""] == (None, None), "nothing is there yet"
        assert await store.deliveries_by_receipt("mail", [""]) == []
        failed = Settlement(first, claimed[first].fence, State.DUE, Reason.CHOSEN, NOW + MINUTE)
        await store.settle([failed], NOW)
        assert await store.claim_roots([(second, 7, "x")]) == {second}, "what failed begins nothing"
        trace = Trace("$2", "x", "$2")
        await store.settle([Settlement(second, claimed[second].fence, State.DELIVERED, Reason.CHOSEN, trace=trace)], NOW)
        assert await store.claim_roots([(third, 7, "x")]) == await store.claim_roots([]) == set(), "it has begun"
        assert (await store.traces({(7, "x", "")}))[7, "x", ""][0] == trace
