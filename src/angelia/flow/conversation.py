"""How letters to one address hang together, for agents that edit in place: thread and predecessor from the store, and from what was just sent."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from time import monotonic

from angelia.agent import Letter
from angelia.model.delivery import Outcome, Sent
from angelia.planning.place import Place, place_of
from angelia.store import Store, Trace

MOST_KEPT = 10_000
SETTLED = 5.0
"""Seconds after which what was sent is in the store; what was read from there since then is as new as what we remember."""


def joined(letter: Letter, of_thread: Trace | None, of_track: Trace | None) -> Letter:
    """The letter with its thread's root, and with what it replaces: the last word on the same thing, if both say that it goes on. Pure."""
    replaces = of_track.receipt if of_track is not None and of_track.is_progress and place_of(letter.message).is_progress else ""
    root = of_thread.root or of_thread.receipt if of_thread is not None else ""
    return replace(letter, replaces=replaces, thread_root=root)


def trace_of(letter: Letter, outcome: Outcome) -> Trace | None:
    """What to keep of a letter that was sent. Pure."""
    if not isinstance(outcome, Sent) or not outcome.receipt:
        return None
    place = place_of(letter.message)
    root = (letter.thread_root or outcome.receipt) if place.thread else ""
    return Trace(outcome.receipt, place.thread, root, place.track, place.is_progress)


async def joined_from_store(store: Store, letters: Sequence[Letter]) -> list[Letter]:
    """All of them, in one read."""
    keys = [_key(letter) for letter in letters]
    known = await store.traces({key for key in keys if key[1] or key[2]})
    return [joined(letter, *known.get(key, (None, None))) for letter, key in zip(letters, keys, strict=True)]


class Roots:
    """Which letter begins a thread at an address, where several processes send: the store gives the word to one, the others wait until it is out."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ours: OrderedDict[tuple[int, str], float] = OrderedDict()

    async def begun_elsewhere(self, letters: Sequence[Letter]) -> set[int]:
        """The deliveries among these, none of which has a root yet, that must wait. What this process begins goes in turn (see Conversation)."""
        keys = {letter.delivery.delivery_id: _key(letter)[:2] for letter in letters}
        now = monotonic()
        asked: dict[tuple[int, str], int] = {}
        for delivery_id, key in keys.items():
            if key[1] and now - self._ours.get(key, -SETTLED) >= SETTLED:
                asked.setdefault(key, delivery_id)
        if not asked:
            return set()
        given = await self._store.claim_roots([(delivery_id, *key) for key, delivery_id in asked.items()])
        for key, delivery_id in asked.items():
            if delivery_id in given:
                self._ours[key] = now
                self._ours.move_to_end(key)
        while len(self._ours) > MOST_KEPT:
            self._ours.popitem(last=False)
        return {delivery_id for delivery_id, key in keys.items() if key in asked and asked[key] not in given}


def _key(letter: Letter) -> tuple[int, str, str]:
    place = place_of(letter.message)
    return letter.delivery.address_id, place.thread, place.track


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock
    users: int = 0


class Conversation:
    """Letters to one address go one after another, and each knows what went just before it, though the store does not know it yet."""

    def __init__(self) -> None:
        self._turns: dict[int, _Turn] = {}
        self._recent: OrderedDict[tuple[int, str, str], tuple[float, Trace]] = OrderedDict()

    @contextlib.asynccontextmanager
    async def turn(self, address_id: int) -> AsyncIterator[None]:
        """Whose turn it is at an address; in the order of asking."""
        turn = self._turns.setdefault(address_id, _Turn(asyncio.Lock()))
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                self._turns.pop(address_id, None)

    def newest(self, letter: Letter, written_at: float) -> Letter:
        """The letter as it stands after what was sent since it was written (seconds of the monotonic clock)."""
        address_id, thread, track = _key(letter)
        of_thread = self._since((address_id, "thread", thread), written_at)
        of_track = self._since((address_id, "track", track), written_at)
        if of_thread is None and of_track is None:
            return letter
        fresh = joined(letter, of_thread, of_track)
        # A root that the store knew stands; what was replaced may have ended since.
        return replace(
            fresh, thread_root=letter.thread_root or fresh.thread_root, replaces=fresh.replaces if of_track is not None else letter.replaces
        )

    def sent(self, letter: Letter, trace: Trace) -> None:
        """This letter is out."""
        address_id, place = letter.delivery.address_id, Place(trace.thread, trace.track)
        for key in ((address_id, "thread", place.thread), (address_id, "track", place.track)):
            if key[2]:
                self._recent[key] = monotonic(), trace
                self._recent.move_to_end(key)
        while len(self._recent) > MOST_KEPT:
            self._recent.popitem(last=False)

    def _since(self, key: tuple[int, str, str], written_at: float) -> Trace | None:
        found = self._recent.get(key)
        return found[1] if found is not None and found[0] >= written_at - SETTLED else None
