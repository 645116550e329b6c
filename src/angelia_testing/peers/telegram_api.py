"""A strict fake of the Telegram Bot API: what the real one would refuse it refuses, with its words; it can be told to be busy."""

import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "12345:ABC-def_ghi"
CHANNEL = "-100777"
MOST_UNITS = 4096


class TelegramApi:
    """One bot and one channel. `refusals` are answers (status, body) for the next requests, in order."""

    def __init__(self, most_a_minute: int = 0) -> None:
        self.messages: list[str] = []
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

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

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
        text, chat = fields.get("text"), str(fields.get("chat_id", ""))
        if set(fields) - {"chat_id", "text", "disable_notification"}:
            self.faults.append(f"fields {sorted(fields)}")
        if chat != CHANNEL:
            return self._no(400, "Bad Request: chat not found")
        if not isinstance(text, str) or not text.strip():
            return self._no(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le", "surrogatepass")) // 2 > MOST_UNITS:
            return self._no(400, "Bad Request: message is too long")
        if self.refusals:
            return self.refusals.popleft()
        if self.most_a_minute and not self._has_room():
            return 429, {"ok": False, "error_code": 429, "description": "Too Many Requests: retry after 1", "parameters": {"retry_after": 1}}
        self.messages.append(text)
        return 200, {"ok": True, "result": {"message_id": len(self.messages), "date": int(time.time()), "chat": {"id": int(chat)}, "text": text}}

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
