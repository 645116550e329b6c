"""A fake agent with scripted outcomes: for stages, where a real medium would only be slow."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from angelia.agent import Letter
from angelia.model.delivery import Outcome, Refused, Sent
from angelia.model.person import Address

_ADDRESS = re.compile(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,250}\Z")


@dataclass
class RecordingAgent:
    """Keeps letters; answers what `answer` says, Sent by default. An exception raised there is an agent's bug."""

    name: str = "mail"
    is_pull: bool = False
    is_interruptive: bool = False
    is_opt_in: bool = False
    concurrency: int = 20
    address_example: str = "alice@example.org"
    answer: Callable[[Letter], Outcome] = lambda _: Sent("recorded")
    letters: list[Letter] = field(default_factory=list)
    Settings = None

    def check_address(self, value: str) -> str | None:
        return value if _ADDRESS.match(value) else None

    def note(self, address: Address) -> str:
        return f"this is {address.value}"

    def destination(self, letter: Letter) -> str:
        return letter.address.value.rpartition("@")[2] if letter.address else self.name

    async def deliver(self, letter: Letter) -> Outcome:
        if letter.address is None and not self.is_pull:
            return Refused("there is no address", is_address_bad=True)
        self.letters.append(letter)
        return self.answer(letter)

    async def close(self) -> None:
        """Nothing is open."""
