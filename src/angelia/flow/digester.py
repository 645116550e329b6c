"""Due digests -> one delivery each: found or created by slot, so that a restart neither skips nor repeats, and a missed slot is made up once."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from angelia import telemetry, tracing
from angelia.flow.digest_items import Entry, assembled, entries_of
from angelia.flow.intake import Intake
from angelia.flow.profiles import People, zone_of
from angelia.flow.rights import is_open_to, names_of
from angelia.flow.unwanted import Profiles, Today
from angelia.model.delivery import Delivery, Reason, State
from angelia.model.errors import StoreUnavailable
from angelia.model.person import Person
from angelia.model.preference import Site, Wants
from angelia.model.schedule import next_slot
from angelia.store import LeftOut, NewDigest, Slot, Store

BATCH = 200
MOST_ITEMS = 100_000
LONGEST_PENANCE = timedelta(minutes=10)
"""Between two tries of a digest that can't be made."""


class Digester:
    """The stage that makes digests. Two may work on one slot: the store lets one of them win."""

    name = "digester"

    def __init__(self, store: Store, people: People, intake: Intake, wake: Callable[[], None], *, seen_once: bool = True) -> None:
        self._store = store
        self._seen_once = seen_once
        self._people = people
        self._new_id = intake.new_id
        self._wake = wake
        self._failed: dict[Slot, tuple[int, datetime]] = {}  # how often, and when it is tried again

    def is_restless(self) -> bool:
        """All that waits is in the store; but for the times of what failed."""
        return bool(self._failed)

    async def drain(self) -> None:
        """Nothing is in hand between turns."""

    async def turn(self, now: datetime) -> int:
        """Work off slots that were reached."""
        # Those that failed are among the oldest: they take no place of others.
        slots = await self._store.due_slots(now, BATCH + len(self._failed))
        if slots:
            await self._people.refresh()
        self._failed = {slot: known for slot, known in self._failed.items() if slot in slots}
        done = 0
        for slot in slots:
            _, again_at = self._failed.get(slot, (0, now))
            if again_at > now:
                continue
            try:
                with tracing.span("digest", agent=slot.agent, schedule=slot.schedule):
                    await self._work_off(slot, now)
            except StoreUnavailable:
                raise
            except Exception:  # noqa: BLE001 - one digest that can't be made must not hold up those of all others
                self._put_off(slot, now)
                continue
            self._failed.pop(slot, None)
            done += 1
        if done:
            self._wake()
        return done

    def _put_off(self, slot: Slot, now: datetime) -> None:
        failures = self._failed.get(slot, (0, now))[0] + 1
        self._failed[slot] = failures, now + min(LONGEST_PENANCE, timedelta(seconds=2 ** min(failures, 10)))
        telemetry.stage_failures.labels(self.name).inc()
        telemetry.log.exception("digest_failed", person_id=slot.person_id, agent=slot.agent, schedule=slot.schedule, failures=failures)

    async def _work_off(self, slot: Slot, now: datetime) -> None:
        held = await self._store.held_items(slot, MOST_ITEMS)
        if not held or await self._made(slot, held, now):
            return
        if await self._store.held_items(slot, MOST_ITEMS) != held:
            # One of them was called back, or somebody else has made the digest: the next turn sees what is left.
            telemetry.digest_runs.labels("changed").inc()
            return
        # The slot has its digest already: these were planned while it was made. They go into the next one.
        telemetry.digest_runs.labels("late_items").inc()
        await self._store.move_items([item.delivery_id for item in held], await self._next(slot, now))

    async def _made(self, slot: Slot, held: Sequence[Delivery], now: datetime) -> bool:
        """False where the slot has one, or not all of them wait any more."""
        profiles = await self._people.profiles([slot.person_id])
        entries = await entries_of(self._store, held, profiles, Today(self._people.site, now))
        lost = _lost(slot, entries, profiles)
        seen = await self._seen(entries) - lost
        unwanted = _unwanted([entry for entry in entries if entry.item.delivery_id not in lost | seen])
        left = [entry for entry in entries if entry.unwanted is None and entry.item.delivery_id not in lost | seen]
        made = await assembled(self._store, left, now)
        left_out = LeftOut(made.expired, made.superseded, sorted(seen), sorted(lost), unwanted)
        if made.digest is None:
            await self._store.drop_items(left_out, now)
            telemetry.digest_runs.labels("empty").inc()
            return True
        digest_id = self._new_id()
        delivery = Delivery(
            delivery_id=self._new_id(),
            person_id=slot.person_id,
            agent=slot.agent,
            address_id=slot.address_id,
            state=State.DUE,
            due_at=now,
            digest_id=digest_id,
            schedule=slot.schedule,
            reason=Reason.SCHEDULE,
        )
        tracing.note(digest_id=digest_id, delivery_id=delivery.delivery_id, messages=made.digest.messages)
        gone = set(left_out.ids)
        told = [entry.item.delivery_id for entry in entries if entry.item.delivery_id not in gone]
        if not await self._store.record_digest(NewDigest(digest_id, slot, made.digest, delivery, told, left_out), now):
            return False
        telemetry.digest_runs.labels("made").inc()
        return True

    async def _seen(self, entries: Sequence[Entry]) -> set[int]:
        """What she has read in the meantime by another agent is not told again; what the operator locked always is."""
        if not self._seen_once:
            return set()
        pairs = {entry.pair: entry.item.delivery_id for entry in entries if not entry.is_locked}
        return {pairs[pair] for pair in await self._store.seen(pairs)}

    async def _next(self, slot: Slot, now: datetime) -> datetime:
        profiles = await self._people.profiles([slot.person_id])
        known = profiles.get(slot.person_id)
        if known is None:
            return now + timedelta(hours=1)
        profile, _ = known
        return slot_after(slot.schedule, profile.person, profile.wants, self._people.site, now)


def _lost(slot: Slot, entries: Sequence[Entry], profiles: Profiles) -> set[int]:
    """What she had the right to see when it was planned, and has not now (promise P14)."""
    known = profiles.get(slot.person_id)
    names = names_of(known[0]) if known is not None else frozenset()
    return {entry.item.delivery_id for entry in entries if not is_open_to(entry, names)}


def _unwanted(entries: Sequence[Entry]) -> dict[Reason, list[int]]:
    """What she wanted when it was planned, and does not now (promise P10), by why."""
    found: dict[Reason, list[int]] = {}
    for entry in entries:
        if entry.unwanted is not None:
            found.setdefault(entry.unwanted, []).append(entry.item.delivery_id)
    return found


def slot_after(schedule: str, person: Person, wants: Wants, site: Site, now: datetime) -> datetime:
    """The next slot of a named schedule; what has no slots (hold, overflow) gets the next full minute."""
    known = wants.schedules.get(schedule) or site.schedules.get(schedule)
    if known is None:
        return now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return next_slot(known, now, zone_of(person.time_zone))
