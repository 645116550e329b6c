"""Contract: how a message enters the house."""

from collections.abc import Sequence
from enum import Enum
from hashlib import blake2b
from typing import NamedTuple, Protocol

from angelia.model.message import Message
from angelia.model.payload import payload_of

MOST_KEY = 255
"""Letters of an idempotency key."""


def short_key(text: str) -> str:
    """A key that is made of others' words, in what a key may have: a longer one ends in a digest of the whole, so that two never become one."""
    if len(text) <= MOST_KEY:
        return text
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    return f"{text[: MOST_KEY - len(digest) - 1]} {digest}"


class Draft(NamedTuple):
    """A checked message on its way in. `payload` is the stored JSON text (`model.payload`); `fingerprint` is a hash of what was posted."""

    type: str
    payload: str
    idempotency_key: str | None = None
    fingerprint: bytes = b""


def fingerprint_of(said: str) -> bytes:
    """By which a repeat of what was said is known."""
    return blake2b(said.encode(), digest_size=16).digest()


def drafted(message: Message, key: str, said: str = "") -> Draft:
    """What the house itself has to say, once for each key. `said` is what makes it what it is, where that is less than all of its payload."""
    payload = payload_of(message)
    return Draft(message.type, payload, short_key(key), fingerprint_of(said or payload))


class Taken(Enum):
    """What became of a draft."""

    NEW = "new"
    REPEAT = "repeat"
    CONFLICT = "conflict"


class Receipt(NamedTuple):
    """The answer to a draft: for a repeat the id that it had the first time; for a conflict the id that holds its key."""

    message_id: int
    taken: Taken


class Accept(Protocol):
    """What an inlet calls. Returns when every draft is durable; all of one call are stored, or none (StoreUnavailable)."""

    async def __call__(self, source: str, drafts: Sequence[Draft]) -> list[Receipt]:
        """One receipt a draft, in order."""


class Inlet(Protocol):
    """Where messages come in, other than over HTTP: runs until cancelled, acknowledges only after `accept` has returned."""

    name: str

    async def run(self, accept: Accept) -> None:
        """Take messages until cancelled."""


class Watched(Inlet, Protocol):
    """An inlet that says how it is."""

    @property
    def fault(self) -> str:
        """What is not well, "" where all is."""
