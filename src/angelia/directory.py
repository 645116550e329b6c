"""Contract: who people are to an object (three-state answers: members, none, failed)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Members:
    """Who has which roles on the object: role -> person ids, groups already expanded. Empty means: surely nobody."""

    by_role: Mapping[str, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Failed:
    """The source could not answer. Never the same as nobody: the message waits and is asked again (case B9)."""

    why: str


class Directory(Protocol):
    """Answers about people.

    Promises, each a test in `angelia_testing.suites.directory`:
    - `relations` never raises for a source that is down: it says Failed, and says it soon.
    - A failure is never kept as "nobody": once the source is back, so is the truth.
    - Groups are expanded; names that nobody has are left out, and don't hide the others.
    """

    name: str

    async def relations(self, ref: str) -> Members | Failed:
        """The roles on an object (`KDE/okular`)."""

    async def close(self) -> None:
        """Give back connections; called once."""
