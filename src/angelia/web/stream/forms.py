"""How events look on the hub's own streams: one JSON text for all three ways, framed for two of them."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from angelia.model.event import Event
from angelia.wire.socket import text_frame

MOST_REMEMBERED = 4_096
MOST_REMEMBERED_BODY = 16_384


def _as_text(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return {"base64": b64encode(value).decode()}
    return str(value)


def _refuse(word: str) -> Any:
    raise ValueError(word)


# Made once: `json.dumps` and `json.loads` make one for each call that wants anything of its own.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_as_text, allow_nan=False).encode
_decode = json.JSONDecoder(parse_constant=_refuse).decode
_BREAKS = re.compile(rb"[\r\n]\s*")


def dumped(value: Any) -> bytes:
    """Compact JSON; what it has no form for becomes text. Never a line break, so that it fits into one line of an event stream."""
    return _encode(value).encode("utf-8", "replace")


def content_of(event: Event) -> bytes:
    """The body as the last member of an object: a JSON value as `body`, else `text`, else `base64`."""
    kind = _kind(event.content_type)
    if kind in ("application/json", "text/json") or kind.endswith("+json"):
        try:
            return b'"body":' + _as_it_stands(event.body)
        except (ValueError, RecursionError):
            pass
    if kind.startswith("text/") or kind.endswith(("json", "xml")):
        try:
            return b'"text":' + dumped(event.body.decode())
        except UnicodeDecodeError:
            pass
    return b'"base64":"%s"' % b64encode(event.body)


@lru_cache(maxsize=256)
def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _as_it_stands(body: bytes) -> bytes:
    """JSON, on one line; ValueError where it is none. To write it anew would cost more than to read it, and has no form for a number that
    Python has none for, as 1e999. A line break can only stand between two words.
    """
    text = body.decode(json.detect_encoding(body))
    _decode(text)
    found = text.encode()
    return _BREAKS.sub(b" ", found) if b"\n" in found or b"\r" in found else found


@lru_cache(maxsize=4_096)
def _beginning(exchange: str, key: str, content_type: str) -> bytes:
    return dumped({"exchange": exchange, "key": key, "content_type": content_type})[:-1]


def _table(values: Mapping[str, Any]) -> bytes:
    return dumped(dict(values)) if values else b"{}"


def event_document(event: Event) -> bytes:
    """An event as clients see it."""
    beginning = _beginning(event.exchange, event.routing_key, event.content_type)
    return b'%s,"headers":%s,"properties":%s,%s}' % (beginning, _table(event.headers), _table(event.properties), content_of(event))


class _Texts:
    """The JSON of events, made once for all forms and cursors."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int], bytes] = {}

    def of(self, event: Event) -> bytes:
        position = event.position
        assert position is not None
        mark = event.exchange, position.epoch, position.sequence
        # Personal streams have one exchange name for all people: their events are not shared, so they are not remembered.
        text = self._known.get(mark) if event.exchange != "me" else None
        if text is None:
            text = event_document(event)
            if event.exchange != "me" and len(event.body) <= MOST_REMEMBERED_BODY:
                if len(self._known) >= MOST_REMEMBERED:
                    self._known.clear()
                self._known[mark] = text
        return text


_TEXTS = _Texts()


def event_text(event: Event, cursor: str) -> bytes:
    """An event and the cursor that stands for it and all before it. Cursors need no escaping."""
    return b'{"event":%s,"cursor":"%s"}' % (_TEXTS.of(event), cursor.encode())


def gap_text(exchange: str, cursor: str) -> bytes:
    """Events were lost to this client."""
    return dumped({"gap": {"exchange": outer_name(exchange)}, "cursor": cursor})


def outer_name(exchange: str) -> str:
    """Personal streams are called `me` outside."""
    return "me" if exchange.startswith("me/") else exchange


class SocketForm:
    """Frames of a WebSocket."""

    has_repeats = False

    def event(self, event: Event, cursor: str) -> bytes:
        """See Form."""
        return text_frame(event_text(event, cursor))

    def gap(self, exchange: str, cursor: str) -> bytes:
        """See Form."""
        return text_frame(gap_text(exchange, cursor))


class SseForm:
    """Server-sent events: the cursor is the id, so browsers come back with it by themselves."""

    has_repeats = False

    def event(self, event: Event, cursor: str) -> bytes:
        """See Form."""
        return b"id: %s\ndata: %s\n\n" % (cursor.encode(), event_text(event, cursor))

    def gap(self, exchange: str, cursor: str) -> bytes:
        """See Form."""
        return b"event: gap\nid: %s\ndata: %s\n\n" % (cursor.encode(), gap_text(exchange, cursor))
