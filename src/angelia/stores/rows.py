"""Values to rows and back: deliveries, decisions, digests."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import repeat
from typing import Any

from angelia.model.delivery import Delivery, Reason, State
from angelia.model.message import Message, Severity
from angelia.model.moments import from_us, to_us
from angelia.model.payload import message_of
from angelia.planning.decision import Decision, Verdict
from angelia.planning.digest import Digest, DigestGroup, Line
from angelia.store import Copies
from angelia.stores.engine import Insert
from angelia.stores.tables import deliveries, messages

MESSAGE_COLUMNS = (messages.c.id, messages.c.source, messages.c.received_us, messages.c.payload)
DELIVERY_COLUMNS = (
    "id", "message_id", "person_id", "agent", "address_id", "state", "due_us", "fence", "attempts", "first_tried_us",
    "ended_us", "digest_id", "schedule", "form", "reason", "is_locked", "last_error", "is_urgent",
)  # fmt: skip
DELIVERY_SELECT = tuple(deliveries.c[name] for name in DELIVERY_COLUMNS)
RETURNING = ", ".join(DELIVERY_COLUMNS)


def chunks(ids: Iterable[int], size: int = 5_000) -> Iterable[list[int]]:
    """Lists of a length that both databases take as parameters."""
    everything = list(ids)
    for start in range(0, len(everything), size):
        yield everything[start : start + size]


def moment(stamp: int | None) -> datetime | None:
    """The time of a column that may be empty."""
    return None if stamp is None else from_us(stamp)


def stamp(moment: datetime | None) -> int | None:
    """The column of a time that may be missing."""
    return None if moment is None else to_us(moment)


def message_from(row: Sequence[Any]) -> Message:
    """From MESSAGE_COLUMNS, in order."""
    return message_of(row[0], row[1], row[2], row[3])


# To call an enum takes ten times as long.
_STATES = {state.value: state for state in State}
_REASONS = {reason.value: reason for reason in Reason}


def delivery_from(row: Sequence[Any]) -> Delivery:
    """From DELIVERY_COLUMNS, in order."""
    return Delivery(
        delivery_id=row[0],
        message_id=row[1],
        person_id=row[2],
        agent=row[3],
        address_id=row[4],
        state=_STATES[row[5]],
        due_at=from_us(row[6]),
        fence=row[7],
        attempts=row[8],
        first_tried_at=moment(row[9]),
        ended_at=moment(row[10]),
        digest_id=row[11],
        schedule=row[12],
        form=row[13],
        reason=_REASONS[row[14]],
        is_locked=bool(row[15]),
        last_error=row[16],
        is_urgent=bool(row[17]),
    )


INSERT_DELIVERIES = Insert(
    "deliveries",
    {
        "id": "bigint", "message_id": "bigint", "person_id": "bigint", "agent": "text", "address_id": "bigint", "state": "smallint",
        "due_us": "bigint", "ended_us": "bigint", "digest_id": "bigint", "schedule": "text", "form": "text", "reason": "text",
        "is_locked": "smallint", "is_urgent": "smallint",
    },
    "ON CONFLICT DO NOTHING",
)  # fmt: skip


INSERT_CLAIMED = Insert(
    "deliveries",
    {**INSERT_DELIVERIES.columns, "fence": "integer", "attempts": "smallint", "first_tried_us": "bigint", "lease_us": "bigint"},
    "ON CONFLICT DO NOTHING",
)


INSERT_USER_TYPES = Insert(
    "user_types",
    {"person_id": "bigint", "type": "text", "first_us": "bigint", "last_us": "bigint", "messages": "bigint"},
    "ON CONFLICT (person_id, type) DO UPDATE SET last_us = excluded.last_us, messages = user_types.messages + excluded.messages",
)
"""Which types a person has had, how often and when."""


def delivery_values(delivery: Delivery) -> tuple[object, ...]:
    """A row for INSERT_DELIVERIES."""
    return (
        delivery.delivery_id, delivery.message_id, delivery.person_id, delivery.agent, delivery.address_id, int(delivery.state),
        to_us(delivery.due_at), stamp(delivery.ended_at), delivery.digest_id, delivery.schedule, delivery.form,
        delivery.reason.value, int(delivery.is_locked), int(delivery.is_urgent),
    )  # fmt: skip


def claimed_values(delivery: Delivery, lease_us: int) -> tuple[object, ...]:
    """A row for INSERT_CLAIMED."""
    return (*delivery_values(delivery), delivery.fence, delivery.attempts, stamp(delivery.first_tried_at), lease_us)


def copied_values(copies: Copies, person_ids: Sequence[int]) -> Iterable[tuple[object, ...]]:
    """Rows for INSERT_DELIVERIES, made without a look at each."""
    _, message_id, _, agent, _, *rest = delivery_values(copies.one)
    return zip(copies.delivery_ids, repeat(message_id), person_ids, repeat(agent), copies.address_ids, *map(repeat, rest), strict=False)


_DEFAULTS = (None, "", "", "full", 0)


def decisions_text(decisions: Sequence[Decision]) -> str:
    """Decisions as JSON: a list each, defaults at the end left out."""
    return json.dumps([_decision_values(decision) for decision in decisions], separators=(",", ":"), ensure_ascii=False)


def _decision_values(decision: Decision) -> list[object]:
    values: list[object] = [
        decision.agent, decision.verdict.value, decision.reason.value, decision.decided_by, stamp(decision.due_at),
        decision.schedule, decision.address, decision.form, int(decision.is_locked),
    ]  # fmt: skip
    for default in reversed(_DEFAULTS):
        if values[-1] != default:
            break
        values.pop()
    return values


def decisions_from(text: str) -> tuple[Decision, ...]:
    """The decisions of a ledger row."""
    decisions = []
    for values in json.loads(text):
        rest: list[Any] = [*values[4:], *_DEFAULTS[len(values) - 4 :]]
        agent, verdict, reason, decided_by = values[:4]
        due_us, schedule, address, form, is_locked = rest
        decisions.append(Decision(agent, Verdict(verdict), Reason(reason), decided_by, moment(due_us), schedule, address, form, bool(is_locked)))
    return tuple(decisions)


def digest_text(digest: Digest) -> str:
    """A digest as JSON."""
    return json.dumps(asdict(digest), default=to_us, separators=(",", ":"), ensure_ascii=False)


def digest_from(text: str) -> Digest:
    """A digest from its JSON."""
    fields = json.loads(text)
    groups = tuple(DigestGroup(group["title"], group["url"], tuple(_line_from(line) for line in group["lines"])) for group in fields["groups"])
    return Digest(groups, fields["messages"], fields["lines"], fields["more"], from_us(fields["since"]), from_us(fields["until"]))


def _line_from(fields: dict[str, Any]) -> Line:
    times = {name: from_us(fields[name]) for name in ("first_at", "last_at")}
    return Line(**(fields | times | {"severity": Severity(fields["severity"])}))
