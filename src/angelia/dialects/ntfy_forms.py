"""The wire forms of ntfy (docs.ntfy.sh): what is published becomes the fields of a message, what she gets becomes a line of its streams."""

import json
import re
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Any
from urllib.parse import parse_qsl

from angelia.model.errors import InvalidInput, NotAuthenticated
from angelia.model.message import Severity
from angelia.model.moments import to_text
from angelia.rendering.text import as_text
from angelia.wire.asgi import Headers, Scope
from angelia.wire.socket import text_frame

TYPE = "ntfy"
TOPIC = re.compile(r"[A-Za-z0-9_.@+-]{1,64}")
MOST_TOPICS = 10
_PRIORITIES = {"1": "low", "2": "low", "3": "normal", "4": "high", "5": "urgent"} | {
    "min": "low", "low": "low", "default": "normal", "high": "high", "max": "urgent", "urgent": "urgent",
}  # fmt: skip
_NUMBERS = {Severity.LOW: 2, Severity.NORMAL: 3, Severity.HIGH: 4, Severity.URGENT: 5}
_NAMES = {
    "title": ("x-title", "title", "ti", "t"),
    "message": ("x-message", "message", "m"),
    "priority": ("x-priority", "priority", "prio", "p"),
    "tags": ("x-tags", "tags", "tag", "ta"),
    "click": ("x-click", "click"),
    "delay": ("x-delay", "delay", "x-at", "at", "x-in", "in"),
    "markdown": ("x-markdown", "markdown", "md"),
    "attach": ("x-attach", "attach", "a"),
    "email": ("x-email", "x-e-mail", "email", "e-mail", "mail", "e"),
    "call": ("x-call", "call"),
}
_UNSPOKEN = ("attach", "email", "call")
_OTHER_PRIORITY = re.compile(r"u=[0-9](,\s*(i|[0-9]))?")  # RFC 9218: browsers and proxies send a header of the same name
_PART = re.compile(r"([0-9]{1,9})(s|m|h|d)")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_YES = frozenset({"yes", "true", "1"})


# ---- who, and which topics


def query_of(scope: Scope) -> dict[str, str]:
    """The query, names in lower case; InvalidInput where it can't be read."""
    try:
        pairs = parse_qsl(scope["query_string"].decode(), keep_blank_values=True, errors="strict", max_num_fields=50)
    except (ValueError, UnicodeError):
        raise InvalidInput("this is no query that we can read", is_syntax=True) from None
    return {name.lower(): value for name, value in pairs}


def authorization_of(headers: Headers, query: Mapping[str, str]) -> bytes:
    """As a bearer token, b"" for none. Clients send it as such, as the password of Basic (any user name), or either as `auth` in the query."""
    given = headers.get(b"authorization", b"")
    if not given and query.get("auth"):
        given = _decoded(query["auth"].encode(), "auth in the query is an Authorization header in base64")
    scheme, _, rest = given.partition(b" ")
    if scheme.lower() != b"basic":
        return given
    return b"Bearer " + _decoded(rest.strip(), "these Basic credentials can't be read").partition(b":")[2]


def _decoded(text: bytes, fault: str) -> bytes:
    text += b"=" * (-len(text) % 4)
    try:
        return urlsafe_b64decode(text) if b"-" in text or b"_" in text else b64decode(text, validate=True)
    except ValueError:
        raise NotAuthenticated(fault) from None


def topics_of(text: str) -> list[str]:
    """The topics of a path, with commas between."""
    topics = text.split(",")
    if len(topics) > MOST_TOPICS or not all(TOPIC.fullmatch(topic) for topic in topics):
        raise InvalidInput("a topic is the login of a person, or me", "topic", is_syntax=True)
    return topics


# ---- what is published


def fields_of(headers: Headers, query: Mapping[str, str], body: bytes, now: datetime) -> dict[str, Any]:
    """The fields of a message (shape of `wire.fields`), without its recipient: names in headers or query, the text as body."""
    said = {name: value for name, names in _NAMES.items() if (value := _first(headers, query, names))}
    if _OTHER_PRIORITY.fullmatch(said.get("priority", "")):
        del said["priority"]
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise InvalidInput("the body is a text; files are not taken", "message", is_syntax=True) from None
    if headers.get(b"content-type", b"").startswith(b"text/markdown"):
        said["markdown"] = "yes"
    if text:
        said["message"] = text
    return _fields(said | {"tags": [tag.strip() for tag in str(said.get("tags", "")).split(",") if tag.strip()]}, now)


