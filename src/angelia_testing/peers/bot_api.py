"""A strict Bot API: what Telegram would refuse is refused here, in its words (core.telegram.org/bots/api)."""

import json
from typing import Any

from angelia_testing.peers.http import Asked, Reply, ScriptedHttp

TOKEN = "123456:" + "A" * 35
_KNOWN = {"chat_id": (int, str), "text": str, "link_preview_options": dict, "disable_notification": bool, "reply_parameters": dict}


class BotApi:
    """`sendMessage` for the chats that there are; `sent` holds what arrived, oldest first.

    `next` are replies to give in place of the usual, one a call.
    """

    def __init__(self) -> None:
        self.chats: set[int | str] = {7731, -100, "@alarms"}
        self.sent: list[dict[str, Any]] = []
        self.next: list[Reply] = []
        self._http = ScriptedHttp(self._answer)
        self.url = self._http.url

    def _answer(self, asked: Asked) -> Reply:
        if asked.path != f"/bot{TOKEN}/sendMessage":
            return refusal(404, "Not Found")
        if self.next:
            return self.next.pop(0)
        try:
            body = json.loads(asked.body)
        except ValueError:
            return refusal(400, "Bad Request: can't parse JSON")
        fault = self._fault(body)
        if fault:
            return refusal(400, fault)
        self.sent.append(body)
        result = {"message_id": len(self.sent), "date": 1, "chat": {"id": body["chat_id"], "type": "private"}, "text": body["text"]}
        return Reply(200, json.dumps({"ok": True, "result": result}).encode(), {"Content-Type": "application/json"})

    def _fault(self, body: dict[str, Any]) -> str:
        for name, value in body.items():
            if name not in _KNOWN or not isinstance(value, _KNOWN[name]):  # type: ignore[arg-type]
                return f"Bad Request: field {name} is unknown or of the wrong kind"
        if body.get("chat_id") not in self.chats:
            return "Bad Request: chat not found"
        text = body.get("text", "")
        if not text.strip():
            return "Bad Request: message text is empty"
        if len(text.encode("utf-16-le")) // 2 > 4_096:
            return "Bad Request: message is too long"
        return ""

    def stop(self) -> None:
        """The port refuses from now on."""
        self._http.stop()


def refusal(status: int, why: str, **parameters: int) -> Reply:
    """As Telegram refuses."""
    body = {"ok": False, "error_code": status, "description": why} | ({"parameters": parameters} if parameters else {})
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json"})
