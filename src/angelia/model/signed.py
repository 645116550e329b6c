"""Signed texts for links that act without a password: short, readable by nobody but us, of one purpose each."""

import base64
import binascii
import hmac
import json
from collections.abc import Sequence
from hashlib import sha256

_SIGNATURE = 16  # bytes; 128 bits are beyond guessing, and the link stays short
MOST = 8_192  # letters; nothing of ours is longer


def sign(secret: bytes, purpose: str, values: Sequence[object]) -> str:
    """The values (JSON) as a token for a URL; one of another purpose is worth nothing here. They are signed, not hidden."""
    body = json.dumps(list(values), ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_signature(secret, purpose, body) + body).decode().rstrip("=")


def unsign(secret: bytes, purpose: str, token: str) -> list[object] | None:
    """What was signed, or None if we did not sign it for this purpose."""
    if len(token) > MOST:
        return None
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        return None
    signature, body = raw[:_SIGNATURE], raw[_SIGNATURE:]
    if not hmac.compare_digest(signature, _signature(secret, purpose, body)):
        return None
    values: list[object] = json.loads(body)
    return values


def _signature(secret: bytes, purpose: str, body: bytes) -> bytes:
    return hmac.new(secret, f"{purpose}\0".encode() + body, sha256).digest()[:_SIGNATURE]
