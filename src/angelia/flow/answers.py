"""Answers -> the store: she saw it, she takes it over; told by any means, and good for all of them."""

from collections.abc import Callable, Sequence
from datetime import datetime

from angelia import telemetry
from angelia.store import Store


class Answers:
    """Where every inlet and page brings what people answer. `forget` is told whose inbox changed."""

    def __init__(self, store: Store, clock: Callable[[], datetime], forget: Callable[[int], None] = lambda _: None) -> None:
        self._store = store
        self._clock = clock
        self._forget = forget

    async def seen(self, person_id: int, message_ids: Sequence[int], by: str) -> int:
        """She saw these messages by this means (an agent's name, `web`, `api`); how many were not seen before. Others' messages are left out."""
        return await self._answer(person_id, message_ids, by, is_acknowledged=False)

    async def acknowledge(self, person_id: int, message_ids: Sequence[int], by: str) -> int:
        """She takes these messages over, and so has seen them; how many were not acknowledged by her before."""
        return await self._answer(person_id, message_ids, by, is_acknowledged=True)

    async def _answer(self, person_id: int, message_ids: Sequence[int], by: str, *, is_acknowledged: bool) -> int:
        changed = await self._store.answer(person_id, message_ids, by, self._clock(), is_acknowledged=is_acknowledged)
        if changed:
            answer = "acknowledged" if is_acknowledged else "seen"
            telemetry.answers.labels(answer, by).inc(len(changed))
            self._forget(person_id)
        return len(changed)
