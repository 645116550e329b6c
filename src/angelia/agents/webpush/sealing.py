"""What web push needs of cryptography: letters sealed for one browser (RFC 8291 over RFC 8188), and the hub's word who it is (RFC 8292)."""

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    derive_private_key,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MOST_PLAIN = 3_993
"""Bytes: with head, mark and tag these are the 4,096 that every push service takes."""
_RECORD = 4_096
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of the curve P-256
_VALID = 43_200  # seconds; services take at most a day
_RENEWED = 3_600  # seconds before its end


def packed(data: bytes) -> str:
    """Base64 for URLs, without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unpacked(text: str) -> bytes:
    """The bytes behind `packed`."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _point(key: EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def is_point(data: bytes) -> bool:
    """Is this a public key of P-256, 65 bytes?"""
    try:
        return len(data) == 65 and _point(EllipticCurvePublicKey.from_encoded_point(SECP256R1(), data)) == data
    except ValueError:
        return False


def _derived(secret: bytes, salt: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, purpose).derive(secret)


def seal(plain: bytes, point: bytes, auth: bytes, *, own: EllipticCurvePrivateKey | None = None, salt: bytes = b"") -> bytes:
    """`plain` (at most MOST_PLAIN bytes) as one record that only the browser with this key can read.

    `own` and `salt` are new for each letter; the examples of the standard give them.
    """
    own, salt = own or generate_private_key(SECP256R1()), salt or os.urandom(16)
    mine = _point(own.public_key())
    agreed = own.exchange(ECDH(), EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point))
    shared = _derived(agreed, auth, b"WebPush: info\0" + point + mine, 32)
    key = _derived(shared, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(shared, salt, b"Content-Encoding: nonce\0", 12)
    return salt + _RECORD.to_bytes(4, "big") + bytes((len(mine),)) + mine + AESGCM(key).encrypt(nonce, plain + b"\x02", None)


class Identity:
    """The hub's key for push services, made of its secret: the same in every process and after every start, for as long as the secret is kept."""

    def __init__(self, secret: bytes, contact: str) -> None:
        number = int.from_bytes(_derived(secret, b"", b"angelia push identity", 48), "big")
        self._key = derive_private_key(number % (_ORDER - 1) + 1, SECP256R1())
        self._contact = contact
        self._made: dict[str, tuple[float, str]] = {}
        self.public = packed(_point(self._key.public_key()))

    def authorization(self, endpoint: str, now: float) -> str:
        """The header for one push service, as seconds since 1970 it is `now`; signed once in half a day."""
        parts = urlsplit(endpoint)
        audience = f"{parts.scheme}://{parts.netloc}"
        ends_at, header = self._made.get(audience, (0.0, ""))
        if ends_at - now < _RENEWED:
            header = f"vapid t={self._signed(audience, int(now) + _VALID)}, k={self.public}"
            if len(self._made) > 1_000:
                self._made.clear()
            self._made[audience] = now + _VALID, header
        return header

    def _signed(self, audience: str, ends_at: int) -> str:
        parts: tuple[dict[str, object], ...] = ({"typ": "JWT", "alg": "ES256"}, {"aud": audience, "exp": ends_at, "sub": self._contact})
        text = ".".join(packed(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
        r, s = decode_dss_signature(self._key.sign(text.encode(), ECDSA(SHA256())))
        return f"{text}.{packed(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
