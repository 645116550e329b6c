"""A back end that computes jobs over HTTP, as the room `http_service` asks for it: small, real, in a process or a thread of its own."""

import json
import time
import urllib.request
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from angelia_testing.peers.served import Served


class Backend(Served):
    """Squares the parameter `n`. `seconds` in the parameters makes a job last, `fail` makes it fail. `faults` is what the next answers are
    by method: a status, "drop" (take it, then close the connection without an answer), or a body.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.submits = 0
        self.seen: list[tuple[str, str, Mapping[str, str]]] = []
        self.faults: dict[str, list[Any]] = {}
        self.serve(self._requests())

    def submit(self, asked: dict[str, Any]) -> str:
        """The same key is the same job."""
        self.submits += 1
        job_id = f"b/{asked['key']}"
        if job_id not in self.jobs:
            ends_at = time.monotonic() + float(asked["parameters"].get("seconds") or 0)
            self.jobs[job_id] = {"asked": asked, "ends_at": ends_at, "starts": 0, "is_cancelled": False}
            self.jobs[job_id]["starts"] += 1
        return job_id

    def stands(self, job: dict[str, Any]) -> dict[str, Any]:
        """How it stands, as the hub is answered."""
        if job["is_cancelled"]:
            return {"state": "cancelled", "message": "as you wish"}
        if time.monotonic() < job["ends_at"]:
            return {"state": "running", "progress": 0.25, "message": "squaring"}
        if job["asked"]["parameters"].get("fail"):
            return {"state": "failed", "message": "no such star"}
        listed = {"name": "square", "kind": "json", "title": "The square", "content_type": "application/json", "url": "products/square"}
        return {"state": "done", "message": "squared", "products": [listed]}

    def call_back(self, job_id: str, report: Mapping[str, Any]) -> dict[str, Any]:
        """Tell the hub how it stands, with the secret of the job."""
        asked = self.jobs[job_id]["asked"]
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {asked['callback_secret']}"}
        request = urllib.request.Request(asked["callback_url"], json.dumps(report).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            taken: dict[str, Any] = json.load(answer)
        return taken

    def _requests(self) -> type[BaseHTTPRequestHandler]:
        backend = self

        class Requests(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                """Nothing on stderr."""

            def _answer(self, status: int, value: Any) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _go(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                backend.seen.append((self.command, self.path, dict(self.headers)))
                faults = backend.faults.get(self.command, [])
                fault = faults.pop(0) if faults else None
                if isinstance(fault, int):
                    self._answer(fault, {"why": "as the test wants"})
                    return
                status, value = backend.answer(self.command, self.path, body)
                if fault == "drop":
                    self.close_connection = True
                    return
                self._answer(status, value if fault is None else fault)

            do_GET = do_POST = do_DELETE = _go  # noqa: N815 - the library's names

        return Requests

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and value."""
        parts = urlsplit(path)
        if method == "POST" and parts.path == "/jobs":
            return 202, {"id": self.submit(json.loads(body))}
        if method == "GET" and parts.path == "/jobs":
            job_id = f"b/{parse_qs(parts.query)['key'][0]}"
            return 200, {"jobs": [{"id": job_id}] if job_id in self.jobs else []}
        _, _, name, *rest = parts.path.split("/")
        job = self.jobs.get(unquote(name))
        if job is None:
            return 404, {}
        if method == "DELETE":
            job["is_cancelled"] = True
            return 200, {}
        if rest == ["products", "square"]:
            return 200, {"square": job["asked"]["parameters"]["n"] ** 2}
        return 200, self.stands(job)
