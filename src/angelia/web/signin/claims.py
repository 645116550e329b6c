"""What a signed token must say to be good: pure checks of ID tokens, logout tokens and answers of userinfo."""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from hmac import compare_digest
from typing import Any

from angelia.web.signin.providers import Ended, Identity, OidcSettings, SignInFailed

LEEWAY = 60  # seconds by which clocks may differ
LONGEST = 7 * 86_400  # seconds that an ID token may still live: who gives more has no idea of its own clock
MOST_TOKEN = 32_768
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"
Claims = Mapping[str, Any]


class BadToken(SignInFailed):
    """A token that is not what it should be."""

    def __init__(self, why: str) -> None:
        super().__init__("refused", why)


def document(data: bytes | str) -> dict[str, Any]:
    """A JSON object in which no name stands twice; BadToken for anything else."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands twice")
        return found

    try:
        made = json.loads(data, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise BadToken("this is not JSON") from None
    if not isinstance(made, dict):
        raise BadToken("this is no JSON object")
    return made


def _time(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadToken(f"{name} is no time")
    return float(value)


def _text(claims: Claims, name: str, most: int = 255) -> str:
    value = claims.get(name)
    return value.strip()[:most] if isinstance(value, str) and value.isprintable() else ""


def _check_common(claims: Claims, issuer: str, client_id: str, now: float) -> None:
    if claims.get("iss") != issuer:
        raise BadToken("another issuer made this")
    audience = claims.get("aud")
    names = [audience] if isinstance(audience, str) else audience
    if not isinstance(names, list) or client_id not in names:
        raise BadToken("this is for another client")
    party = claims.get("azp")
    if (party is not None and party != client_id) or (party is None and len(names) > 1):
        raise BadToken("another client asked for this")
    issued, starts, ends = (_time(claims, name) for name in ("iat", "nbf", "exp"))
    if issued is None or issued > now + LEEWAY:
        raise BadToken("iat is missing or lies ahead")
    if starts is not None and starts > now + LEEWAY:
        raise BadToken("nbf lies ahead")
    if ends is not None and ends <= now - LEEWAY:
        raise BadToken("it has expired")
    if ends is not None and ends > now + LONGEST:
        raise BadToken("exp lies too far ahead")


def _subject(claims: Claims) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
        raise BadToken("sub is no text of 1 to 255 characters")
    return subject


def check_id_token(claims: Claims, algorithm: str, settings: OidcSettings, nonce: str, access_token: str, now: float) -> None:
    """OpenID Connect Core 1.0, section 3.1.3.7; BadToken says which check failed."""
    _check_common(claims, settings.issuer, settings.client_id, now)
    _subject(claims)
    if claims.get("exp") is None:
        raise BadToken("exp is missing")
    if "events" in claims:
        raise BadToken("this is no ID token")
    given = claims.get("nonce")
    if not isinstance(given, str) or not given.isascii() or not compare_digest(given, nonce):
        raise BadToken("this was not made for this sign-in")
    half = claims.get("at_hash")
    if "at_hash" in claims and not (isinstance(half, str) and half.isascii() and compare_digest(half, half_hash(access_token, algorithm))):
        raise BadToken("the access token is another one")


def half_hash(text: str, algorithm: str) -> str:
    """at_hash, Core 1.0 section 3.1.3.6: the left half of the hash that the signature uses."""
    digest = hashlib.new(f"sha{algorithm[2:]}", text.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def check_logout(claims: Claims, settings: OidcSettings, now: float) -> tuple[Ended, str, float]:
    """What it ends, its jti, and until when that must be remembered (Back-Channel Logout 1.0, section 2.6)."""
    _check_common(claims, settings.issuer, settings.client_id, now)
    ends, issued = _time(claims, "exp"), _time(claims, "iat")
    assert issued is not None
    # Older providers give no exp: then it is good for as long as a notice of this kind needs.
    until = issued + 300 if ends is None else ends
    if until <= now - LEEWAY:
        raise BadToken("it has expired")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT), dict) or "nonce" in claims:
        raise BadToken("this is no logout token")
    used = claims.get("jti")
    if not isinstance(used, str) or not 0 < len(used) <= 255:
        raise BadToken("jti is missing")
    subject = _subject(claims) if "sub" in claims else ""
    session = _text(claims, "sid")
    if not subject and not session:
        raise BadToken("it names neither a subject nor a session")
    return Ended(settings.issuer, subject, session), used, until + LEEWAY


def identity_of(claims: Claims, more: Claims, settings: OidcSettings) -> Identity:
    """Who that is: the ID token first, then userinfo, which must speak of the same subject (section 5.3.2)."""
    subject = _subject(claims)
    if more and more.get("sub") != subject:
        raise BadToken("userinfo speaks of somebody else")
    both = {**more, **claims}
    groups = both.get(settings.groups_claim)
    return Identity(
        issuer=settings.issuer,
        subject=subject,
        session=_text(claims, "sid"),
        login=_text(both, settings.login_claim),
        name=_text(both, "name"),
        email=_text(both, "email"),
        is_email_verified=both.get("email_verified") is True,
        language=_text(both, "locale", 35).replace("_", "-"),
        time_zone=_text(both, "zoneinfo", 64),
        groups=frozenset(group for group in groups if isinstance(group, str)) if isinstance(groups, list) else frozenset(),
    )
