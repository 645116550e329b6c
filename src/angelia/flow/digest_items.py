"""What is known of the messages of a digest while it is made: of a hundred thousand no more is kept than their lines, and read in portions."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from angelia.flow.unwanted import Profiles, Today
from angelia.model.delivery import Delivery, Reason
from angelia.model.message import Message
from angelia.planning.digest import Assembled, DigestItem, assemble, with_bodies
from angelia.store import Store

PORTION = 1_000
"""Messages that are read whole at once."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message of a digest: its line to be, and what decides whether she is told. `readers` as of a message, None for no restriction;
    `unwanted` is why she does not want it any more.
    """

    item: DigestItem
    person_id: int
    is_locked: bool
    has_body: bool
    readers: tuple[str, ...] | None
    unwanted: Reason | None

    @property
    def pair(self) -> tuple[int, int]:
        """Which message, and for whom."""
        return self.item.message_id, self.person_id


async def entries_of(store: Store, deliveries: Sequence[Delivery], profiles: Profiles, today: Today) -> list[Entry]:
    """In the order of the deliveries, without those whose message is gone."""
    found: list[Entry] = []
    for start in range(0, len(deliveries), PORTION):
        some = [(one, one.message_id) for one in deliveries[start : start + PORTION] if one.message_id is not None]
        pairs = {(message_id, one.person_id) for one, message_id in some if not one.is_locked}
        messages, rows = await asyncio.gather(store.messages([message_id for _, message_id in some]), store.ledger_of(pairs))
        for one, message_id in some:
            if (message := messages.get(message_id)) is not None:
                known = profiles.get(one.person_id)
                unwanted = None if known is None else today.unwanted(one, known, message, rows.get((message_id, one.person_id)))
                found.append(_entry(one, message, unwanted))
    return found


def _entry(delivery: Delivery, message: Message, unwanted: Reason | None) -> Entry:
    item = DigestItem(
        delivery_id=delivery.delivery_id,
        message_id=message.message_id,
        type=message.type,
        subject=message.subject,
        object=message.object,
        object_url=message.object_url,
        collapse_key=message.collapse_key,
        supersedes=message.supersedes,
        severity=message.severity,
        occurred_at=message.occurred_at,
        expires_at=message.expires_at,
    )
    return Entry(item, delivery.person_id, delivery.is_locked, delivery.form == "full" and bool(message.body), message.readers, unwanted)


async def assembled(store: Store, entries: Sequence[Entry], now: datetime) -> Assembled:
    """The digest of these, with the bodies of those that she wants to have."""
    made = assemble([entry.item for entry in entries], now)
    if made.digest is None:
        return made
    bodied = {entry.item.message_id for entry in entries if entry.has_body}
    wanted = {line.message_id for group in made.digest.groups for line in group.lines} & bodied
    if not wanted:
        return made
    messages = await store.messages(wanted)
    bodies = {message_id: (message.body, message.body_format) for message_id, message in messages.items()}
    return replace(made, digest=with_bodies(made.digest, bodies))
