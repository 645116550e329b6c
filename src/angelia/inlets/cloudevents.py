"""CloudEvents 1.0 over HTTP (structured, binary, batch) read as messages."""

import base64
import binascii
import json
import re
from typing import Any
from urllib.parse import unquote

from angelia.inlet import short_key
from angelia.model.errors import InvalidInput
from angelia.wire.asgi import Headers, kind_of
from angelia.wire.fields import MOST_IN_BATCH, parse_fields

_DEPTH = 20
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,40}\Z")
_ATTRIBUTES = {"subject": "object", "time": "occurred_at", "severity": "severity", "dedupkey": "collapse_key", "thread": "thread", "actor": "actor"}


def is_binary(headers: Headers) -> bool:
    """Do the headers make it a CloudEvent?"""
    return b"ce-specversion" in headers


def parse_event(body: bytes) -> dict[str, Any]:
    """A structured event."""
    return _message(_object(strict_json(body), ""))


def parse_events(body: bytes) -> list[dict[str, Any]]:
    """A batch of events, all or nothing."""
    events = strict_json(body)
    if not isinstance(events, list) or not 0 < len(events) <= MOST_IN_BATCH:
        raise InvalidInput(f"a batch is a JSON array of 1 to {MOST_IN_BATCH} events")
    return [_in_batch(event, index) for index, event in enumerate(events)]


def _in_batch(event: object, index: int) -> dict[str, Any]:
    try:
        return _message(_object(event, ""))
    except InvalidInput as error:
        error.field = f"{index}.{error.field}".rstrip(".")
        raise


def parse_binary(headers: Headers, body: bytes) -> dict[str, Any]:
    """An event whose attributes are headers."""
    event: dict[str, Any] = {}
    for name, value in headers.items():
        if name.startswith(b"ce-"):
            event[name[3:].decode("latin-1")] = unquote(value.decode("latin-1"))
    kind = kind_of(headers)
    # Without a content type data are JSON (CloudEvents 1.0, 3.1), and libraries count on it.
    if body:
        event["data"] = _of_bytes(body, is_json=kind.endswith((b"/json", b"+json")) or (not kind and body.lstrip()[:1] in (b"{", b"[")))
    return _message(event)


def _of_bytes(data: bytes, *, is_json: bool) -> Any:
    if is_json:
        return strict_json(data)
    try:
        return data.decode()
    except UnicodeError:
        raise InvalidInput("binary data has no place in a message; link to it", "data") from None


def _object(event: object, path: str) -> dict[str, Any]:
    if not isinstance(event, dict):
        raise InvalidInput("an event is a JSON object", path)
    return event


def strict_json(body: bytes) -> Any:
    """A JSON value in which no name stands twice, no number is odd, and nothing is nested too deep; else InvalidInput."""
    try:
        value = json.loads(body.decode(), object_pairs_hook=_pairs, parse_constant=_no_constant, parse_int=_whole)
    except (ValueError, RecursionError, UnicodeError):
        raise InvalidInput("this is not JSON that we can read, or a name stands twice in one object", is_syntax=True) from None
    _check_depth(value, _DEPTH)
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError
    return document


def _no_constant(_: str) -> None:
    raise ValueError


def _whole(digits: str) -> int:
    if len(digits) > 19:
        raise ValueError
    return int(digits)


def _check_depth(value: object, left: int) -> None:
    if left < 0:
        raise InvalidInput(f"data is nested deeper than {_DEPTH}", "data")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _check_depth(item, left - 1)


def _message(event: dict[str, Any]) -> dict[str, Any]:
    """The message of an event: id and source make it recognisable, subject is the object, data become params or body."""
    _check(event)
    fields: dict[str, Any] = {"type": event["type"], "idempotency_key": short_key(f"{event['source']} {event['id']}")}
    fields["sender"] = {"id": event["source"][:255]}
    fields |= {field: event[name] for name, field in _ATTRIBUTES.items() if name in event}
    if "to" in event:
        fields["to"] = [part.strip() for part in str(event["to"]).split(",") if part.strip()]
    if event.get("test") in (True, "true"):
        fields["test"] = True
    return parse_fields(fields | _data(event["data"] if "data" in event else _unpacked(event)))


def _check(event: dict[str, Any]) -> None:
    if event.get("specversion") != "1.0":
        raise InvalidInput("only CloudEvents 1.0 are understood", "specversion")
    for name in ("id", "source", "type"):
        if not isinstance(event.get(name), str) or not event[name]:
            raise InvalidInput("a CloudEvent needs id, source and type", name)
    if not all(_ATTRIBUTE.match(name) or name == "data_base64" for name in event):
        raise InvalidInput("names of attributes are lower-case letters and digits")
    if "data" in event and "data_base64" in event:
        raise InvalidInput("an event has data or data_base64; which one should count?", "data_base64")


def _unpacked(event: dict[str, Any]) -> Any:
    """Data that came as base64: libraries write so whatever was given to them as bytes, text and JSON, too."""
    packed, kind = event.get("data_base64"), str(event.get("datacontenttype", "application/json"))
    if packed is None:
        return None
    try:
        data = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise InvalidInput("this is not base64", "data_base64") from None
    return _of_bytes(data, is_json=kind.partition(";")[0].strip().lower().endswith(("/json", "+json")))


def _data(data: object) -> dict[str, Any]:
    """An object gives subject and body, and its flat values as params; a text is the body."""
    if data is None:
        return {}
    if isinstance(data, str):
        return {"body": data}
    if not isinstance(data, dict):
        return {"body": json.dumps(data, ensure_ascii=False)}
    fields: dict[str, Any] = {name: data[name] for name in ("subject", "body") if isinstance(data.get(name), str)}
    params = {name: _param(value) for name, value in data.items() if name not in fields and value is not None}
    return fields | ({"params": params} if params else {})


def _param(value: object) -> str | list[str]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
