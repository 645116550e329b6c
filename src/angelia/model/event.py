"""Events: what flows on an exchange with a routing key, before or beside any message."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from angelia.model.errors import InvalidInput, TooLarge

LONGEST_NAME = 255
"""Bytes of a name in AMQP: exchanges, routing keys."""
LARGEST_BODY = 16_777_216
_DEEPEST = 20
_POSITION = re.compile(r"([A-Za-z0-9]{1,32})-(0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Position:
    """A place on the stream of one exchange. Sequences grow by one or more within an epoch; two epochs can't be compared.

    A new epoch begins when the memory of the exchange was lost. As text: `epoch-sequence`.
    """

    epoch: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> "Position | None":
        """The position that a client gave back, or None if it is none."""
        match = _POSITION.fullmatch(text)
        return cls(match[1], int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class Event:
    """One publication. `body` are the bytes as published; `properties` are AMQP's (snake case: `message_id`, `timestamp` in whole seconds...),
    without those that are not set; `position` is None until a broker has taken it.
    """

    exchange: str
    routing_key: str
    body: bytes
    content_type: str = ""
    headers: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    position: Position | None = None
    is_redelivered: bool = False


def check_event(event: Event) -> None:
    """InvalidInput for what no broker could take: names too long or with NUL, a body too large."""
    for name, text in (("exchange", event.exchange), ("key", event.routing_key), ("content_type", event.content_type)):
        try:
            size = len(text.encode())
        except UnicodeError:
            raise InvalidInput("a name holds half a character (a lone surrogate)", name) from None
        if size > LONGEST_NAME or "\x00" in text:
            raise InvalidInput(f"at most {LONGEST_NAME} bytes, none of them NUL", name)
    if len(event.body) > LARGEST_BODY:
        raise TooLarge(f"a body has at most {LARGEST_BODY} bytes", "body")


def plain(value: Any, left: int = _DEEPEST) -> Any:
    """A value of an AMQP table as JSON has it: times in ISO form, bytes as text, what is nested too deep as None."""
    if left <= 0:
        return None
    if isinstance(value, Mapping):
        return {plain_text(key): plain(inner, left - 1) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return [plain(inner, left - 1) for inner in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return plain_text(value)


def plain_text(value: Any) -> str:
    """The same for what must be a text."""
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode(errors="backslashreplace")
    return value.isoformat() if isinstance(value, datetime) else str(value)
