"""A strict fake of the Telegram Bot API: what the real one would refuse it refuses, with its words; it can be told to be busy."""

import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "123456:" + "A-b_" * 9
CHANNEL = "-100777"
MOST_UNITS = 4096
_FIELDS = {"chat_id": (int, str), "text": str, "link_preview_options": dict, "disable_notification": bool}


class TelegramApi:
    """One bot, and the chats that it may write to; `sent` are the bodies that it took, `messages` their texts.

    `refusals` are answers (status, body) for the next requests, in order.
    """

    def __init__(self, most_a_minute: int = 0) -> None:
        self.chats = {CHANNEL}
        self.sent: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.refusals: deque[tuple[int, dict[str, Any]]] = deque()
        self.asked_at: list[float] = []
        self.most_a_minute = most_a_minute
        self._taken_at: deque[float] = deque()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                status, body = api.answer(self.path, self.headers.get("content-type", ""), self.rfile.read(length))
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                api.faults.append(f"GET {self.path}")
                self.send_error(405)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def messages(self) -> list[str]:
        """The texts of what it took."""
        return [str(body["text"]) for body in self.sent]

    def answer(self, path: str, kind: str, data: bytes) -> tuple[int, dict[str, Any]]:
        """What the real one would say."""
        self.asked_at.append(time.monotonic())
        if path.partition("/bot")[2].partition("/")[0] != TOKEN:
            return self._no(401, "Unauthorized")
        if path != f"/bot{TOKEN}/sendMessage":
            return self._no(404, "Not Found: method not found")
        try:
            fields = json.loads(data) if kind.startswith("application/json") else {}
        except ValueError:
            return self._no(400, "Bad Request: object expected as JSON")
        if fault := self._fault(fields):
            return self._no(400, fault)
        if self.refusals:
            return self.refusals.popleft()
        if self.most_a_minute and not self._has_room():
            return 429, {"ok": False, "error_code": 429, "description": "Too Many Requests: retry after 1", "parameters": {"retry_after": 1}}
        self.sent.append(fields)
        return 200, {
            "ok": True,
            "result": {"message_id": len(self.sent), "date": int(time.time()), "chat": {"id": fields["chat_id"]}, "text": fields["text"]},
        }

    def _fault(self, fields: dict[str, Any]) -> str:
        for name, value in fields.items():
            if name not in _FIELDS or not isinstance(value, _FIELDS[name]):  # type: ignore[arg-type]
                return f"Bad Request: the field {name} is unknown or of the wrong kind"
        if str(fields.get("chat_id", "")) not in self.chats:
            return "Bad Request: chat not found"
        text = str(fields.get("text", ""))
        if not text.strip():
            return "Bad Request: message text is empty"
        return "Bad Request: message is too long" if len(text.encode("utf-16-le", "surrogatepass")) // 2 > MOST_UNITS else ""

    def _has_room(self) -> bool:
        now = time.monotonic()
        while self._taken_at and now - self._taken_at[0] > 60:
            self._taken_at.popleft()
        if len(self._taken_at) >= self.most_a_minute:
            return False
        self._taken_at.append(now)
        return True

    def _no(self, status: int, words: str) -> tuple[int, dict[str, Any]]:
        self.faults.append(words)
        return status, {"ok": False, "error_code": status, "description": words}

    def busy(self, seconds: int) -> None:
        """The next request is refused with `retry_after`."""
        body = {"ok": False, "error_code": 429, "description": f"Too Many Requests: retry after {seconds}", "parameters": {"retry_after": seconds}}
        self.refusals.append((429, body))

    def stop(self) -> None:
        """Close."""
        self._server.shutdown()
        self._server.server_close()


def refusal(status: int, why: str, **parameters: int) -> tuple[int, dict[str, Any]]:
    """As Telegram refuses."""
    return status, {"ok": False, "error_code": status, "description": why} | ({"parameters": parameters} if parameters else {})
