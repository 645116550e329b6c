"""Events taken as messages, in groups: what each becomes, durable before anybody is told, what can't be read put aside."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from angelia import telemetry
from angelia.inlet import Accept, Draft, Taken, short_key
from angelia.inlets.cloudevents import parse_binary, parse_event, strict_json
from angelia.inlets.mapping import MessageMapping
from angelia.model.errors import InvalidInput, StoreUnavailable
from angelia.model.event import Event
from angelia.store import EventStore
from angelia.wire.fields import draft_of, parse_fields, parse_one

LARGEST = 1_048_576
MOST_TRIES = 5


class Result(Enum):
    """What became of an event."""

    TAKEN = "taken"
    REPEAT = "repeat"
    NOTHING = "nothing"
    POISON = "poison"


class Outcome(NamedTuple):
    """Of one event; a poison has its reason."""

    result: Result
    why: str = ""


_TAKEN = Outcome(Result.TAKEN)


class Receiving(Protocol):
    """Whoever takes the events of an inlet."""

    name: str
    now: Callable[[], datetime]

    async def take(self, events: Sequence[Event], accept: Accept) -> list[Outcome]:
        """One outcome an event, in order; when it returns, what was taken is durable. StoreUnavailable: try the same again."""


class Receiver:
    """One for each inlet. `source` is what its messages come from, whatever they say themselves."""

    def __init__(self, name: str, source: str, mapping: MessageMapping | None, store: EventStore, now: Callable[[], datetime]) -> None:
        self.name = name
        self._source = source
        self._mapping = mapping
        self._store = store
        self.now = now

    async def take(self, events: Sequence[Event], accept: Accept) -> list[Outcome]:
        """One outcome an event, in order; when it returns, what was taken is durable. StoreUnavailable: nothing was, try the same again."""
        states: dict[str, str] = {}
        if self._mapping is not None and (names := self._mapping.state_names(events)):
            states = await self._store.last_states(names)
        before = dict(states)
        outcomes: list[Outcome] = []
        drafts: list[tuple[int, Draft]] = []
        for index, event in enumerate(events):
            outcome, draft = self._read(event, states)
            outcomes.append(outcome)
            if draft is not None:
                drafts.append((index, draft))
        await self._accept(drafts, outcomes, accept)
        if fresh := {name: state for name, state in states.items() if before.get(name) != state}:
            await self._store.put_last_states(fresh, self.now())
        for result, count in Counter(outcome.result for outcome in outcomes).items():
            telemetry.inlet_events.labels(self.name, result.value).inc(count)
        return outcomes

    def _read(self, event: Event, states: dict[str, str]) -> tuple[Outcome, Draft | None]:
        try:
            return self._understood(event, states)
        except InvalidInput as error:
            return Outcome(Result.POISON, f"{error.field}: {error}" if error.field else str(error)), None
        except Exception as error:  # noqa: BLE001 - one event that breaks the reader must not stop those behind it
            telemetry.log.exception("event_not_read", inlet=self.name, key=event.routing_key)
            return Outcome(Result.POISON, f"it breaks the reader: {type(error).__name__}"), None

    def _understood(self, event: Event, states: dict[str, str]) -> tuple[Outcome, Draft | None]:
        check_form(event)
        if self._mapping is None:
            return _TAKEN, self._drafted(event, plain_fields(event))
        mapped = self._mapping.mapped(event, states)
        fields = mapped.fields
        if fields is None:
            draft = None
        else:
            own_key = fields.pop("idempotency_key", None)
            draft = self._drafted(event, parse_fields(fields | ({"idempotency_key": short_key(str(own_key))} if own_key else {})))
        if mapped.state is not None:
            states[mapped.state[0]] = mapped.state[1]
        return Outcome(Result.NOTHING if draft is None else Result.TAKEN), draft

    def _drafted(self, event: Event, fields: dict[str, Any]) -> Draft:
        """It is known by its own key, else by that of its event."""
        return draft_of(fields, self.now, fields.get("idempotency_key") or key_of_event(event))

    async def _accept(self, drafts: Sequence[tuple[int, Draft]], outcomes: list[Outcome], accept: Accept) -> None:
        if not drafts:
            return
        try:
            receipts = await accept(self._source, [draft for _, draft in drafts])
        except StoreUnavailable:
            raise
        except InvalidInput as error:
            if len(drafts) == 1:
                outcomes[drafts[0][0]] = Outcome(Result.POISON, str(error))
                return
            for entry in drafts:  # one of them is what the database can't keep
                await self._accept([entry], outcomes, accept)
            return
        for (index, _), receipt in zip(drafts, receipts, strict=True):
            if receipt.taken is Taken.REPEAT:
                outcomes[index] = Outcome(Result.REPEAT)
            elif receipt.taken is Taken.CONFLICT:
                outcomes[index] = Outcome(Result.POISON, "its message id came before with other content")


def check_form(event: Event) -> None:
    """What is refused before it is read (rows 53, 54, 56)."""
    if len(event.body) > LARGEST:
        raise InvalidInput(f"a body has at most {LARGEST} bytes")
    if event.properties.get("content_encoding") not in (None, "", "utf-8", "UTF-8", "identity"):
        raise InvalidInput("the body is packed; publish it as it is")
    if len(str(event.properties.get("message_id", ""))) > 255:
        raise InvalidInput("a message id has at most 255 characters")
    tries = event.headers.get("x-delivery-count", 0)
    if isinstance(tries, int) and tries >= MOST_TRIES:
        raise InvalidInput(f"it was tried {tries} times")


def key_of_event(event: Event) -> str:
    """By which a repeat is known: its message id, or what it is made of."""
    message_id = event.properties.get("message_id")
    if isinstance(message_id, str) and message_id.isprintable() and message_id.strip():
        return message_id
    parts = (event.exchange, event.routing_key, str(event.properties.get("timestamp", "")))
    digest = blake2b(digest_size=20)
    for part in parts:
        digest.update(part.encode() + b"\x00")
    digest.update(event.body)
    return f"hash {digest.hexdigest()}"


def plain_fields(event: Event) -> dict[str, Any]:
    """Of an event whose body is a message already, or a CloudEvent: structured, or with its attributes in headers (AMQP binding, `cloudEvents:`)."""
    attributes = {
        name[12:].lower(): str(value)
        for name, value in event.headers.items()
        if name.startswith(("cloudEvents:", "cloudEvents_")) and not isinstance(value, Mapping | list)
    }
    if attributes:
        headers = {f"ce-{name}".encode(): value.encode() for name, value in attributes.items()}
        return parse_binary(headers | {b"content-type": event.content_type.encode()}, event.body)
    kind = event.content_type.partition(";")[0].strip().lower()
    if kind == "application/cloudevents+json":
        return parse_event(event.body)
    if kind not in ("", "application/json", "text/json") and not kind.endswith("+json"):
        raise InvalidInput(f"a message is JSON, not {kind[:100]}")
    # A message's own text may hold the word; then this is slower, and says the same.
    if b'"specversion"' in event.body:
        value = strict_json(event.body)
        if isinstance(value, dict) and "specversion" in value:
            return parse_event(event.body)
    return parse_one(event.body)
