"""A hub of its own process with the sample site, as `angelia serve --sample` makes it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import httpx2

from angelia_testing import warm
from angelia_testing.peers.process import ENVIRONMENT, Server, free_port, scratch

_METRIC = re.compile(r"^(\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class SampleHub:
    """A served sample site; `like` is the folder of another that has been stopped, which is quicker than to fill one anew. `port` is for those
    whom somebody else must be told of before; 0 takes a free one.
    """

    def __init__(self, like: Path | None = None, *, port: int = 0, **settings: str) -> None:
        self.folder = scratch("hub")
        self.data = self.folder / "data"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        if like is not None:
            shutil.copytree(like, self.data)
        self._environment = ENVIRONMENT | {"ANGELIA__LOG__LEVEL": "warning"} | settings
        argv = ["serve", "--sample", "--data-dir", str(self.data), "--port", str(self.port)]
        self.server = Server("angelia", argv, [self.port], self.folder, self._environment, is_warm=True)
        # One client for all calls: to make one is slower than what it is asked for.
        self._client = httpx2.Client(base_url=self.url, timeout=60)
        self._cookies: dict[str, tuple[str, str]] = {}

    def secret(self, name: str) -> str:
        """A token that the sample site has left in its folder: alice, bob, root or build-service."""
        return (self.data / f"{name}.token").read_text().strip()

    def call(self, method: str, path: str, body: Any = None, *, as_whom: str = "root", status: int | None = None) -> Any:
        """One call of the API with a token of the sample site."""
        headers = {"Authorization": f"Bearer {self.secret(as_whom)}"}
        answer = self._client.request(method, path, json=body, headers=headers)
        assert status is None or answer.status_code == status, answer.text
        if status is None:
            assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content and "json" in answer.headers.get("content-type", "") else answer.text

    def post(self, **message: Any) -> str:
        """A message from the build service; its id."""
        made = self.call("POST", "/api/v1/messages", message, as_whom="build-service")
        return str(made["id"])

    def cookie(self, login: str) -> tuple[str, str]:
        """Name and value of the cookie of a session, as signing in gives it; one session a person."""
        if login not in self._cookies:
            form = {"login": login, "password": f"sample-{login}"}
            answer = self._client.post("/sign-in", data=form, headers={"Sec-Fetch-Site": "same-origin"})
            self._client.cookies.clear()
            assert answer.status_code == 303, answer.text
            ((name, value),) = answer.cookies.items()
            assert value, "signing in gave no cookie"
            self._cookies[login] = name, value
        return self._cookies[login]

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        text = self._client.get("/metrics").text
        return sum(float(value) for found, value in _METRIC.findall(text) if found == name)

    def mails(self, address: str) -> list[str]:
        """The mails that have come to an address, oldest first, as they are on the disk."""
        found = sorted(self.data.glob(f"mail/{address}/new/*"), key=lambda path: path.stat().st_mtime_ns)
        return [path.read_text() for path in found]

    def cli(self, *arguments: str) -> Any:
        """A command on the folder of this hub, its JSON."""
        done = warm.run(["--data-dir", str(self.data), "--json", *arguments], self._environment)
        done.check_returncode()
        return json.loads(done.stdout)

    def stop(self, *, keeps: bool = False) -> None:
        """Stop and forget, or keep the folder for others to begin like it."""
        self._client.close()
        self.server.stop()
        if not keeps:
            shutil.rmtree(self.folder, ignore_errors=True)
