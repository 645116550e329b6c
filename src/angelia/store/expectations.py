"""Expectations: what people expect of sources, the signs that came, and what is still to be told of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from angelia.model.expectation import Expectation, Listening, Moment, Sign


@dataclass(frozen=True, slots=True)
class ExpectationNews:
    """One line of a history that is to be told: the expectation as it is now, and its owner's login."""

    moment: Moment
    expectation: Expectation
    login: str


class ExpectationStore(Protocol):
    """Expectations, each with its history. A change of state, its line in the history and that it is to be told are written together."""

    async def add_expectation(self, one: Expectation, secret_hash: str, most: int) -> Expectation:
        """A new one, with an address; Conflict where she has `most` already."""

    async def put_expectation(self, one: Expectation) -> Expectation | None:
        """Other terms (title, rhythm, grace, signs, who is told, severity) for the one of this id and person; where it stands is not written.
        As it is then; None where there is none.
        """

    async def expectation(self, expectation_id: int) -> Expectation | None:
        """By id."""

    async def list_expectations(self, person_id: int | None, after_id: int = 0, limit: int = 1_000) -> list[tuple[Expectation, str]]:
        """By id, with the logins of their owners: hers, or with None everybody's."""

    async def remove_expectation(self, expectation_id: int) -> bool:
        """With its history, and what was not told yet; False where there is none."""

    async def pause_expectation(self, expectation_id: int, now: datetime, *, is_paused: bool) -> Expectation | None:
        """Nothing is waited for; or, begun anew, it is. As it is then; None where there is none. Nothing changes where it is so already."""

    async def rotate_expectation(self, expectation_id: int, secret_hash: str | None) -> bool:
        """Another address, or with None none; the old one is worth nothing from now on."""

    async def expectation_at(self, secret_hash: str) -> int | None:
        """Whose address that is."""

    async def note_signs(self, signs: Mapping[int, Sign]) -> int:
        """What was heard, by id; of how many. Pings stand in the history, messages where they change the state."""

    async def expectation_history(self, expectation_id: int, before: int | None = None, limit: int = 100) -> list[Moment]:
        """Newest first, below the number `before`; at most the last hundred are kept."""

    async def listening(self) -> list[Listening]:
        """All that hear messages; read again by planners when their owners change, which adding, changing and removing one counts as."""

    async def find_silences(self, limit: int, now: datetime) -> int:
        """Those whose time is over are silent from now on: each once, whoever looks. How many. One that hears messages is left as it is while
        messages of that source and type that came in time wait to be planned, but for those that were postponed.
        """

    async def claim_expectation_news(self, limit: int, lease: timedelta, now: datetime) -> list[ExpectationNews]:
        """The oldest that are to be told, in order. One worker at a time holds them all, until it settles or the lease ends."""

    async def settle_expectation_news(self, numbers: Collection[int]) -> None:
        """These were told; the claim ends, also where there are none."""
