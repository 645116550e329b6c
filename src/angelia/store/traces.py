"""Traces of letters: by what a medium called them they are found again, and what comes later finds its thread."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from angelia.model.delivery import Delivery


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a letter stands at its address: `thread` is what it belongs to, `root` the receipt with which that began there; `track` is the thing
    that it tells of, and `is_progress` says that the thing goes on, so that the next word on it may take this one's place. "" for none.
    """

    receipt: str
    thread: str = ""
    root: str = ""
    track: str = ""
    is_progress: bool = False


class TraceStore(Protocol):
    """Where letters stand; a trace comes with the settlement of its delivery, and goes with it."""

    async def deliveries_by_receipt(self, agent: str, receipts: Collection[str]) -> list[Delivery]:
        """Those of which a trace with one of these receipts was kept, oldest first. A letter edited in place stands for several, and a
        digest for all that is in it: its items come with it.
        """

    async def traces(self, places: Collection[tuple[int, str, str]]) -> dict[tuple[int, str, str], tuple[Trace | None, Trace | None]]:
        """For each (address id, thread, track), the newest kept trace of that thread and of that track there."""

    async def claim_roots(self, wanted: Sequence[tuple[int, int, str]]) -> set[int]:
        """Of letters that would begin a thread, as (delivery id, address id, thread): those that may. The first that asks may, in whichever process;
        others may not while it is being sent, nor once the thread has a kept trace. One that failed gives the word back by its state.
        """
