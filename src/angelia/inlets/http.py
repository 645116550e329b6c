"""The HTTP inlet: JSON messages and batches, one-line publishing, CloudEvents; bare ASGI, since it is hot."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from angelia.inlet import Accept, Draft, Receipt, Taken
from angelia.inlets.cloudevents import is_binary, parse_binary, parse_event, parse_events
from angelia.model.errors import AngeliaError, Conflict, InvalidInput, UnsupportedMedia
from angelia.model.moments import public_id
from angelia.wire.asgi import App, Headers, Receive, Scope, Send, body_of, headers_of, kind_of, respond
from angelia.wire.callers import Caller, Callers
from angelia.wire.fields import draft_of, key_of, parse_fields, parse_many, parse_one
from angelia.wire.problems import PROBLEM_HEADERS, problem, problem_of, rate_headers

MESSAGES = "/api/v1/messages"
PUBLISH = "/api/v1/publish/"
JSON = b"application/json"
_JSON = (b"content-type", JSON)
_MOST_FIELDS = 300
Answer = tuple[int, bytes, list[tuple[bytes, bytes]]]


class HttpInlet:
    """Takes what it knows, gives everything else to the app behind it."""

    def __init__(self, behind: App, accept: Accept, callers: Callers, now: Callable[[], datetime], most: int) -> None:
        self._behind = behind
        self._accept = accept
        self._callers = callers
        self._now = now
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["method"] == "POST":
            path: str = scope["path"]
            if path == MESSAGES:
                return await self._answer(self._messages, scope, receive, send)
            if path.startswith(PUBLISH) and "/" not in path[len(PUBLISH) :]:
                return await self._answer(self._publish, scope, receive, send)
        elif scope["type"] == "http" and (allowed := _allowed(scope)):
            body = json.dumps(problem(405, f"allowed here: {allowed.decode()}")).encode()
            return await respond(send, 405, body, [*PROBLEM_HEADERS, (b"allow", allowed)])
        return await self._behind(scope, receive, send)

    async def _answer(self, take: Any, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, body, headers = await take(scope, receive)
        except AngeliaError as error:
            status, body, headers = problem_of(error)
        await respond(send, status, body, headers, scope)

    async def _messages(self, scope: Scope, receive: Receive) -> Answer:
        headers = headers_of(scope)
        caller = await self._callers.poster(headers.get(b"authorization", b""))
        body = await body_of(headers, receive, self._most)
        key = key_of(headers.get(b"idempotency-key", b""))
        fields, is_batch = _read(headers, body)
        for entry in fields:
            caller.check_right(entry.get("type", ""), entry.get("severity", "normal"))
        caller.take(len(fields))
        drafts = _drafts(fields, self._now, None if is_batch else key, is_batch=is_batch)
        if is_batch and key is not None:
            raise InvalidInput("in a batch each message has an idempotency_key of its own", "idempotency_key")
        receipts = await self._accept(caller.name, drafts)
        return rated(caller, _batch_answer(receipts) if is_batch else answer_of(receipts[0]))

    async def _publish(self, scope: Scope, receive: Receive) -> Answer:
        headers = headers_of(scope)
        caller = await self._callers.poster(headers.get(b"authorization", b""))
        body = await body_of(headers, receive, self._most)
        fields = parse_fields(_published(scope, body))
        caller.check_post(fields["type"], fields.get("severity", "normal"))
        draft = draft_of(fields, self._now, key_of(headers.get(b"idempotency-key", b"")))
        return rated(caller, answer_of((await self._accept(caller.name, [draft]))[0]))


def rated(caller: Caller, answer: Answer) -> Answer:
    """With what its rate still allows, where there is one."""
    if caller.bucket is not None:
        answer[2].extend(rate_headers(caller.bucket.state()))
    return answer


def _allowed(scope: Scope) -> bytes:
    """What is allowed instead of a method other than POST; b"" where the app behind knows better."""
    path = scope["path"]
    if path.startswith(PUBLISH) and "/" not in path[len(PUBLISH) :]:
        return b"POST"
    return b"GET, HEAD, POST" if path == MESSAGES and scope["method"] not in ("GET", "HEAD") else b""


def _read(headers: Headers, body: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The messages of a body and whether it is a batch, by its content type."""
    kind, _, more = headers.get(b"content-type", b"").lower().partition(b";")
    if more and b"charset" in more and b"utf-8" not in more:
        raise UnsupportedMedia("JSON is UTF-8 (RFC 8259)")
    kind = kind.strip()
    if kind in (b"application/json", b"") and not is_binary(headers):
        if body[:64].lstrip()[:1] == b"[":
            return parse_many(body), True
        return [parse_one(body)], False
    if kind == b"application/cloudevents+json":
        return [parse_event(body)], False
    if kind == b"application/cloudevents-batch+json":
        return parse_events(body), True
    if is_binary(headers):
        return [parse_binary(headers, body)], False
    raise UnsupportedMedia("post application/json, or a CloudEvent; plain text goes to /api/v1/publish/<type>")


