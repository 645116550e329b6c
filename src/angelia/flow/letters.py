"""Claimed deliveries -> letters: content, person, address and reasons read in bulk; what is no longer wanted is withheld."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from angelia.agent import Letter
from angelia.flow.conversation import Roots, joined_from_store
from angelia.flow.digest_items import assembled, entries_of
from angelia.flow.handover import Born
from angelia.flow.profiles import People
from angelia.flow.rights import is_open_to, names_of
from angelia.flow.unsubscribe import Target, decided_by, ended_by, ended_by_digest, make_token
from angelia.flow.unwanted import Pair, Profiles, Today
from angelia.model.delivery import Delivery, Reason, State
from angelia.model.message import Message
from angelia.model.moments import public_id
from angelia.model.person import Address, AddressState
from angelia.planning.decision import Profile
from angelia.planning.resolve import Alike
from angelia.store import LedgerRow, NewDigest, Store

ROOT_WAIT = timedelta(seconds=1)
"""How long a letter waits for the one with which another process begins its thread."""
READABLE = timedelta(seconds=5)
"""In less time than this nobody has read a message."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Not to be sent after all, and why; with `due_at`, not now."""

    state: State
    reason: Reason
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Links:
    """How links into the hub are made; `secret` signs those that act without a login."""

    base_url: str
    secret: bytes


