"""The inbox: a pull medium, complete once a delivery is recorded."""

from angelia.agent import Letter
from angelia.model.delivery import Outcome, Sent
from angelia.model.person import Address


class WebAgent:
    """Nothing is sent: the person comes and reads. So everybody is reachable, and there is nothing to fail."""

    name = "web"
    is_pull = True
    is_interruptive = False
    is_opt_in = False
    address_example = ""
    concurrency = 200
    Settings = None

    def check_address(self, value: str) -> str | None:
        """There are no addresses."""
        return value or None

    def note(self, address: Address) -> str:
        """There is nothing to know."""
        del address
        return ""

    def destination(self, letter: Letter) -> str:
        """There is but one."""
        del letter
        return self.name

    async def deliver(self, letter: Letter) -> Outcome:
        """Recorded is delivered."""
        del letter
        return Sent()

    async def close(self) -> None:
        """Nothing is open."""
