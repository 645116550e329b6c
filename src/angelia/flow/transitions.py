"""Transitions that were taken: published on exchanges in order, and told to people. What can't go out now goes later, and nothing is lost."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from angelia import telemetry
from angelia.broker import Broker
from angelia.inlet import Accept, Draft, drafted
from angelia.model.errors import BrokerUnavailable
from angelia.model.event import Event
from angelia.model.experiment import (
    CleanUp,
    StoredTransition,
    detailed_body,
    is_warning,
    message_type,
    routing_key,
    simple_body,
    told_text,
    transition_id,
)
from angelia.model.message import Message, Recipient, RecipientKind, Sender, Severity
from angelia.model.moments import to_us
from angelia.store import Chore, Store

LEASE = timedelta(seconds=60)
AT_ONCE = 100
"""So many are published with one call: as many may come twice where the hub dies between publishing and writing that down."""
FORGOTTEN_AT_ONCE = 500


class Form(StrEnum):
    """In which forms a transition is published."""

    SIMPLE = "simple"
    DETAILED = "detailed"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where transitions go. `experiments` (key of the experiment) and `usage` (key of what happened) are exchanges, "" for none."""

    experiments: str = ""
    usage: str = ""
    form: Form = Form.BOTH
    clean_up: CleanUp = field(default_factory=CleanUp)
    has_messages: bool = True


def events_of(stored: StoredTransition, outlets: Outlets) -> Iterator[Event]:
    """What is published for one transition. `message_id` is the same whenever it is published again, so a reader can tell a repeat."""
    transition, number = stored.transition, transition_id(stored.number)
    bodies: dict[str, dict[str, Any]] = {}
    if outlets.form is not Form.DETAILED:
        bodies["simple"] = simple_body(transition)
    if outlets.form is not Form.SIMPLE:
        bodies["detailed"] = detailed_body(transition, outlets.clean_up)
    places = [(outlets.usage, routing_key(transition)), (outlets.experiments, stored.experiment.key if stored.experiment else "")]
    for exchange, key in places:
        for form, body in bodies.items() if exchange and key else ():
            text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            properties = {
                "message_id": f"{number}-{form}",
                "timestamp": to_us(transition.at) // 1_000_000,
                "message_type": f"transition.{form}",
                "delivery_mode": 2,
            }
            yield Event(exchange, key, text, "application/json", properties=properties)


class Crier:
    """The stage that publishes transitions, oldest first, after they are durable; the broker's confirm comes before the mark."""

    name = "crier"

    def __init__(self, store: Store, broker: Broker, outlets: Outlets) -> None:
        self._store, self._broker, self._outlets = store, broker, outlets
        self._is_away = False

    def is_restless(self) -> bool:
        """All that waits is in the store."""
        return False

    async def drain(self) -> None:
        """Nothing is in hand between turns."""

    async def turn(self, now: datetime) -> int:
        """Publish some; 0 while the broker takes nothing."""
        found = await self._store.claim_transitions(Chore.PUBLISH, AT_ONCE, LEASE, now)
        if not found:
            return 0
        events = [event for stored in found for event in events_of(stored, self._outlets)]
        try:
            if events:
                await self._broker.publish(events)
        except BrokerUnavailable as error:
            await self._store.settle_transitions(Chore.PUBLISH, [])
            if not self._is_away:
                telemetry.log.warning("transitions_wait", error=str(error))
            self._is_away = True
            return 0
        await self._store.settle_transitions(Chore.PUBLISH, [stored.number for stored in found])
        self._is_away = False
        return len(found)


class Herald:
    """The stage that tells people of transitions, by messages through intake: each has a key, so that telling twice tells once."""

    name = "herald"

    def __init__(self, store: Store, accept: Accept, outlets: Outlets) -> None:
        self._store, self._accept, self._outlets = store, accept, outlets

    def is_restless(self) -> bool:
        """All that waits is in the store."""
        return False

    async def drain(self) -> None:
        """Nothing is in hand between turns."""

    async def turn(self, now: datetime) -> int:
        """Tell some."""
        found = await self._store.claim_transitions(Chore.TELL, AT_ONCE, LEASE, now)
        if found and self._outlets.has_messages:
            known: dict[str, str | None] = {}
            for stored in found:
                draft = _draft(stored, await self._recipients(stored, known), self._outlets.clean_up)
                await self._accept(stored.transition.reporter or "bonfire", [draft])
        if found:
            await self._store.settle_transitions(Chore.TELL, [stored.number for stored in found])
        return len(found)

    async def _recipients(self, stored: StoredTransition, known: dict[str, str | None]) -> tuple[Recipient, ...]:
        """Whose experiment it is and who did it, then the group: those of them that the hub knows."""
        transition, experiment = stored.transition, stored.experiment
        logins = [experiment.owner if experiment else "", transition.user]
        groups = [transition.group or (experiment.group if experiment else "")]
        found = [Recipient(login) for login in dict.fromkeys(filter(None, logins)) if await self._principal(login, known)]
        for name in filter(None, groups):
            if principal := await self._principal(f"group:{name}", known):
                found.append(Recipient(principal, RecipientKind.CC))
        return tuple(found)

    async def _principal(self, name: str, known: dict[str, str | None]) -> str | None:
        if name not in known:
            known[name] = await self._look_up(name)
        return known[name]

    async def _look_up(self, name: str) -> str | None:
        if not name.startswith("group:"):
            return name if await self._store.person(name) is not None else None
        for group in dict.fromkeys((name[6:], name[6:].lower())):  # testbeds don't mind the case of a group
            if await self._store.group(group) is not None:
                return f"group:{group}"
        return None


def _draft(stored: StoredTransition, recipients: Sequence[Recipient], clean_up: CleanUp) -> Draft:
    transition = stored.transition
    subject, body = told_text(transition, clean_up)
    is_urging = is_warning(transition)
    said = {"object_type": transition.object_type, "event_type": transition.event_type, "state": transition.full_state, "source": transition.source}
    message = Message(
        message_id=0,
        source=transition.reporter,
        type=message_type(transition),
        received_at=transition.at,
        occurred_at=transition.at,
        sender=Sender(transition.source or transition.reporter),
        actor=transition.user,
        recipients=tuple(recipients),
        severity=Severity.HIGH if is_urging else Severity.NORMAL,
        has_own_severity=is_urging,
        subject=subject,
        body=body,
        object=transition.path,
        thread=transition.experiment or transition.path,
        params={name: value for name, value in said.items() if value},
        # An experiment is its users' own: what happens in it is not for whoever follows the type.
        is_restricted=True,
    )
    return drafted(message, f"transition {transition_id(stored.number)}")


class ForgetExperiments:
    """A chore of the janitor: what is over for long is forgotten."""

    def __init__(self, store: Store, retention: timedelta) -> None:
        self._store, self._retention = store, retention

    async def __call__(self, now: datetime) -> None:
        """In slices, as long as there are any."""
        while await self._store.forget_experiments(now, self._retention, FORGOTTEN_AT_ONCE) == FORGOTTEN_AT_ONCE:
            pass
