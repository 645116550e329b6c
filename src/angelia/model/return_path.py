"""Return paths of our own: each letter has one, so that what comes back says which delivery failed, and nobody else can make one."""

import base64
import hmac
from hashlib import sha256

from angelia.model.moments import number_of, public_id

_SIGNATURE = 10  # bytes: 16 letters of base 32, so that the local part stays below the 64 of RFC 5321


def return_path(base: str, secret: bytes, delivery_id: int) -> str:
    """`bounce@example.org` -> `bounce+<delivery>-<signature>@example.org`, in small letters: some servers fold them."""
    local, _, domain = base.rpartition("@")
    key = public_id("dlv", delivery_id).partition("_")[2]
    return f"{local}+{key}-{_signature(secret, key)}@{domain}"


def delivery_of(path: str, secret: bytes) -> int | None:
    """The delivery behind a return path, or None if we did not sign it."""
    key, _, signature = path.rpartition("@")[0].rpartition("+")[2].lower().partition("-")
    if not hmac.compare_digest(signature.encode("utf-8", "replace"), _signature(secret, key).encode()):
        return None
    return number_of("dlv", f"dlv_{key}")


def _signature(secret: bytes, key: str) -> str:
    digest = hmac.new(secret, b"return path\0" + key.encode("utf-8", "replace"), sha256).digest()
    return base64.b32encode(digest[:_SIGNATURE]).decode().lower()
