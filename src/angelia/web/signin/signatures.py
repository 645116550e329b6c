"""Signatures of tokens (RFC 7515), by the keys that a provider publishes and by no others."""

import warnings
from collections.abc import Collection, Sequence
from typing import Any

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, RSAKey, import_key
from joserfc.jws import JWSRegistry, deserialize_compact, extract_compact

from angelia.web.signin.claims import MOST_TOKEN, BadToken, document

Keys = Sequence[RSAKey | ECKey]
_FOREIGN = frozenset({"jku", "jwk", "x5u", "crit", "zip"})
"""Headers that would have us fetch or believe a key that came with the token, or that we don't understand."""
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_SHORTEST_RSA = 2_048


class UnknownKey(BadToken):
    """None of the keys that we know made this; there may be new ones."""


def keys_of(published: dict[str, Any]) -> Keys:
    """The public keys for signatures in a key set (RFC 7517); what we can't use is left out."""
    found = published.get("keys")
    keys: list[RSAKey | ECKey] = []
    for entry in found if isinstance(found, list) else []:
        # A symmetric key never belongs there, a private one even less.
        if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC") or entry.get("use", "sig") != "sig" or "d" in entry:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", SecurityWarning)
                key = import_key({name: value for name, value in entry.items() if isinstance(value, str)})
        except (JoseError, SecurityWarning, ValueError, TypeError, KeyError):
            continue
        if isinstance(key, ECKey) or (isinstance(key, RSAKey) and key.public_key.key_size >= _SHORTEST_RSA):
            keys.append(key)
    return keys


def _fits(key: RSAKey | ECKey, algorithm: str, key_id: object) -> bool:
    own = key.get("alg")
    if own is not None and own != algorithm:
        return False
    curve = _CURVES.get(algorithm)
    is_kind = isinstance(key, RSAKey) if curve is None else isinstance(key, ECKey) and key.get("crv") == curve
    return is_kind and (key_id is None or key.kid == key_id)


def verified(token: str, keys: Keys, accepted: Collection[str], kinds: Collection[str]) -> tuple[dict[str, Any], str]:
    """(claims, algorithm) of a token that one of the keys made; its `typ` is one of `kinds`, or missing. BadToken, UnknownKey."""
    if len(token) > MOST_TOKEN or not token.isascii():
        raise BadToken("this is no token")
    registry = JWSRegistry(algorithms=list(accepted), strict_check_header=False)
    registry.max_payload_length = MOST_TOKEN
    try:
        header = extract_compact(token.encode(), registry=registry).headers()
    except (JoseError, ValueError, TypeError, AttributeError):
        raise BadToken("this is no token") from None
    algorithm, kind = header.get("alg"), header.get("typ")
    if not isinstance(algorithm, str) or algorithm not in accepted:
        raise BadToken("it is signed by an algorithm that we don't take")
    if _FOREIGN & header.keys():
        raise BadToken("its header wants more than we do")
    if kind is not None and (not isinstance(kind, str) or kind.lower().removeprefix("application/") not in kinds):
        raise BadToken("this is a token of another kind")
    fitting = [key for key in keys if _fits(key, algorithm, header.get("kid"))]
    if not fitting:
        raise UnknownKey("no known key made it")
    for key in fitting[:8]:
        try:
            return document(deserialize_compact(token, key, list(accepted), registry).payload or b""), algorithm
        except (JoseError, ValueError):
            continue
    raise UnknownKey("its signature is wrong")
