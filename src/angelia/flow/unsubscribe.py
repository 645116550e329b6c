"""One click ends one thing: signed links that need no login (RFC 8058), and what they do."""

import base64
import binascii
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from angelia.flow.wants import change_wants
from angelia.model.delivery import Reason
from angelia.model.errors import NotFound
from angelia.model.preference import OFF, Site
from angelia.store import Store

KINDS = frozenset({"type", "rule", "object"})
_SIGNATURE = 16  # bytes; 128 bits are beyond guessing, and the link stays short


@dataclass(frozen=True, slots=True)
class Target:
    """What a link ends: for one person by one agent, a type with all below it, a rule, or an object."""

    person_id: int
    agent: str
    kind: str
    value: str


def make_token(secret: bytes, person_id: int, agent: str, kind: str, value: str) -> str:
    """A signed token for a URL; it holds no secret and never expires, since mails are read late."""
    body = json.dumps([person_id, agent, kind, value], ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_sign(secret, body) + body).decode().rstrip("=")


def read_token(secret: bytes, token: str) -> Target | None:
    """What a token says, or None if it is not ours."""
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        return None
    signature, body = raw[:_SIGNATURE], raw[_SIGNATURE:]
    if not hmac.compare_digest(signature, _sign(secret, body)):
        return None
    person_id, agent, kind, value = json.loads(body)
    return Target(person_id, agent, kind, value) if kind in KINDS else None


def _sign(secret: bytes, body: bytes) -> bytes:
    return hmac.new(secret, b"unsubscribe\0" + body, sha256).digest()[:_SIGNATURE]


async def unsubscribe(store: Store, target: Target, site: Site, now: datetime) -> str:
    """Do it; what waits for her by this agent goes with it. Harmless when repeated. Returns a sentence that says what ended."""
    profiles = await store.profiles([target.person_id])
    if not profiles:
        raise NotFound("this link belongs to nobody any more")
    login = profiles[0].person.login

    def change(document: dict[str, object]) -> None:
        _CHANGES[target.kind](document, target)

    await change_wants(store, login, change, site, now)
    subtree = target.value if target.kind == "type" else ""
    object_ref = target.value if target.kind == "object" else ""
    if subtree or object_ref:
        await store.cancel_waiting(target.person_id, agent=target.agent, subtree=subtree, object_ref=object_ref, reason=Reason.UNSUBSCRIBED, now=now)
    return _SENTENCES[target.kind].format(agent=target.agent, value=target.value)


_SENTENCES = {
    "type": "Messages of type {value} no longer come by {agent}.",
    "rule": "Rule {value} no longer sends anything by {agent}.",
    "object": "{value} is muted; only messages that name you come through.",
}


def _end_type(document: dict[str, object], target: Target) -> None:
    preferences = _table(document, "preferences")
    _table(preferences, target.value)[target.agent] = OFF


def _end_rule(document: dict[str, object], target: Target) -> None:
    rules = document.get("rules", [])
    assert isinstance(rules, list)
    for index, rule in enumerate(rules):
        if rule.get("id", str(index + 1)) == target.value:
            do = rule.get("do", {})
            rule["do"] = {name: OFF if name.partition(":")[0] == target.agent else wish for name, wish in do.items()}


def _end_object(document: dict[str, object], target: Target) -> None:
    _table(document, "mutes")[target.value] = "normal"


_CHANGES = {"type": _end_type, "rule": _end_rule, "object": _end_object}


def _table(document: dict[str, object], key: str) -> dict[str, object]:
    inner = document.setdefault(key, {})
    assert isinstance(inner, dict)
    return inner
