"""Tokens that this site signs with its own secret (JWT, HS256, RFC 7519): made, read, found where people keep them."""

import importlib
import json
import os
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from angelia.model.claims import prolonged, read_moment, read_options
from angelia.model.errors import Forbidden, InvalidInput, NotAuthenticated

MOST_TOKEN = 16_384
LEEWAY = timedelta(seconds=60)
"""So far may the clock of who signed it be ahead of ours."""
LONGEST_REFRESH = 604_800.0
"""Seconds that one refresh may add."""
PLACES = ("oda_env_var", "file_cur_dir", "file_home", "context_file")
"""Where a token is looked for, in this order; the first that is valid is taken."""
VARIABLE = "ODA_TOKEN"
FILE = ".oda-token"
CONTEXT_FILE = ".oda_api_context"


class Expired(NotAuthenticated):
    """Its signature is good, and its time is over."""


class SiteTokens:
    """Signs and reads. `secret` is what all who sign for this site share; `longest_refresh` in seconds."""

    def __init__(self, secret: str, longest_refresh: float = LONGEST_REFRESH) -> None:
        if not secret:
            raise InvalidInput("the secret of a site is not empty", "secret")
        # The library of signatures takes a tenth of a second to read: only a site that has a secret pays for it.
        self._signatures = importlib.import_module("angelia.wire.site_signatures").Signatures(secret, MOST_TOKEN)
        self._longest_refresh = longest_refresh

    def sign(self, payload: Mapping[str, Any]) -> str:
        """A token that says this. InvalidInput for what can't be said in JSON."""
        try:
            body = json.dumps(payload, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError):
            raise InvalidInput("a claim can't be written as JSON", "token") from None
        return str(self._signatures.sign(body.encode()))

    def read(self, token: str, now: datetime) -> dict[str, Any]:
        """What a good token says; Expired after its end, NotAuthenticated for whatever is none of ours. An `aud` is not looked at."""
        payload = self.read_any(token)
        end = payload.get("exp")
        moment = read_moment(end)
        if end is not None and moment is None:
            raise NotAuthenticated("the end of this token is no time")
        if moment is not None and moment <= now:
            raise Expired("The token provided is expired.")
        for name in ("nbf", "iat"):
            if (begin := payload.get(name)) is not None and ((since := read_moment(begin)) is None or since > now + LEEWAY):
                raise NotAuthenticated("The token provided is not valid yet.")
        return payload

    def read_any(self, token: str) -> dict[str, Any]:
        """As `read`, its end not looked at."""
        try:
            if not token.isascii() or len(token) > MOST_TOKEN:
                raise NotAuthenticated("The token provided is not valid.")
            payload = json.loads(self._signatures.read(token))
        except (ValueError, RecursionError):
            raise NotAuthenticated("The token provided is not valid.") from None
        if not isinstance(payload, dict):
            raise NotAuthenticated("The token provided is not valid.")
        return payload

    def refreshed(self, token: str, now: datetime, seconds: float | None = None) -> str:
        """The same with an end so much later than its own; Forbidden for more than the site allows."""
        wanted = self._longest_refresh if seconds is None else seconds
        payload = self.read(token, now)
        if not 0 <= wanted <= self._longest_refresh:
            raise Forbidden(f"a token can be refreshed for at most {self._longest_refresh:g} seconds at once")
        return self.sign(prolonged(payload, wanted))

    def changed(self, token: str, now: datetime, options: Mapping[str, Any]) -> str:
        """The same with other wishes on how to be told."""
        payload = self.read(token, now)
        return self.sign({**payload, **read_options(options)})


def unverified(token: str) -> dict[str, Any]:
    """What a token says, whoever signed it; NotAuthenticated for what is no token."""
    try:
        part = token.split(".")[1]
        payload = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError, RecursionError):
        raise NotAuthenticated("this is no token") from None
    if not isinstance(payload, dict):
        raise NotAuthenticated("this is no token")
    return payload


@dataclass(frozen=True, slots=True)
class Found:
    """A token and the place where it was."""

    token: str
    place: str
    payload: Mapping[str, Any]


def discover(now: datetime, tokens: SiteTokens | None = None, *, allow_invalid: bool = False, places: tuple[str, ...] = PLACES) -> Found | None:
    """The first valid one in the usual places; with `allow_invalid` an expired one as well. Without a secret no signature is looked at."""
    for place, token in _kept(places):
        try:
            payload = tokens.read_any(token) if tokens is not None else unverified(token)
        except NotAuthenticated:
            continue
        end = read_moment(payload.get("exp"))
        if allow_invalid or end is None or end > now:
            return Found(token, place, payload)
    return None


def _kept(places: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    files = {"file_cur_dir": Path(FILE), "file_home": Path(os.environ.get("HOME", "")) / FILE, "context_file": Path(CONTEXT_FILE)}
    for place in places:
        token = os.environ.get(VARIABLE, "") if place == "oda_env_var" else _from_file(files[place], is_context=place == "context_file")
        if token.strip():
            yield place, token.strip()


def _from_file(path: Path, *, is_context: bool) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        return str(json.loads(text).get("token") or "") if is_context else text
    except (OSError, ValueError, AttributeError):
        return ""
