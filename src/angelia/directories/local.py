"""The hub's own directory: roles that the operator or a source has put into the store."""

from collections import OrderedDict
from collections.abc import Callable

from angelia.directory import Failed, Members
from angelia.model.errors import StoreUnavailable
from angelia.store import PersonStore

MOST_KEPT = 10_000


class LocalDirectory:
    """Relations from the store, kept for a few seconds: a flood about one object asks once."""

    name = "local"

    def __init__(self, store: PersonStore, clock: Callable[[], float], kept_for: float = 3.0) -> None:
        self._store = store
        self._clock = clock
        self._kept_for = kept_for
        self._kept: OrderedDict[str, tuple[float, Members]] = OrderedDict()

    async def relations(self, ref: str) -> Members | Failed:
        """The roles on an object; Failed while the store does not answer."""
        now = self._clock()
        kept = self._kept.get(ref)
        if kept is not None and now - kept[0] < self._kept_for:
            return kept[1]
        try:
            members = Members(await self._store.related_ids(ref))
        except StoreUnavailable as error:
            return Failed(str(error))
        self._kept[ref] = now, members
        self._kept.move_to_end(ref)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return members

    async def close(self) -> None:
        """Nothing is open."""
