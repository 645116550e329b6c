"""What a browser keeps between leaving for a provider and coming back: signed by us, good for ten minutes, and once."""

import base64
import hmac
import json
import secrets
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from angelia.web.signin.providers import Flow

LIVES = 600
_MOST = 3_000


def new_flow(provider: str, place: str, now: int) -> Flow:
    """256 random bits each for what ties the answer to this browser, the token to this try, and the code to us."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    return Flow(provider=provider, state=state, nonce=nonce, verifier=verifier, place=place[:1_000], began_at=now)


def _signature(secret: bytes, text: str) -> str:
    return base64.urlsafe_b64encode(hmac.digest(secret, b"sign-in flow:" + text.encode(), sha256)).rstrip(b"=").decode()


def packed(flow: Flow, secret: bytes) -> str:
    """As a cookie's value."""
    text = base64.urlsafe_b64encode(json.dumps(asdict(flow)).encode()).rstrip(b"=").decode()
    return f"{text}.{_signature(secret, text)}"


def unpacked(value: str, secret: bytes, now: int) -> Flow | None:
    """The flow of a cookie; None if it is not ours, or too old."""
    text, _, signed = value.partition(".")
    if len(value) > _MOST or not value.isascii() or not hmac.compare_digest(signed, _signature(secret, text)):
        return None
    fields: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    flow = Flow(**fields)
    return flow if now - LIVES < flow.began_at <= now else None