class Letters:
    """Writes letters for the relay. Rights and wishes are asked again here, at hand-over (promises P10, P14)."""

    def __init__(self, store: Store, people: People, links: Links, *, seen_once: bool = True, editing: frozenset[str] = frozenset()) -> None:
        """`editing` names the agents that edit in place."""
        self._seen_once, self._editing = seen_once, editing
        self._store, self._roots = store, Roots(store)
        self._people = people
        self._links = links

    async def write(self, deliveries: Sequence[Delivery], now: datetime, born: Sequence[Born] = ()) -> list[Letter | Withheld]:
        """One letter a delivery, in order, or why there is none. What is told with those that were just `born` is not read again."""
        fresh: dict[Pair, Born] = {(one.row.message_id, one.row.person_id): one for one in born}
        pairs: set[Pair] = {(d.message_id, d.person_id) for d in deliveries if d.message_id is not None}
        unread = pairs - fresh.keys()
        digest_ids = {d.digest_id for d in deliveries if d.digest_id is not None and d.message_id is None}
        # All at once: each is a way to another thread or machine and back, and a letter waits for all of them.
        _, messages, ledger, digests = await asyncio.gather(
            self._people.refresh(), self._messages(unread), self._ledger(unread), self._digests(digest_ids)
        )
        messages = messages | {pair[0]: one.message for pair, one in fresh.items()}
        ledger = ledger | {pair: one.row for pair, one in fresh.items()}
        seen = await self._seen(pairs, messages, now)
        profiles = await self._people.profiles({delivery.person_id for delivery in deliveries})
        trimmed = await self._trimmed(digests, profiles, now)
        today = self._today(deliveries, messages, now, self._still_decided(fresh, profiles))
        letters: list[Letter | Withheld] = []
        for delivery in deliveries:
            known = profiles.get(delivery.person_id)
            if known is None or not known[0].person.is_active:
                letters.append(Withheld(State.SUPPRESSED, Reason.PERSON_INACTIVE))
            elif delivery.message_id is None:
                letters.append(self._of_digest(delivery, known, trimmed.get(delivery.digest_id or 0)))
            elif (delivery.message_id, delivery.person_id) in seen and not delivery.is_locked:
                letters.append(Withheld(State.SUPPRESSED, Reason.SEEN))
            else:
                row = ledger.get((delivery.message_id, delivery.person_id))
                letters.append(self._of_message(delivery, known, messages.get(delivery.message_id), row, today))
        return await self._joined(letters, now)

    async def _messages(self, pairs: Collection[Pair]) -> dict[int, Message]:
        return await self._store.messages({message_id for message_id, _ in pairs}) if pairs else {}

    async def _ledger(self, pairs: Collection[Pair]) -> dict[Pair, LedgerRow]:
        return await self._store.ledger_of(pairs) if pairs else {}

    async def _digests(self, digest_ids: Collection[int]) -> dict[int, NewDigest]:
        return await self._store.digests(digest_ids) if digest_ids else {}

    async def _joined(self, letters: list[Letter | Withheld], now: datetime) -> list[Letter | Withheld]:
        """With their threads, and with what they replace, where their agent can do something with it."""
        able = [letter for letter in letters if isinstance(letter, Letter) and letter.delivery.agent in self._editing]
        if not able:
            return letters
        joined = {one.delivery.delivery_id: one for one in await joined_from_store(self._store, able)}
        late = await self._roots.begun_elsewhere([one for one in joined.values() if not one.thread_root])
        put_off = {key: Withheld(State.DUE, joined[key].delivery.reason, now + ROOT_WAIT) for key in late}
        known: dict[int, Letter | Withheld] = {**joined, **put_off}
        return [known.get(letter.delivery.delivery_id, letter) if isinstance(letter, Letter) else letter for letter in letters]

    async def _seen(self, pairs: Collection[Pair], messages: Mapping[int, Message] | None, now: datetime) -> set[Pair]:
        """What was read meanwhile by another agent. Asked for what has waited only: nobody can have read what goes at once. None: all has."""
        waited = {pair for pair in pairs if messages is None or (pair[0] in messages and now - messages[pair[0]].received_at > READABLE)}
        return await self._store.seen(waited) if self._seen_once and waited else set()

    async def _trimmed(self, digests: Mapping[int, NewDigest], profiles: Profiles, now: datetime) -> dict[int, NewDigest | Withheld]:
        """Digests without what she has read meanwhile, may not see or does not want any more; looked at are those that could not go in their slot."""
        late = [digest for digest in digests.values() if now - digest.slot.slot_at > READABLE and digest.slot.person_id in profiles]
        if not late:
            return dict(digests)
        found = await asyncio.gather(*(self._store.digest_items(digest.digest_id) for digest in late))
        told = await entries_of(self._store, [item for items in found for item in items], profiles, Today(self._people.site, now))
        entries = {entry.item.delivery_id: entry for entry in told}
        seen = await self._seen({entry.pair for entry in entries.values()}, None, now)
        trimmed: dict[int, NewDigest | Withheld] = dict(digests)
        for digest, items in zip(late, found, strict=True):
            held = [entries[item.delivery_id] for item in items if item.delivery_id in entries]
            names = names_of(profiles[digest.slot.person_id][0])
            open_ones = [entry for entry in held if is_open_to(entry, names)]
            unread = [entry for entry in open_ones if entry.is_locked or entry.pair not in seen]
            left = [entry for entry in unread if entry.unwanted is None]
            if len(left) < len(held):
                made = (await assembled(self._store, left, now)).digest
                reason = next((entry.unwanted for entry in unread if entry.unwanted), Reason.SEEN if open_ones else Reason.ACCESS_LOST)
                trimmed[digest.digest_id] = Withheld(State.SUPPRESSED, reason) if made is None else replace(digest, content=made)
        return trimmed

    def _of_digest(self, delivery: Delivery, known: tuple[Profile, tuple[Address, ...]], digest: NewDigest | Withheld | None) -> Letter | Withheld:
        profile, addresses = known
        address = _address(delivery, addresses)
        if digest is None:
            return Withheld(State.DEAD, Reason.POISON)
        if isinstance(digest, Withheld):
            return digest
        if delivery.agent in profile.wants.paused:
            return Withheld(State.SUPPRESSED, Reason.PAUSED)
        if isinstance(address, Withheld):
            return address
        return Letter(
            delivery=delivery,
            person=profile.person,
            address=address,
            digest=digest.content,
            decided_by=f"schedule:{delivery.schedule}",
            unsubscribe_url=self._unsubscribe_url(ended_by_digest(delivery)) if profile.person.group is None else "",
            web_url=f"{self._links.base_url}/inbox",
            slot_at=digest.slot.slot_at,
            attempt=delivery.attempts,
        )

    def _of_message(
        self,
        delivery: Delivery,
        known: tuple[Profile, tuple[Address, ...]],
        message: Message | None,
        row: LedgerRow | None,
        today: Today,
    ) -> Letter | Withheld:
        profile, addresses = known
        if message is None:
            return Withheld(State.DEAD, Reason.POISON)
        if not is_open_to(message, names_of(profile)):
            return Withheld(State.SUPPRESSED, Reason.ACCESS_LOST)
        if message.expires_at is not None and message.expires_at <= today.now and not delivery.is_locked:
            return Withheld(State.EXPIRED, Reason.EXPIRED)
        unwanted = today.unwanted(delivery, known, message, row)
        if unwanted is not None:
            return Withheld(State.SUPPRESSED, unwanted)
        decided = decided_by(row, delivery.agent)
        address = _address(delivery, addresses)
        if isinstance(address, Withheld):
            return address
        return Letter(
            delivery=delivery,
            person=profile.person,
            address=address,
            message=message,
            because=row.because if row is not None else (),
            decided_by=decided,
            # One reader of a mailing list must not end it for all the others.
            unsubscribe_url=self._unsubscribe_url(ended_by(delivery, message, row, profile.wants.rules)) if profile.person.group is None else "",
            web_url=f"{self._links.base_url}/inbox/{public_id('msg', message.message_id)}",
            attempt=delivery.attempts,
        )

    def _still_decided(self, fresh: Mapping[Pair, Born], profiles: Profiles) -> set[Pair]:
        """Those whose person and site are the ones that the planner decided by. They are other objects once anything of them changed."""
        site = self._people.site
        return {pair for pair, born in fresh.items() if born.site is site and profiles.get(pair[1], _NOBODY)[0] is born.profile}

    def _today(self, deliveries: Sequence[Delivery], messages: Mapping[int, Message], now: datetime, decided: Collection[Pair]) -> Today:
        counts = Counter(delivery.message_id for delivery in deliveries if (delivery.message_id, delivery.person_id) not in decided)
        shared = {key: Alike(message, self._people.site, now) for key, message in messages.items() if counts[key] > 1}
        return Today(self._people.site, now, shared, decided)

    def _unsubscribe_url(self, target: Target) -> str:
        token = make_token(self._links.secret, target.person_id, target.agent, target.kind, target.value)
        return f"{self._links.base_url}/unsubscribe/{token}"


_NOBODY = (None, ())


def _address(delivery: Delivery, addresses: Sequence[Address]) -> Address | Withheld | None:
    if delivery.address_id == 0:
        return None
    for address in addresses:
        if address.address_id == delivery.address_id and address.state is AddressState.OK:
            return address
    return Withheld(State.SUPPRESSED, Reason.NO_VERIFIED_ADDRESS)