def json_fields(body: bytes, now: datetime) -> tuple[str, dict[str, Any]]:
    """(topic, fields) of a publication as JSON."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput("this is no JSON that we can read", is_syntax=True) from None
    if not isinstance(said, dict) or not isinstance(said.get("topic"), str) or not isinstance(said.get("tags") or [], list):
        raise InvalidInput("publish an object with topic and message; tags is a list", "topic", is_syntax=True)
    plain = {name: value for name, value in said.items() if name in _NAMES and name != "tags" and value not in (None, "")}
    return said["topic"], _fields(plain | {"tags": [str(tag) for tag in said.get("tags") or []]}, now)


def _first(headers: Headers, query: Mapping[str, str], names: tuple[str, ...]) -> str:
    for name in names:
        if value := headers.get(name.encode(), b""):
            text = value.decode("utf-8", "replace").strip()
            try:
                return str(make_header(decode_header(text))) if "=?" in text else text
            except (HeaderParseError, LookupError, UnicodeError, ValueError):
                return text
        if query.get(name):
            return query[name]
    return ""


def _fields(said: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    for name in _UNSPOKEN:
        if name in said:
            raise InvalidInput(f"{name} is not done here: the people themselves choose how they are told", name)
    fields: dict[str, Any] = {"type": TYPE, "body": str(said.get("message", "")) or "triggered"}
    if said.get("title"):
        fields["subject"] = " ".join(str(said["title"]).split())
    if "priority" in said:
        severity = _PRIORITIES.get(str(said["priority"]).lower())
        if severity is None:
            raise InvalidInput("a priority is 1 to 5, min, low, default, high or max", "priority", is_syntax=True)
        fields["severity"] = severity
    if said.get("tags"):
        fields["tags"] = [("tag", str(tag)) for tag in said["tags"]]
    if said.get("click"):
        fields["object_url"] = str(said["click"])
    if str(said.get("markdown", "")).lower() in _YES:
        fields["body_format"] = "markdown"
    if said.get("delay"):
        fields["not_before"] = to_text(_later(str(said["delay"]), now))
    return fields


def _span(text: str) -> timedelta | None:
    """`30m`, `1h30m`; None for anything else."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts[:4]))


def _moment(text: str, now: datetime) -> datetime | None:
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        return None
    return datetime.fromtimestamp(int(text), now.tzinfo)


def _later(text: str, now: datetime) -> datetime:
    span = _span(text)
    at = now + span if span is not None and span < timedelta(days=90) else _moment(text, now)
    if at is None or not now <= at <= now + timedelta(days=90):
        raise InvalidInput("a delay is like 30m, 2h or 1d, or a time as seconds since 1970", "delay", is_syntax=True)
    return at


# ---- what is read


@dataclass(frozen=True, slots=True)
class Since:
    """Where to begin: with those from a time on, after an entry, or with the newest `limit`; none of what is past where `limit` is 0."""

    limit: int
    at: datetime | None = None
    after: str = ""


def since_of(query: Mapping[str, str], most: int, now: datetime, *, is_poll: bool) -> Since:
    """The parameter `since`: all, none, latest, a span, seconds since 1970, or the id of the last message known."""
    text = next((query[name] for name in ("x-since", "since", "si") if query.get(name)), "all" if is_poll else "none")
    if text in ("all", "none", "latest"):
        return Since({"all": most, "none": 0, "latest": 1}[text])
    if text.startswith("dlv_") and len(text) < 30:
        return Since(most, after=text)
    span = _span(text)
    at = now - span if span is not None and span < timedelta(days=3_650) else _moment(text, now)
    if at is None:
        raise InvalidInput("since is all, none, latest, a span like 10m, seconds since 1970, or the id of a message", "since", is_syntax=True)
    return Since(most, at)


