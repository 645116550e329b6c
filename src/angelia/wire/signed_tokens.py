"""Tokens that another service has signed (JWT, RFC 7519): whose public key is known, and what they claim."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from angelia.model.errors import BadSettings, NotAuthenticated

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
MOST_TOKEN = 16_384


class SignedTokens:
    """`key` is the PEM text of a public key, or the path of the file that holds it; only algorithms with public keys are ever taken."""

    def __init__(self, key: str, algorithms: Collection[str] = ALGORITHMS) -> None:
        self._key = _read(key)
        self._algorithms = [name for name in algorithms if name in ALGORITHMS]

    def claims(self, token: str) -> Mapping[str, Any]:
        """What a good token says, its times not looked at; NotAuthenticated for all others."""
        if not token.isascii() or not 0 < len(token) <= MOST_TOKEN:
            raise NotAuthenticated("this is no token that we know")
        registry = jws.JWSRegistry(algorithms=self._algorithms, strict_check_header=False)
        registry.max_payload_length = MOST_TOKEN
        try:
            payload = jws.deserialize_compact(token, self._key, self._algorithms, registry).payload or b""
            claims = json.loads(payload)
        except (JoseError, ValueError, TypeError, AttributeError, RecursionError):
            raise NotAuthenticated("this is no token that we know") from None
        if not isinstance(claims, dict):
            raise NotAuthenticated("this is no token that we know")
        return claims


def _read(given: str) -> RSAKey | ECKey:
    try:
        text = given if "BEGIN" in given else Path(given).read_text(encoding="ascii")
        try:
            return RSAKey.import_key(text)
        except (ValueError, JoseError):
            return ECKey.import_key(text)
    except (OSError, ValueError, TypeError, AttributeError, JoseError) as error:
        raise BadSettings(f"streams.public_key: {error}") from None
