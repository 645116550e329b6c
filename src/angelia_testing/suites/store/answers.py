"""Answers: what was read or taken over, by any means."""

import asyncio
from typing import Any

from angelia.model.delivery import State
from angelia.store import Answer, InboxQuery, Store
from angelia_testing.suites.store.making import MINUTE, NOW, delivery, planned


class AnswerSuite:
    """The promises of `angelia.store.AnswerStore`."""

    async def test_what_was_answered_by_any_means_is_seen_and_read(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number in (1, 2, 3):
            await planned(store, number, [delivery(10 + number, number, **web)])
        assert await store.answer(1, [2, 2, 99], "mail", NOW, is_acknowledged=False) == [2]
        assert await store.answer(1, [1, 2], "web", NOW + MINUTE, is_acknowledged=True) == [1, 2]
        assert await store.answer(1, [1, 2], "mail", NOW + 2 * MINUTE, is_acknowledged=True) == []
        assert await store.answer(2, [1], "web", NOW, is_acknowledged=True) == []  # it does not concern her
        assert await store.answer(1, [], "web", NOW, is_acknowledged=True) == []
        assert await store.seen({(1, 1), (2, 1), (3, 1), (1, 2)}) == {(1, 1), (2, 1)}
        assert [item.delivery_id for item in await store.inbox(1, InboxQuery(state="unread"))] == [13]
        assert await store.answers([1, 2, 3]) == {
            1: [Answer(1, 1, NOW + MINUTE, "web", NOW + MINUTE, "web")],
            2: [Answer(2, 1, NOW, "mail", NOW + MINUTE, "web")],
        }

    async def test_of_many_answers_at_once_one_counts(self, store: Store) -> None:
        await planned(store, 1, [delivery(11, 1)])
        told = await asyncio.gather(*(store.answer(1, [1], f"means{n}", NOW, is_acknowledged=True) for n in range(20)))
        assert sorted(map(len, told)) == [0] * 19 + [1]
