"""An HTTP server in process with scripted answers: what no real server does on demand."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request as it came; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """`delay` in seconds; `is_cut` closes the connection in place of an answer; `length` lies about the size."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    is_cut: bool = False
    length: int | None = None


class ScriptedHttp:
    """Listens on an address of this machine; `answer` says what to reply. `asked` keeps what came."""

    def __init__(self, answer: Callable[[Asked], Reply] = lambda _: Reply(), host: str = "127.0.0.1") -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        peer = self

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _reply(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                asked = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                peer.asked.append(asked)
                reply = peer.answer(asked)
                time.sleep(reply.delay)
                if reply.is_cut:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _reply  # noqa: N815 - names of the base class

            def log_message(self, *arguments: Any) -> None:
                """Silent."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *arguments: Any) -> None:
                """A peer that hangs up is what some tests are about."""

        self._server = Server((host, 0), Answering)
        self.port = int(self._server.server_address[1])
        self.url = f"http://{host}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close it; the port refuses from now on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
