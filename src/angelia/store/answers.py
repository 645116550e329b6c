"""What people answer to their messages: seen, acknowledged; by any means."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """One person's answer to one message. `_by` is the means: an agent's name, `web`, `api`. To acknowledge is to have seen."""

    message_id: int
    person_id: int
    seen_at: datetime
    seen_by: str
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""


class AnswerStore(Protocol):
    """Answers, kept as long as their messages."""

    async def answer(self, person_id: int, message_ids: Sequence[int], by: str, now: datetime, *, is_acknowledged: bool) -> list[int]:
        """She saw these messages, or acknowledges them; which were not so answered before. The first answer of a kind stays as it is. Messages
        that do not concern her are left out. Their entries in her inbox are read from now on.
        """

    async def answers(self, message_ids: Collection[int]) -> dict[int, list[Answer]]:
        """All answers to these messages, the first acknowledged first, then by when they were seen."""
