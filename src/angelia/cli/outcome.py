"""What came of a call: the answer of the hub, or why there is none."""

from collections.abc import Mapping

Answer = tuple[int, Mapping[str, str], bytes]
"""Status, headers and body."""


class Failure(Exception):
    """A command could not do it; 1 for what failed, 3 for what was refused."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Unreachable(Failure):
    """Not now: the hub does not answer, or its store can't make anything durable or waits for an upgrade. It may work later."""
