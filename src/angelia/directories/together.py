"""Several directories as one: the union of what they know."""

import asyncio
from collections.abc import Sequence

from angelia.directory import Directory, Failed, Members


class TogetherDirectory:
    """Asks all at once, and puts the answers together in order.

    One that failed makes the whole Failed: whom it knows is not known, and half an answer would be taken for all.
    """

    name = "together"

    def __init__(self, directories: Sequence[Directory]) -> None:
        self._directories = tuple(directories)

    async def relations(self, ref: str) -> Members | Failed:
        """The union by role."""
        by_role: dict[str, frozenset[int]] = {}
        answers = await asyncio.gather(*(directory.relations(ref) for directory in self._directories))
        for directory, answer in zip(self._directories, answers, strict=True):
            if isinstance(answer, Failed):
                return Failed(f"{directory.name}: {answer.why}")
            for role, person_ids in answer.by_role.items():
                by_role[role] = by_role.get(role, frozenset()) | person_ids
        return Members(by_role)

    async def close(self) -> None:
        """Each of them."""
        for directory in self._directories:
            await directory.close()
