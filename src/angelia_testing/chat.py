"""A fake agent that edits in place and hears what a test says: for the house's side of both, where a real medium would only be slow."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from angelia.agent import Ear, Letter
from angelia.model.delivery import Outcome, Sent
from angelia_testing.recording import RecordingAgent

Said = Callable[[Ear], Awaitable[Any]]


@dataclass
class ChatAgent(RecordingAgent):
    """Receipts are `$1`, `$2`, ... What is put into `said` is done with the ear, its answer goes to `told`; an exception ends the listening."""

    edits_in_place: bool = True
    said: "asyncio.Queue[Said]" = field(default_factory=asyncio.Queue)
    told: list[Any] = field(default_factory=list)
    starts: int = 0
    hearing: int = 0
    """How many listen at this moment."""

    async def deliver(self, letter: Letter) -> Outcome:
        """A new receipt, or that of what is edited."""
        outcome = await super().deliver(letter)
        return Sent(letter.replaces or f"${len(self.letters)}") if outcome == Sent("recorded") else outcome

    async def listen(self, ear: Ear) -> None:
        """Until it is cancelled."""
        self.starts += 1
        self.hearing += 1
        try:
            while True:
                self.told.append(await (await self.said.get())(ear))
        finally:
            self.hearing -= 1

    def link_to(self, code: str) -> str:
        """Where the code is handed over."""
        return f"https://chat.example.org/?start={code}"
