"""Addresses of our own that come back to us: what failed, and what people answer; each is signed, so that nobody else can make one."""

import base64
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from angelia.model.moments import from_us, number_of, public_id, to_us

MOST_LOCAL = 24
"""Letters that an operator's own part may have before the @, so that the whole stays below the 64 of RFC 5321."""
_SIGNATURE = 10  # bytes: 16 letters of base 32
_DAY_US = 86_400_000_000
_DAYS = 4  # letters of base 32: days since 1970, until 2840


class Verb(StrEnum):
    """What an answer does. The letters stand in addresses."""

    ACKNOWLEDGE = "a"
    SEEN = "s"
    UNSUBSCRIBE = "u"
    MUTE = "m"


@dataclass(frozen=True, slots=True)
class Answer:
    """An address to answer to, as it was written; whether it is ours is known with the person of its delivery (`is_signed`)."""

    verb: Verb
    delivery_id: int
    expires_at: datetime
    key: str
    signature: str


def return_path(base: str, secret: bytes, delivery_id: int) -> str:
    """`bounce@example.org` -> `bounce+<delivery>-<signature>@example.org`, in small letters: some servers fold them."""
    local, _, domain = base.rpartition("@")
    key = public_id("dlv", delivery_id).partition("_")[2]
    return f"{local}+{key}-{_signature(secret, 'return path', key)}@{domain}"


def delivery_of(path: str, secret: bytes) -> int | None:
    """The delivery behind a return path, or None if we did not sign it."""
    key, _, signature = _extension(path).partition("-")
    if not _are_equal(signature, _signature(secret, "return path", key)):
        return None
    return number_of("dlv", f"dlv_{key}")


def answer_path(base: str, secret: bytes, verb: Verb, delivery_id: int, person_id: int, expires_at: datetime) -> str:
    """`answer@example.org` -> `answer+<verb><delivery><day>-<signature>@example.org`. It ends with the UTC day of `expires_at`."""
    local, _, domain = base.rpartition("@")
    day = public_id("day", to_us(expires_at) // _DAY_US)[-_DAYS:]
    key = f"{verb}{public_id('dlv', delivery_id).partition('_')[2]}{day}"
    return f"{local}+{key}-{_signature(secret, f'answer {person_id}', key)}@{domain}"


def answer_of(path: str) -> Answer | None:
    """What such an address says, or None if it has another form; it is not believed yet."""
    key, _, signature = _extension(path).partition("-")
    delivery_id = number_of("dlv", f"dlv_{key[1:-_DAYS]}")
    day = number_of("day", "day_" + key[-_DAYS:].rjust(13, "0"))
    if delivery_id is None or day is None or len(signature) != 16 or key[0] not in {verb.value for verb in Verb}:
        return None
    return Answer(Verb(key[0]), delivery_id, from_us((day + 1) * _DAY_US), key, signature)


def is_signed(answer: Answer, secret: bytes, person_id: int) -> bool:
    """Did we make it for a letter to this person?"""
    return _are_equal(answer.signature, _signature(secret, f"answer {person_id}", answer.key))


def answers_end(decided_at: datetime, days: int) -> datetime:
    """When the answers of a delivery expire: they count from its decision, so that a letter that is tried again says the same."""
    return decided_at + timedelta(days=days)


def _extension(path: str) -> str:
    return path.rpartition("@")[0].rpartition("+")[2].lower()


def _are_equal(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())


def _signature(secret: bytes, purpose: str, key: str) -> str:
    digest = hmac.new(secret, f"{purpose}\0{key}".encode("utf-8", "replace"), sha256).digest()
    return base64.b32encode(digest[:_SIGNATURE]).decode().lower()
