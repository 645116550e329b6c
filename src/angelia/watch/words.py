"""What is found -> messages for the hub. The text of a log is hostile: nothing of it becomes more than text."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from angelia.watch.dedup import Overflow, Repeats
from angelia.watch.rules import Fields

MOST_SUBJECT = 200
MOST_BODY = 65_536
_ESCAPES = re.compile(r"\x1b\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\^_]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_TRUSTED = timedelta(days=2)


def clean(text: str) -> str:
    """Without sequences for terminals, control characters and marks that turn the direction of writing; newlines and tabs stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def one_line(text: str, most: int = MOST_SUBJECT) -> str:
    """The first line that says something, for a subject."""
    line = " ".join(next((line for line in clean(text).split("\n") if line.strip()), "").split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def event_id(watch: str, identity: str, offset: int, text: str) -> str:
    """The same record has the same id however often it is read. A first line only: what follows it may come late."""
    first = text.split("\n", 1)[0]
    return hashlib.blake2b(f"{watch}\0{identity}\0{offset}\0{first}".encode("utf-8", "replace"), digest_size=16).hexdigest()


def occurred_at(time: str, form: str, zone: str, now: datetime) -> datetime | None:
    """When it happened, as the log says; None where it says nothing that can be believed: then the time of reading counts."""
    if not form or not time:
        return None
    try:
        found = datetime.strptime(time, form)  # noqa: DTZ007
    except ValueError:
        return None
    found = found if found.tzinfo is not None else found.replace(tzinfo=ZoneInfo(zone))
    return found.astimezone(UTC) if abs(found - now) < _TRUSTED and found <= now + timedelta(minutes=5) else None


def about(watch: str, measurement: str) -> dict[str, Any]:
    """Object and thread: a measurement's where one is on, so that one may follow it alone; else the instrument's."""
    place = f"instrument/{watch}" + (f"/{measurement}" if measurement else "")
    return {"object": place, "thread": place, "tags": {"instrument": watch}}


def measurement_name(text: str) -> str:
    """A name that may stand in an object."""
    return re.sub(r"[^\w.-]+", "-", clean(text)).strip("-.")[:80]


def record_message(watch: str, measurement: str, key: str, fields: Fields, text: str, *, is_cut: bool) -> dict[str, Any]:
    """One record."""
    kind = fields.kind or "record"
    level = {} if fields.level is None else {"level": str(fields.level)}
    device = {"device": one_line(fields.device, 80)} if fields.device else {}
    severity = {"severity": "high"} if fields.kind == "error" and fields.level == 1 else {}
    body = clean(text)[:MOST_BODY] + ("\n[cut]" if is_cut else "")
    return {
        "type": f"instrument.{kind if kind.isascii() and kind.isalnum() else 'record'}",
        "subject": f"{watch}: {one_line(fields.text) or kind}"[:MOST_SUBJECT],
        "body": body,
        "params": {"instrument": watch, "kind": kind} | level | device,
        "idempotency_key": key,
        **severity,
        **about(watch, measurement),
    }


def state_message(watch: str, measurement: str, what: str, key: str, subject: str, body: str = "") -> dict[str, Any]:
    """A state of the instrument: `measurement.start`, `measurement.end`, `silence`, `log.missing`."""
    return {
        "type": f"instrument.{what}",
        "subject": one_line(f"{watch}: {subject}"),
        "body": clean(body)[:MOST_BODY],
        "params": {"instrument": watch},
        "idempotency_key": key,
        **about(watch, measurement),
    }


def unended_message(watch: str, measurement: str, key: str, follower: str) -> dict[str, Any]:
    """The end of a measurement that the log does not tell: another has begun. Who follows the first alone hears of nothing else."""
    said = f"{measurement} is over: {follower} began, and no end of {measurement} was written"
    return state_message(watch, measurement, "measurement.end", f"{key}-end", said, said)


def with_records(message: dict[str, Any], watch: str, records: list[str]) -> dict[str, Any]:
    """The same, with what was written before it as a file: a message says what went wrong, and these are how it came to that."""
    text = clean("\n".join(records))[-MOST_BODY:]
    return message | {"attachment": {"name": f"{watch}-before.txt", "text": text}} if text.strip() else message


def repeats_message(watch: str, measurement: str, repeats: Repeats, zone: str) -> dict[str, Any]:
    """`... 12 more times until 14:05`."""
    until = datetime.fromtimestamp(repeats.until_at, ZoneInfo(zone))
    times = "time" if repeats.count == 1 else "times"
    said = f"{one_line(repeats.text, 140)} - {repeats.count} more {times} until {until:%H:%M}"
    return state_message(watch, measurement, "repeats", f"{repeats.event_id}-r{repeats.number}", said, said)


def overflow_message(watch: str, measurement: str, overflow: Overflow, recipients: tuple[str, ...]) -> dict[str, Any]:
    """What was too much for these, in one; without names for those who follow. What begins with the same line is another message for others."""
    lines = "1 line" if overflow.count == 1 else f"{overflow.count} lines"
    mark = "-" + hashlib.blake2b("\0".join(recipients).encode(), digest_size=8).hexdigest() if recipients else ""
    message = state_message(watch, measurement, "digest", f"{overflow.first_id}-digest{mark}", f"{lines} held back", overflow.body())
    return message | ({"to": list(recipients)} if recipients else {})
