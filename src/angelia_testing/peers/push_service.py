"""A push service that takes what the standards allow and nothing else (RFC 8030, 8188, 8291, 8292), and the browser behind it."""

import json
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import http_ece
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from angelia_testing.peers.http import Asked, Reply, ScriptedHttp

_VAPID = re.compile(r"vapid t=([\w-]+)\.([\w-]+)\.([\w-]+), ?k=([\w-]{87})")


def packed(data: bytes) -> str:
    """Base64 for URLs, without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unpacked(text: str) -> bytes:
    """The other way."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Pushed:
    """One letter as the browser has it."""

    topic: str
    urgency: str
    ttl: int
    document: dict[str, Any]


@dataclass
class PushService:
    """Listens; `server_key` is the one key from which the subscription takes letters. `faults` says what was wrong with those it refused."""

    server_key: str = ""
    reply: Reply | None = None
    came: list[Pushed] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin, with one subscription."""
        self._key = generate_private_key(SECP256R1())
        self._auth = b"sixteen bytes ok"
        self._http = ScriptedHttp(self._answer)
        self.url = self._http.url
        self.address = self.subscription("/push/abc")

    def subscription(self, path: str) -> str:
        """What a browser would hand to its application."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return f"{self.url}{path}#{packed(point)}.{packed(self._auth)}"

    def stop(self) -> None:
        """End."""
        self._http.stop()

    def _answer(self, asked: Asked) -> Reply:
        if self.reply is not None:
            return self.reply
        status, fault = self._judged(asked)
        if fault:
            self.faults.append(fault)
            return Reply(status, fault.encode())
        return Reply(201, headers={"Location": f"{self.url}/message/{len(self.came)}"})

    def _judged(self, asked: Asked) -> tuple[int, str]:
        headers = asked.headers
        if asked.method != "POST" or not asked.path.startswith("/push/"):
            return 404, "there is no such subscription"
        if not re.fullmatch(r"\d{1,8}", headers.get("ttl", "")):
            return 400, "TTL is missing"
        if headers.get("urgency", "normal") not in ("very-low", "low", "normal", "high"):
            return 400, "there is no such urgency"
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", headers.get("topic", "x")):
            return 400, "this is no topic"
        if headers.get("content-encoding") != "aes128gcm":
            return 415, "letters are aes128gcm"
        if len(asked.body) > 4_096:
            return 413, "a letter has at most 4096 bytes"
        if fault := self._fault_of_identity(headers.get("authorization", "")):
            return 403, fault
        try:
            plain = http_ece.decrypt(asked.body, private_key=self._key, auth_secret=self._auth, version="aes128gcm")
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a letter is told to its sender
            return 400, f"the browser can't open this letter: {error!r}"
        self.came.append(Pushed(headers.get("topic", ""), headers.get("urgency", "normal"), int(headers["ttl"]), json.loads(plain)))
        return 201, ""

    def _fault_of_identity(self, authorization: str) -> str:
        match = _VAPID.fullmatch(authorization)
        if match is None:
            return "this is no VAPID authorization"
        head, claims, signature, key = match.groups()
        if self.server_key and key != self.server_key:
            return "the subscription is bound to another key"
        signed = unpacked(signature)
        try:
            public = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), unpacked(key))
            numbers = encode_dss_signature(int.from_bytes(signed[:32], "big"), int.from_bytes(signed[32:], "big"))
            public.verify(numbers, f"{head}.{claims}".encode(), ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            return "the signature is wrong"
        said, now = json.loads(unpacked(claims)), time.time()
        if json.loads(unpacked(head)) != {"typ": "JWT", "alg": "ES256"} or len(signed) != 64:
            return "the token is not ES256"
        if said["aud"] != self.url or not now < said["exp"] <= now + 86_400 or not said["sub"].startswith(("mailto:", "https://")):
            return f"these claims are wrong: {said}"
        return ""
