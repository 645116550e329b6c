"""The fields of the Bot API's methods, read from all the forms in which clients may send them, and checked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qsl

MOST_UNITS = 4096
_CHAT: dict[str, Any] = {"chat_id": (int, str)}
_TEXT = _CHAT | {"text": str, "link_preview_options": dict, "reply_markup": dict, "entities": list, "parse_mode": str}
METHODS: Mapping[str, Mapping[str, Any]] = {
    "getMe": {},
    "deleteWebhook": {"drop_pending_updates": bool},
    "getUpdates": {"offset": int, "limit": int, "timeout": int, "allowed_updates": list},
    "sendMessage": _TEXT | {"disable_notification": bool, "reply_parameters": dict, "protect_content": bool},
    "sendDocument": _CHAT | {"document": tuple, "caption": str, "disable_notification": bool},
    "editMessageText": _TEXT | {"message_id": int},
    "editMessageReplyMarkup": _CHAT | {"message_id": int, "reply_markup": dict},
    "answerCallbackQuery": {"callback_query_id": str, "text": str, "show_alert": bool, "cache_time": int},
}
_NEEDED = {
    "sendMessage": ("chat_id",),
    "sendDocument": ("chat_id", "document"),
    "editMessageText": ("chat_id", "message_id"),
    "editMessageReplyMarkup": ("chat_id", "message_id"),
    "answerCallbackQuery": ("callback_query_id",),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A refusal."""

    status: int
    words: str
    parameters: tuple[tuple[str, int], ...] = ()


class Wrong(Exception):
    """To be refused."""

    def __init__(self, status: int, words: str, **parameters: int) -> None:
        super().__init__(words)
        self.fault = Fault(status, words, tuple(parameters.items()))


def fields_of(method: str, kind: str, data: bytes, query: str) -> dict[str, Any]:
    """What a request asks. Wrong where the real server would refuse it, or silently pass over what a client got wrong."""
    fields = dict(parse_qsl(query, keep_blank_values=True)) | _read(kind, data)
    known = METHODS[method]
    for name, value in fields.items():
        if name not in known:
            raise Wrong(400, f"Bad Request: the field {name} is unknown")
        fields[name] = _typed(name, value, known[name], is_json=kind.startswith("application/json"))
    for name in _NEEDED.get(method, ()):
        if fields.get(name, "") == "":
            raise Wrong(400, f"Bad Request: {name} is empty")
    if "text" in known and method != "answerCallbackQuery":
        _check_text(str(fields.get("text", "")))
    if method == "answerCallbackQuery" and len(str(fields.get("text", ""))) > 200:
        raise Wrong(400, "Bad Request: MESSAGE_TOO_LONG")
    _check_keyboard(fields.get("reply_markup"))
    return fields


def _read(kind: str, data: bytes) -> dict[str, Any]:
    if not data:
        return {}
    if kind.startswith("application/json"):
        try:
            fields = json.loads(data)
        except ValueError:
            raise Wrong(400, "Bad Request: object expected as JSON") from None
        if not isinstance(fields, dict):
            raise Wrong(400, "Bad Request: object expected as JSON")
        return fields
    if kind.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(data.decode(), keep_blank_values=True))
    if kind.startswith("multipart/form-data"):
        parts: Any = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + data).get_payload()
        return {str(part.get_param("name", header="content-disposition")): _value(part) for part in parts}
    return {}


def _value(part: Any) -> str | tuple[str, str]:
    """A text, or name and text of a file."""
    given: bytes = part.get_payload(decode=True)
    name = part.get_filename()
    return given.decode() if name is None else (str(name), given.decode())


def _typed(name: str, value: Any, kind: Any, *, is_json: bool) -> Any:
    """In forms all values are texts, and what is no text is JSON in them."""
    if not is_json and isinstance(value, str) and kind not in (str, (int, str)):
        try:
            value = json.loads(value)
        except ValueError:
            raise Wrong(400, f"Bad Request: can't parse {name}") from None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Wrong(400, f"Bad Request: the field {name} is of the wrong kind")
    return value


def _check_text(text: str) -> None:
    if not text.strip():
        raise Wrong(400, "Bad Request: message text is empty")
    if len(text.encode("utf-16-le", "surrogatepass")) // 2 > MOST_UNITS:
        raise Wrong(400, "Bad Request: message is too long")


def _check_keyboard(keyboard: Any) -> None:
    for row in (keyboard or {}).get("inline_keyboard", ()):
        for button in row:
            data = button.get("callback_data", "")
            if not button.get("text") or not 1 <= len(data.encode()) <= 64:
                raise Wrong(400, "Bad Request: BUTTON_DATA_INVALID")
