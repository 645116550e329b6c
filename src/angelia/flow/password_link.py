"""A link with which one person sets her password once: signed, short-lived, and worth nothing after the password has changed."""

import base64
import binascii
import hmac
import json
from datetime import datetime, timedelta
from hashlib import sha256

from angelia.model.moments import to_us

LASTS = timedelta(hours=24)


def make_link_token(secret: bytes, person_id: int, password_hash: str | None, now: datetime) -> str:
    """A token for a URL. The stored hash is part of what is signed, so that the first use ends it."""
    body = json.dumps([person_id, to_us(now + LASTS)], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_sign(secret, body, password_hash) + body).decode().rstrip("=")


def person_of(token: str) -> int | None:
    """Whom a token is for, not yet checked."""
    parts = _parts(token)
    return None if parts is None else parts[1]


def is_good(secret: bytes, token: str, password_hash: str | None, now: datetime) -> bool:
    """Ours, in time, and not used?"""
    parts = _parts(token)
    if parts is None:
        return False
    raw, _, ends_us = parts
    return hmac.compare_digest(raw[:32], _sign(secret, raw[32:], password_hash)) and to_us(now) < ends_us


def _parts(token: str) -> tuple[bytes, int, int] | None:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        person_id, ends_us = json.loads(raw[32:])
    except (binascii.Error, ValueError, TypeError):
        return None
    return (raw, person_id, ends_us) if type(person_id) is int and type(ends_us) is int and 0 < person_id < 1 << 63 else None


def _sign(secret: bytes, body: bytes, password_hash: str | None) -> bytes:
    return hmac.new(secret, b"password\0" + (password_hash or "").encode() + b"\0" + body, sha256).digest()
