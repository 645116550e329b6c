"""Events: what flows on an exchange with a routing key, before or beside any message."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
