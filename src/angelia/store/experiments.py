"""Experiments and their resources: states, history, and what is still to be told."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple, Protocol

from angelia.model.experiment import Experiment, ExperimentState, Resource, StoredTransition, Transition


class TakenTransition(NamedTuple):
    """What became of a reported transition: its number, whether it came for the first time, and its experiment as it is now."""

    number: int
    is_new: bool
    experiment: Experiment | None


class Chore(Enum):
    """What is still to be done with a transition that was taken: publish it on exchanges, tell people."""

    PUBLISH = "publish"
    TELL = "tell"

    @property
    def lease(self) -> str:
        """The name of the lease under which one worker does it."""
        return f"transitions.{self.value}"


class ExperimentStore(Protocol):
    """Experiments, their resources, and what was reported of them; the transitions that wait for a chore are the outbox."""

    async def add_transitions(self, reported: Sequence[Transition], now: datetime) -> list[TakenTransition]:
        """Make all durable, or none: IllegalTransition names the index and the field of one that has no place in the table of states. Numbers
        become visible in order. One that says nothing new (the same reporter, the same words and time) is a repeat. The experiment of a
        resource is remembered from the first event that names it; one that is not known yet is made, with a key of its own.
        """

    async def claim_transitions(self, chore: Chore, limit: int, lease: timedelta, now: datetime) -> list[StoredTransition]:
        """The oldest that wait for the chore, in order. One worker at a time holds them all, until it settles or the lease ends."""

    async def settle_transitions(self, chore: Chore, numbers: Collection[int]) -> None:
        """The chore is done for these; the claim ends, also where there are none."""

    async def experiment(self, experiment_id: int) -> Experiment | None:
        """By id."""

    async def list_experiments(
        self,
        *,
        login: str | None = None,
        groups: Collection[str] = (),
        reporter: str | None = None,
        state: ExperimentState | None = None,
        path: str = "",
        before_id: int | None = None,
        limit: int = 100,
    ) -> list[Experiment]:
        """Newest first: all, those of a person (hers, or of one of the groups), or those of whom a source reported the create."""

    async def transitions_of(self, experiment_id: int, before: int | None = None, limit: int = 100) -> list[StoredTransition]:
        """The history of an experiment and its resources, last taken first."""

    async def resources_of(self, experiment_id: int) -> list[Resource]:
        """By path."""

    async def forget_experiments(self, now: datetime, retention: timedelta, limit: int) -> int:
        """Delete those that are over and of which nothing was heard for so long, those that never ended after four times as long, and what
        belongs to none; never what still waits for a chore. How many there were.
        """
