"""A strict fake of the Telegram Bot API: what the real one would refuse it refuses, with its words; it can be told to be busy.

It takes what the real one takes (JSON, forms, multipart forms; POST and GET), so that other client libraries can be tried against it.
"""

import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from angelia_testing.peers.telegram_updates import Updates
from angelia_testing.peers.telegram_wire import METHODS, Fault, Wrong, fields_of

TOKEN = "123456:" + "A-b_" * 9
CHANNEL = "-100777"
BOT = {"id": 123456, "is_bot": True, "first_name": "Angelia", "username": "angelia_test_bot"}
_TOO_OLD = "Bad Request: message can't be edited"


class TelegramApi:
    """One bot, and the chats that it may write to; `sent` are the bodies that it took as new messages, `messages` their texts, `edits` all edits,
    `documents` name and text of files.

    `refusals` are answers (status, body) for the next requests that send or edit, in order. `shown` is what stands in a chat now: by chat and number.
    """

    def __init__(self, most_a_minute: int = 0) -> None:
        self.chats = {CHANNEL}
        self.sent: list[dict[str, Any]] = []
        self.edits: list[dict[str, Any]] = []
        self.documents: list[tuple[str, str]] = []
        self.pressed: list[dict[str, Any]] = []
        self.shown: dict[tuple[str, int], dict[str, Any]] = {}
        self.too_old: set[int] = set()
        self.moved: dict[str, int] = {}
        self.faults: list[str] = []
        self.refusals: deque[tuple[int, dict[str, Any]]] = deque()
        self.asked_at: list[float] = []
        self.most_a_minute = most_a_minute
        self.updates = Updates()
        self._taken_at: deque[float] = deque()
        self._lock = threading.Lock()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                self._say(*api.answer(self.path, self.headers.get("content-type", ""), self.rfile.read(length)))

            def do_GET(self) -> None:
                self._say(*api.answer(self.path, "", b""))

            def _say(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Who hangs up in the middle of a long poll is no fault."""

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
        place, _, query = path.partition("?")
        token, _, method = place.partition("/bot")[2].partition("/")
        if token != TOKEN:
            return self._no(Fault(401, "Unauthorized"))
        if method not in METHODS:
            return self._no(Fault(404, "Not Found: method not found"))
        try:
            fields = fields_of(method, kind, data, query)
            if method == "getUpdates":
                return _yes(self.updates.wait(fields.get("offset", 0), fields.get("limit", 100), fields.get("timeout", 0)))
            with self._lock:
                return self._done(method, fields)
        except Wrong as error:
            return self._no(error.fault)

    def _done(self, method: str, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if method == "getMe":
            return _yes(BOT)
        if method == "deleteWebhook":
            return _yes(True)
        if method == "answerCallbackQuery":
            self.updates.take_press(str(fields["callback_query_id"]))
            self.pressed.append(fields)
            return _yes(True)
        chat = str(fields["chat_id"])
        if chat in self.moved:
            raise Wrong(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=self.moved[chat])
        if chat not in self.chats:
            raise Wrong(400, "Bad Request: chat not found")
        if self.refusals:
            return self.refusals.popleft()
        if self.most_a_minute and not self._has_room():
            raise Wrong(429, "Too Many Requests: retry after 1", retry_after=1)
        if method == "sendDocument":
            self.documents.append(fields["document"])
            name = fields["document"][0]
            return _yes({"message_id": 0, "date": int(time.time()), "chat": _chat(chat), "from": BOT, "document": {"file_name": name}})
        return self._sent(chat, fields) if method == "sendMessage" else self._edited(chat, fields, is_text=method == "editMessageText")

    def _sent(self, chat: str, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        asked = fields.get("reply_parameters")
        replied = self.shown.get((chat, asked["message_id"])) if asked else None
        if asked and replied is None and not asked.get("allow_sending_without_reply"):
            raise Wrong(400, "Bad Request: message to be replied not found")
        self.sent.append(fields)
        # As everywhere on Telegram the numbers of messages count in each chat.
        number = 1 + max((known for place, known in self.shown if place == chat), default=0)
        shown = {"message_id": number, "date": int(time.time()), "chat": _chat(chat), "from": BOT, "text": fields["text"]}
        shown |= {"reply_markup": fields["reply_markup"]} if fields.get("reply_markup") else {}
        shown |= {"reply_to_message": {name: value for name, value in replied.items() if name != "reply_to_message"}} if replied else {}
        self.shown[chat, number] = shown
        return _yes(shown)

    def _edited(self, chat: str, fields: dict[str, Any], *, is_text: bool) -> tuple[int, dict[str, Any]]:
        shown = self.shown.get((chat, fields["message_id"]))
        if shown is None:
            raise Wrong(400, "Bad Request: message to edit not found")
        if fields["message_id"] in self.too_old:
            raise Wrong(400, _TOO_OLD)
        fresh = {name: value for name, value in shown.items() if name not in ("reply_markup", "edit_date")}
        fresh |= {"text": fields["text"]} if is_text else {}
        fresh |= {"reply_markup": fields["reply_markup"]} if fields.get("reply_markup") else {}
        if fresh == {name: value for name, value in shown.items() if name != "edit_date"}:
            raise Wrong(
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a current content "
                "and reply markup of the message",
            )
        self.edits.append(fields)
        self.shown[chat, fields["message_id"]] = fresh | {"edit_date": int(time.time())}
        return _yes(self.shown[chat, fields["message_id"]])

    def _has_room(self) -> bool:
        now = time.monotonic()
        while self._taken_at and now - self._taken_at[0] > 60:
            self._taken_at.popleft()
        if len(self._taken_at) >= self.most_a_minute:
            return False
        self._taken_at.append(now)
        return True

    def _no(self, fault: Fault) -> tuple[int, dict[str, Any]]:
        self.faults.append(fault.words)
        return refusal(fault.status, fault.words, **dict(fault.parameters))

    def says(self, chat: int, text: str, language: str = "en") -> None:
        """Somebody writes in a chat; from then on the bot may write there."""
        self.chats.add(str(chat))
        message = {
            "message_id": int(time.time() * 1000) % 10**9,
            "date": int(time.time()),
            "chat": _chat(str(chat)),
            "from": _person(chat, language),
            "text": text,
        }
        self.updates.put({"message": message})

    def presses(self, chat: int, number: int, language: str = "en") -> None:
        """Somebody presses the first button under a message, as it stands there now."""
        with self._lock:
            shown = self.shown[str(chat), number]
        data = shown["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
        self.updates.put_press({"from": _person(chat, language), "message": shown, "chat_instance": "1", "data": data})

    def busy(self, seconds: int) -> None:
        """The next request is refused with `retry_after`."""
        self.refusals.append(refusal(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds))

    def stop(self) -> None:
        """Close; who waits for updates is let go."""
        self.updates.stop()
        self._server.shutdown()
        self._server.server_close()


def _chat(chat: str) -> dict[str, Any]:
    number = int(chat) if not chat.startswith("@") else -100999
    kind = "private" if number > 0 else "supergroup"
    names = {"first_name": "Alice"} if number > 0 else {"title": "Telescope"}
    return {"id": number, "type": kind} | names | ({"username": chat[1:]} if chat.startswith("@") else {})


def _person(chat: int, language: str) -> dict[str, Any]:
    return {"id": abs(chat), "is_bot": False, "first_name": "Alice", "language_code": language}


def _yes(result: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"ok": True, "result": result}


def refusal(status: int, why: str, **parameters: int) -> tuple[int, dict[str, Any]]:
    """As Telegram refuses."""
    return status, {"ok": False, "error_code": status, "description": why} | ({"parameters": parameters} if parameters else {})
