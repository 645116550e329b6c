"""Signatures by a secret that the site shares with its services (JWS, HS256, RFC 7515)."""

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

ALGORITHM = "HS256"


class Signatures:
    """Made and checked with one secret."""

    def __init__(self, secret: str, longest: int) -> None:
        """`longest`: characters of a token."""
        self._key = OctKey.import_key(secret.encode())
        self._registry = jws.JWSRegistry(algorithms=[ALGORITHM], strict_check_header=False)
        self._registry.max_payload_length = longest

    def sign(self, body: bytes) -> str:
        """A token that says these bytes."""
        return jws.serialize_compact({"alg": ALGORITHM, "typ": "JWT"}, body, self._key, [ALGORITHM], self._registry)

    def read(self, token: str) -> bytes:
        """The bytes that a good token says; ValueError for whatever is none of ours."""
        try:
            return jws.deserialize_compact(token, self._key, [ALGORITHM], self._registry).payload or b""
        except (JoseError, TypeError, AttributeError) as error:
            raise ValueError("this token is none of ours") from error
