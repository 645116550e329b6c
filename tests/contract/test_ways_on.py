"""Ways on, on SQLite and PostgreSQL alike; and a transaction that is cut off in the middle leaves nothing of itself."""

import pytest

from angelia.model.delivery import State
from angelia.store import Step
from angelia.stores import deliveries, escalations
from angelia_testing.suites.store import MINUTE, NOW, delivery, planned
from angelia_testing.suites.ways_on import WaysOnSuite, claimed, due, escalating, failure, standing, successor


class TestWaysOn(WaysOnSuite):
    """On each database: the fixture `store` has one of each kind."""


def cut_after(work):
    def cut(*arguments):
        work(*arguments)
        raise RuntimeError("cut off")

    return cut


async def test_a_failure_that_is_cut_off_is_neither_lost_nor_doubled(store, monkeypatch):
    await planned(store, 1, [delivery(11, 1)])
    (mail,) = await claimed(store, "mail")
    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "succeed", cut_after(deliveries.succeed))
        with pytest.raises(RuntimeError):
            await store.settle([failure(mail, successor(1, "pager"))], NOW)
    assert await standing(store, 1) == [("mail", State.SENDING)]
    assert await store.settle([failure(mail, successor(1, "pager"))], NOW) == 1
    assert await standing(store, 1) == [("mail", State.BOUNCED), ("pager", State.DUE)]
    assert await store.check() == []


async def test_a_step_that_is_cut_off_is_neither_lost_nor_doubled(store, monkeypatch):
    await escalating(store, 1)
    (one,) = await due(store)
    step = Step(one, 1, NOW + 20 * MINUTE, [successor(1, "pager")])
    with monkeypatch.context() as patch:
        patch.setattr(escalations, "add", cut_after(escalations.add))
        with pytest.raises(RuntimeError):
            await store.record_step(step, NOW)
    assert await standing(store, 1) == [("mail", State.DUE)]
    assert await store.record_step(step, NOW) == "told"
    assert await standing(store, 1) == [("mail", State.DUE), ("pager", State.DUE)]
