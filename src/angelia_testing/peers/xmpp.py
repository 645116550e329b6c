"""Real XMPP servers (Prosody, ejabberd) on loopback, with rooms, and people who read there."""

import asyncio
import json
import os
import shutil
import ssl
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import slixmpp

from angelia_testing.peers.certificates import issue
from angelia_testing.peers.process import Server, free_port, missing, scratch

DOMAIN, ROOMS = "test.example", "conference.test.example"
PROGRAM = Path("/usr/bin/prosody")
_CONFIG = """\
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{}}
s2s_ports = {{}}
http_ports = {{}}
https_ports = {{}}
modules_enabled = {{ {modules} }}
modules_disabled = {{ "s2s" }}
c2s_require_encryption = false
authentication = "internal_plain"
storage = "internal"
log = {{ info = "{folder}/prosody.out" }}
VirtualHost "test.example"
  ssl = {{ key = "{folder}/server.key"; certificate = "{folder}/server.crt" }}
Component "conference.test.example" "muc"
  restrict_room_creation = false
  muc_room_locking = false
"""
_EJABBERD = """\
loglevel: warning
hosts: [test.example]
certfiles: ["{pem}"]
acme: {{auto: false}}
auth_password_format: scram
listen:
  - {{port: {port}, ip: "127.0.0.1", module: ejabberd_c2s, starttls_required: true, access: all}}
  - {{port: {web}, ip: "127.0.0.1", module: ejabberd_http, request_handlers: {{/api: mod_http_api}}}}
api_permissions:
  "accounts of tests": {{who: all, what: [register]}}
modules:
  mod_blocking: {{}}
  mod_disco: {{}}
  mod_muc: {{host: conference.test.example}}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_privacy: {{}}
  mod_roster: {{}}
  mod_stream_mgmt: {{}}
"""
_MODULES = ("disco", "roster", "saslauth", "tls", "ping", "smacks", "offline", "posix", "blocklist")


def _runs_as(user: str, folder: Path) -> list[str]:
    """How to start what does not run as root: Debian brings it a user, who gets the folder."""
    if os.geteuid() != 0:
        return []
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, user, user)
    return ["runuser", "-u", user, "--"]


class Prosody:
    """`without` leaves out modules, such as `smacks` (stream management) or `tls`."""

    def __init__(self, without: tuple[str, ...] = ()) -> None:
        if not PROGRAM.exists():
            missing("Prosody")
        self.folder, self.port = scratch("prosody"), free_port()
        self.server = f"127.0.0.1:{self.port}"
        self.ca_file = str(self.folder / "ca.crt")
        issue(self.folder, DOMAIN)
        modules = ", ".join(f'"{name}"' for name in _MODULES if name not in without)
        self._config = self.folder / "prosody.cfg.lua"
        self._config.write_text(_CONFIG.format(folder=self.folder, port=self.port, modules=modules))
        (self.folder / "data").mkdir()
        self._as = _runs_as("prosody", self.folder)
        self.start()

    def start(self) -> None:
        """Again, with the accounts that it had."""
        self.process = Server("prosody", [*self._as, str(PROGRAM), "--config", str(self._config), "-F"], [self.port], self.folder)

    def kill(self) -> None:
        """As if the machine had lost it."""
        self.process.kill()
        self.process.process.wait(10)

    def stop(self) -> None:
        """End it and forget; asked politely, it may take ten seconds."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def user(self, name: str) -> str:
        """A new account; its address. Written as Prosody itself would: its command line takes half a second for each."""
        accounts = self.folder / "data" / DOMAIN.replace(".", "%2e") / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        (accounts / f"{name}.dat").write_text('return {\n\t["password"] = "secret";\n};\n')
        if self._as:
            for path in (accounts / f"{name}.dat", accounts, accounts.parent):
                shutil.chown(path, "prosody", "prosody")
        return f"{name}@{DOMAIN}"


class Ejabberd:
    """It refuses after it has acknowledged, and thinks otherwise of rooms. Started without Erlang's distribution: no other node sees it."""

    def __init__(self) -> None:
        libraries = next(Path("/usr/lib").glob("*/ejabberd-*/ebin"), None)
        if libraries is None:
            missing("ejabberd")
            return
        self.folder, self.port, self._web = scratch("ejabberd"), free_port(), free_port()
        self.server = f"127.0.0.1:{self.port}"
        self.ca_file = str(self.folder / "ca.crt")
        issue(self.folder, DOMAIN)
        pem = self.folder / "server.pem"
        pem.write_text((self.folder / "server.crt").read_text() + (self.folder / "server.key").read_text())
        (self.folder / "ejabberd.yml").write_text(_EJABBERD.format(pem=pem, port=self.port, web=self._web))
        self._env = os.environ | {
            "HOME": str(self.folder),
            "EJABBERD_CONFIG_PATH": str(self.folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.folder / "ejabberd.out"),
            "ERL_CRASH_DUMP": str(self.folder / "crash"),
            "ERL_LIBS": str(libraries.parent.parent),
        }
        self._as = _runs_as("ejabberd", self.folder)
        self.start()

    def start(self) -> None:
        """Again, with the accounts that it had."""
        database = ["-mnesia", "dir", f'"{self.folder}/db"']
        argv = [*self._as, "erl", "-noinput", "+S", "1:1", "+sbwt", "none", *database, "-s", "ejabberd"]
        self.process = Server("ejabberd", argv, [self.port, self._web], self.folder, self._env)

    def stop(self) -> None:
        """End it and forget."""
        self.process.kill()
        self.process.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def user(self, name: str) -> str:
        """A new account; its address."""
        data = json.dumps({"user": name, "host": DOMAIN, "password": "secret"}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self._web}/api/register", data, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=60).close()
        return f"{name}@{DOMAIN}"


class Reader:
    """Somebody who is signed in and keeps what she gets: `async with Reader(server, "alice@test.example") as alice`."""

    def __init__(self, server: Prosody | Ejabberd, jid: str, *, is_plain: bool = False) -> None:
        self.jid, self._server = jid, server
        self.got: list[Any] = []
        self.client = slixmpp.ClientXMPP(jid, "secret", ssl_context=ssl.create_default_context(cafile=server.ca_file))
        self.client.enable_direct_tls, self.client.enable_plaintext = False, is_plain
        self.client.plugin["feature_mechanisms"].config["unencrypted_scram"] = is_plain
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.client.register_plugin("xep_0045")
        self.client.register_plugin("xep_0359")
        self.client.add_event_handler("session_start", self._started)
        self.client.add_event_handler("message", self._came)

    def _started(self, _: Any) -> None:
        self.client.send_presence()
        self._ready.set_result(None)

    def _came(self, message: Any) -> None:
        if message["body"]:
            self.got.append(message)

    async def __aenter__(self) -> "Reader":
        self.client.connect("127.0.0.1", self._server.port)
        async with asyncio.timeout(60):
            await self._ready
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(TimeoutError):
            await self.client.disconnect(1.0)
        if self.client._run_out_filters is not None:
            self.client._run_out_filters.cancel()

    async def room(self, name: str) -> str:
        """Make a room, or join it; its address as our agent takes it."""
        room = f"{name}@{ROOMS}"
        await self.client.plugin["xep_0045"].join_muc_wait(slixmpp.JID(room), self.jid.partition("@")[0], maxstanzas=0, timeout=60)
        return f"{room}?join"
