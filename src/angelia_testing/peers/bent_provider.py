"""An OpenID provider in process whose answers a test can bend: what no real provider does on demand."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry, serialize_compact

from angelia_testing.peers.http import Asked, Reply, ScriptedHttp

LOGOUT_EVENT: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}


@lru_cache
def rsa_key(kid: str) -> RSAKey:
    """One key for a run: making them takes long."""
    return RSAKey.generate_key(2_048, {"kid": kid, "use": "sig"})


@lru_cache
def ec_key(kid: str, curve: str = "P-256") -> ECKey:
    """The same for elliptic curves."""
    return ECKey.generate_key(curve, {"kid": kid, "use": "sig"})


def part(value: object) -> str:
    """A part of a token: base64url of JSON, or of bytes."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims: Mapping[str, Any], key: RSAKey | ECKey, header: Mapping[str, Any]) -> str:
    """A token, whatever its header says."""
    registry = JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
    return serialize_compact(dict(header), json.dumps(claims), key, [header["alg"]], registry)


class BentProvider:
    """Upright as it is made; each attribute bends one answer. `asked` is what came, by path."""

    def __init__(self, client_id: str = "hub") -> None:
        self.client_id = client_id
        self.http = ScriptedHttp(self._answer)
        self.issuer = self.http.url
        self._codes: dict[str, dict[str, str]] = {}
        self.straighten()

    def straighten(self) -> None:
        """Upright again; what was asked is forgotten."""
        self.http.asked.clear()
        self.key: RSAKey | ECKey = rsa_key("k1")
        self.published: list[dict[str, Any]] = [self.key.as_dict(private=False)]
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "k1", "typ": "JWT"}
        self.claims: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {"preferred_username": "alice", "name": "Alice", "email": "alice@test.example", "email_verified": True}
        self.description: dict[str, Any] = {}
        self.callback: dict[str, str] = {}
        self.replies: dict[str, Reply] = {}
        self.token: Callable[[dict[str, Any]], str] | None = None

    def stop(self) -> None:
        """Its port refuses from now on."""
        self.http.stop()

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(asked.path == path for asked in self.http.asked)

    def authorize(self, place: str) -> str:
        """What its pages do: the query with which the browser comes back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(place).query).items()}
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.issuer} | self.callback
        return urlencode({name: value for name, value in answer.items() if value != "-"})

    def id_token(self, nonce: str) -> str:
        """As it is bent now."""
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": "s1", "aud": self.client_id, "iat": now, "exp": now + 300, "nonce": nonce} | self.claims
        claims = {name: value for name, value in claims.items() if value is not ...}
        return self.token(claims) if self.token is not None else signed(claims, self.key, self.header)

    def logout_token(self, **more: Any) -> str:
        """A notice; `more` bends its claims, `...` takes one out."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": self.client_id, "iat": now, "exp": now + 120, "jti": f"j{time.monotonic_ns()}", "sub": "s1"}
        claims = {name: value for name, value in (claims | {"events": LOGOUT_EVENT} | more).items() if value is not ...}
        return signed(claims, self.key, self.header | {"typ": "logout+jwt"})

    def _answer(self, asked: Asked) -> Reply:
        path = urlsplit(asked.path).path
        if path in self.replies:
            return self.replies[path]
        if path == "/.well-known/openid-configuration":
            return _json(self._described())
        if path == "/jwks":
            return _json({"keys": self.published})
        if path == "/token":
            return self._exchanged(asked)
        if path == "/userinfo":
            return _json({"sub": self.claims.get("sub", "s1")} | self.userinfo)
        return Reply(404)

    def _described(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "end_session_endpoint": f"{self.issuer}/end",
            "jwks_uri": f"{self.issuer}/jwks",
            "authorization_response_iss_parameter_supported": True,
        } | self.description

    def _exchanged(self, asked: Asked) -> Reply:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        begun = self._codes.pop(form.get("code", ""), None)
        if begun is None or begun["redirect_uri"] != form.get("redirect_uri"):
            return _json({"error": "invalid_grant"}, 400)
        return _json({"access_token": "access", "token_type": "Bearer", "id_token": self.id_token(begun["nonce"])})


def _json(value: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})
