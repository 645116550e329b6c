"""Webhooks: systems post what happened in their own form, and a mapping makes messages of it; bare ASGI."""

import hmac
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from angelia import telemetry
from angelia.inlet import Accept, Draft, Receipt
from angelia.inlets.cloudevents import strict_json
from angelia.inlets.mapping import MessageMapping
from angelia.inlets.receiving import Outcome, Receiver, Result
from angelia.model.errors import AngeliaError, InvalidInput, UnsupportedMedia
from angelia.model.event import Event
from angelia.model.payload import message_of
from angelia.store import EventStore
from angelia.wire.asgi import App, Headers, Receive, Scope, Send, body_of, headers_of, kind_of, respond
from angelia.wire.callers import Caller, Callers
from angelia.wire.fields import MOST_IN_BATCH
from angelia.wire.problems import PROBLEM_HEADERS, problem, problem_of

PREFIX = "/api/v1/hooks/"
_SECRETS = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"x-gitlab-token", b"x-hub-signature", b"x-hub-signature-256"})
"""Headers that no mapping gets to see."""
_IDS = (b"idempotency-key", b"webhook-id", b"x-github-delivery")
"""Headers by which a system says that it posts the same again."""


@dataclass(frozen=True, slots=True)
class Hook:
    """What is taken at one address. With a `secret`, who knows it posts as `source`."""

    source: str
    secret: bytes
    mapping: MessageMapping


class HookInlet:
    """Takes what is posted to its hooks, gives everything else to the app behind it."""

    def __init__(
        self, behind: App, hooks: Mapping[str, Hook], accept: Accept, callers: Callers, store: EventStore, now: Callable[[], datetime], most: int
    ) -> None:
        self._behind, self._hooks, self._accept, self._callers = behind, hooks, accept, callers
        self._store, self._now, self._most = store, now, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        name = scope["path"].removeprefix(PREFIX) if scope["type"] == "http" and scope["path"].startswith(PREFIX) else ""
        hook = self._hooks.get(name)
        if hook is None:
            return await self._behind(scope, receive, send)
        if scope["method"] != "POST":
            body = json.dumps(problem(405, "allowed here: POST")).encode()
            return await respond(send, 405, body, [*PROBLEM_HEADERS, (b"allow", b"POST")])
        try:
            status, text, headers = 200, await self._taken(name, hook, scope, receive), [(b"content-type", b"application/json")]
        except AngeliaError as error:
            status, text, headers = problem_of(error)
        return await respond(send, status, text, headers, scope)

    async def _taken(self, name: str, hook: Hook, scope: Scope, receive: Receive) -> bytes:
        headers = headers_of(scope)
        body = await body_of(headers, receive, self._most)
        caller = None if _is_known(hook.secret, headers, body) else await self._callers.poster(headers.get(b"authorization", b""))
        accept = self._accept if caller is None else _allowed(caller, self._accept)
        events = events_of(name, hook.mapping, headers, body)
        receiver = Receiver(f"hook.{name}", hook.source if caller is None else caller.name, hook.mapping, self._store, self._now)
        outcomes = await receiver.take(events, accept)
        _say_faults(name, hook.mapping, outcomes)
        counts = {
            result.value: sum(1 for outcome in outcomes if outcome.result is result) for result in (Result.TAKEN, Result.REPEAT, Result.NOTHING)
        }
        return json.dumps(counts).encode()


def _is_known(secret: bytes, headers: Headers, body: bytes) -> bool:
    """Does the sender know the secret of the hook? By a signature of the body (GitHub, Gitea, Forgejo), or by naming it (GitLab)."""
    if not secret:
        return False
    signed = b"sha256=" + hmac.new(secret, body, "sha256").hexdigest().encode()
    is_signed = hmac.compare_digest(headers.get(b"x-hub-signature-256", b""), signed)
    return is_signed or hmac.compare_digest(headers.get(b"x-gitlab-token", b""), secret)


def _allowed(caller: Caller, accept: Accept) -> Accept:
    """What comes of it is posted by its sender, with no more rights than elsewhere: all of it, or nothing."""

    async def checked(source: str, drafts: Sequence[Draft]) -> list[Receipt]:
        for draft in drafts:
            caller.check_right(draft.type, message_of(0, source, 0, draft.payload).severity.label)
        caller.take(len(drafts))
        return await accept(source, drafts)

    return checked


def events_of(name: str, mapping: MessageMapping, headers: Headers, body: bytes) -> list[Event]:
    """What was posted, as events: one, or one for each entry of the list that the mapping names, which is then the `item` of the body."""
    kind = kind_of(headers)
    if kind == b"application/x-www-form-urlencoded":
        raise UnsupportedMedia("choose application/json as the content type of the webhook")
    seen = {key.decode("latin-1"): value.decode("latin-1") for key, value in headers.items() if key not in _SECRETS}
    # Without an id each is another: two that say the same may be two.
    said = next((headers[header].decode("latin-1") for header in _IDS if headers.get(header)), "") or secrets.token_hex(16)

    def event(content: bytes, number: str = "") -> Event:
        message_id = f"{said[:200]}{number}"
        return Event(name, name, content, content_type=kind.decode("latin-1"), headers=seen, properties={"message_id": message_id})

    if not mapping.each:
        return [event(body)]
    document = strict_json(body)
    entries = document.get(mapping.each) if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MOST_IN_BATCH:
        raise InvalidInput(f"the mapping {mapping.name} takes a list of at most {MOST_IN_BATCH} entries", mapping.each)
    around = {key: value for key, value in document.items() if key != mapping.each}
    return [event(json.dumps(around | {"item": entry}).encode(), f" {number}") for number, entry in enumerate(entries)]


def _say_faults(name: str, mapping: MessageMapping, outcomes: list[Outcome]) -> None:
    """InvalidInput where something could not be read; all else has been taken, and comes to nothing when it is posted again."""
    faults = [(number, outcome.why) for number, outcome in enumerate(outcomes) if outcome.result is Result.POISON]
    if not faults:
        return
    number, why = faults[0]
    telemetry.log.warning("hook_not_read", hook=name, faults=len(faults), of=len(outcomes), why=why)
    others = f" ({len(faults)} of {len(outcomes)} could not be read; the others are taken)" if len(outcomes) > 1 else ""
    raise InvalidInput(f"{why}{others}", f"{mapping.each}.{number}" if mapping.each else "")