def _drafts(fields: list[dict[str, Any]], now: Callable[[], datetime], key: str | None, *, is_batch: bool) -> list[Draft]:
    drafts = []
    for index, entry in enumerate(fields):
        try:
            drafts.append(draft_of(entry, now, key))
        except InvalidInput as error:
            if is_batch:
                error.field = f"{index}.{error.field}".rstrip(".")
            raise
    return drafts


def answer_of(receipt: Receipt) -> Answer:
    """What is said of one message; Conflict where its key was taken for another."""
    public = public_id("msg", receipt.message_id)
    if receipt.taken is Taken.CONFLICT:
        raise Conflict(f"this idempotency key came with another content before: {public}")
    location = (b"location", f"{MESSAGES}/{public}".encode())
    if receipt.taken is Taken.REPEAT:
        return 200, b'{"id":"%s","status":"repeat"}' % public.encode(), [_JSON, location]
    return 201, b'{"id":"%s","status":"accepted"}' % public.encode(), [_JSON, location]


_STATUS = {Taken.NEW: "accepted", Taken.REPEAT: "repeat", Taken.CONFLICT: "conflict"}


def _batch_answer(receipts: list[Receipt]) -> Answer:
    items = ",".join(f'{{"id":"{public_id("msg", r.message_id)}","status":"{_STATUS[r.taken]}"}}' for r in receipts)
    is_any_new = any(receipt.taken is Taken.NEW for receipt in receipts)
    conflicts = [str(index) for index, receipt in enumerate(receipts) if receipt.taken is Taken.CONFLICT]
    if conflicts and not is_any_new:
        raise Conflict(f"nothing new was taken, and these came with another content before: {', '.join(conflicts[:20])}")
    return 201 if is_any_new else 200, f'{{"items":[{items}]}}'.encode(), [_JSON]


_HEADERS = {
    b"title": "subject", b"severity": "severity", b"priority": "severity", b"to": "to", b"cc": "cc", b"tags": "tags", b"click": "object_url",
    b"object": "object", b"actor": "actor", b"thread": "thread",
}  # fmt: skip
_PRIORITIES = {"1": "low", "2": "low", "3": "normal", "4": "high", "5": "urgent", "min": "low", "default": "normal", "max": "urgent"}
_LISTS = frozenset({"to", "cc", "access"})
_TEXTS = frozenset({b"", b"application/x-www-form-urlencoded"})
"""What also goes with plain text: nothing, and what curl says by itself."""


def _published(scope: Scope, body: bytes) -> dict[str, Any]:
    """The fields of a one-line post: headers, then the query, then the body (JSON, a form, or just text)."""
    fields: dict[str, Any] = {}
    for name, value in scope["headers"]:
        if name in _HEADERS:
            fields[_HEADERS[name]] = value.decode("utf-8", "replace")
    fields.update(_form(scope["query_string"]))
    kind = kind_of(headers_of(scope))
    if kind == b"application/json":
        fields.update(parse_one(body) if body.strip() else {})
    elif kind == b"application/x-www-form-urlencoded" and b"=" in body and b"\n" not in body:
        fields.update(_form(body))
    elif kind in _TEXTS or kind.startswith(b"text/"):
        fields.update(_text(body))
    else:
        raise UnsupportedMedia("publish text, a form (application/x-www-form-urlencoded) or application/json; files have no place in a message")
    key = unquote(scope["path"][len(PUBLISH) :])
    if fields.get("type", key).lower() != key.lower():
        raise InvalidInput("the type in the body is not the one in the URL", "type")
    return _spread(fields) | {"type": key}


def _form(data: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(data.decode(), keep_blank_values=True, strict_parsing=bool(data), max_num_fields=_MOST_FIELDS, errors="strict")
    except (ValueError, UnicodeError):
        raise InvalidInput("this is not a form or query that we can read", is_syntax=True) from None
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            if name not in _LISTS:
                raise InvalidInput("this stands twice; which one should count?", name)
            fields[name] = f"{fields[name]},{value}"
        else:
            fields[name] = value
    return fields


def _text(body: bytes) -> dict[str, Any]:
    try:
        return {"body": body.decode()} if body else {}
    except UnicodeError:
        raise InvalidInput("the text is not UTF-8", "body", is_syntax=True) from None


def _spread(fields: dict[str, Any]) -> dict[str, Any]:
    """Values that came as one line of text in their own shapes: lists by commas, tags as name=value, words as flags."""
    spread = dict(fields)
    for name in _LISTS & spread.keys():
        if isinstance(spread[name], str):
            spread[name] = [part.strip() for part in spread[name].split(",") if part.strip()]
    if isinstance(spread.get("tags"), str):
        pairs = [part.partition("=") for part in spread["tags"].split(",") if part.strip()]
        spread["tags"] = [(name.strip(), value.strip() if sign else "true") for name, sign, value in pairs]
    for name in ("test", "restricted"):
        if isinstance(spread.get(name), str):
            spread[name] = spread[name].lower() in ("1", "true", "yes")
    severity = spread.get("severity")
    if isinstance(severity, str):
        spread["severity"] = _PRIORITIES.get(severity.lower(), severity)
    return spread
