"""Who a reader is now: what restricted messages are compared with each time that they are read (promise P14)."""

from typing import Protocol

from angelia.model.message import Message
from angelia.planning.decision import Profile
from angelia.store import ProfileRow, Store


def names_of(profile: Profile | ProfileRow) -> frozenset[str]:
    """What `Store.names_of` says, of somebody whose profile was read just now."""
    return frozenset((profile.person.login, *(f"group:{group}" for group in profile.groups)))


class Readable(Protocol):
    """A message, or what is known of one: who may read it, None for all."""

    @property
    def readers(self) -> tuple[str, ...] | None:
        """Logins, and groups as `group:<name>`."""


def is_open_to(message: Readable, names: frozenset[str]) -> bool:
    """May somebody with these names see it?"""
    return message.readers is None or not names.isdisjoint(message.readers)


async def may_see(store: Store, message: Message, person_id: int) -> bool:
    """Has she the right to see it now?"""
    return message.readers is None or is_open_to(message, await store.names_of(person_id))
