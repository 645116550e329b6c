"""A real Matrix homeserver (Synapse) on loopback, in an environment of its own beside the project's."""

import hashlib
import hmac
import itertools
import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from angelia_testing.peers.process import Server, free_port, missing, scratch

PLACE = Path(os.environ.get("ANGELIA_SYNAPSE", Path(__file__).parents[3] / ".peers" / "synapse")) / "bin" / "python"
_SECRET = "regsecret"
_transactions = itertools.count()
_FREE = "{per_second: 1000, burst_count: 1000}"
_CONFIG = """
server_name: "test.example"
public_baseurl: {url}/
pid_file: {folder}/homeserver.pid
listeners:
  - {{port: {port}, tls: false, type: http, bind_addresses: ['127.0.0.1'], resources: [{{names: [client], compress: false}}]}}
database: {{name: sqlite3, args: {{database: {folder}/homeserver.db}}}}
log_config: {folder}/log.yaml
media_store_path: {folder}/media
registration_shared_secret: "{secret}"
report_stats: false
macaroon_secret_key: m
form_secret: f
signing_key_path: {folder}/signing.key
trusted_key_servers: []
federation_domain_whitelist: []
presence: {{enabled: false}}
url_preview_enabled: false
rc_message: {message}
rc_registration: {free}
rc_room_creation: {free}
rc_login: {{address: {free}, account: {free}, failed_attempts: {free}}}
rc_joins: {{local: {free}, remote: {free}}}
rc_invites: {{per_room: {free}, per_user: {free}, per_issuer: {free}}}
bcrypt_rounds: 4
"""


class Synapse:
    """With raised limits, or with Synapse's own for messages (`message="{per_second: 0.2, burst_count: 10}"`)."""

    def __init__(self, message: str = _FREE) -> None:
        if not PLACE.exists():
            missing("Synapse")
        self.folder = scratch("synapse")
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        values = {"url": self.url, "folder": self.folder, "port": self._port, "secret": _SECRET, "free": _FREE, "message": message}
        (self.folder / "homeserver.yaml").write_text(_CONFIG.format(**values))
        handlers = {"console": {"class": "logging.StreamHandler"}}
        (self.folder / "log.yaml").write_text(json.dumps({"version": 1, "handlers": handlers, "root": {"level": "WARNING", "handlers": ["console"]}}))
        self._argv = [str(PLACE), "-m", "synapse.app.homeserver", "-c", "homeserver.yaml"]
        subprocess.run([*self._argv, "--generate-keys"], cwd=self.folder, check=True, capture_output=True, timeout=60)
        self.start()

    def start(self) -> None:
        """Again, with what it had."""
        self._server = Server("synapse", self._argv, [self._port], self.folder)

    def stop(self) -> None:
        """End it; what it had stays."""
        self._server.stop()

    def kill(self) -> None:
        """As a crash would end it, at any moment."""
        self._server.kill()
        self._server.process.wait(30)

    def user(self, name: str) -> "MatrixUser":
        """A new account, signed in."""
        nonce = self.call("GET", "/_synapse/admin/v1/register")[1]["nonce"]
        mac = hmac.new(_SECRET.encode(), b"\0".join([nonce.encode(), name.encode(), b"secret", b"notadmin"]), hashlib.sha1).hexdigest()
        _, made = self.call(
            "POST", "/_synapse/admin/v1/register", {"nonce": nonce, "username": name, "password": "secret", "admin": False, "mac": mac}
        )
        return MatrixUser(self, made["user_id"], made["access_token"])

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, token: str = "") -> tuple[int, dict[str, Any]]:
        """(status, answer)."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body is not None else None, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


class MatrixUser:
    """One account and what it does."""

    def __init__(self, server: Synapse, user_id: str, token: str) -> None:
        self.server, self.user_id, self.token = server, user_id, token

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """As this user; the answer of a call that must work."""
        status, answer = self.server.call(method, f"/_matrix/client/v3{path}", body, self.token)
        assert status == 200, answer
        return answer

    def room(self, *invited: str, alias: str = "") -> str:
        """A new room, private but for those invited."""
        named = {"room_alias_name": alias} if alias else {}
        return str(self.call("POST", "/createRoom", {"preset": "private_chat", "invite": list(invited)} | named)["room_id"])

    def messages(self, room: str) -> list[dict[str, Any]]:
        """What was said in a room, oldest first: events as they came."""
        found = self.call("GET", f"/rooms/{quote(room)}/messages?dir=b&limit=200")["chunk"]
        return [event for event in reversed(found) if event["type"] == "m.room.message"]

    def say(self, room: str, text: str) -> str:
        """A message of hers; its event."""
        return self.send(room, "m.room.message", {"msgtype": "m.text", "body": text})

    def react(self, room: str, event: str, key: str) -> str:
        """A reaction to an event."""
        return self.send(room, "m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": event, "key": key}})

    def send(self, room: str, kind: str, content: dict[str, Any]) -> str:
        """An event; its id."""
        return str(self.call("PUT", f"/rooms/{quote(room)}/send/{kind}/{next(_transactions)}", content)["event_id"])

    def read(self, room: str, event: str, thread: str = "") -> None:
        """She has read up to this event, everywhere or in one thread."""
        self.call("POST", f"/rooms/{quote(room)}/receipt/m.read/{quote(event)}", {"thread_id": thread} if thread else {})

    def member(self, room: str, user_id: str) -> str:
        """What somebody is there: join, invite, leave, or "" for a stranger."""
        found = self.call("GET", f"/rooms/{quote(room)}/members")["chunk"]
        return next((str(event["content"]["membership"]) for event in found if event["state_key"] == user_id), "")