def is_poll(query: Mapping[str, str]) -> bool:
    """One look, and no stream?"""
    return any(query.get(name, "").lower() in _YES for name in ("x-poll", "poll", "po"))


@dataclass(frozen=True, slots=True)
class Filter:
    """What a subscriber wants to see of it; empty fields let all through."""

    id: str = ""
    message: str = ""
    title: str = ""
    priorities: frozenset[int] = frozenset()
    tags: frozenset[str] = frozenset()

    def lets(self, document: Mapping[str, Any]) -> bool:
        """Is this one wanted?"""
        return (
            (not self.id or document["id"] == self.id)
            and (not self.message or document["message"] == self.message)
            and (not self.title or document.get("title", "") == self.title)
            and (not self.priorities or document.get("priority", 3) in self.priorities)
            and self.tags <= set(document.get("tags", ()))
        )


def filter_of(headers: Headers, query: Mapping[str, str]) -> Filter:
    """By `id`, `message`, `title`, `priority` (any of them) and `tags` (all of them)."""
    words = _first(headers, query, _NAMES["priority"])
    names = {"min": 1, "low": 2, "default": 3, "high": 4, "max": 5, "urgent": 5}
    numbers = [] if _OTHER_PRIORITY.fullmatch(words) else [names.get(word.strip(), word.strip()) for word in words.lower().split(",") if word.strip()]
    if not all(str(number) in "12345" for number in numbers):
        raise InvalidInput("a priority is 1 to 5, min, low, default, high or max", "priority", is_syntax=True)
    tags = frozenset(filter(None, (tag.strip() for tag in _first(headers, query, _NAMES["tags"]).split(","))))
    title, message = _first(headers, query, _NAMES["title"]), _first(headers, query, _NAMES["message"])
    return Filter(_first(headers, query, ("x-id", "id")), message, title, frozenset(map(int, numbers)), tags)


def document_of(item: Mapping[str, Any], topic: str, base_url: str) -> dict[str, Any]:
    """An entry of an inbox, as the API shows it, as clients see it. A click opens the hub's page of it, so that it counts as read."""
    message = item["message"]
    subject, body = message.get("subject", ""), message.get("body", "").strip()
    if message.get("body_format") == "html":
        body = as_text(body, "html").strip()
    document: dict[str, Any] = {
        "id": item["id"],
        "time": int(datetime.fromisoformat(item["delivered_at"]).timestamp()),
        "event": "message",
        "topic": topic,
        "message": body or subject or message["type"],
        "click": f"{base_url}/inbox/{item['id']}",
    }
    if message.get("expires_at"):
        document["expires"] = int(datetime.fromisoformat(message["expires_at"]).timestamp())
    if subject and body:
        document["title"] = subject
    if (priority := _NUMBERS[Severity[message["severity"].upper()]]) != 3:
        document["priority"] = priority
    if tags := [value if name == "tag" else f"{name}={value}" for name, value in message.get("tags", ())]:
        document["tags"] = tags
    if message.get("body_format") == "markdown":
        document["content_type"] = "text/markdown"
    return document


def dumped(document: Mapping[str, Any]) -> bytes:
    """JSON on one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _as_raw(document: Mapping[str, Any]) -> bytes:
    text = str(document.get("message", "")) if document["event"] == "message" else ""
    return b"%s\n" % " ".join(text.split("\n")).encode("utf-8", "replace")


def _as_sse(document: Mapping[str, Any]) -> bytes:
    kind = b"" if document["event"] == "message" else b"event: %s\n" % document["event"].encode()
    return b"%sdata: %s\n\n" % (kind, dumped(document))


Writer = Callable[[Mapping[str, Any]], bytes]
WRITERS: Mapping[str, tuple[str, Writer]] = {
    "json": ("application/x-ndjson; charset=utf-8", lambda document: dumped(document) + b"\n"),
    "sse": ("text/event-stream; charset=utf-8", _as_sse),
    "raw": ("text/plain; charset=utf-8", _as_raw),
    "ws": ("", lambda document: text_frame(dumped(document))),
}
"""Ending of the path -> content type, and how one document is written."""
